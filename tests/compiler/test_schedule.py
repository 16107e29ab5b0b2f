"""Tokens order every conflict, are balanced, and are not placed where none is needed."""

import random

import pytest

from accel.compiler import schedule
from accel.compiler.schedule import Span, Step, order
from accel.isa import TOKEN_LIMIT, Engine


def random_steps(rng: random.Random, count: int) -> list[Step]:
    """Return steps that touch random spans of a small memory."""
    steps = []
    for _ in range(count):

        def span() -> Span:
            start = rng.randrange(30)
            return Span("scratchpad", start, start + rng.randint(1, 8))

        steps.append(
            Step(
                Engine(rng.randrange(4)),
                {},
                [span() for _ in range(rng.randint(0, 2))],
                [span() for _ in range(rng.randint(0, 1))],
            )
        )
    return steps


def happens_before(steps: list[Step]) -> list[set[int]]:
    """Return for each step the steps that are complete when it starts, tokens matched in order."""
    tokens: dict[tuple[int, int], list[int]] = {}
    start: list[set[int]] = []
    known: dict[int, set[int]] = {e: set() for e in Engine}
    own: dict[int, list[int]] = {e: [] for e in Engine}
    for i, step in enumerate(steps):
        known_now = known[step.engine]
        for producer in Engine:
            if not step.wait >> producer & 1:
                continue
            if producer == step.engine:
                for j in own[producer]:
                    known_now |= {j} | start[j]
                continue
            queue = tokens[producer, step.engine]
            j = queue.pop(0)
            known_now |= {j} | start[j]
            # An engine completes in order: what came before j there is complete as well.
            known_now |= {k for k in own[producer] if k < j}
            for k in own[producer]:
                if k < j:
                    known_now |= start[k]
        start.append(set(known_now))
        for consumer in Engine:
            if step.post >> consumer & 1:
                tokens.setdefault((step.engine, consumer), []).append(i)
        own[step.engine].append(i)
    assert not any(tokens.values()), "tokens left at the end"
    return start


def conflict(a: Step, b: Step) -> bool:
    """Return whether b must come after a."""

    def meets(xs, ys):
        return any(x.start < y.stop and y.start < x.stop for x in xs for y in ys)

    both_write = a.engine != b.engine and meets(a.writes, b.writes)
    return meets(a.writes, b.reads) or meets(a.reads, b.writes) or both_write


@pytest.mark.parametrize("limit", [TOKEN_LIMIT, 3, 1])
@pytest.mark.parametrize("seed", range(30))
def test_every_conflict_is_ordered(seed, limit, monkeypatch):
    monkeypatch.setattr(schedule, "_QUEUED", TOKEN_LIMIT - limit)
    steps = random_steps(random.Random(seed), 60)
    order(steps)
    complete = happens_before(steps)
    for j, later in enumerate(steps):
        for i, earlier in enumerate(steps[:j]):
            if conflict(earlier, later):
                assert i in complete[j], (i, j, earlier, later)


def test_independent_steps_get_no_tokens():
    steps = [Step(Engine(e), {}, [], [Span("scratchpad", e, e + 1)]) for e in (0, 1, 2, 3)]
    order(steps)
    assert all(s.wait == s.post == 0 for s in steps)


def test_an_implied_order_gets_no_second_token():
    load = Step(Engine.LOAD, {}, [], [Span("scratchpad", 0, 4)])
    first = Step(Engine.MATMUL, {}, [Span("scratchpad", 0, 2)], [])
    second = Step(Engine.MATMUL, {}, [Span("scratchpad", 2, 4)], [])
    order([load, first, second])
    assert (load.post, first.wait, second.wait) == (1 << Engine.MATMUL, 1 << Engine.LOAD, 0)


def test_reading_back_an_own_result_drains_the_engine():
    write = Step(Engine.VECTOR, {}, [], [Span("scratchpad", 0, 4)])
    read = Step(Engine.VECTOR, {}, [Span("scratchpad", 0, 4)], [Span("scratchpad", 8, 9)])
    order([write, read])
    assert read.wait == 1 << Engine.VECTOR
    assert write.post == 0


@pytest.mark.parametrize("count", [100, 190, 400, 3000])
def test_counters_stay_below_their_limit(count):
    steps = [Step(Engine.LOAD, {}, [], [Span("scratchpad", i, i + 1)]) for i in range(count)]
    steps += [Step(Engine.STORE, {}, [Span("scratchpad", i, i + 1)], []) for i in range(count)]
    order(steps)
    loaded = [i for i, s in enumerate(steps[:count]) if s.post == 1 << Engine.STORE]
    waits = [i for i, s in enumerate(steps[count:]) if s.wait == 1 << Engine.LOAD]
    # A token for every load where the counter can hold them, fewer where it cannot; each says that
    # the loads up to the one that gave it are done.
    assert len(loaded) == len(waits) <= TOKEN_LIMIT - 64
    assert count > TOKEN_LIMIT - 64 or len(loaded) == count
    for i in range(count):
        assert max(at for at, w in zip(loaded, waits, strict=True) if w <= i) >= i
