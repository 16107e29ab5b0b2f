"""Commands in program order, what each reads and writes, and the tokens that order them."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    resident : bool
        A load of weights that later inferences find in their place.
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
    resident: bool = False
    wait: int = 0
    post: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """Controller code between commands: waits for all before it; what follows comes after it.

    Parameters
    ----------
    words : tuple of int
        Instructions, position-independent, that fall through at their end.
    """

    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Touched:
    """Who touched some addresses last: positions among the engines' own commands, -1 for never.

    What the last write came after need not be remembered, nor an engine's earlier reads: later
    accesses that wait for the last ones wait for those too.
    """

    writer: int
    written: int
    reads: tuple[int, ...]


# Commands by which a consumer lags behind the program: what its queue holds, and more.
_QUEUED = 64
_UNTOUCHED = _Touched(-1, -1, (-1,) * len(Engine))


class _History:
    """One memory's addresses in stretches that were touched alike."""

    def __init__(self) -> None:
        self._starts = [-1]
        self._states = [_UNTOUCHED]

    def _cut(self, address: int) -> int:
        """Return the number of the stretch that begins at an address."""
        place = bisect_left(self._starts, address)
        if place == len(self._starts) or self._starts[place] != address:
            self._starts.insert(place, address)
            self._states.insert(place, self._states[place - 1])
        return place

    def touched(self, span: Span) -> Iterable[_Touched]:
        """Return what is known of a span's addresses."""
        first = bisect_right(self._starts, span.start) - 1
        return dict.fromkeys(self._states[first : bisect_left(self._starts, span.stop)])

    def read(self, span: Span, engine: int, index: int) -> None:
        """Note a read."""
        first, last = self._cut(span.start), self._cut(span.stop)
        for place in range(first, last):
            old = self._states[place]
            reads = (*old.reads[:engine], index, *old.reads[engine + 1 :])
            self._states[place] = _Touched(old.writer, old.written, reads)

    def write(self, span: Span, engine: int, index: int) -> None:
        """Note a write that comes after all that it conflicts with."""
        first, last = self._cut(span.start), self._cut(span.stop)
        self._starts[first:last] = [span.start]
        self._states[first:last] = [_Touched(engine, index, _UNTOUCHED.reads)]


def _needed(step: Step, histories: Mapping[str, _History]) -> list[int]:
    """Return for each engine the last command that a step must come after, or -1."""
    needed = [-1] * len(Engine)
    for write, spans in enumerate((step.reads, step.writes)):
        for span in spans:
            # Within one engine, writes and all uses of the accumulators are in order by themselves.
            ordered = span.memory == "acc"
            for state in histories[span.memory].touched(span):
                if state.writer >= 0 and not (state.writer == step.engine and (ordered or write)):
                    needed[state.writer] = max(needed[state.writer], state.written)
                if write:
                    for engine, index in enumerate(state.reads):
                        if not (engine == step.engine and ordered):
                            needed[engine] = max(needed[engine], index)
    return needed


def order(steps: Sequence[Step | Call]) -> None:
    """Fill the token masks so that every conflict between steps is ordered.

    Program order is the order that must hold. A token is placed only where no earlier token
    already implies the order (vector clocks), so the tokens of a pair of engines match first to
    first, second to second.
    """
    # Where one engine has hundreds of commands before the other's first, a token for each would
    # not fit the counter: then one stands for several.
    grain = 1
    _place_tokens(steps, grain)
    while (most := _most_tokens(steps)) > TOKEN_LIMIT - _QUEUED:
        grain *= -(-most // (TOKEN_LIMIT - _QUEUED))
        _place_tokens(steps, grain)


def _place_tokens(steps: Sequence[Step | Call], grain: int) -> None:
    """Fill the token masks; who waits for a command waits for the last of its `grain` too.

    Those come before the waiting step in the program, so that this cannot deadlock; the larger
    the grain, the fewer tokens are under way, down to one for each pair of engines.
    """
    histories: dict[str, _History] = defaultdict(_History)
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
        needed = _needed(step, histories)
        known = clock[engine]
        step.wait = step.post = 0
        for producer in Engine:
            if needed[producer] <= known[producer]:
                continue
            step.wait |= 1 << producer
            if producer == engine:
                known[engine] = index - 1
                continue
            block_end = (needed[producer] // grain + 1) * grain - 1
            source = min(block_end, len(by_engine[producer]) - 1)
            by_engine[producer][source].post |= 1 << engine
            learned = knows_at_start[producer][source]
            for e in range(engines):
                known[e] = max(known[e], learned[e])
            known[producer] = max(known[producer], source)
        by_engine[engine].append(step)
        knows_at_start[engine].append(list(known))
        # Reads last: the next write of this engine, which does not wait for this one's writes, waits
        # for them.
        for span in step.writes:
            histories[span.memory].write(span, engine, index)
        for span in step.reads:
            histories[span.memory].read(span, engine, index)


def _most_tokens(steps: Sequence[Step | Call]) -> int:
    """Return the most tokens of one counter under way at any place of the program."""
    most = 0
    level: dict[tuple[int, int], int] = defaultdict(int)
    for step in steps:
        if isinstance(step, Call):
            continue
        for other in Engine:
            if step.wait >> other & 1 and other != step.engine:
                level[other, step.engine] -= 1
            if step.post >> other & 1:
                level[step.engine, other] += 1
                most = max(most, level[step.engine, other])
    return most
