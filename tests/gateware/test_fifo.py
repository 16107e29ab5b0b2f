"""The FIFO against a list, and its latency."""

import random

import pytest
from amaranth.sim import Simulator

from accel.gateware.fifo import Fifo


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("stalls", [0.0, 0.5, 0.9], ids=["never", "sometimes", "often"])
@pytest.mark.parametrize("depth", [1, 3, 4, 64])
def test_order_and_flags(depth, stalls):
    dut = Fifo(shape=8, depth=depth)
    rng = random.Random(depth)

    async def bench(ctx):
        held = []
        for cycle in range(400):
            assert ctx.get(dut.input.ready) == (len(held) < depth)
            assert ctx.get(dut.output.valid) == bool(held)
            if held:
                assert ctx.get(dut.output.payload) == held[0]
            # Full for a while, then empty for a while.
            push = rng.random() >= (stalls if cycle % 200 < 100 else 0.7)
            pop = rng.random() >= (0.7 if cycle % 200 < 100 else stalls)
            value = rng.randrange(256)
            ctx.set(dut.input.valid, push)
            ctx.set(dut.input.payload, value)
            ctx.set(dut.output.ready, pop)
            room = len(held) < depth
            if pop and held:
                held.pop(0)
            if push and room:
                held.append(value)
            await ctx.tick()

    simulate(dut, bench)


def test_refuses_no_entries():
    with pytest.raises(ValueError, match="Depth must be at least 1, not 0"):
        Fifo(shape=8, depth=0)
