"""The checker: what tokens order, and what a program does without it.

Commands execute in program order here, which is always a legal schedule. Hardware may choose
another one, so every command carries a vector clock: for each engine, the last command that is
certainly complete when this one starts. It follows from the engines' order, from tokens (each
counter matched first in, first out) and from TWAIT. A word read or overwritten must have been
written, or read, by commands within that clock. The controller's own accesses to the scratchpad
happen at once: its clock is what it waited for, and commands pushed later start with that clock.
"""

from collections import deque
from dataclasses import dataclass, field

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
        self._pushed = [0] * len(Engine)
        self._last: Clock = [self._ident] * len(Engine)
        self._controller: Clock = [self._ident] * len(Engine)
        self._started: list[Clock] = [[self._ident] * len(Engine) for _ in Engine]
        self._tokens: dict[tuple[int, int], deque[CommandRecord]] = {
            (producer, consumer): deque() for producer in Engine for consumer in Engine
        }

    def keep(self, memory: Memory, words: Words) -> None:
        """Take words that an earlier run wrote for data of this one."""
        self._trackers[memory].written[words] = True

    def host_write(self, first: int, count: int) -> None:
        """Note that the host wrote `count` bytes from byte `first` of the memory on."""
        self._trackers[Memory.EXTERNAL].written[first // 4 : -(-(first + count) // 4)] = True

    def count(self, engine: Engine) -> int:
        """Return how many commands the engine has been given in this run."""
        return self._pushed[engine]

    def push(self, engine: Engine, wait: int, post: int, stamp: bool, pc: int) -> CommandRecord:
        """Take and give the tokens of a TPUSH; return the command's record.

        Raises
        ------
        ProgramError
            When a token is not there, or a counter would hold more than TOKEN_LIMIT.
        """
        clock = self._started[engine]
        _merge(clock, self._controller)
        taken = []
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
            taken.append(tokens.popleft())
            _merge(clock, taken[-1].clock)
        self._ident += 1
        complete = list(clock)
        complete[engine] = self._ident
        record = CommandRecord(
            self._ident, engine, self._pushed[engine], pc, stamp, complete, taken
        )
        for consumer in Engine:
            if post >> consumer & 1:
                tokens = self._tokens[engine, consumer]
                tokens.append(record)
                if len(tokens) > TOKEN_LIMIT:
                    raise ProgramError(
                        f"posts more tokens to {consumer.name.lower()} than the {TOKEN_LIMIT} that "
                        "a counter holds"
                    )
        self.records.append(record)
        self._pushed[engine] += 1
        self._last[engine] = self._ident
        return record

    def access(self, record: CommandRecord, action: Action, memory_offset: int) -> None:
        """Check all that the command reads and writes, and remember it.

        The words must lie inside their memories.

        Parameters
        ----------
        record : CommandRecord
            The latest command.
        action : Action
        memory_offset : int
            Where MEMORY_BASE lies in the external memory, in bytes.

        Raises
        ------
        ProgramError
            When the command reads words that were never written, or touches words that another
            command writes or reads and no token orders the two.
        """
        engine, clock = record.engine, self._started[record.engine]
        reads = [(a, _placed(a, memory_offset)) for a in action.reads]
        writes = [(a, _placed(a, memory_offset)) for a in action.writes]
        for access, words in reads:
            tracker = self._trackers[access.memory]
            written = tracker.written[words]
            if not written.all():
                word = _name(access, int(np.argmin(written)))
                raise ProgramError(f"reads {word}, which was never written")
            self._check("reads", "writes", tracker.writes, access, words, engine, clock)
        for access, words in writes:
            tracker = self._trackers[access.memory]
            # Engines write in order: only another engine's write can come too late.
            others = {e: last for e, last in tracker.writes.items() if e != engine}
            self._check("overwrites", "writes", others, access, words, engine, clock)
            self._check("overwrites", "reads", tracker.reads, access, words, engine, clock)
        for access, words in reads:
            readers = self._trackers[access.memory].reads
            if engine in readers:
                readers[engine][words] = record.ident
        for access, words in writes:
            tracker = self._trackers[access.memory]
            tracker.writes[engine][words] = record.ident
            tracker.written[words] = True

    def wait(self, mask: int) -> None:
        """Note a TWAIT: what it waited for is complete before all that the controller does next."""
        for engine in Engine:
            if mask >> engine & 1 and self._last[engine] >= self._first:
                _merge(self._controller, self.records[self._last[engine] - self._first].clock)

    def controller_read(self, word: int) -> None:
        """Check that the controller may read a scratchpad word.

        Raises
        ------
        ProgramError
            When it was never written, or by a command that the controller did not wait for.
        """
        tracker = self._trackers[Memory.SCRATCHPAD]
        if not tracker.written[word]:
            raise ProgramError(f"reads scratchpad word {word}, which was never written")
        self._check_controller("reads", "writes", tracker.writes, word)

    def controller_write(self, word: int, defines: bool) -> None:
        """Check that the controller may write a scratchpad word.

        Parameters
        ----------
        word : int
        defines : bool
            It writes bytes of the word, so that the word counts as written from now on, and not
            only bytes of the slot past it.

        Raises
        ------
        ProgramError
            When a command that the controller did not wait for writes or reads the word.
        """
        tracker = self._trackers[Memory.SCRATCHPAD]
        self._check_controller("overwrites", "writes", tracker.writes, word)
        self._check_controller("overwrites", "reads", tracker.reads, word)
        if defines:
            tracker.written[word] = True

    def _check_controller(
        self, verb: str, other_verb: str, last: dict[Engine, npt.NDArray[np.int32]], word: int
    ) -> None:
        """Raise ProgramError unless the controller waited for the last accesses of the word."""
        for other, idents in last.items():
            known = self._controller[other]
            if known < self._last[other] and idents[word] > known:
                record = self.records[int(idents[word]) - self._first]
                raise ProgramError(
                    f"{verb} scratchpad word {word}, which {record} {other_verb}: TWAIT must come "
                    "first"
                )

    def is_known_complete(self, record: CommandRecord) -> bool:
        """Return whether the controller has waited for the command, directly or by tokens."""
        return self._controller[record.engine] >= record.ident

    def finish(self) -> None:
        """Check the end of a program.

        Raises
        ------
        ProgramError
            When tokens are left, or commands that nothing waited for.
        """
        for (producer, consumer), tokens in self._tokens.items():
            if tokens:
                raise ProgramError(
                    f"leaves {len(tokens)} tokens from {Engine(producer).name.lower()} to "
                    f"{Engine(consumer).name.lower()}; the last one is of {tokens[-1]}"
                )
        for engine in Engine:
            if self._controller[engine] < self._last[engine]:
                record = self.records[self._last[engine] - self._first]
                raise ProgramError(f"ends the program, and nothing waited for {record}")

    def _check(
        self,
        verb: str,
        other_verb: str,
        last: dict[Engine, npt.NDArray[np.int32]],
        access: Access,
        words: Words,
        engine: Engine,
        clock: Clock,
    ) -> None:
        """Raise ProgramError unless the last accesses of all words are complete."""
        for other, idents in last.items():
            exempt = other == engine and (engine, access.memory) in UNCHECKED
            # Nothing of that engine is under way: the common case costs nothing.
            if exempt or clock[other] >= self._last[other]:
                continue
            late = idents[words] > clock[other]
            if late.any():
                place = int(np.argmax(late))
                record = self.records[int(idents[words][place]) - self._first]
                order = (
                    f"its wait mask does not name {engine.name.lower()} itself"
                    if other == engine
                    else "no token orders them"
                )
                word = _name(access, place)
                raise ProgramError(f"{verb} {word}, which {record} {other_verb}, and {order}")


def _merge(clock: Clock, other: Clock) -> None:
    """Let a clock know what another one knows."""
    clock[:] = map(max, clock, other)


def _placed(access: Access, memory_offset: int) -> Words:
    """Return the words as indices of the tracker."""
    if access.memory != Memory.EXTERNAL or not memory_offset:
        return access.words
    base = memory_offset // 4
    if isinstance(access.words, slice):
        return slice(access.words.start + base, access.words.stop + base)
    return access.words + base


def _name(access: Access, place: int) -> str:
    """Return the text for the word at a place in the access."""
    words = access.words
    word = words.start + place if isinstance(words, slice) else int(words[place])
    if access.memory == Memory.EXTERNAL:
        return f"{UNITS[access.memory]} {4 * word:#x}"
    return f"{UNITS[access.memory]} {word}"
