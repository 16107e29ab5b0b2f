"""Commands as their difference from what was before: equal turns of a loop become equal symbols."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accel.compiler.schedule import Call, Step
from accel.isa import COMMANDS, Engine

__all__ = ["LOAD_STREAMS", "Address", "Issue", "Symbol", "Trace", "Update", "immediate", "signed"]

LOAD_STREAMS = 4
"""Streams of loads whose addresses are kept apart."""


@dataclass(frozen=True)
class Update:
    """Add `low` and `high` to a register pair."""

    pair: int
    low: int
    high: int


@dataclass(frozen=True)
class Address:
    """Advance a load stream's addresses, and set register pair 0 to them."""

    stream: int
    low: int
    high: int


@dataclass(frozen=True)
class Issue:
    """One command as its difference from what was before.

    It is equal in every turn of a regular loop, so that loops can be found. Loads alternate between
    streams (inputs, weights), each of which is regular by itself: their addresses are kept per
    stream in the controller's registers.
    """

    engine: Engine
    address: Address | None
    updates: tuple[Update, ...]
    wait: int
    post: int
    stamp: bool

    @property
    def values(self) -> Iterator[int]:
        """Every operand that takes a register, once per use."""
        for update in self.updates:
            yield from (v for v in (update.low, update.high) if v)
        if self.address is not None:
            yield from (v for v in (self.address.low, self.address.high) if not immediate(v))


Symbol = Issue | Call


class Trace:
    """The steps as differences, and the load engine's registers after each of them."""

    def __init__(self, steps: Sequence[Step | Call]) -> None:
        self.issues = list(differences(steps))
        self._loads = [COMMANDS[Engine.LOAD].encode({})]
        for step in steps:
            if isinstance(step, Step) and step.engine == Engine.LOAD:
                self._loads.append(COMMANDS[Engine.LOAD].encode(step.values))
            else:
                self._loads.append(self._loads[-1])

    def load_state(self, position: int) -> list[int]:
        """Return the load engine's registers before step number `position`."""
        return self._loads[position]


def differences(steps: Sequence[Step | Call]) -> Iterator[Symbol]:
    state = {e: [0] * COMMANDS[e].registers for e in Engine}
    streams = [(0, 0)] * LOAD_STREAMS
    for step in steps:
        if isinstance(step, Call):
            yield step
            continue
        new = COMMANDS[step.engine].encode(step.values)
        old = state[step.engine]
        address = None
        first = 0
        if step.engine == Engine.LOAD:
            first = 1
            low, high = streams[step.stream]
            if old[:2] != new[:2]:
                address = Address(
                    step.stream, (new[0] - low) & 0xFFFFFFFF, (new[1] - high) & 0xFFFFFFFF
                )
                streams[step.stream] = (new[0], new[1])
        delta = [(n - o) & 0xFFFFFFFF for n, o in zip(new, old, strict=True)]
        updates = tuple(
            Update(pair, delta[2 * pair], delta[2 * pair + 1])
            for pair in range(first, len(delta) // 2)
            if delta[2 * pair] or delta[2 * pair + 1]
        )
        state[step.engine] = new
        yield Issue(step.engine, address, updates, step.wait, step.post, step.stamp)


def immediate(value: int) -> bool:
    """Return whether an addition takes a 32-bit pattern without a register."""
    return -2048 <= signed(value) < 2048


def signed(value: int) -> int:
    """Return a 32-bit pattern as a signed number."""
    return value - (1 << 32) if value >> 31 else value
