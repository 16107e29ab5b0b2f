"""Stamps and counters of the control registers."""

import random
from typing import Any

import pytest

from accel import regmap
from accel.gateware.counters import RECORD_CYCLES
from accel.gateware.csr import ControlRegisters
from accel.regmap import Control
from tests.gateware.csrbench import STALLS, Host, pulse, simulate


@pytest.mark.parametrize("counters", [False, True])
def test_stamps(counters: bool) -> None:
    """Single, coinciding and back-to-back stamps, each with its own record; none is lost."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        rng = random.Random(3)
        for _ in range(2):
            await host.write("CONTROL", Control.START)
            await ctx.tick()
            expected: list[int] = []
            history: list[int] = []
            begun = ctx.get(dut.cycles)
            masks = [1, 8, 0b1111, 0b1010, *rng.choices([0] * 9 + [2, 5], k=150)]
            for mask in masks:
                ctx.set(dut.stamp, mask)
                ctx.set(dut.activity, rng.randrange(len(regmap.Activity)))
                history.append(ctx.get(dut.activity))
                for _ in range(mask.bit_count()):
                    earliest = expected[-1] + (RECORD_CYCLES if counters else 1) if expected else 0
                    expected.append(max(earliest, ctx.get(dut.cycles)))
                await ctx.tick()
            ctx.set(dut.stamp, 0)
            ctx.set(dut.activity, 0)
            history += [0, 0]
            await pulse(ctx, dut.core_done)
            assert await host.read("STAMP_COUNT") == len(expected)
            cycles = await host.read("CYCLES")
            for index, time in enumerate(expected):
                await host.write("STAMP_INDEX", index)
                assert await host.read("STAMP") == min(time, cycles)
                if counters and index % 8 == 0:
                    found = history[: max(min(time, cycles) - begun, 0)]
                    values = []
                    for activity in regmap.Activity:
                        select = index | regmap.STAMP_COUNTER
                        select |= activity << regmap.STAMP_COUNTER_SHIFT
                        await host.write("STAMP_INDEX", select)
                        values.append(await host.read("STAMP") - found.count(activity))
                    # Before the test took over the activity was 0.
                    assert values == [begun, *[0] * 7]
            await host.write("CONTROL", Control.CLEAR)

    simulate(body, counters=counters)


@pytest.mark.parametrize("counters", [False, True])
def test_stamps_beyond_the_memory_are_counted(counters: bool) -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("CONTROL", Control.START)
        await ctx.tick()
        first = ctx.get(dut.cycles)
        ctx.set(dut.stamp, 4)
        await ctx.tick().repeat(300)
        ctx.set(dut.stamp, 0)
        await pulse(ctx, dut.core_done)
        assert await host.read("STAMP_COUNT") == 300
        for index in (0, 10, 255) if counters else (0, 43, 44, 255):
            await host.write("STAMP_INDEX", index)
            time = first + index * (RECORD_CYCLES if counters else 1)
            assert await host.read("STAMP") == min(time, await host.read("CYCLES"))

    simulate(body, counters=counters)


@pytest.mark.parametrize("stall", STALLS)
def test_counters(stall: str) -> None:
    """A read waits until the counter is right, and a bus that reads at any time is answered."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        rng = random.Random(9)
        for _ in range(2):
            await host.write("CONTROL", Control.START)
            await ctx.tick()
            counts = [0] * 16
            counts[0] = ctx.get(dut.cycles)
            for cycle in range(100):
                activity, events = rng.randrange(8), rng.randrange(256)
                ctx.set(dut.activity, activity)
                ctx.set(dut.events, events)
                ctx.set(dut.core_done, cycle == 98)  # the next cycle is the run's last
                counts[activity] += 1
                for k in range(8):
                    counts[8 + k] += events >> k & 1
                await ctx.tick()
            ctx.set(dut.core_done, 0)
            for index in rng.sample(range(16), 16):
                await host.write("COUNTER_INDEX", index)
                assert await host.read("COUNTER") == counts[index]
            await host.write("CONTROL", Control.START)
            await host.write("COUNTER_INDEX", 3)
            await host.read("COUNTER")
            await pulse(ctx, dut.core_done)
            ctx.set(dut.activity, 0)
            ctx.set(dut.events, 0)

    simulate(body, STALLS[stall], seed=4)


def test_without_counters_they_read_zero() -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("CONTROL", Control.START)
        ctx.set(dut.events, 255)
        await pulse(ctx, dut.stamp)
        await ctx.tick().repeat(20)
        await pulse(ctx, dut.core_done)
        for index in range(16):
            await host.write("COUNTER_INDEX", index)
            assert await host.read("COUNTER") == 0
        await host.write("STAMP_INDEX", regmap.STAMP_COUNTER)
        assert await host.read("STAMP") == 0

    simulate(body, counters=False)
