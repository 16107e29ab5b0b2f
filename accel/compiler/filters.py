"""Depthwise convolutions on the array's depthwise mode: how a kernel is cut into passes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accel.compiler.layers import ConvLayer, Int8Array
from accel.config import Config

__all__ = ["Filter", "choose_filter", "filter_tiles", "is_depthwise", "region_pitch"]

GROUP_TAPS = (3, 5)
"""Array rows from group to group that the hardware has wires for."""


@dataclass(frozen=True)
class Axis:
    """One axis of a kernel: passes of `size` taps, `step` apart, that cover it together."""

    size: int
    step: int
    passes: int

    def taps(self, number: int, kernel: int) -> Iterator[int]:
        """Yield the kernel's places that pass `number` is the first to cover."""
        start = number * self.step
        covered = start - self.step + self.size if number else 0
        yield from range(max(start, covered), min(start + self.size, kernel))


@dataclass(frozen=True)
class Filter:
    """A depthwise kernel's passes; each is one weight tile and reads `rows.size` words at once.

    Parameters
    ----------
    taps : int
        Array rows of each group; with one group all rows are one chain.
    rows, cols : Axis
        Kernel rows are the groups of a pass, kernel columns the taps.
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
        return self.cols.size + (results - 1) * stride


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


@lru_cache(maxsize=4096)
def _axis(kernel: int, capacity: int) -> Axis:
    size = min(kernel, capacity)
    passes = -(-kernel // size)
    if passes == 1:
        return Axis(size, 0, 1)
    while (kernel - size) % (passes - 1) or (kernel - size) // (passes - 1) > size:
        passes += 1
    return Axis(size, (kernel - size) // (passes - 1), passes)


def choose_filter(layer: ConvLayer, config: Config, pitch: int) -> Filter | None:
    """Return the cheapest passes for a layer, or None where the depthwise mode cannot do it.

    Parameters
    ----------
    layer : ConvLayer
    config : Config
    pitch : int
        Words from a pixel of the source to the one below.
    """
    if not config.depthwise or not is_depthwise(layer):
        return None
    if layer.dilation[1] != 1 and layer.kernel[1] != 1:
        return None
    kh, kw = layer.kernel
    found = [Filter(1, _axis(kh, 1), _axis(kw, config.rows))]
    for taps in GROUP_TAPS:
        for groups in range(2, min(config.groups, kh) + 1):
            apart = layer.dilation[0] * pitch
            if any(n * apart % config.scratchpad_banks == 0 for n in range(1, groups)):
                continue
            rows, cols = _axis(kh, groups), _axis(kw, taps)
            if taps * groups <= config.rows and rows.size == groups:
                found.append(Filter(taps, rows, cols))
    results, stride = layer.results[1], layer.stride[1]
    return min(found, key=lambda f: f.tiles * f.positions(results, stride))


def filter_tiles(weights: Int8Array, chosen: Filter, size: int) -> Int8Array:
    """Return one column group's weight tiles [tile, array row, column].

    Parameters
    ----------
    weights : int8 array [channels, kernel height, kernel width]
        Of the column group's channels.
    chosen : Filter
    size : int
        Rows and columns of the array.
    """
    channels, kh, kw = weights.shape
    tiles = np.zeros((chosen.tiles, size, size), np.int8)
    for row_pass in range(chosen.rows.passes):
        for col_pass in range(chosen.cols.passes):
            tile = tiles[row_pass * chosen.cols.passes + col_pass]
            last = col_pass * chosen.cols.step + chosen.cols.size - 1
            for ky in chosen.rows.taps(row_pass, kh):
                first_row = (ky - row_pass * chosen.rows.step) * chosen.taps
                for kx in chosen.cols.taps(col_pass, kw):
                    # A row's word is the older, the further down the row: kernels lie reversed.
                    tile[first_row + last - kx, :channels] = weights[:, ky, kx]
    return tiles
