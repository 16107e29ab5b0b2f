"""Delays in registers and in distributed RAM."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from accel.gateware.delay import delayed, delayed_in_memory


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("cycles", [3, 4, 5, 9, 10])
def test_delay(cycles, in_memory):
    m = Module()
    value = Signal(7)
    make = delayed_in_memory if in_memory else delayed
    late = make(m, value, cycles, name="late")
    rng = random.Random(cycles)
    given = [rng.randrange(128) for _ in range(60)]

    async def bench(ctx):
        for cycle, number in enumerate(given):
            ctx.set(value, number)
            if cycle >= cycles:
                assert ctx.get(late) == given[cycle - cycles]
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def test_memory_needs_some_cycles():
    with pytest.raises(ValueError, match="must be of at least 3 cycles, not 2"):
        delayed_in_memory(Module(), Signal(7), 2, name="late")
