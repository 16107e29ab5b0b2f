"""The constants of an image: weights in tiles, parameters, tables, constant feature maps."""

import numpy as np
import numpy.typing as npt

from accel.compiler.filters import filter_tiles
from accel.compiler.layers import ConvLayer
from accel.compiler.plans import ConvPlan
from accel.config import Config
from accel.isa import PARAM_WORDS

__all__ = ["ALIGNMENT", "ConstantPool", "ConvBlock"]

ALIGNMENT = 64
"""Bytes to which everything in the image is aligned."""


class ConvBlock:
    """One column group's constants in the image.

    Parameters
    ----------
    address : int
        Byte offset of its parameters; the tiles follow.
    part_offsets : list of int
        Words from `address` to each part's first tile.
    """

    def __init__(self, address: int, part_offsets: list[int]) -> None:
        self.address = address
        self.part_offsets = part_offsets


class ConstantPool:
    """Collects constants; `base` is the byte offset of the first in memory."""

    def __init__(self, base: int) -> None:
        self.base = base
        self._blobs: list[bytes] = []
        self._size = 0
        self._places: dict[bytes, int] = {}

    @property
    def end(self) -> int:
        """Byte offset behind the last constant."""
        return self.base + self._size

    def data(self) -> bytes:
        """Return all constants as they lie in memory from `base` on."""
        return b"".join(self._blobs)

    def add(self, blob: bytes) -> int:
        """Return the offset of `blob`, equal blobs only once."""
        if blob not in self._places:
            self._places[blob] = self.end
            padded = blob + bytes(-len(blob) % ALIGNMENT)
            self._blobs.append(padded)
            self._size += len(padded)
        return self._places[blob]

    def conv_blocks(self, layer: ConvLayer, plan: ConvPlan, config: Config) -> list[ConvBlock]:
        """Return the constants of every column group of a convolution."""
        rows, cols = config.rows, config.cols
        kh, kw = layer.kernel
        starts = np.cumsum([0] + [item.channels for item in layer.sources])
        blocks = []
        for group, parts in enumerate(plan.parts):
            own = layer.weights[group * cols : (group + 1) * cols]
            offsets = []
            words = [_param_words(layer, group, cols)]
            position = PARAM_WORDS
            for part in parts:
                offsets.append(position)
                position += part.tiles * rows
                first = starts[part.source] + part.g0 * rows
                last = min(starts[part.source + 1], first + part.ng * rows)
                if part.filter is not None:
                    compact = own
                    if part.filter.taps:
                        reach = range(group * cols, group * cols + len(own))
                        compact = own[np.arange(len(own)), :, :, reach][..., None]
                    words.append(filter_tiles(compact, part.filter, config).reshape(-1, cols))
                    continue
                tiles = np.zeros((cols, part.nky, part.nkx, part.ng * rows), np.int8)
                tiles[: len(own), :, :, : last - first] = own[
                    :, part.ky0 : part.ky0 + part.nky, part.kx0 : part.kx0 + part.nkx, first:last
                ]
                # [group, ky, kx, row, column]: the order in which the array takes them.
                shaped = tiles.reshape(cols, part.nky, part.nkx, part.ng, rows)
                words.append(shaped.transpose(3, 1, 2, 4, 0).reshape(-1, cols))
            padded = np.zeros((position, config.weight_slot), np.int8)
            padded[:, :cols] = np.concatenate(words)
            blocks.append(ConvBlock(self.add(padded.tobytes()), offsets))
        return blocks


def _param_words(layer: ConvLayer, group: int, cols: int) -> npt.NDArray[np.int8]:
    """Return the 9 parameter words of a column group as int8 [9, cols]."""
    words = np.zeros((PARAM_WORDS, cols), np.uint8)
    chosen = slice(group * cols, (group + 1) * cols)
    bias = np.ascontiguousarray(layer.bias[chosen].astype("<i4")).view(np.uint8).reshape(-1, 4)
    scale = np.ascontiguousarray(layer.multiplier[chosen].astype("<i4"))
    count = len(bias)
    words[0:4, :count] = bias.T
    words[4:8, :count] = scale.view(np.uint8).reshape(-1, 4).T
    words[8, :count] = layer.shift[chosen].astype(np.int8).view(np.uint8)
    return words.view(np.int8)
