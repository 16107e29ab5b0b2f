"""Tokens between any two engines of the whole machine: counted, none lost, none made up."""

import random
from itertools import permutations

import pytest

from accel import asm
from accel.config import PRESETS
from accel.isa import COMMANDS, Engine
from accel.regmap import STAMPS, Cause
from sim.devices.verilator import VerilatorDevice
from tests.wild import READ, WRITE, Outcome, WildBench

CONFIG = PRESETS["test"]
DMA = {"words": 1, "rows": 1, "planes": 1}
SHORTEST = {
    Engine.LOAD: DMA | {"memory_address": READ[0]},
    Engine.MATMUL: {f"count_{n}": 1 for n in ("col", "row", "k0", "k1", "k2")},
    Engine.VECTOR: dict.fromkeys(
        ("slices", "count_col", "count_row", "window_col", "window_row", "uniform"), 1
    ),
    Engine.STORE: DMA | {"memory_address": WRITE[0]},
}
"""Fields of each engine's shortest command."""


@pytest.fixture(scope="module")
def bench():
    with VerilatorDevice(CONFIG, memory_bytes=1 << 16, latency=1) as device:
        yield WildBench(device)


def prepare(*engines: Engine) -> list[int]:
    """Return what gives engines their shortest commands."""
    code = []
    for engine in engines:
        registers = COMMANDS[engine].encode(SHORTEST[engine])
        for pair in range(len(registers) // 2):
            code += asm.li(1, registers[2 * pair]) + asm.li(2, registers[2 * pair + 1])
            code.append(asm.tset(engine, pair, 1, 2))
    return code


def repeated(word: int, count: int) -> list[int]:
    """Return a loop that does an instruction so often."""
    return [] if not count else [*asm.li(3, count), word, asm.addi(3, 3, -1), asm.bne(3, 0, -8)]


@pytest.mark.parametrize(
    ("giver", "taker"), list(permutations(Engine, 2)), ids=lambda e: e.name.lower()
)
def test_as_many_can_be_taken_as_were_given(bench: WildBench, giver: Engine, taker: Engine):
    give, take = asm.tpush(giver, post=1 << taker), asm.tpush(taker, wait=1 << giver)
    given = asm.twait(1 << giver)
    for count in (1, 2, 3, 100, 255):
        # All at once, and one by one at the same time.
        code = [*prepare(giver, taker), *repeated(give, count), given]
        code += [*repeated(take, count - 1), asm.twait(15), *repeated(give, 3), *repeated(take, 4)]
        assert bench.run([*code, asm.twait(15), asm.tdone(0)]) == Outcome(Cause.NONE), count
    # One more is not there.
    for count in (0, 5):
        code = [*prepare(giver, taker), *repeated(give, count), given, *repeated(take, count + 1)]
        code += [asm.twait(15), asm.tdone(0)]
        bench.start(code)
        assert bench.read("CAUSE") == Cause.WATCHDOG
        assert bench.read("WAITS") >> 8 * taker & 0xFF == 1 << giver | 1 << 6
        assert bench.read("CAUSE_PC") == 4 * (len(code) - 2)
        bench.clear()


def test_more_than_fit_are_told_by_every_engine(bench: WildBench):
    for giver, taker in permutations(Engine, 2):
        code = [*prepare(giver), *repeated(asm.tpush(giver, post=1 << taker), 256)]
        outcome = bench.run([*code, asm.twait(15), asm.tdone(0)])
        assert outcome == Outcome(Cause.TOKEN_OVERFLOW, giver, 1 << taker, 0)


def test_tokens_go_round(bench: WildBench):
    rng = random.Random(1)
    for _ in range(8):
        # Each waits for tokens of several, given earlier, and gives some that are taken later.
        held: dict[tuple[Engine, Engine], int] = {}
        code = prepare(*Engine)
        for _ in range(150):
            engine = rng.choice(list(Engine))
            wait = [e for e in Engine if held.get((e, engine)) and rng.random() < 0.6]
            post = [e for e in Engine if e != engine and rng.random() < 0.4]
            for other in wait:
                held[other, engine] -= 1
            for other in post:
                held[engine, other] = held.get((engine, other), 0) + 1
            code.append(asm.tpush(engine, sum(1 << e for e in wait), sum(1 << e for e in post)))
        for (giver, taker), count in held.items():
            code += repeated(asm.tpush(taker, wait=1 << giver), count)
        assert bench.run([*code, asm.twait(15), asm.tdone(0)]) == Outcome(Cause.NONE)
        # None is left: the next program finds as many as it gives.
        code = [*prepare(Engine.LOAD), asm.tpush(Engine.LOAD, wait=14), asm.twait(15), asm.tdone(0)]
        bench.start(code)
        assert bench.read("CAUSE") == Cause.WATCHDOG
        bench.clear()


@pytest.mark.parametrize("rounds", [1, 200])
def test_stamps_are_counted_and_the_first_ones_kept(bench: WildBench, rounds: int):
    pushes = [asm.tpush(engine, stamp=True) for engine in Engine]
    loop = [*asm.li(3, rounds), *pushes, asm.addi(3, 3, -1), asm.bne(3, 0, -20)]
    bench.start([*prepare(*Engine), *loop, asm.twait(15), asm.tdone(0)])
    assert bench.read("CAUSE") == Cause.NONE
    assert bench.read("STAMP_COUNT") == 4 * rounds
    kept = min(4 * rounds, STAMPS)
    times = []
    for index in range(kept):
        bench.write("STAMP_INDEX", index)
        times.append(bench.read("STAMP"))
    assert times == sorted(times)
    assert 0 < times[0] and times[-1] <= bench.read("CYCLES")
    bench.clear()
