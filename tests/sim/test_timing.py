"""The estimate of cycles: single commands, and commands of several engines that meet."""

import dataclasses
from typing import Any

import pytest

from accel.config import PRESETS, Config
from accel.isa import COMMANDS, PARAM_WORDS, Engine, Operation
from sim.engines import Action, prepare
from sim.engines.dma import Dma
from sim.lanes import Work
from sim.ordering import CommandRecord
from sim.timing import GRANT_CYCLES, QUEUE_CYCLES, TOKEN_CYCLES, Timeline

CONFIG = PRESETS["test"]
LATENCY = 20
UNIFORM = {"uniform": 1, "dst_address": 500}


def action(engine: Engine, config: Config = CONFIG, **fields: int) -> Any:
    counts = {
        Engine.MATMUL: ("count_col", "count_row", "count_k0", "count_k1", "count_k2"),
        Engine.VECTOR: ("slices", "count_col", "count_row", "window_col", "window_row"),
    }.get(engine, ("words", "rows", "planes"))
    values = dict.fromkeys(counts, 1) | fields
    return prepare(config, engine, tuple(COMMANDS[engine].encode(values)))


class Program:
    """Commands on a timeline, issued one after another."""

    def __init__(self, config: Config = CONFIG, latency: int = LATENCY) -> None:
        self.timeline = Timeline(config, latency)
        self.config = config
        self.records: list[CommandRecord] = []
        self.now = 0

    def push(
        self, engine: Engine, *tokens: Work[Action], own: bool = False, **fields: int
    ) -> Work[Action]:
        record = CommandRecord(
            len(self.records), engine, len(self.records), 0, tokens=[t.record for t in tokens]
        )
        self.records.append(record)
        self.now = self.timeline.push(record, own, action(engine, self.config, **fields), self.now)
        return self.timeline.works(engine)[-1]


@pytest.mark.parametrize(
    ("fields", "period", "positions"),
    [
        ({"count_k0": 6}, 4, 1),
        ({"count_k0": 6, "count_col": 5, "count_row": 2}, 10, 10),
    ],
)
def test_a_tile_takes_its_positions_or_its_rows(fields, period, positions):
    work = Program().push(Engine.MATMUL, **fields)
    # The first tile's weights come first; the last tile's words and sums last.
    assert work.first == work.offered + 4
    assert work.last == work.first + 5 * period + positions - 1
    assert work.record.end == work.last + CONFIG.rows + CONFIG.cols + 5
    assert work.stall == 5 * (period - positions)


def test_two_idle_cycles_between_matmul_commands():
    program = Program()
    first, second = (program.push(Engine.MATMUL, count_col=30) for _ in range(2))
    assert second.first == first.last + 3


@pytest.mark.parametrize(
    ("operation", "window", "cycles"),
    [
        (Operation.TABLE, {}, 20),
        (Operation.ADD, {}, 40),
        (Operation.MUL, {}, 40),
        (Operation.SUM, {"window_col": 3, "window_row": 2}, 120),
    ],
)
def test_vector_elements(operation, window, cycles):
    size = {"count_col": 5, "count_row": 2, "slices": 2} | window
    work = Program().push(Engine.VECTOR, operation=operation, **size, **UNIFORM)
    assert work.last - work.first + 1 == cycles
    assert (work.taken - work.offered, work.first - work.taken) == (12, 1)


@pytest.mark.parametrize("results", [1, 10, 19, 30])
def test_short_slices_wait_for_parameters(results):
    work = Program().push(Engine.VECTOR, count_col=results, slices=2, dst_address=500)
    assert work.last - work.first + 1 == max(19, results) + results
    assert len(work.fetches) == 2


def test_transfers_take_the_wider_of_word_and_beat():
    narrow = Program().push(Engine.LOAD, words=64)
    assert (narrow.first, narrow.last) == (narrow.offered + 4 + LATENCY, narrow.first + 63)
    assert narrow.record.end == narrow.last + 5
    # 16 bytes a word, 4 a beat.
    wide = dataclasses.replace(PRESETS["base"], bus_bits=32)
    work = Program(wide).push(Engine.LOAD, words=64)
    assert work.last - work.first + 1 == 256
    # Four bytes a word, 16 a beat; the last beat is used by half.
    bus = dataclasses.replace(CONFIG, bus_bits=128)
    load: Dma = action(Engine.LOAD, bus, words=6, rows=2, memory_step_row=64)
    assert (load.beats, load.bursts) == (4, ((6,), (6,)))


def test_bursts_end_at_256_beats():
    load: Dma = action(Engine.LOAD, words=600, memory_address=4 * 200)
    assert load.bursts == ((56, 256, 256, 32),)


def test_short_bursts_wait_for_memory():
    load = Program().push(Engine.LOAD, words=1, rows=40, memory_step_row=64)
    # One more of them is asked for two cycles after the oldest one is done.
    period = LATENCY + 2
    assert load.last - load.first == pytest.approx(40 / CONFIG.reads_in_flight * period, abs=period)


def test_a_store_ends_with_its_response():
    store = Program().push(Engine.STORE, words=10)
    assert store.record.end - store.last == LATENCY + 2
    assert store.last - store.first == 9


def test_engines_overlap_and_tokens_order():
    program = Program()
    first = program.push(Engine.LOAD, words=100)
    second = program.push(Engine.LOAD, words=100)
    user = program.push(Engine.MATMUL, first, count_col=30)
    # The second load's data follow the first one's.
    assert second.first == first.last + 1
    assert user.offered == first.record.end + TOKEN_CYCLES + 1
    assert program.timeline.wait(1 << Engine.MATMUL, 5) == user.record.end + 1
    assert program.timeline.wait(0, 5) == 5


def test_the_self_bit_waits_for_completion():
    program = Program()
    first = program.push(Engine.LOAD, words=100)
    second = program.push(Engine.LOAD, own=True, words=100)
    assert second.offered == first.record.end + TOKEN_CYCLES + 1


def test_a_full_queue_stops_the_controller():
    program = Program()
    first = program.push(Engine.LOAD, words=1, rows=100, memory_step_row=64)
    # It is on offer until its last row is walked: writes pile up behind it.
    issued = [program.timeline.write(Engine.LOAD, 10) for _ in range(CONFIG.load_queue_depth + 2)]
    assert issued[:-2] == [10] * CONFIG.load_queue_depth
    assert issued[-2] == first.taken > 100
    assert first.offered == QUEUE_CYCLES + GRANT_CYCLES + 1


def test_parameters_take_the_port_from_tiles_of_few_positions():
    config = PRESETS["small"]
    ends = []
    for positions in (1, 8, 20):
        for fetches in (0, 2):
            program = Program(config)
            chunk = program.push(Engine.MATMUL, count_k0=40, count_col=positions)
            # Later than the chunk's first word.
            program.now = 50
            if fetches:
                program.push(Engine.VECTOR, slices=2, dst_address=500)
            ends.append(chunk.record.end)
    assert [b - a for a, b in zip(ends[::2], ends[1::2], strict=True)] == [
        2 * PARAM_WORDS, 2 * PARAM_WORDS, 0
    ]  # fmt: skip


def test_a_stream_that_stays_in_a_bank_keeps_others_from_it():
    # Every second word: always the same one of two banks.
    stride = {"count_col": 20, "step_col": 2, "step_k0": -38, "count_k0": 10}
    for fields, blocked in ((stride, True), (stride | {"step_col": 1, "step_k0": -19}, False)):
        for first in (Engine.MATMUL, Engine.STORE):
            program = Program()
            works = {}
            for engine in (first, Engine.STORE if first == Engine.MATMUL else Engine.MATMUL):
                size = fields if engine == Engine.MATMUL else {"words": 16}
                works[engine] = program.push(engine, **size)
            chunk, store = works[Engine.MATMUL], works[Engine.STORE]
            assert (store.last > chunk.last) == blocked
