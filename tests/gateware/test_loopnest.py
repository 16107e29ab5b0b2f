"""The address generator against nested Python loops."""

import random

import pytest
from amaranth.hdl import signed
from amaranth.sim import Simulator

from accel.gateware.loopnest import LoopNest


def reference(counts, start, steps, width):
    """Yield (value, last flags) of each iteration; `steps` are composite, level 0 innermost."""
    value, index = start, [0] * len(counts)
    while True:
        yield value % (1 << width), [i == c - 1 for i, c in zip(index, counts, strict=True)]
        for level, count in enumerate(counts):
            if index[level] < count - 1:
                index[level] += 1
                index[:level] = [0] * level
                value += steps[level]
                break
        else:
            return


@pytest.mark.parametrize("levels", [1, 2, 5])
@pytest.mark.parametrize("pauses", [0.0, 0.4])
def test_walks_like_nested_loops(levels, pauses):
    rng = random.Random(levels)
    dut = LoopNest(counts=[4] * levels, values={"a": 10, "y": signed(6)}, moving={"y": [0]})

    async def bench(ctx):
        for _ in range(12):
            counts = [rng.choice([1, 1, 2, 3, 5]) for _ in range(levels)]
            steps = [rng.randrange(1 << 10) for _ in range(levels)]
            start, y_start, y_step = rng.randrange(1 << 10), rng.randint(-8, 8), rng.randint(-2, 2)
            for i in range(levels):
                ctx.set(dut.counts[f"c{i}"], counts[i])
                ctx.set(dut.steps["a"][f"s{i}"], steps[i])
            ctx.set(dut.steps["y"]["s0"], y_step)
            ctx.set(dut.start["a"], start)
            ctx.set(dut.start["y"], y_start)
            ctx.set(dut.load, 1)
            await ctx.tick()
            ctx.set(dut.load, 0)
            # y moves with level 0 only: it counts how often that level advanced.
            advances = 0
            expected = list(reference(counts, start, steps, 10))
            for number, (value, last) in enumerate(expected):
                while rng.random() < pauses:
                    await ctx.tick()
                assert ctx.get(dut.values["a"]) == value
                assert ctx.get(dut.last) == sum(bit << i for i, bit in enumerate(last))
                y = (y_start + advances * y_step + 32) % 64 - 32
                assert ctx.get(dut.values["y"]) == y
                advances += not last[0]
                if number + 1 < len(expected):
                    ctx.set(dut.step, 1)
                    await ctx.tick()
                    ctx.set(dut.step, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_needs_a_level():
    with pytest.raises(ValueError, match="at least one level"):
        LoopNest(counts=[], values={"a": 4})
