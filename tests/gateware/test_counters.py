# amaranth: UnusedElaboratable=no
"""The counter bank: every cycle is counted once, and records are of one moment."""

import random
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from accel.gateware.counters import COUNTERS, CounterBank
from accel.gateware.stamps import StampRecorder
from accel.regmap import STAMPS, Activity

RUN = 400
MODES = {"rare": 0.01, "some": 0.1, "always": 1.0}


class Bench:
    """A bank and its recorder, run by the test, with a list of what should be counted."""

    def __init__(self, ctx: Any, bank: CounterBank, recorder: StampRecorder, seed: int) -> None:
        self.ctx, self.bank, self.recorder = ctx, bank, recorder
        self.rng = random.Random(seed)
        self.history: list[tuple[int, int]] = []

    async def tick(self) -> None:
        self.ctx.set(self.recorder.time, len(self.history))
        if self.ctx.get(self.bank.running):
            activity, events = self.rng.randrange(len(Activity)), self.rng.randrange(256)
            if self.rng.random() < 0.5:
                activity, events = 7, 255  # the most a counter can get
            self.history.append((activity, events))
            self.ctx.set(self.bank.activity, activity)
            self.ctx.set(self.bank.events, events)
        await self.ctx.tick()

    async def run(self, cycles: int, stamps: float) -> int:
        """Run for some cycles; return the number of stamps."""
        ctx, count = self.ctx, 0
        self.history.clear()
        ctx.set(self.bank.running, 1)
        for cycle in range(cycles):
            for clear in (self.bank.clear, self.recorder.clear):
                ctx.set(clear, cycle == 0)
            mask = self.rng.randrange(1, 16) if cycle and self.rng.random() < stamps else 0
            ctx.set(self.recorder.stamp, mask)
            count += mask.bit_count()
            await self.tick()
        for signal in (self.bank.clear, self.recorder.clear, self.recorder.stamp):
            ctx.set(signal, 0)
        ctx.set(self.bank.running, 0)
        return count

    def expected(self, time: int) -> list[int]:
        past = self.history[:time]
        activities = [sum(a == k for a, _ in past) for k in Activity]
        return activities + [sum(e >> k & 1 for _, e in past) for k in range(8)]

    async def settle(self) -> None:
        for _ in range(3):
            await self.tick()
        while not self.ctx.get(self.bank.settled) or self.ctx.get(self.recorder.waits):
            await self.tick()

    async def totals(self) -> list[int]:
        values = []
        for index in range(COUNTERS):
            self.ctx.set(self.bank.index, index)
            self.ctx.set(self.bank.change, 1)
            await self.tick()
            self.ctx.set(self.bank.change, 0)
            await self.settle()
            values.append(self.ctx.get(self.bank.value))
        return values

    async def record(self, number: int) -> tuple[int, list[int]]:
        """Return the time of a stamp and its counters."""
        self.ctx.set(self.recorder.index, number)
        values = []
        for activity in Activity:
            self.ctx.set(self.bank.recorded_index, activity << 8 | number)
            await self.ctx.tick().repeat(3)
            values.append(self.ctx.get(self.bank.recorded))
        return self.ctx.get(self.recorder.value), values


def simulate(body: Any, seed: int) -> None:
    bank, recorder = CounterBank(), StampRecorder()

    async def testbench(ctx: Any) -> None:
        await body(Bench(ctx, bank, recorder, seed))

    m = Module()
    m.submodules.bank, m.submodules.recorder = bank, recorder
    m.d.comb += [
        bank.begin.eq(recorder.begin),
        bank.record.eq(recorder.record),
        recorder.ready.eq(bank.ready),
    ]
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("stamps", MODES)
def test_all_counters_of_several_runs(stamps: str) -> None:
    async def body(bench: Bench) -> None:
        for cycles in (RUN, 1, 20, RUN):
            count = await bench.run(cycles, MODES[stamps])
            await bench.settle()
            assert await bench.totals() == bench.expected(cycles)
            assert bench.ctx.get(bench.recorder.count) == count
            times = []
            for number in bench.rng.sample(range(min(count, STAMPS)), min(count, 6, STAMPS)):
                time, values = await bench.record(number)
                assert values == bench.expected(time)[: len(Activity)]
                assert sum(values) == time
                times.append((number, time))
            assert [t for _, t in sorted(times)] == sorted(t for _, t in times)

    simulate(body, seed=len(stamps))


def test_a_stamp_far_from_others_has_its_own_time() -> None:
    async def body(bench: Bench) -> None:
        ctx = bench.ctx
        await bench.run(1, 0)
        ctx.set(bench.bank.running, 1)
        expected = []
        for gap in (40, 18, 19, 20, 31, 32, 33, 18, 18, 47):
            for _ in range(gap - 1):
                await bench.tick()
            ctx.set(bench.recorder.stamp, 2)
            expected.append(len(bench.history))
            await bench.tick()
            ctx.set(bench.recorder.stamp, 0)
        ctx.set(bench.bank.running, 0)
        await bench.settle()
        for number, time in enumerate(expected):
            assert await bench.record(number) == (time, bench.expected(time)[:8])

    simulate(body, seed=1)


def test_a_running_total_is_at_most_forty_cycles_old() -> None:
    async def body(bench: Bench) -> None:
        bench.ctx.set(bench.bank.index, 15)
        await bench.run(300, 0.02)
        value = bench.ctx.get(bench.bank.value)
        assert bench.expected(260)[15] <= value <= bench.expected(300)[15]

    simulate(body, seed=2)


def test_nothing_is_lost_whatever_the_pointer_does() -> None:
    """A counter that counts in every cycle, records at each distance, runs of each length."""

    async def body(bench: Bench) -> None:
        ctx = bench.ctx
        ctx.set(bench.bank.activity, 7)
        ctx.set(bench.bank.events, 255)
        for index in (7, 15):
            ctx.set(bench.bank.index, index)
            for length in range(34, 68):
                ctx.set(bench.bank.running, 1)
                for cycle in range(length + 100):
                    ctx.set(bench.bank.clear, cycle == 0)
                    ctx.set(bench.recorder.clear, cycle == 0)
                    ctx.set(bench.recorder.stamp, cycle in (20, 20 + length, 20 + 2 * length))
                    await ctx.tick()
                ctx.set(bench.bank.running, 0)
                await ctx.tick().repeat(2)
                await ctx.tick().until(bench.bank.settled)
                assert ctx.get(bench.bank.value) == length + 100

    simulate(body, seed=3)
