"""The checker: what tokens order, and what a program does without it.

Commands execute in program order here, which is always a legal schedule. Hardware may choose
another one, so every command carries a vector clock: for each engine, the last command that is
certainly complete when this one starts. It follows from the engines' order, from tokens (each
counter matched first in, first out) and from TWAIT. A word read or overwritten must have been
written, or read, by commands within that clock.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.isa import TOKEN_LIMIT, Engine
from sim.engines import Access, Action
from sim.errors import ProgramError
from sim.spaces import Memory, Words

__all__ = ["CommandRecord", "Ordering"]

Clock = list[int]
"""For each engine, the last of its commands known to be complete."""

UNCHECKED = frozenset({(Engine.MATMUL, Memory.ACCUMULATORS)})
"""An engine's accesses to its own results that the hardware interlocks."""

UNITS = {
    Memory.SCRATCHPAD: "scratchpad word",
    Memory.WEIGHTS: "weight word",
    Memory.TABLE: "table entry",
    Memory.PROGRAM: "program word",
    Memory.ACCUMULATORS: "accumulator entry",
    Memory.EXTERNAL: "memory offset",
}


@dataclass(slots=True)
class CommandRecord:
    """One command of a run.

    Parameters
    ----------
    ident : int
        Number among all commands since the machine was made, from 1 on.
    engine : Engine
    number : int
        Number among the commands of its engine in this run, from 0 on.
    pc : int
        Address of its TPUSH.
    stamp : bool
    clock : list of int
        What is complete when this command is.
    tokens : list of CommandRecord
        The commands whose tokens it took.
    start, end : int
        Estimated cycles of start and completion.
    """

    ident: int
    engine: Engine
    number: int
    pc: int
    stamp: bool = False
    clock: Clock = field(default_factory=list)
    tokens: list["CommandRecord"] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"{self.engine.name.lower()} command {self.number} (pc {self.pc:#x})"


class _Tracker:
    """Who last wrote and read each word of one memory.

    Parameters
    ----------
    words : int
    writers, readers : tuple of Engine
        Engines that can.
    """

    def __init__(
        self, words: int, writers: tuple[Engine, ...], readers: tuple[Engine, ...]
    ) -> None:
        self.written = np.zeros(words, np.bool_)
        self.writes = {engine: np.zeros(words, np.int32) for engine in writers}
        self.reads = {engine: np.zeros(words, np.int32) for engine in readers}


class Ordering:
    """Tokens, vector clocks and the last accesses of every word.

    Parameters
    ----------
    config : Config
    memory_bytes : int

    Members
    -------
    records : list of CommandRecord
        The commands of this run, in program order.
    """

    def __init__(self, config: Config, memory_bytes: int) -> None:
        load, matmul, vector, store = Engine

        def tracker(
            memory: Memory, writers: tuple[Engine, ...], readers: tuple[Engine, ...]
        ) -> _Tracker:
            return _Tracker(Memory.words(config, memory, memory_bytes), writers, readers)

        self._trackers = {
            Memory.SCRATCHPAD: tracker(Memory.SCRATCHPAD, (load, vector), (matmul, vector, store)),
            Memory.WEIGHTS: tracker(Memory.WEIGHTS, (load,), (matmul, vector)),
            Memory.TABLE: tracker(Memory.TABLE, (load,), (vector,)),
            Memory.PROGRAM: tracker(Memory.PROGRAM, (load,), ()),
            Memory.ACCUMULATORS: tracker(Memory.ACCUMULATORS, (matmul,), (matmul, vector)),
            Memory.EXTERNAL: tracker(Memory.EXTERNAL, (store,), (load,)),
        }
        self._ident = 0
        self.records: list[CommandRecord] = []
        self.begin_run()

    def begin_run(self) -> None:
        """Forget tokens and on-chip contents: what an earlier run left there is not data."""
        for memory, tracker in self._trackers.items():
            if memory != Memory.EXTERNAL:
                tracker.written.fill(False)
        self.records = []
        self._first = self._ident + 1
        self._last: Clock = [self._ident] * len(Engine)
        self._controller: Clock = [self._ident] * len(Engine)
        self._started: list[Clock] = [[self._ident] * len(Engine) for _ in Engine]
        self._tokens: dict[tuple[int, int], deque[CommandRecord]] = {
            (producer, consumer): deque() for producer in Engine for consumer in Engine
        }

    def host_write(self, first: int, count: int) -> None:
        """Note that the host wrote `count` bytes from byte `first` of the memory on."""
        self._trackers[Memory.EXTERNAL].written[first // 4 : -(-(first + count) // 4)] = True

    def push(
        self, engine: Engine, wait: int, post: int, stamp: bool, pc: int
    ) -> CommandRecord:
        """Take and give the tokens of a TPUSH; return the command's record.

        Raises
        ------
        ProgramError
            When a token is not there, or a counter would hold more than TOKEN_LIMIT.
        """
        clock = self._started[engine]
        _merge(clock, self._controller)
        self._ident += 1
        number = sum(r.engine == engine for r in self.records[-1:]) and self._numbers(engine)
        record = CommandRecord(self._ident, engine, number, pc, stamp)
        for producer in Engine:
            if not wait >> producer & 1:
                continue
            if producer == engine:
                clock[engine] = self._last[engine]
                continue
            tokens = self._tokens[producer, engine]
            if not tokens:
                raise ProgramError(
                    f"waits for a token from {producer.name.lower()} that no earlier command posts"
                )
            token = tokens.popleft()
            _merge(clock, token.clock)
            record.tokens.append(token)
        record.clock = list(clock)
        record.clock[engine] = self._ident
        for consumer in Engine:
            if post >> consumer & 1:
                tokens = self._tokens[engine, consumer]
                tokens.append(record)
                if len(tokens) > TOKEN_LIMIT:
                    raise ProgramError(
                        f"posts token {len(tokens)} to {consumer.name.lower()} and none of them "
                        f"is taken: a counter holds {TOKEN_LIMIT}"
                    )
        self.records.append(record)
        self._last[engine] = self._ident
        return record
