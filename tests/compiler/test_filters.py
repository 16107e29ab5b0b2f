"""Kernels read several rows at once: passes cover every weight once, and use the array as promised."""

import dataclasses

import numpy as np
import pytest

from accel.compiler.filters import GROUP_BYTES, choose_filter, filter_tiles, is_depthwise
from accel.compiler.layers import ConvLayer, FeatureMap
from accel.config import PRESETS

SQUARES = {name: PRESETS[name] for name in ("test", "small", "base", "large")}


def layer(kernel, channels, *, out=None, width=40, **fields):
    """Return a depthwise layer, or one with dense weights to `out` channels."""
    rng = np.random.default_rng(1)
    weights = rng.integers(1, 128, (out or channels, *kernel, channels), np.int8)
    if out is None:
        weights *= np.eye(channels, dtype=np.int8)[:, None, None, :]
    count = out or channels
    source = FeatureMap(0, "x", 30, width, channels)
    return ConvLayer(
        index=0, name="y", op="CONV_2D", output=FeatureMap(1, "y", 30, width, count),
        sources=(source,), weights=weights, bias=np.zeros(count, np.int32),
        multiplier=np.ones(count, np.int32), shift=np.zeros(count, np.int8), output_zero=0,
        clamp_min=-128, clamp_max=127, results=(30, width), **fields,
    )  # fmt: skip


@pytest.mark.parametrize("name", SQUARES)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (1, 9), (9, 1), (4, 2), (15, 15)])
def test_depthwise_passes_hold_every_weight_once(name, kernel):
    config = SQUARES[name]
    chosen = choose_filter(layer(kernel, 4), config, 41)
    weights = np.arange(1, 1 + kernel[0] * kernel[1], dtype=np.int8).reshape(1, *kernel, 1)
    tiles = filter_tiles(weights, chosen, config)
    assert tiles.shape == (chosen.tiles, config.rows, config.cols)
    # What the array computes of a tile: row taps * g + j weighs group g's word of j before.
    total = np.zeros((kernel[0] + 40, kernel[1] + 40), int)
    for number, tile in enumerate(tiles):
        row_pass, col_pass = divmod(number, chosen.cols.passes)
        for row in np.flatnonzero(tile[:, 0]):
            last = chosen.rows.size - 1
            group = min(row // chosen.taps, last) if last else 0
            back = row - group * chosen.taps
            y = row_pass * chosen.rows.size + group
            x = col_pass * chosen.cols.size + chosen.cols.size - 1 - back
            total[y, x] += tile[row, 0]
    assert np.array_equal(total[: kernel[0], : kernel[1]], weights[0, ..., 0])
    assert total.sum() == weights.sum(dtype=int)


@pytest.mark.parametrize(
    ("name", "kernel", "share"), [("base", 3, 0.5), ("small", 3, 0.5), ("base", 5, 0.6), ("small", 5, 0.6)]
)  # fmt: skip
def test_use_of_the_array_in_the_steady_state(name, kernel, share):
    config = SQUARES[name]
    chosen = choose_filter(layer((kernel, kernel), config.cols), config, 41)
    assert kernel * kernel / (chosen.tiles * config.rows) >= share


def test_rows_in_one_bank_are_not_read_at_once():
    dense = layer((3, 3), 16)
    assert choose_filter(dense, PRESETS["base"], 41).rows.size == 3
    assert choose_filter(dense, PRESETS["base"], 40).rows.size == 1
    dilated = dataclasses.replace(dense, dilation=(2, 1))
    assert choose_filter(dilated, PRESETS["base"], 41).rows.size == 2


def test_what_is_not_depthwise_is_not_taken_for_it():
    assert is_depthwise(layer((3, 3), 8))
    assert not is_depthwise(layer((3, 3), 8, out=8))
    assert choose_filter(layer((3, 3), 8, out=8), PRESETS["base"], 41) is None
    across = layer((1, 3), 8, dilation=(1, 2))
    assert choose_filter(across, PRESETS["base"], 41) is None
    uneven = dataclasses.replace(PRESETS["base"], rows=8, scratchpad_bytes=65536, lanes=8)
    assert choose_filter(layer((3, 3), 8), uneven, 41) is None


@pytest.mark.parametrize(("name", "tiles"), [("base", 4), ("small", 5)])
def test_few_channels_take_four_rows_of_the_array_a_kernel_row(name, tiles):
    config = SQUARES[name]
    chosen = choose_filter(layer((10, 1), 4, out=8), config, 41)
    assert (chosen.taps, chosen.tiles) == (0, tiles)
    weights = np.random.default_rng(2).integers(1, 128, (8, 10, 1, 4), np.int8)
    found = filter_tiles(weights, chosen, config)
    for ky in range(10):
        number, group = divmod(ky, chosen.rows.size)
        rows = slice(GROUP_BYTES * group, GROUP_BYTES * (group + 1))
        assert np.array_equal(found[number, rows, :8], weights[:, ky, 0].T)
    assert np.count_nonzero(found) == weights.size
