"""Convolutions that read several rows of the image at once: how a kernel is cut into passes.

The matmul engine reads up to three words of a scratchpad at once, each from another bank. A
depthwise convolution takes them in the array's depthwise mode, a column for each channel; one of a
few input channels takes four bytes of each to array rows of their own.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accel.compiler.layers import ConvLayer, Int8Array
from accel.config import Config

__all__ = ["Filter", "choose_filter", "filter_tiles", "is_depthwise", "region_pitch"]

GROUP_TAPS = (3, 5)
"""Array rows from group to group that the depthwise mode has wires for."""

MAX_STRIDE = 256
"""Column stride that the depthwise mode's command can express."""

GROUP_BYTES = 4
"""Array rows that a group's word fills outside the depthwise mode."""


@dataclass(frozen=True)
class Axis:
    """One axis of a kernel: `passes` times `size` places, the last ones perhaps behind its end."""

    size: int
    passes: int

    @property
    def extent(self) -> int:
        """Places of all passes."""
        return self.size * self.passes


@dataclass(frozen=True)
class Filter:
    """A kernel's passes; each is one weight tile and reads `rows.size` words at once.

    Parameters
    ----------
    taps : int
        Depthwise: array rows of each group; with one group all rows are one chain. 0: four bytes
        of each group's word.
    rows, cols : Axis
        Kernel rows are the groups of a pass. Kernel columns are the taps; without, one a pass.
    """

    taps: int
    rows: Axis
    cols: Axis

    @property
    def tiles(self) -> int:
        """Weight tiles."""
        return self.rows.passes * self.cols.passes

    def positions(self, results: int, stride: int) -> int:
        """Return the words of an image row that `results` results take."""
        return self.cols.size + (results - 1) * stride if self.taps else results


@lru_cache(maxsize=64)
def is_depthwise(layer: ConvLayer) -> bool:
    """Return whether every output channel looks at the input channel of its number alone."""
    weights = layer.weights
    if len(layer.sources) != 1 or weights.shape[0] != weights.shape[3]:
        return False
    rows, columns = np.nonzero((weights != 0).any(axis=(1, 2)))
    return bool((rows == columns).all())


def region_pitch(cols: int) -> int:
    """Return the words from row to row that let all groups read from different banks."""
    return cols | 1


def _axis(kernel: int, capacity: int) -> Axis:
    size = min(kernel, capacity)
    return Axis(size, -(-kernel // size))


def choose_filter(layer: ConvLayer, config: Config, pitch: int) -> Filter | None:
    """Return the cheapest passes for a layer, or None where reading word by word is no worse.

    Parameters
    ----------
    layer : ConvLayer
    config : Config
    pitch : int
        Words from a pixel of the source to the one below.
    """
    kh, kw = layer.kernel
    found = []

    def apart(groups: int) -> bool:
        step = layer.dilation[0] * pitch
        return all(n * step % config.scratchpad_banks for n in range(1, groups))

    most = range(2, min(config.groups, kh) + 1)
    simple = layer.stride[1] <= MAX_STRIDE and (layer.dilation[1] == 1 or kw == 1)
    if config.depthwise and simple and is_depthwise(layer):
        found.append(Filter(1, _axis(kh, 1), _axis(kw, config.rows)))
        for taps in GROUP_TAPS:
            found += [
                Filter(taps, _axis(kh, groups), _axis(kw, taps))
                for groups in most
                if taps * groups <= config.rows and apart(groups)
            ]
    if len(layer.sources) == 1 and layer.sources[0].channels <= GROUP_BYTES:
        found += [
            Filter(0, _axis(kh, groups), Axis(1, kw))
            for groups in most
            if GROUP_BYTES * groups <= config.rows and apart(groups)
        ]
    results, stride = layer.results[1], layer.stride[1]
    return min(found, key=lambda f: f.tiles * f.positions(results, stride), default=None)


def filter_tiles(weights: Int8Array, chosen: Filter, config: Config) -> Int8Array:
    """Return one column group's weight tiles [tile, array row, column].

    Parameters
    ----------
    weights : int8 array [channels out, kernel height, kernel width, channels in]
        Of the column group's channels. Depthwise: the one input channel of each.
    chosen : Filter
    config : Config
    """
    channels, kh, kw, depth = weights.shape
    rows, cols = chosen.rows, chosen.cols
    tiles = np.zeros((rows.passes, cols.passes, config.rows, config.cols), np.int8)
    for ky in range(kh):
        row_pass, group = divmod(ky, rows.size)
        for kx in range(kw):
            col_pass, tap = divmod(kx, cols.size)
            if chosen.taps:
                # A row's word is the older, the further down the row: kernels lie reversed.
                first = group * chosen.taps + cols.size - 1 - tap
            else:
                first = group * GROUP_BYTES
            tile = tiles[row_pass, col_pass]
            tile[first : first + depth, :channels] = weights[:, ky, kx].T
    return tiles.reshape(chosen.tiles, config.rows, config.cols)
