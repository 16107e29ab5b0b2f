"""Commands that move up: loads by a bounded number, element-wise work to its operands."""

import random

import pytest

from accel.compiler.hoist import AHEAD, hoist
from accel.compiler.schedule import Call, Span, Step
from accel.isa import Engine, Operation


def step(engine, reads=(), writes=(), **values):
    spans = [[Span(memory, a, b) for memory, a, b in part] for part in (reads, writes)]
    return Step(engine, {"operation": int(Operation.ACC), **values}, *spans)


def load(address):
    return step(Engine.LOAD, writes=[("weights", address, address + 1)])


def matmul(address, half):
    return step(Engine.MATMUL, [("weights", address, address + 1)], [("acc", half, half + 1)])


def requantise(half, address):
    return step(Engine.VECTOR, [("acc", half, half + 1)], [("scratchpad", address, address + 1)])


def add(address):
    reads = [("scratchpad", address, address + 1)]
    return step(Engine.VECTOR, reads, [("scratchpad", 100 + address, 101 + address)], operation=1)


def places(steps):
    """Return where each command went."""
    at = {id(s): i for i, s in enumerate(hoist(steps))}
    return [at[id(s)] for s in steps]


def test_loads_come_early_but_not_too_early():
    steps = [s for n in range(40) for s in (load(n), matmul(n, n % 2), requantise(n % 2, n))]
    at, ahead = places(steps), AHEAD[Engine.LOAD]
    loads, matmuls, vectors = at[::3], at[1::3], at[2::3]
    assert loads == sorted(loads)
    assert max(loads[:ahead]) < vectors[0]
    for number in range(1, 40 - ahead):
        assert loads[number + ahead] > matmuls[number - 1]


def test_a_load_stays_behind_the_last_use_of_its_place():
    steps = [load(0), matmul(0, 0), requantise(0, 0), load(0), matmul(0, 1), requantise(1, 1)]
    at = places(steps)
    assert at[1] < at[3] < at[4]


def test_elementwise_work_follows_the_chunk_that_completes_it():
    chunks = [s for n in range(6) for s in (matmul(n, n % 2), requantise(n % 2, n))]
    adds = [add(n) for n in range(6)]
    at = places(chunks + adds)
    for n in range(5):
        assert at[2 * n + 1] < at[12 + n] < at[2 * (n + 1) + 1]


def test_layers_end_in_their_order():
    steps = [matmul(0, 0), requantise(0, 0), matmul(1, 1), requantise(1, 1), add(0)]
    steps[3].stamp = steps[4].stamp = True
    at = places(steps)
    assert at[3] < at[4]


def test_nothing_passes_a_kernel_call():
    at = places([matmul(0, 0), requantise(0, 0), Call(()), load(5), add(0)])
    assert at[2] < min(at[3:])


@pytest.mark.parametrize("seed", range(20))
def test_no_two_conflicting_commands_change_places(seed):
    rng = random.Random(seed)
    steps = [
        step(
            rng.choice(list(Engine)),
            [("scratchpad", a, a + rng.randint(1, 4)) for a in rng.sample(range(20), 2)],
            [("scratchpad", a, a + rng.randint(1, 3)) for a in rng.sample(range(20), 1)],
            operation=rng.randrange(3),
        )
        for _ in range(60)
    ]
    place = dict(zip(map(id, steps), places(steps), strict=True))
    assert sorted(place.values()) == list(range(len(steps)))
    for i, later in enumerate(steps):
        for earlier in steps[:i]:
            pairs = [(a, b) for a in earlier.writes for b in (*later.reads, *later.writes)]
            pairs += [(a, b) for a in earlier.reads for b in later.writes]
            if any(a.start < b.stop and b.start < a.stop for a, b in pairs):
                assert place[id(earlier)] < place[id(later)]
