"""An estimate of the cycles that a program takes.

Each command has a throughput part, which keeps its engine, and a latency part, during which the
next command may already run. A command starts when its queue has come to it, its tokens are there
and its engine is free. Conflicts between engines at a memory port or at the bus are left out.
"""

from collections import deque
from dataclasses import dataclass
from functools import lru_cache

from accel.config import Config
from accel.isa import PARAM_WORDS, Engine, Operation
from sim.activity import Activities, Counts
from sim.engines import Action
from sim.engines.dma import Dma
from sim.engines.matmul import Matmul
from sim.engines.vector import Vector
from sim.ordering import CommandRecord

__all__ = ["Cost", "Timeline", "cost"]

QUEUE_CYCLES = 2
"""From issue to the head of an empty queue."""

START_CYCLES = 4
"""From a command's acceptance to its first access."""

MATMUL_IDLE = 2
"""Between two matmul commands."""

VECTOR_PIPELINE = 16
"""From a vector operand's address to its result in the scratchpad."""


@dataclass(frozen=True)
class Cost:
    """Cycles that a command keeps its engine, and cycles until its results are visible."""

    busy: int
    latency: int


@lru_cache(maxsize=2048)
def cost(config: Config, action: Action, memory_latency: int) -> Cost:
    """Return what a command costs, by the formulas of docs/architecture.md."""
    match action:
        case Dma():
            # A short burst is bound by how many of them may be outstanding.
            waiting = action.bursts * memory_latency // config.reads_in_flight
            return Cost(max(action.transfer_cycles, waiting), memory_latency + 2 * START_CYCLES)
        case Matmul():
            per_tile = max(action.positions, config.rows, config.cols)
            return Cost(action.tiles * per_tile + MATMUL_IDLE, config.rows + config.cols + 5)
        case Vector():
            per_element = 2 if action.operation in (Operation.ADD, Operation.MUL) else 1
            parameters = action.parameter_groups * PARAM_WORDS
            return Cost(action.elements * per_element + parameters, START_CYCLES + VECTOR_PIPELINE)
    raise TypeError(f"no cost for {action!r}")


class _Lane:
    """One engine and its queue."""

    def __init__(self, depth: int) -> None:
        self.left_queue: deque[int] = deque(maxlen=depth)
        self.accepted = 0
        self.free = 0
        self.end = 0
        self.busy = 0


class Timeline:
    """When things happen, in cycles since the start of a run.

    Parameters
    ----------
    config : Config
    memory_latency : int
        Cycles from a read request on the memory port to its first beat.
    """

    def __init__(self, config: Config, memory_latency: int) -> None:
        self._config = config
        self._latency = memory_latency
        self.begin_run()

    def begin_run(self) -> None:
        """Start at cycle 0 with all engines free."""
        self._lanes = [_Lane(self._config.queue_depth) for _ in Engine]
        self._lanes[Engine.LOAD] = _Lane(self._config.load_queue_depth)
        self._stamps: list[int] = []
        self._activities = Activities()

    @property
    def busy(self) -> dict[Engine, int]:
        """Cycles that each engine has worked."""
        return {engine: self._lanes[engine].busy for engine in Engine}

    @property
    def stamps(self) -> list[int]:
        """When flagged commands completed, in that order."""
        return sorted(self._stamps)

    def count(self, cycles: int) -> Counts:
        """Return what each of the run's cycles went to, as the hardware's counters would."""
        return self._activities.count(cycles, self.stamps)

    def write(self, engine: Engine, now: int) -> int:
        """Issue a register write at `now`; return when the queue takes it."""
        lane = self._lanes[engine]
        issued = self._room(lane, now)
        # A command on offer is the register file itself: it must be taken before a change.
        lane.left_queue.append(max(self._reach(lane, issued), lane.accepted))
        return issued

    def push(self, record: CommandRecord, wait_self: bool, action: Action, now: int) -> int:
        """Issue a command at `now`; fill in its record; return when the queue takes it."""
        lane = self._lanes[record.engine]
        issued = self._room(lane, now)
        reached = max(self._reach(lane, issued), lane.accepted)
        offered = max(reached, *(t.end for t in record.tokens), 0)
        producers = [(t.engine, t.end) for t in record.tokens]
        if wait_self:
            offered = max(offered, lane.end)
            producers.append((record.engine, lane.end))
        for producer, end in producers:
            if end > reached:
                self._activities.block(record.engine, producer, reached, end)
        lane.left_queue.append(offered)
        price = cost(self._config, action, self._latency)
        record.start = lane.accepted = max(offered + 1, lane.free)
        lane.free = record.start + price.busy
        record.end = lane.end = max(lane.free + price.latency, lane.end)
        lane.busy += price.busy
        self._activities.work(record.engine, offered, record.end)
        if isinstance(action, Matmul):
            first = record.start + MATMUL_IDLE
            last = first + action.tiles * action.positions
            self._activities.stream(offered, first, last, lane.free)
        if record.stamp:
            self._stamps.append(record.end)
        return issued

    def wait(self, mask: int, now: int) -> int:
        """Return when the engines in the mask have completed everything."""
        over = max(now, *(self._lanes[e].end for e in Engine if mask >> e & 1), 0)
        self._activities.hold(now, over)
        return over

    def _room(self, lane: _Lane, now: int) -> int:
        """Return when there is room in the queue."""
        queue = lane.left_queue
        room = max(now, queue[0]) if len(queue) == queue.maxlen else now
        self._activities.hold(now, room)
        return room

    @staticmethod
    def _reach(lane: _Lane, issued: int) -> int:
        """Return when an entry is at the queue's head."""
        last = lane.left_queue[-1] if lane.left_queue else 0
        return max(issued + QUEUE_CYCLES, last + 1)
