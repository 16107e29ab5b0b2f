# amaranth: UnusedElaboratable=no
"""The accumulators against numpy: updates, reads beside them, interlock and completion."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.gateware.accumulators import UPDATE_DISTANCE, Accumulators
from accel.gateware.ports import ACCUMULATOR_LATENCY

COLS, DEPTH, LANES, WIDTH, LEAD = 4, 16, 2, 18, 6


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


class Bench:
    """Plays updates (cycle -> address, replace, sums, last) and reads; records what comes out."""

    def __init__(self, updates, reads=()):
        self.updates = updates
        self.reads = list(reads)
        self.accepted = []  # (cycle, address, slot)
        self.responses = []  # (cycle, values)
        self.completions = []  # (cycle, post)

    def run(self, want=lambda cycle: True, cycles=None, sum_width=WIDTH, lanes=LANES):
        dut = Accumulators(cols=COLS, depth=DEPTH, lanes=lanes, sum_width=sum_width, lead=LEAD)
        end = cycles or max([*self.updates, len(self.reads)]) + 80

        async def testbench(ctx):
            for cycle in range(end):
                address, replace, _, post = self.updates.get(cycle, (0, 0, None, 0))
                ctx.set(dut.control.valid, cycle in self.updates)
                ctx.set(dut.control.address, address)
                ctx.set(dut.control.replace, replace)
                ctx.set(dut.control.completion.valid, post != 0)
                ctx.set(dut.control.completion.post, post)
                for c in range(COLS):
                    update = self.updates.get(cycle - LEAD - c)
                    ctx.set(dut.sums[c], int(update[2][c]) if update else 12345)
                # Once valid, a request stays.
                offer = bool(self.reads) and (want(cycle) or ctx.get(dut.read.request.valid) == 1)
                ctx.set(dut.read.request.valid, offer)
                if offer:
                    ctx.set(dut.read.request.payload.address, self.reads[0][0])
                    ctx.set(dut.read.request.payload.slot, self.reads[0][1])
                    if ctx.get(dut.read.request.ready):
                        self.accepted.append((cycle, *self.reads.pop(0)))
                if ctx.get(dut.read.response.valid):
                    values = [ctx.get(dut.read.response.data[i]) for i in range(lanes)]
                    self.responses.append((cycle, values))
                if ctx.get(dut.complete.valid):
                    self.completions.append((cycle, ctx.get(dut.complete.post)))
                await ctx.tick()
                if self.accepted and self.accepted[-1][0] == cycle:
                    ctx.set(dut.read.request.valid, 0)

        simulate(dut, testbench)
        assert not self.reads
        return self

    def expected(self):
        """Return the contents after all updates."""
        memory = np.zeros((2 * DEPTH, COLS), np.int64)
        for _, (address, replace, sums, _) in sorted(self.updates.items()):
            memory[address] = (0 if replace else memory[address]) + sums
        return (memory + 2**31) % 2**32 - 2**31


def random_updates(rng, count, half=None, rate=1.0):
    updates, used, cycle = {}, {}, 0
    while len(updates) < count:
        cycle += 1
        address = int(rng.integers(DEPTH)) + DEPTH * (
            int(rng.integers(2)) if half is None else half
        )
        if rng.random() < rate and cycle - used.get(address, -10) >= UPDATE_DISTANCE:
            used[address] = cycle
            sums = rng.integers(-(1 << (WIDTH - 1)), 1 << (WIDTH - 1), COLS)
            updates[cycle] = (address, int(rng.random() < 0.2), sums, 0)
    return updates


ALL = [(address, slot) for address in range(2 * DEPTH) for slot in range(COLS // LANES)]


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_random_updates_then_read_everything(rate):
    bench = Bench(random_updates(np.random.default_rng(int(10 * rate)), 150, rate=rate), ALL)
    last = max(bench.updates)
    bench.run(want=lambda cycle: cycle > last, cycles=last + 120)
    memory = bench.expected()
    got = [values for _, values in bench.responses]
    assert got == [memory[a, s * LANES : (s + 1) * LANES].tolist() for a, s in ALL]
    cycles = [cycle for cycle, *_ in bench.accepted]
    assert [cycle - ACCUMULATOR_LATENCY for cycle, _ in bench.responses] == cycles
    # The last reads run without a gap: one a cycle.
    assert cycles[-1] - cycles[-32] == 31


def test_the_same_entry_again_at_the_update_distance():
    sums = np.array([1, -2, 3, -4])
    updates = {1 + UPDATE_DISTANCE * i: (5, int(i == 0), sums * i, 0) for i in range(12)}
    bench = Bench(updates, [(5, 0), (5, 1)]).run(want=lambda cycle: cycle > 50)
    assert sum((v for _, v in bench.responses), []) == (sums * 66).tolist()


def test_sums_wrap_at_32_bits():
    most, least = 2**31 - 1, -(2**31)
    updates = {
        1: (0, 1, np.array([most, least, most, least]), 0),
        11: (0, 0, np.array([1, -1, most, least]), 0),
    }
    bench = Bench(updates, [(0, 0), (0, 1)]).run(want=lambda cycle: cycle > 30, sum_width=32)
    assert [v for _, v in bench.responses] == [[least, most], [-2, 0]]


@pytest.mark.parametrize("lanes", [1, 4])
def test_other_numbers_of_lanes(lanes):
    """A slot of no bits, where one read returns all columns, selects them all."""
    sums = np.array([3, -5, 7, -9])
    updates = {1: (DEPTH + 2, 1, sums, 0), 5: (2, 1, 2 * sums, 0)}
    reads = [(address, slot) for address in (DEPTH + 2, 2) for slot in range(COLS // lanes)]
    bench = Bench(updates, reads).run(want=lambda cycle: cycle > 30, lanes=lanes)
    assert sum((v for _, v in bench.responses), []) == [*sums, *(2 * sums)]


@pytest.mark.parametrize("stalls", [0.0, 0.3, 0.8])
def test_reads_of_the_other_half_run_beside_updates(stalls):
    rng = np.random.default_rng(7)
    before = {i + 1: (DEPTH + i, 1, rng.integers(-99, 99, COLS), 0) for i in range(DEPTH)}
    start = max(before) + 40
    later = {start + c: u for c, u in random_updates(rng, 100, half=0).items()}
    reads = [(DEPTH + int(rng.integers(DEPTH)), int(rng.integers(2))) for _ in range(40)]
    bench = Bench(before | later, reads)
    bench.run(want=lambda cycle: cycle > start + 5 and rng.random() >= stalls, cycles=start + 400)
    memory = bench.expected()
    assert [v for _, v in bench.responses] == [
        memory[a, s * LANES : (s + 1) * LANES].tolist() for a, s in reads
    ]
    cycles = [cycle for cycle, *_ in bench.accepted]
    if stalls == 0:
        assert cycles == list(range(start + 6, start + 46))


@pytest.mark.parametrize("address", [3, DEPTH + 3])
def test_completion_and_interlock(address):
    """A read waits through the update, and one accepted just after `complete` sees it."""
    sums = np.array([10, 20, 30, 40])
    updates = {10: (address, 1, sums, 0), 11: (address ^ 1, 1, sums + 1, 9)}
    bench = Bench(updates, [(address ^ 1, 1), (address, 0)])
    bench.run(want=lambda cycle: cycle > 10)
    done = 11 + LEAD + COLS - 1
    assert bench.completions == [(done, 9)]
    assert [cycle for cycle, *_ in bench.accepted] == [done + 1, done + 2]
    assert [v for _, v in bench.responses] == [[31, 41], [10, 20]]


def test_a_read_accepted_as_an_update_begins_sees_the_old_sums():
    old, new = np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])
    bench = Bench({1: (2, 1, old, 0), 60: (2, 1, new, 0)}, [(2, 0)])
    bench.run(want=lambda cycle: cycle >= 60)
    assert bench.accepted[0][0] == 60
    assert bench.responses[0][1] == [1, 2]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"depth": 24}, "Depth must be a power of two, not 24"),
        ({"lanes": 3}, r"Lanes must divide cols \(4\), and 3 does not"),
        ({"lead": 5}, "Lead must be at least 6, not 5"),
    ],
)
def test_parameters_are_checked(change, message):
    arguments = {"cols": 4, "depth": 16, "lanes": 2, "sum_width": 18, "lead": 6} | change
    with pytest.raises(ValueError, match=message):
        Accumulators(**arguments)
