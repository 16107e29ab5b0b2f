# amaranth: UnusedElaboratable=no
"""Delays of words through distributed RAM: every byte comes out when it should."""

import random

import pytest
from amaranth.sim import Simulator

from accel.gateware.skew import DelayRing, Skew


def outputs(dut, name, cycles, width, before=lambda ctx, cycle: None):
    """Return words given and words seen, cycle by cycle."""
    rng = random.Random(width)
    given = [[rng.randrange(-128, 128) for _ in range(width)] for _ in range(cycles)]
    seen = []

    async def bench(ctx):
        for cycle, word in enumerate(given):
            before(ctx, cycle)
            ctx.set(dut.word, word)
            seen.append([ctx.get(getattr(dut, name)[c]) for c in range(width)])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return given, seen


@pytest.mark.parametrize("width", [1, 2, 4, 12, 16])
def test_each_byte_is_a_cycle_later_than_the_one_before(width):
    given, seen = outputs(Skew(width=width), "skewed", 60, width)
    for cycle in range(width, 60):
        assert seen[cycle] == [given[cycle - c][c] for c in range(width)]


@pytest.mark.parametrize("cycles", [(2,), (3,), (3, 5), (6, 10), (16, 2)])
def test_the_chosen_delay(cycles):
    for choice, delay in enumerate(cycles):
        dut = DelayRing(width=4, cycles=cycles)
        given, seen = outputs(
            dut, "delayed", 60, 4, lambda ctx, _, dut=dut, n=choice: ctx.set(dut.choice, n)
        )
        for cycle in range(delay + 2, 60):
            assert seen[cycle] == given[cycle - delay]


@pytest.mark.parametrize("cycles", [(), (1,), (17,), (3, 4, 5)])
def test_delays_are_checked(cycles):
    with pytest.raises(ValueError, match="one or two numbers from 2 to 16"):
        DelayRing(width=4, cycles=cycles)
