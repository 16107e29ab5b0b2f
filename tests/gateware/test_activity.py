# amaranth: UnusedElaboratable=no
"""What a cycle is charged to, in the hardware and in the golden machine's estimate."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.gateware.activity import ActivityMonitor
from accel.isa import Engine
from accel.regmap import Activity
from sim.activity import Activities

LOAD, MATMUL, VECTOR, STORE = (1 << e for e in Engine)


def charge(cycles: list[dict[str, int]]) -> list[tuple[Activity, int]]:
    """Return activity and events of each cycle."""
    dut = ActivityMonitor()
    seen = []

    async def testbench(ctx: Any) -> None:
        for number in range(len(cycles) + 2):
            for name in ("streams", "starved", "taken", "missing", "busy", "waiting", "held"):
                value = cycles[number].get(name, 0) if number < len(cycles) else 0
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            seen.append((Activity(ctx.get(dut.activity)), ctx.get(dut.events)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen[1:-1]


@pytest.mark.parametrize(
    ("cycle", "activity"),
    [
        ({}, Activity.CONTROLLER),
        ({"streams": 1, "taken": 1, "busy": MATMUL | LOAD}, Activity.MATMUL),
        ({"streams": 1, "taken": 1, "busy": MATMUL | VECTOR}, Activity.MATMUL_VECTOR),
        ({"starved": 1, "taken": 1, "busy": MATMUL | VECTOR}, Activity.WEIGHTS),
        ({"taken": 1, "busy": MATMUL | VECTOR}, Activity.TOKENS),
        # A chunk waits for its data, or for the accumulators that the vector engine reads.
        ({"waiting": MATMUL, "missing": LOAD, "busy": LOAD | VECTOR}, Activity.MEMORY),
        ({"waiting": MATMUL, "missing": STORE, "busy": STORE}, Activity.MEMORY),
        ({"waiting": MATMUL, "missing": VECTOR | LOAD, "busy": LOAD | VECTOR}, Activity.VECTOR),
        # Who it waits for waits for somebody else.
        ({"waiting": MATMUL | VECTOR, "missing": VECTOR, "busy": LOAD}, Activity.MEMORY),
        ({"waiting": MATMUL | LOAD, "missing": LOAD, "busy": VECTOR}, Activity.VECTOR),
        # A token is on its way.
        ({"waiting": MATMUL, "missing": LOAD}, Activity.TOKENS),
        ({"waiting": STORE, "held": 1}, Activity.TOKENS),
        # The last sums are on their way.
        ({"busy": MATMUL, "held": 1}, Activity.TOKENS),
        # Nothing for the array, since the controller is stopped by the others.
        ({"busy": VECTOR | LOAD, "held": 1}, Activity.VECTOR),
        ({"busy": STORE, "held": 1}, Activity.MEMORY),
        # Nothing for the array, since the controller has not come so far.
        ({"busy": VECTOR | LOAD}, Activity.CONTROLLER_VECTOR),
        ({"busy": LOAD}, Activity.CONTROLLER),
    ],
)
def test_charges(cycle: dict[str, int], activity: Activity) -> None:
    ((seen, events),) = charge([cycle])
    assert seen == activity
    busy, waiting = cycle.get("busy", 0), cycle.get("waiting", 0)
    assert events == busy | (waiting & ~busy) << 4


def test_the_golden_machine_charges_the_same() -> None:
    rng = random.Random(5)
    cycles: list[dict[str, int]] = [Counter() for _ in range(3000)]
    activities = Activities()

    def spans(name: str, bit: int = 1) -> list[tuple[int, int]]:
        """Draw times in which a signal is high, which may overlap."""
        drawn = []
        for _ in range(40):
            begin = rng.randrange(-10, len(cycles))
            end = begin + rng.randrange(80)
            for cycle in cycles[max(begin, 0) : max(end, 0)]:
                cycle[name] |= bit
            drawn.append((begin, end))
        return drawn

    for begin, end in spans("held"):
        activities.hold(begin, end)
    for engine in Engine:
        for begin, end in spans("busy", 1 << engine):
            activities.work(engine, begin, end)
        if engine != Engine.MATMUL:
            for begin, end in spans("waiting", 1 << engine):
                activities.block(engine, Engine.MATMUL, begin, end)
        for begin, end in spans("missing", 1 << engine):
            activities.block(Engine.MATMUL, engine, begin, end)
    for cycle in cycles:
        cycle["waiting"] |= MATMUL if cycle["missing"] else 0
    for _ in range(30):
        taken = rng.randrange(len(cycles))
        begin, end, free = (taken + n for n in sorted(rng.choices(range(60), k=3)))
        activities.stream(taken, begin, begin, free, stall=free - end)
        for name, first, last in (
            ("taken", taken, free),
            ("streams", begin, end),
            ("starved", end, free),
        ):
            for cycle in cycles[first:last]:
                cycle[name] = 1

    seen = charge(cycles)
    stamps = sorted(rng.choices(range(len(cycles) + 1), k=10))
    counts = activities.count(len(cycles), stamps)
    for time, totals in [*zip(stamps, counts.stamps, strict=True), (3000, counts.activities)]:
        found = Counter(activity for activity, _ in seen[:time])
        assert totals.tolist() == [found[a] for a in Activity]
    assert min(counts.activities) > 10
    events = np.array([[e >> k & 1 for k in range(8)] for _, e in seen]).sum(axis=0)
    assert [*counts.busy, *counts.waiting] == events.tolist()


def test_a_run_without_commands_is_the_controllers() -> None:
    counts = Activities().count(100, [])
    assert counts.activities.tolist() == [100] + [0] * 7
    assert counts.stamps.shape == (0, 8)
    assert not counts.busy.any() and not counts.waiting.any()
