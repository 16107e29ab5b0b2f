"""How long each engine takes: when it takes a command, works on it, and completes it.

Every lane follows its engine's pipeline as docs/architecture.md describes it. Cycle numbers are
those of the hardware: a command that is on offer in cycle `offered` may be taken in that cycle.
"""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from accel.config import Config
from accel.isa import PARAM_WORDS, Operation
from sim.engines import Action
from sim.engines.dma import Dma
from sim.engines.matmul import Matmul
from sim.engines.vector import Vector
from sim.ordering import CommandRecord

__all__ = ["START_CYCLES", "Lane", "LoadLane", "MatmulLane", "StoreLane", "VectorLane", "Work"]

WRITES_IN_FLIGHT = 4
"""Bursts of the store engine without a response."""

START_CYCLES = 2
"""From a matmul command's acceptance to its first word, if its weights are there."""

PARAM_CYCLES = PARAM_WORDS + 1
"""From the first request for a slice's parameters to the last of them."""

UNDER_WAY = 31
"""Cycles after a depthwise command's last word before one with other taps may begin."""

RECENT = 6
"""Commands of an engine among which those are that another one's command can meet."""

A = TypeVar("A", bound=Action)


@dataclass(slots=True)
class Work(Generic[A]):
    """One command in time.

    Parameters
    ----------
    record : CommandRecord
        `start` and `end` are kept up to date.
    action : Action
    offered, taken : int
        When it is on offer, and when the engine has it, so that its registers may change.
    first, last : int
        Its first and last access to a chip memory.
    fetches : tuple of int
        When parameters are read from the weight memory.
    stall : int
        Cycles between `first` and `last` in which it waited for weights.
    """

    record: CommandRecord
    action: A
    offered: int
    taken: int
    first: int
    last: int
    fetches: tuple[int, ...] = ()
    stall: int = 0


class Lane(ABC, Generic[A]):
    """One engine.

    Parameters
    ----------
    config : Config
    latency : int
        Cycles of a memory access.
    queue_depth : int
        Entries of its queue.

    Members
    -------
    left_queue : deque of int
        When the last entries left the queue.
    works : list of Work
        Its commands, in order.
    """

    def __init__(self, config: Config, latency: int, queue_depth: int) -> None:
        self._config = config
        self._latency = latency
        self.left_queue: deque[int] = deque(maxlen=queue_depth)
        self.works: list[Work[A]] = []

    @property
    def taken(self) -> int:
        """When the last command was taken."""
        return self.works[-1].taken if self.works else -1

    @property
    def last(self) -> int:
        """The last access of the last command."""
        return self.works[-1].last if self.works else -1

    @property
    def end(self) -> int:
        """When the last command completes."""
        return self.works[-1].record.end if self.works else -1

    @property
    def recent(self) -> list[Work[A]]:
        """The last commands."""
        return self.works[-RECENT:]

    @abstractmethod
    def begin(self, record: CommandRecord, action: A, offered: int) -> Work[A]:
        """Add a command that is on offer from a cycle on."""

    @staticmethod
    def reads_scratchpad(action: A) -> bool:
        """Whether a command reads the scratchpad, through a port that others go before."""
        return True

    def delay(self, work: Work[A], cycles: int) -> None:
        """Move a command's last access back, and the commands behind it as far as they must."""
        number = next(n for n in range(len(self.works) - 1, -1, -1) if self.works[n] is work)
        work.last += cycles
        work.record.end += cycles
        for later in self.works[number + 1 :]:
            cycles = max(min(cycles, self.works[number].last + 1 - later.first), 0)
            later.first += cycles
            later.taken += cycles
            later.last += cycles
            later.record.end += cycles
            number += 1

    def block(self, works: list[Work[A]], begin: int, end: int, words: int) -> None:
        """Let some commands read only so many words of the scratchpad in these cycles."""
        for work in works:
            at = max(work.first, begin)
            left = work.last + 1 - at
            if left > 0 and at <= end and self.reads_scratchpad(work.action):
                room = (end + 1 - at) * words // (end + 1 - begin)
                if left > room:
                    self.delay(work, end - at - room + 1)
                else:
                    self.delay(work, left * (end + 1 - at) // room - left)


class _Bursts:
    """The address channel: rows become bursts, of which some may be outstanding."""

    def __init__(self, in_flight: int) -> None:
        self._done: deque[int] = deque(maxlen=in_flight)
        self._row_free = 0

    def row(self, ready: int) -> int:
        """Return when a row is taken that is there from a cycle on."""
        return max(ready, self._row_free)

    def ask(self, row: int) -> int:
        """Return when the next burst of the row that was taken then is on the bus."""
        issued = max(row + 1, self._row_free)
        if len(self._done) == self._done.maxlen:
            issued = max(issued, self._done[0] + 1)
        self._row_free = issued + 1
        return issued + 1

    def done(self, cycle: int) -> None:
        """Note when that burst is done."""
        self._done.append(cycle)


class LoadLane(Lane[Dma]):
    """Memory to chip: bursts are asked for ahead, data come in order, one beat a cycle."""

    def __init__(self, config: Config, latency: int, queue_depth: int) -> None:
        super().__init__(config, latency, queue_depth)
        self._bursts = _Bursts(config.reads_in_flight)
        self._data_free = 0

    def begin(self, record: CommandRecord, action: Dma, offered: int) -> Work[Dma]:
        """See `Lane`. The command stays on offer until its last row has been walked."""
        row, first = offered + 2, -1
        for bursts in action.bursts:
            row = self._bursts.row(row)
            for cycles in bursts:
                asked = self._bursts.ask(row)
                begin = max(asked + self._latency, self._data_free)
                first = begin if first < 0 else first
                self._data_free = begin + cycles
                self._bursts.done(self._data_free - 1)
            row += 1
        # From the last beat: three to the word at its memory, two until it can be read.
        record.end = self._data_free - 1 + 5
        return Work(record, action, offered, row, first, self._data_free - 1)


class StoreLane(Lane[Dma]):
    """Chip to memory: words are read ahead, a burst is done with its response."""

    def __init__(self, config: Config, latency: int, queue_depth: int) -> None:
        super().__init__(config, latency, queue_depth)
        self._bursts = _Bursts(WRITES_IN_FLIGHT)

    def begin(self, record: CommandRecord, action: Dma, offered: int) -> Work[Dma]:
        """See `Lane`. Its accesses are the beats."""
        row, first, free = offered + 2, -1, self.last + 1
        for bursts in action.bursts:
            row = self._bursts.row(row)
            for cycles in bursts:
                asked = self._bursts.ask(row)
                # From a row to its first word's request two cycles, to its beat seven more.
                begin = max(asked, row + 9, free)
                first = begin if first < 0 else first
                free = begin + cycles
                self._bursts.done(free + self._latency)
            row += 1
        record.end = free + self._latency + 1
        return Work(record, action, offered, row, first, free - 1)


class MatmulLane(Lane[Matmul]):
    """Tiles follow one another at the pace of their positions, or of their weights."""

    def __init__(self, config: Config, latency: int, queue_depth: int) -> None:
        super().__init__(config, latency, queue_depth)
        self._burst = -config.rows  # the first word of the last tile's weights
        self._taps = 0

    def begin(self, record: CommandRecord, action: Matmul, offered: int) -> Work[Matmul]:
        """See `Lane`."""
        rows, cols = self._config.rows, self._config.cols
        taken, swap = offered, -cols
        if self.works:
            before = self.works[-1]
            taken, swap = max(taken, before.last + 1), self._swap(before)
        if action.groups > 1 and action.taps:
            # Words on their way through the array are delayed as their command's taps say.
            if self.works and action.taps != self._taps:
                taken = max(taken, self.last + 1 + UNDER_WAY)
            self._taps = action.taps
        # The first tile's weights: its address is looked at when the last tile has begun, row 0's
        # shadow registers are free when its cells have swapped, the port when that tile is read.
        look = max(offered, swap + 1)
        self._burst = 1 + max(look + 1, swap + cols - 3, self._burst + rows - 1)
        first = max(taken + START_CYCLES, self._burst + 2)
        period = self._period(action)
        last = first + (action.tiles - 1) * period + action.positions - 1
        if action.tiles > 1:
            self._burst = last + 1 - action.positions - period + cols - 2
        record.end = last + rows + cols + 5
        stall = (action.tiles - 1) * (period - action.positions)
        return Work(record, action, offered, taken, first, last, stall=stall)

    def _period(self, action: Matmul) -> int:
        """Return the cycles from tile to tile."""
        return max(action.positions, self._config.rows, self._config.cols)

    @staticmethod
    def _swap(work: Work[Matmul]) -> int:
        """Return when a command's last tile begins."""
        return work.last + 1 - work.action.positions

    def yield_port(self, fetches: tuple[int, ...], works: list[Work[Matmul]]) -> None:
        """Leave the weight memory to a slice's parameters at each of these times.

        They go first between two tiles. A tile of many positions has its weights in time anyway.
        """
        for work in works:
            free = 2 * self._period(work.action) - self._config.rows - self._config.cols
            lost = max(PARAM_WORDS - free, 0)
            for fetch in fetches if lost and work.action.tiles > 1 else ():
                if work.first <= fetch < self._swap(work):
                    work.stall += lost
                    self._burst += lost
                    self.delay(work, lost)


PATHS = {
    Operation.ACC: (0, 5, 12),
    Operation.SUM: (1, 4, 13),
    Operation.MAX: (1, 4, 13),
    Operation.MIN: (1, 4, 13),
    Operation.ADD: (2, 4, 15),
    Operation.TABLE: (2, 4, 15),
    Operation.MUL: (3, 4, 17),
}
"""By operation: the operands' path, cycles from a request to its answer, from there to the write."""

PATH_IDLE = (7, 7, 9, 11)
"""By path: idle cycles before a command of another path."""


class VectorLane(Lane[Vector]):
    """An operand a cycle; parameters are fetched a slice ahead."""

    def __init__(self, config: Config, latency: int, queue_depth: int) -> None:
        super().__init__(config, latency, queue_depth)
        self._staging_free = 0
        self._path = 0

    @staticmethod
    def reads_scratchpad(action: Vector) -> bool:
        """See `Lane`."""
        return action.operation != Operation.ACC

    def begin(self, record: CommandRecord, action: Vector, offered: int) -> Work[Vector]:
        """See `Lane`."""
        path, answer, write = PATHS[action.operation]
        operands = 2 if path > 1 and action.operation != Operation.TABLE else 1
        own = bool(action.parameter_groups)
        fetch = max(offered, self._staging_free) + 1
        fetches = [fetch] if own else []
        # Its queue hears of it when the first slice is loaded.
        taken = load = max(fetch + PARAM_CYCLES, self.last + 1) + 1
        if path != self._path:
            load = max(load, self.last + PATH_IDLE[self._path])
        self._path = path

        # A slice's parameters may be replaced once its first result is reduced.
        reduced = answer + (2 if path < 2 else 4) + action.window * operands
        count = action.elements * operands // action.slices
        first, last = load + 1, load + count
        self._staging_free = load + reduced
        for _ in range(1, action.slices if own else 1):
            fetches.append(self._staging_free + 1)
            load = max(last, self._staging_free + 1 + PARAM_CYCLES)
            last = load + count
            self._staging_free = load + reduced
        if not own:
            last += count * (action.slices - 1)
        record.end = last + answer + write + 2
        return Work(record, action, offered, taken, first, last, tuple(fetches))
