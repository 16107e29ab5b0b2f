"""Commands in program order, what each reads and writes, and the tokens that order them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from accel.isa import TOKEN_LIMIT, Engine

__all__ = ["Call", "Span", "Step", "order"]


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses [start, stop) of one memory.

    Parameters
    ----------
    memory : str
        "scratchpad" (words), "weights" (words), "acc" (entries), "table" or "external" (bytes).
    start, stop : int
    """

    memory: str
    start: int
    stop: int


@dataclass(slots=True)
class Step:
    """One command of one engine.

    Parameters
    ----------
    engine : Engine
    values : dict
        Fields of the command (accel.isa); those not named are 0.
    reads, writes : list of Span
        Everything the command touches that any other command writes.
    layer : int
        Index of the layer it works for.
    stamp : bool
        The command that ends its layer.
    stream : int
        Loads of one stream follow one another regularly: 0, 1 operands, 2 weights, 3 the rest.
    wait, post : int
        Token masks; `order` fills them.
    """

    engine: Engine
    values: dict[str, int]
    reads: list[Span] = field(default_factory=list)
    writes: list[Span] = field(default_factory=list)
    layer: int = 0
    stamp: bool = False
    stream: int = 0
    wait: int = 0
    post: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Controller code between commands: waits for all before it; what follows comes after it.

    Parameters
    ----------
    words : tuple of int
        Instructions, position-independent, that fall through at their end.
    """

    words: tuple[int, ...]


@dataclass(slots=True)
class _Access:
    start: int
    stop: int
    engine: Engine
    index: int  # position among the engine's own commands
    write: bool


class _Tracker:
    """Who touched what last, per memory; superseded accesses are dropped."""

    def __init__(self) -> None:
        self._memories: dict[str, list[_Access]] = defaultdict(list)

    def conflicts(self, span: Span, write: bool) -> Iterable[_Access]:
        """Return the accesses that a new one to `span` must come after."""
        for access in self._memories[span.memory]:
            if (write or access.write) and access.start < span.stop and span.start < access.stop:
                yield access

    def record(self, span: Span, engine: Engine, index: int, write: bool) -> None:
        """Note an access that comes after all its conflicts."""
        kept = []
        for access in self._memories[span.memory]:
            inside = span.start <= access.start and access.stop <= span.stop
            # What a covering write came after need not be remembered, nor an engine's earlier
            # access of the same kind: later accesses that wait for this one wait for those too.
            if inside and (write or (access.engine == engine and not access.write)):
                continue
            kept.append(access)
        kept.append(_Access(span.start, span.stop, engine, index, write))
        self._memories[span.memory] = kept


def order(steps: Sequence[Step | Call]) -> None:
    """Fill the token masks so that every conflict between steps is ordered.

    Program order is the order that must hold. A token is placed only where no earlier token
    already implies the order (vector clocks), so the tokens of a pair of engines match first to
    first, second to second.

    Raises
    ------
    RuntimeError
        When a token counter could pass its limit (an internal fault of the scheduler).
    """
    tracker = _Tracker()
    engines = len(Engine)
    by_engine: list[list[Step]] = [[] for _ in range(engines)]
    knows_at_start: list[list[list[int]]] = [[] for _ in range(engines)]
    clock = [[-1] * engines for _ in range(engines)]  # what each engine knows to be complete

    for step in steps:
        if isinstance(step, Call):
            clock = [[len(own) - 1 for own in by_engine] for _ in range(engines)]
            continue
        engine = step.engine
        index = len(by_engine[engine])
        needed = [-1] * engines
        for spans, write in ((step.reads, False), (step.writes, True)):
            for span in spans:
                for access in tracker.conflicts(span, write):
                    if access.engine == engine and (
                        span.memory == "acc" or (write and access.write)
                    ):
                        continue  # in order by construction of the engine
                    needed[access.engine] = max(needed[access.engine], access.index)
        known = clock[engine]
        step.wait = step.post = 0
        for producer in Engine:
            if needed[producer] <= known[producer]:
                continue
            step.wait |= 1 << producer
            if producer == engine:
                known[engine] = index - 1
                continue
            source = needed[producer]
            by_engine[producer][source].post |= 1 << engine
            learned = knows_at_start[producer][source]
            for e in range(engines):
                known[e] = max(known[e], learned[e])
            known[producer] = max(known[producer], source)
        by_engine[engine].append(step)
        knows_at_start[engine].append(list(known))
        for span in step.reads:
            tracker.record(span, engine, index, False)
        for span in step.writes:
            tracker.record(span, engine, index, True)
    _check_token_limit(steps)


def _check_token_limit(steps: Sequence[Step | Call]) -> None:
    # The consumer lags behind program order by at most what its queue holds.
    margin = 64
    level: dict[tuple[int, int], int] = defaultdict(int)
    for step in steps:
        if isinstance(step, Call):
            continue
        for other in Engine:
            if step.wait >> other & 1 and other != step.engine:
                level[other, step.engine] -= 1
            if step.post >> other & 1:
                level[step.engine, other] += 1
                if level[step.engine, other] > TOKEN_LIMIT - margin:
                    raise RuntimeError(
                        f"token counter {step.engine.name} to {other.name} passes its limit"
                    )
