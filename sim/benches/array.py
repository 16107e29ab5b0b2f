"""cocotb bench of the systolic array alone: tiles as close as they may follow, against numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from accel.config import Config
from accel.gateware.array import array_latency
from accel.gateware.cell import sum_width
from sim.benches.environment import bench_config

Matrix = npt.NDArray[np.int64]

INPUTS = ("load", "swap", "weights", "activations", "fir", "inject", "words", "taps_5")
"""All inputs of the array; a configuration without groups has no `inject`."""


@dataclass(frozen=True)
class Tile:
    """Weights [rows, cols], words of activations [n, rows], and when they enter the array.

    Parameters
    ----------
    weights, words : array of int
    load, swap : int
        Cycles of row 0's weight word and of the first activations.
    """

    weights: Matrix
    words: Matrix
    load: int
    swap: int


def follow(config: Config, pairs: Sequence[tuple[Matrix, Matrix]], pause: int = 0) -> list[Tile]:
    """Place tiles as early as the array's rule allows, plus `pause` cycles before each."""
    tiles: list[Tile] = []
    load, swap = 0, 2 + pause
    for weights, words in pairs:
        if tiles:
            load = max(swap + config.cols - 2, load + config.rows)
            swap = max(swap + len(tiles[-1].words), load + 2) + pause
        tiles.append(Tile(weights, words, load, swap))
    return tiles


def pack(values: Matrix) -> int:
    """Return bytes as one port value, element 0 in the lowest bits."""
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


def unpack(value: int, count: int, width: int) -> list[int]:
    """Return `count` signed values of `width` bits, the lowest bits first."""
    raw = [(value >> width * i) & ((1 << width) - 1) for i in range(count)]
    return [v - (1 << width) if v >> (width - 1) else v for v in raw]


async def play(dut: Any, config: Config, tiles: Sequence[Tile]) -> Matrix:
    """Drive the array through all tiles; return the sums of every cycle."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    end = tiles[-1].swap + len(tiles[-1].words) + array_latency(config.rows) + config.cols
    # What nobody qualifies is noise: it must not reach a result.
    weights = rng.integers(-128, 128, (end, config.cols))
    words = rng.integers(-128, 128, (end, config.rows))
    load, swap = np.zeros(end, bool), np.zeros(end, bool)
    for tile in tiles:
        load[tile.load] = swap[tile.swap] = True
        weights[tile.load : tile.load + config.rows] = tile.weights
        words[tile.swap : tile.swap + len(tile.words)] = tile.words
    sums = np.zeros((end, config.cols), np.int64)
    for cycle in range(end):
        dut.load.value = int(load[cycle])
        dut.swap.value = int(swap[cycle])
        dut.weights.value = pack(weights[cycle])
        dut.activations.value = pack(words[cycle])
        await RisingEdge(dut.clk)
        sums[cycle] = unpack(int(dut.sums.value), config.cols, sum_width(config.rows))
    return sums


async def check(dut: Any, tiles: Sequence[Tile], *, fir: bool = False) -> None:
    """Reset, play the tiles, and compare every sum at the cycle where it must be."""
    config = bench_config()
    Clock(dut.clk, 10, "ns").start()
    dut.rst.value = 1
    for name in INPUTS:
        if hasattr(dut, name):
            getattr(dut, name).value = 0
    # What entered before the inputs had a value leaves the array: data registers have no reset.
    await ClockCycles(dut.clk, 2 * (config.rows + config.cols))
    dut.rst.value = 0
    dut.fir.value = int(fir)
    sums = await play(dut, config, tiles)
    for number, tile in enumerate(tiles):
        start = tile.swap + array_latency(config.rows)
        got = np.stack(
            [sums[start + c : start + c + len(tile.words), c] for c in range(config.cols)], axis=1
        )
        if not fir:
            np.testing.assert_array_equal(got, tile.words @ tile.weights, f"tile {number}")
            continue
        # Row r of a column weighs the column's byte of r words before: whole from there on.
        rows = config.rows
        for n in range(rows - 1, len(tile.words)):
            before = tile.words[n - rows + 1 : n + 1][::-1]
            wanted = (before[:, : config.cols] * tile.weights).sum(axis=0)
            np.testing.assert_array_equal(got[n], wanted, f"tile {number}, word {n}")


def random_pairs(config: Config, counts: Sequence[int], seed: int) -> list[tuple[Matrix, Matrix]]:
    """Return random weights and words, a third of them at the ends of the int8 range."""
    rng = np.random.default_rng([cocotb.RANDOM_SEED, seed])

    def values(rows: int, cols: int) -> Matrix:
        plain = rng.integers(-128, 128, (rows, cols))
        ends = rng.choice(np.array([-128, 127]), (rows, cols))
        return np.where(rng.random((rows, cols)) < 1 / 3, ends, plain)

    return [(values(config.rows, config.cols), values(n, config.rows)) for n in counts]


@cocotb.test()
async def tiles_of_random_length_back_to_back(dut: Any) -> None:
    """Run long and short tiles without a bubble between them."""
    config = bench_config()
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    counts = [int(n) for n in rng.integers(1, 3 * max(config.rows, config.cols), 24)]
    await check(dut, follow(config, random_pairs(config, counts, 1)))


@cocotb.test()
async def tiles_of_one_word(dut: Any) -> None:
    """Run one word a tile: a tile every max(rows, cols) cycles."""
    config = bench_config()
    tiles = follow(config, random_pairs(config, [1] * 16, 2))
    period = max(config.rows, config.cols)
    assert tiles[-1].swap - tiles[1].swap == 14 * period
    await check(dut, tiles)


@cocotb.test()
async def tiles_with_pauses(dut: Any) -> None:
    """Let loaded tiles wait in the shadow registers; noise before a swap does no harm."""
    config = bench_config()
    pairs = random_pairs(config, [3, 1, 2 * config.cols, 1, 5], 3)
    await check(dut, follow(config, pairs, pause=7))


@cocotb.test()
async def extreme_sums(dut: Any) -> None:
    """Make the largest and the smallest sums that int8 operands give."""
    config = bench_config()
    ends = [
        (np.full((config.rows, config.cols), w), np.full((2, config.rows), a))
        for w in (-128, 127)
        for a in (-128, 127)
    ]
    await check(dut, follow(config, ends))


@cocotb.test()
async def columns_filter_in_depthwise_mode(dut: Any) -> None:
    """Let each column weigh the last words of its own byte."""
    config = bench_config()
    if config.depthwise:
        counts = [3 * config.rows, config.rows, 4 * config.rows + 1]
        await check(dut, follow(config, random_pairs(config, counts, 4)), fir=True)
