# amaranth: UnusedElaboratable=no
"""The vector engine against the golden machine's vector command."""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.config import Config
from accel.gateware.ports import ACCUMULATOR_LATENCY, SCRATCHPAD_LATENCY, WEIGHT_LATENCY
from accel.gateware.vector import VectorEngine
from accel.isa import COMMANDS, TABLE_WORDS, Engine, Operation
from sim.engines import prepare, run_command
from sim.errors import ProgramError
from sim.spaces import Spaces

VECTOR = COMMANDS[Engine.VECTOR]
STALLS = {"never": 0.0, "sometimes": 0.2, "often": 0.6}
SHAPES = {
    "4x4": {"rows": 4, "cols": 4, "lanes": 2},
    "8x4": {"rows": 8, "cols": 4, "lanes": 4},
    "12x12": {"rows": 12, "cols": 12, "lanes": 4},
    "8x16": {"rows": 8, "cols": 16, "lanes": 4},
    "4x4 lanes 4": {"rows": 4, "cols": 4, "lanes": 4},
}
LATENCY = {
    "acc": ACCUMULATOR_LATENCY,
    "scratchpad": SCRATCHPAD_LATENCY,
    "params": WEIGHT_LATENCY,
}
WRITE_LATENCY = 2
WINDOWED = (Operation.SUM, Operation.MAX, Operation.MIN)
PAIRED = (Operation.ADD, Operation.MUL)
NARROW = [o for o in Operation if o != Operation.MUL]
"""Operations that take any table."""
COMMAND_GAP = 2
"""Idle cycles between commands whose operands take the same path."""


def make_config(rows, cols, lanes):
    return Config(
        rows=rows,
        cols=cols,
        lanes=lanes,
        acc_depth=32,
        scratchpad_bytes=8192,
        weight_bytes=4096,
    )


def log_uniform(rng, shape, bits):
    """Return signed values of all magnitudes."""
    return np.trunc(rng.choice([-1, 1], shape) * 2.0 ** rng.uniform(0, bits, shape) - 0.5)


def random_spaces(config, seed, wide_table):
    rng = np.random.default_rng(seed)
    spaces = Spaces(config, 64)
    spaces.scratchpad[:] = rng.integers(-128, 128, spaces.scratchpad.shape)
    spaces.accumulators[:] = log_uniform(rng, spaces.accumulators.shape, 31)
    # What MUL can do with them all.
    spaces.table[:] = rng.choice([-256, 255, 0, *range(-256, 256)], spaces.table.shape)
    if wide_table:
        spaces.table[:] = log_uniform(rng, spaces.table.shape, 24)
    # Every nine words are one valid group of parameters.
    groups = spaces.weights[: len(spaces.weights) // 9 * 9].reshape(-1, 9, config.cols)
    bias = log_uniform(rng, groups[:, 0].shape, 16).astype("<i4")
    multiplier = rng.integers(1 << 29, 1 << 31, bias.shape).astype("<i4")
    groups[:, 0:4] = bias.view(np.int8).reshape(*bias.shape, 4).transpose(0, 2, 1)
    groups[:, 4:8] = multiplier.view(np.int8).reshape(*bias.shape, 4).transpose(0, 2, 1)
    groups[:, 8] = rng.choice([-31, -20, -12, -9, -7, -5, -3, -2, -1, 0, 1, 4, 30], bias.shape)
    return spaces


@dataclass
class Task:
    """One command; `alone` waits until the engine is idle, as a self bit in the wait mask does."""

    fields: dict
    alone: bool = False
    post: int = 0
    stamp: int = 0
    offered: int = 0
    accepted: int = 0
    completed: int = 0
    writes: list = field(default_factory=list)
    """Cycles of the result's writes."""


def random_fields(rng, config, operation, *, small=False, **fixed):
    """Return fields that read the lower half of the scratchpad and write the upper."""
    slots, columns = config.rows // config.lanes, config.cols // config.lanes
    half = config.scratchpad_words // 2
    windowed = operation in WINDOWED

    def step():
        return rng.choice((0, 1, 1, 2, 3, 7, -1, -4))

    while True:
        low, high = sorted((rng.randint(-128, 127), rng.randint(-128, 127)))
        f = {
            "operation": int(operation),
            "uniform": rng.randrange(2),
            "upper": rng.randrange(2) if config.lanes % 2 == 0 else 0,
            "a_address": rng.randrange(half),
            "b_address": rng.randrange(half),
            "dst_address": half + rng.randrange(half),
            "a_slot": rng.randrange(columns if operation == Operation.ACC else slots),
            "b_slot": rng.randrange(slots),
            "dst_slot": rng.randrange(slots),
            "slices": rng.randint(1, 2 if small else 2 * max(slots, columns) + 1),
            "count_col": rng.randint(1, 3 if small else 7),
            "count_row": rng.randint(1, 2 if small else 3),
            "window_col": rng.randint(1, 3) if windowed else 1,
            "window_row": rng.randint(1, 3) if windowed else 1,
            "output_zero": rng.randint(-128, 127),
            "clamp_min": rng.choice((low, -128)),
            "clamp_max": rng.choice((high, 127)),
            "param_address": 9 * rng.randrange(config.weight_words // 9 - 8),
            "multiplier": rng.randint(1 << 29, (1 << 31) - 1),
            "bias": rng.randint(-1000, 1000),
            "shift": rng.choice((-20, -9, -5, -3, -1, 0, 2)),
            "a_plane": rng.randint(0, 60),
            "b_plane": rng.randint(0, 60),
            "dst_plane": rng.randint(0, 60),
        }
        # For ACC too, which must not care.
        f |= {entry.name: step() for entry in VECTOR.fields if "_step_" in entry.name}
        if operation == Operation.ACC:
            f["slices"] = rng.randint(1, columns - f["a_slot"])
            f["a_address"] = rng.randrange(config.acc_depth)
        f |= fixed
        try:
            action = prepare(config, Engine.VECTOR, tuple(VECTOR.encode(f)))
        except (ProgramError, ValueError):
            continue
        scratchpad = [a.bounds for a in action.reads if a.memory == 0]
        target = action.writes[0].bounds
        if all(b < half for _, b in scratchpad) and half <= target[0] and target[1] < 2 * half:
            return f


class Bench:
    """The engine between memories that refuse and answer; runs tasks and checks every byte.

    Parameters
    ----------
    shape : str
        Key of SHAPES.
    stalls : str
        Key of STALLS.
    seed : int
    latency : dict of str to int
        Cycles from a request's acceptance to its response.
    wide_table : bool
        Entries of all magnitudes: nothing that MUL can do with.
    dsp_products : bool
        See VectorEngine.
    """

    def __init__(
        self, shape, *, stalls="never", seed=0, latency=LATENCY, wide_table=False, dsp_products=True
    ):
        self.config = config = make_config(**SHAPES[shape])
        self.rng = random.Random(seed)
        self.spaces = random_spaces(config, seed, wide_table)
        self._probability = STALLS[stalls]
        self._latency = latency
        self.dut = VectorEngine(
            rows=config.rows,
            cols=config.cols,
            lanes=config.lanes,
            acc_depth=config.acc_depth,
            scratchpad_words=config.scratchpad_words,
            weight_words=config.weight_words,
            dsp_products=dsp_products,
        )

    def fields(self, operation, **options):
        return random_fields(self.rng, self.config, operation, **options)

    def task(self, fields, alone=False):
        return Task(fields, alone, self.rng.randrange(16), self.rng.randrange(2))

    def run(self, tasks, *, table=True):
        """Run tasks in order; their memory contents at each completion must be the golden ones."""
        self._chip = self.spaces.scratchpad.copy()
        self._golden = self.spaces
        self._pending = deque(tasks)  # not complete
        self._expected = deque()  # number of writes left of each pending task
        for task in tasks:
            action = prepare(self.config, Engine.VECTOR, tuple(VECTOR.encode(task.fields)))
            f = task.fields
            self._expected.append(f["slices"] * f["count_col"] * f["count_row"])
            assert action.elements
        self._writing = deque(zip(tasks, self._expected, strict=True))
        self._cycle = 0
        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        self._ready = False

        async def environment(ctx):
            if table:
                await self._write_table(ctx)
            self._ready = True
            await self._serve(ctx)

        async def commands(ctx):
            while not self._ready:
                await ctx.tick()
            for task in tasks:
                await self._push(ctx, task)
            while self._pending:
                await ctx.tick()
            await ctx.tick()
            assert not ctx.get(self.dut.busy)

        sim.add_testbench(environment, background=True)
        sim.add_testbench(commands)
        sim.run()
        return tasks

    async def _write_table(self, ctx):
        request = self.dut.table.request
        ctx.set(request.valid, 1)
        ctx.set(request.payload.mask, 1)
        for address in range(TABLE_WORDS):
            ctx.set(request.payload.address, address)
            ctx.set(request.payload.data, int(self.spaces.table[address]) & 0xFFFFFFFF)
            assert ctx.get(request.ready)
            await ctx.tick()
        ctx.set(request.valid, 0)

    async def _push(self, ctx, task):
        command = self.dut.command
        while task.alone and ctx.get(self.dut.busy):
            await ctx.tick()
        registers = VECTOR.encode(task.fields)
        raw = sum(r << (32 * i) for i, r in enumerate(registers))
        payload = command.payload
        ctx.set(payload.fields.as_value(), raw)
        ctx.set(payload.post, task.post)
        ctx.set(payload.stamp, task.stamp)
        ctx.set(command.valid, 1)
        task.offered = self._cycle
        while not ctx.get(command.ready):
            await ctx.tick()
        task.accepted = self._cycle
        await ctx.tick()
        # The queue goes on rewriting the registers.
        ctx.set(payload.fields.as_value(), self.rng.getrandbits(len(payload.fields.as_value())))
        ctx.set(command.valid, 0)
        assert ctx.get(self.dut.busy)

    async def _serve(self, ctx):
        dut = self.dut
        ports = {"acc": dut.acc, "scratchpad": dut.scratchpad, "params": dut.params}
        pipelines = {name: deque([None] * self._latency[name]) for name in ports}
        writes = deque([None] * WRITE_LATENCY)
        ctx.set(dut.result.request.ready, 1)
        while True:
            for name, port in ports.items():
                ready = self.rng.random() >= self._probability
                ctx.set(port.request.ready, ready)
                response = pipelines[name].popleft()
                ctx.set(port.response.valid, response is not None)
                junk = self.rng.getrandbits(8)  # may the engine never look at it
                ctx.set(port.response.data, junk if name != "acc" else [junk] * self.config.lanes)
                if response is not None:
                    ctx.set(port.response.data, response)
                taken = ready and ctx.get(port.request.valid)
                pipelines[name].append(self._read(ctx, name, port) if taken else None)
            self._apply(writes.popleft())
            writes.append(self._written(ctx))
            self._completion(ctx)
            await ctx.tick()
            self._cycle += 1
            assert self._cycle < 30_000, f"{len(self._pending)} commands did not complete"

    def _read(self, ctx, name, port):
        payload = port.request.payload
        if name == "acc":
            lanes = self.config.lanes
            slot = ctx.get(payload.slot) * lanes
            entry = self.spaces.accumulators[ctx.get(payload.address)]
            return [int(v) for v in entry[slot : slot + lanes]]
        memory = self._chip if name == "scratchpad" else self.spaces.weights
        return int.from_bytes(memory[ctx.get(payload)].tobytes(), "little")

    def _written(self, ctx):
        request = self.dut.result.request
        if not ctx.get(request.valid):
            return None
        task, left = self._writing.popleft()
        task.writes.append(self._cycle)
        if left > 1:
            self._writing.appendleft((task, left - 1))
        payload = request.payload
        mask = ctx.get(payload.mask)
        assert mask.bit_count() == 1
        return ctx.get(payload.address), ctx.get(payload.data), mask.bit_length() - 1

    def _apply(self, write):
        if write is None:
            return
        address, word, slot = write
        lanes = self.config.lanes
        data = word.to_bytes(self.config.rows, "little")[slot * lanes : (slot + 1) * lanes]
        self._chip[address, slot * lanes : (slot + 1) * lanes] = np.frombuffer(data, np.int8)

    def _completion(self, ctx):
        complete = self.dut.complete
        if not ctx.get(complete.valid):
            return
        task = self._pending.popleft()
        task.completed = self._cycle
        assert (ctx.get(complete.post), ctx.get(complete.stamp)) == (task.post, task.stamp)
        assert ctx.get(self.dut.busy)
        run_command(self.config, self._golden, Engine.VECTOR, task.fields)
        np.testing.assert_array_equal(self._chip, self._golden.scratchpad, str(task.fields))


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_random_commands(shape, stalls):
    bench = Bench(shape, stalls=stalls, seed=7)
    operations = list(Operation) * 2
    bench.rng.shuffle(operations)
    bench.run([bench.task(bench.fields(o)) for o in operations])


@pytest.mark.parametrize("stalls", STALLS)
def test_entries_of_all_magnitudes(stalls):
    bench = Bench("8x4", stalls=stalls, seed=6, wide_table=True)
    operations = NARROW * 2
    bench.rng.shuffle(operations)
    bench.run([bench.task(bench.fields(o)) for o in operations])


@pytest.mark.parametrize("operation", [Operation.MAX, Operation.MIN], ids=lambda o: o.name)
@pytest.mark.parametrize("distance", [37, -37])
def test_a_window_over_two_operands(operation, distance):
    """The larger or smaller of two maps, pixel by pixel: the window steps from A to B."""
    bench = Bench("8x4", seed=15)
    columns, rows, slices = 5, 3, 4
    half = bench.config.scratchpad_words // 2
    steps = {"count_col": columns, "count_row": rows, "slices": slices, "uniform": 1}
    steps |= {"a_step_wcol": distance, "a_step_col": 1 - distance, "a_step_row": 1 - distance}
    steps |= {"dst_step_col": 1, "dst_step_row": 1, "a_plane": 15, "dst_plane": 15}
    fields = dict.fromkeys(("a_slot", "b_slot", "dst_slot", "bias", "output_zero"), 0) | steps
    fields |= {"operation": int(operation), "a_address": 50, "dst_address": half}
    fields |= {"window_col": 2, "window_row": 1, "multiplier": 1 << 30, "shift": 1}
    fields |= {"clamp_min": -128, "clamp_max": 127}
    pixels = rows * columns * (slices * bench.config.lanes // bench.config.rows)
    a, b = (bench.spaces.scratchpad[first:][:pixels] for first in (50, 50 + distance))
    expected = np.maximum(a, b) if operation == Operation.MAX else np.minimum(a, b)
    bench.run([bench.task(fields)])
    np.testing.assert_array_equal(bench.spaces.scratchpad[half:][:pixels], expected)


@pytest.mark.parametrize("dsp_products", [True, False])
def test_products_of_extremes(dsp_products):
    """-256 .. 255, so also the square of -256."""
    bench = Bench("4x4", seed=16, dsp_products=dsp_products)
    factors = [-256, -255, -129, -128, -1, 0, 1, 127, 128, 254, 255]
    bench.spaces.table[:] = [factors[n % len(factors)] for n in range(TABLE_WORDS)]
    one = {"uniform": 1, "multiplier": (1 << 31) - 1, "clamp_min": -128, "clamp_max": 127}
    size = {"slices": 2, "count_col": 30, "count_row": 2, "a_slot": 0, "b_slot": 0}
    bench.run(
        [
            bench.task(bench.fields(Operation.MUL, **one, **size, shift=shift, bias=bias))
            for shift in (0, -4, -9)
            for bias in (0, -65536)
        ]
    )


@pytest.mark.parametrize("stalls", STALLS)
def test_short_commands_of_changing_kind(stalls):
    bench = Bench("8x16", stalls=stalls, seed=8)
    operations = list(Operation) * 8
    bench.rng.shuffle(operations)
    bench.run([bench.task(bench.fields(o, small=True)) for o in operations])


@pytest.mark.parametrize("cycles", [2, 30])
def test_memories_of_any_latency(cycles):
    # With 30 cycles more is in flight than the engine keeps account of: it has to wait.
    bench = Bench("4x4", seed=14, latency=LATENCY | {"acc": cycles, "scratchpad": cycles})
    size = {"slices": 1, "count_col": 8, "count_row": 4, "a_slot": 0}
    bench.run([bench.task(bench.fields(o, **size)) for o in Operation])


def test_reads_what_the_command_before_wrote():
    bench = Bench("8x4", seed=9)
    size = {"slices": 2, "count_col": 5, "count_row": 1, "uniform": 1, "a_slot": 0, "dst_slot": 0}
    half = bench.config.scratchpad_words // 2
    first = bench.fields(Operation.TABLE, **size, dst_step_col=1, dst_address=half, a_address=0)
    # Backwards: the word written last is read first.
    second = first | {"a_address": half + 4, "a_step_col": -1, "a_plane": first["dst_plane"]}
    second |= {"dst_address": half + 200, "operation": int(Operation.MAX)}
    bench.run([bench.task(first), bench.task(second, alone=True)])


def ports(operation):
    return 2 if operation in PAIRED else 1


@pytest.mark.parametrize("operation", Operation, ids=lambda o: o.name)
def test_no_gap_between_slices_or_commands(operation):
    bench = Bench("8x16", seed=10)
    window = 2 if operation in WINDOWED else 1
    fields = {
        "slices": 2,
        "a_slot": 0,
        "count_col": 8,
        "count_row": 4,
        "window_col": window,
        "window_row": 1,
        "uniform": 0,
    }
    tasks = [bench.task(bench.fields(operation, **fields)) for _ in range(3)]
    bench.run(tasks)
    pace = ports(operation) * window
    for task in tasks:
        gaps = set(np.diff(task.writes).tolist())
        assert gaps == {pace}
    for before, after in zip(tasks, tasks[1:], strict=False):
        assert after.writes[0] - before.writes[-1] == pace + COMMAND_GAP
    for task in tasks:
        assert task.completed == task.writes[-1] + WRITE_LATENCY


def test_uniform_slices_of_one_result_follow_every_cycle():
    bench = Bench("4x4", seed=11)
    one = {"count_col": 1, "count_row": 1, "uniform": 1, "slices": 5}
    task = bench.task(bench.fields(Operation.TABLE, **one))
    bench.run([task])
    assert task.writes == list(range(task.writes[0], task.writes[0] + 5))


@pytest.mark.parametrize(
    ("operation", "cycles"),
    [
        (Operation.ACC, ACCUMULATOR_LATENCY + 12),
        (Operation.SUM, SCRATCHPAD_LATENCY + 13),
        (Operation.TABLE, SCRATCHPAD_LATENCY + 15),
        (Operation.ADD, 1 + SCRATCHPAD_LATENCY + 15),
        (Operation.MUL, 1 + SCRATCHPAD_LATENCY + 17),
    ],
)
def test_latency_and_slice_period(operation, cycles):
    bench = Bench("8x16", seed=12)
    one = dict.fromkeys(("count_col", "count_row", "window_col", "window_row"), 1) | {"a_slot": 0}
    slices = ((1, 1), (1, 1), (0, 1), (0, 4))
    tasks = [
        bench.task(bench.fields(operation, uniform=u, slices=s, **one), alone=True)
        for u, s in slices
    ]
    bench.run(tasks)
    assert {t.accepted - t.offered for t in tasks} == {11}
    assert {t.writes[0] - t.accepted for t in tasks} == {2 + cycles}
    # From the first reduction of one slice to the first read of the next it is always the same.
    assert set(np.diff(tasks[-1].writes).tolist()) == {cycles + 2}


def test_changing_the_operands_path_waits_for_those_on_their_way():
    bench = Bench("8x16", seed=13)
    size = {"slices": 1, "a_slot": 0, "count_col": 8, "count_row": 4, "uniform": 0}
    size |= {"window_col": 1, "window_row": 1}
    order = (Operation.ACC, Operation.TABLE, Operation.ACC, Operation.SUM, Operation.TABLE)
    order += (Operation.MUL, Operation.MIN)
    tasks = [bench.task(bench.fields(o, **size)) for o in order]
    bench.run(tasks)
    gaps = [b.writes[0] - a.writes[-1] for a, b in zip(tasks, tasks[1:], strict=False)]
    assert gaps == [10, 8, 8, 10, 13, 8]


def test_lanes_must_divide():
    sizes = {"acc_depth": 32, "scratchpad_words": 256, "weight_words": 256}
    with pytest.raises(ValueError, match=r"Lanes must divide rows \(8\) and cols \(12\), not be 8"):
        VectorEngine(rows=8, cols=12, lanes=8, **sizes)
