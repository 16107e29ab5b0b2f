# amaranth: UnusedElaboratable=no
"""The cell and the array against numpy: values, latency, and how closely tiles may follow."""

from itertools import pairwise

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.gateware.array import Array, array_latency
from accel.gateware.cell import CELL_LATENCY, Cell, sum_width


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


def schedule(words, rows, cols, load_slack=0, swap_slack=0):
    """Return each tile's earliest load and swap cycle by the array's rule, plus the slacks."""
    loads, swaps = [0], [2]
    for count in words[:-1]:
        loads.append(max(swaps[-1] + cols - 2 + load_slack, loads[-1] + rows))
        swaps.append(max(swaps[-1] + count, loads[-1] + 2 + swap_slack))
    return loads, swaps


def run_tiles(rows, cols, tiles, loads, swaps):
    """Drive the array; return the sums of all words, or None where it gave other ones."""
    dut = Array(rows=rows, cols=cols)
    end = swaps[-1] + len(tiles[-1][1]) + array_latency(rows) + cols
    load, swap = np.zeros(end, int), np.zeros(end, int)
    weight_words = np.full((end, cols), 99)
    activations = np.full((end, rows), -77)
    load[loads], swap[swaps] = 1, 1
    for (weights, words), l, s in zip(tiles, loads, swaps, strict=True):
        weight_words[l : l + rows] = weights
        activations[s : s + len(words)] = words
    seen = np.zeros((end, cols), int)

    async def testbench(ctx):
        for cycle in range(end):
            ctx.set(dut.load, int(load[cycle]))
            ctx.set(dut.swap, int(swap[cycle]))
            ctx.set(dut.weights, weight_words[cycle].tolist())
            ctx.set(dut.activations, activations[cycle].tolist())
            seen[cycle] = [ctx.get(dut.sums[c]) for c in range(cols)]
            await ctx.tick()

    simulate(dut, testbench)
    results = []
    for (_, words), s in zip(tiles, swaps, strict=True):
        start = s + array_latency(rows)
        results.append(
            np.stack([seen[start + c : start + c + len(words), c] for c in range(cols)], axis=1)
        )
    return results


def random_tiles(rng, rows, cols, counts):
    def values(shape):
        extreme = rng.choice([-128, 127], size=shape)
        return np.where(rng.random(shape) < 0.3, extreme, rng.integers(-128, 128, shape))

    return [(values((rows, cols)), values((n, rows))) for n in counts]


def all_equal(tiles, results):
    return all(np.array_equal(w @ m, r) for (m, w), r in zip(tiles, results, strict=True))


@pytest.mark.parametrize("products", [1, 2, 3, 4, 7, 8, 15, 16, 31, 32])
def test_sum_width_is_exact(products):
    limit = 1 << (sum_width(products) - 1)
    assert products * 128 * 128 < limit
    assert products * 128 * 128 >= limit // 2


def test_cell_latency_and_swap():
    dut = Cell(row=1)

    async def testbench(ctx):
        async def cycle(weight=None, activation=0, swap=0, above=0):
            ctx.set(dut.load, weight is not None)
            ctx.set(dut.weight, weight or 0)
            ctx.set(dut.activation_in, activation)
            ctx.set(dut.swap_in, swap)
            ctx.set(dut.sum_in, above)
            await ctx.tick()

        await cycle(weight=-128)
        # The next weight loads in the very cycle in which the first one becomes active.
        await cycle(weight=5, activation=-128, swap=1)
        assert ctx.get(dut.activation_out) == -128
        assert ctx.get(dut.swap_out) == 1
        await cycle(activation=3)
        await cycle(activation=3, swap=1, above=7)
        assert ctx.get(dut.sum_out) == 128 * 128 + 7
        await cycle(above=1)
        assert ctx.get(dut.sum_out) == 3 * -128 + 1
        await cycle(above=2)
        assert ctx.get(dut.sum_out) == 3 * 5 + 2
        assert CELL_LATENCY == 3

    simulate(dut, testbench)


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8), (12, 12)])
def test_tiles_back_to_back(rows, cols):
    rng = np.random.default_rng(rows * 100 + cols)
    counts = [1, 2, rows, cols, 1, rows + cols + 3, 1, 1, *rng.integers(1, 2 * cols, 4), 3]
    tiles = random_tiles(rng, rows, cols, counts)
    loads, swaps = schedule(counts, rows, cols)
    for count, (swap, following) in zip(counts, pairwise(swaps), strict=False):
        # With rows > cols a tile after a long one finds its weights loaded ahead.
        assert max(count, cols) <= following - swap <= max(count, rows, cols)
    assert all_equal(tiles, run_tiles(rows, cols, tiles, loads, swaps))


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8)])
def test_shortest_tiles(rows, cols):
    counts = [1] * 6
    tiles = random_tiles(np.random.default_rng(2), rows, cols, counts)
    loads, swaps = schedule(counts, rows, cols)
    assert swaps[-1] - swaps[1] == 4 * max(rows, cols)
    assert all_equal(tiles, run_tiles(rows, cols, tiles, loads, swaps))


def test_extreme_sums():
    ends = [(np.full((8, 4), a), np.full((2, 8), b)) for a in (-128, 127) for b in (-128, 127)]
    results = run_tiles(8, 4, ends, *schedule([2] * 4, 8, 4))
    assert all_equal(ends, results)
    assert results[0].max() == 8 * 128 * 128


@pytest.mark.parametrize("slacks", [(-1, 0), (0, -1)])
def test_the_timing_rule_is_tight(slacks):
    """One cycle earlier than the rule allows, and weights of the wrong tile are used."""
    rows, cols = 4, 8
    counts = [1, 1, 1, 1]
    tiles = random_tiles(np.random.default_rng(1), rows, cols, counts)
    assert all_equal(tiles, run_tiles(rows, cols, tiles, *schedule(counts, rows, cols)))
    early = schedule(counts, rows, cols, *slacks)
    assert not all_equal(tiles, run_tiles(rows, cols, tiles, *early))


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="at least 1, not 0 and 4"):
        Array(rows=0, cols=4)
    with pytest.raises(ValueError, match="Row must be 0 or more, not -1"):
        Cell(row=-1)
