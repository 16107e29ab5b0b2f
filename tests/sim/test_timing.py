"""The estimate of cycles."""

import dataclasses

import pytest

from accel.config import PRESETS, Config
from accel.isa import COMMANDS, Engine, Operation
from sim.engines import Action, prepare
from sim.ordering import CommandRecord
from sim.timing import Cost, Timeline, cost

CONFIG = PRESETS["test"]
LATENCY = 20


def action(engine: Engine, config: Config = CONFIG, **fields: int) -> Action:
    counts = {
        Engine.MATMUL: ("count_col", "count_row", "count_k0", "count_k1", "count_k2"),
        Engine.VECTOR: ("slices", "count_col", "count_row", "window_col", "window_row"),
    }.get(engine, ("words", "rows", "planes"))
    values = dict.fromkeys(counts, 1) | fields
    return prepare(config, engine, tuple(COMMANDS[engine].encode(values)))


@pytest.mark.parametrize(
    ("fields", "busy"),
    [
        ({"count_k0": 6}, 6 * 4),
        ({"count_k0": 6, "count_col": 5, "count_row": 2}, 6 * 10),
    ],
)
def test_a_tile_takes_its_pixels_or_its_rows(fields: dict[str, int], busy: int) -> None:
    assert cost(CONFIG, action(Engine.MATMUL, **fields), LATENCY).busy == busy + 2


def test_vector_elements() -> None:
    size = {"uniform": 1, "count_col": 5, "count_row": 2, "slices": 2, "dst_address": 500}
    table = action(Engine.VECTOR, operation=Operation.TABLE, **size)
    add = action(Engine.VECTOR, operation=Operation.ADD, **size)
    multiply = action(Engine.VECTOR, operation=Operation.MUL, **size)
    window = action(Engine.VECTOR, operation=Operation.SUM, window_col=3, window_row=2, **size)
    costs = [cost(CONFIG, one, LATENCY).busy for one in (table, add, multiply, window)]
    assert costs == [20, 40, 40, 120]


def test_transfers_take_the_wider_of_word_and_beat() -> None:
    narrow = cost(CONFIG, action(Engine.LOAD, words=64), LATENCY)
    assert narrow == Cost(64, LATENCY + 8)
    # 16 bytes a word, 4 a beat.
    wide = dataclasses.replace(PRESETS["base"], bus_bits=32)
    assert cost(wide, action(Engine.LOAD, wide, words=64), LATENCY).busy == 256
    # Four bytes a word, 16 a beat; the last beat is used by half.
    bus = dataclasses.replace(CONFIG, bus_bits=128)
    load = action(Engine.LOAD, bus, words=6, rows=2, memory_step_row=64)
    assert (load.beats, load.transfer_cycles) == (4, 12)  # type: ignore[attr-defined]


def test_short_bursts_wait_for_memory() -> None:
    rows = action(Engine.LOAD, words=1, rows=40, memory_step_row=64)
    assert cost(CONFIG, rows, LATENCY).busy == 40 * LATENCY // CONFIG.reads_in_flight


def test_engines_overlap_and_tokens_order() -> None:
    timeline = Timeline(CONFIG, LATENCY)
    load = action(Engine.LOAD, words=100)
    matmul = action(Engine.MATMUL, count_col=30)
    first = CommandRecord(1, Engine.LOAD, 0, 0, stamp=True)
    second = CommandRecord(2, Engine.LOAD, 1, 0)
    user = CommandRecord(3, Engine.MATMUL, 0, 0, stamp=True, tokens=[first])
    assert timeline.push(first, False, load, 0) == 0
    assert timeline.push(second, False, load, 1) == 1
    assert timeline.push(user, False, matmul, 2) == 2
    # The second load starts when the first one's last word is asked for, not when it arrived.
    assert (second.start - first.start, second.end - first.end) == (100, 100)
    assert user.start == first.end + 1
    assert timeline.wait(1 << Engine.MATMUL, 5) == user.end
    assert timeline.wait(0, 5) == 5
    assert timeline.stamps == [first.end, user.end]
    assert timeline.busy == {
        Engine.LOAD: 200, Engine.MATMUL: 32, Engine.VECTOR: 0, Engine.STORE: 0
    }  # fmt: skip


def test_the_self_bit_waits_for_completion() -> None:
    timeline = Timeline(CONFIG, LATENCY)
    load = action(Engine.LOAD, words=100)
    records = [CommandRecord(i, Engine.LOAD, i, 0) for i in range(2)]
    timeline.push(records[0], False, load, 0)
    timeline.push(records[1], True, load, 1)
    assert records[1].start == records[0].end + 1


def test_a_full_queue_stops_the_controller() -> None:
    timeline = Timeline(CONFIG, LATENCY)
    load = action(Engine.LOAD, words=100)
    for i in range(2):
        timeline.push(CommandRecord(i, Engine.LOAD, i, 0), False, load, 0)
    # The second command is on offer until the engine is free: writes pile up behind it.
    issued = [timeline.write(Engine.LOAD, 10) for _ in range(CONFIG.load_queue_depth + 1)]
    assert issued[:-2] == [10] * (CONFIG.load_queue_depth - 1)
    assert issued[-1] > 100
