"""An estimate of the cycles that a program takes.

Commands are timed in program order: when their queue has come to them, their tokens are there, and
their engine (`sim.lanes`) takes them. Where a command meets one of another engine that was timed
before at a memory's port, the one that waits in hardware is moved back. Left out are streams that
meet in a bank of the scratchpad only now and then.
"""

from typing import Any

from accel.config import Config
from accel.isa import Engine
from sim.activity import Activities, Counts
from sim.engines import Action
from sim.engines.matmul import Matmul
from sim.lanes import START_CYCLES, Lane, LoadLane, MatmulLane, StoreLane, VectorLane, Work
from sim.ordering import CommandRecord

__all__ = ["Timeline"]

QUEUE_CYCLES = 2
"""From issue to the head of an empty queue."""

GRANT_CYCLES = 1
"""That a command is at the head before it goes, at least."""

TOKEN_CYCLES = 2
"""From a command's completion to the going of another one that waits for it."""


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
        options = (self._config, self._latency)
        depth = self._config.queue_depth
        self._load = LoadLane(*options, self._config.load_queue_depth)
        self._matmul = MatmulLane(*options, depth)
        self._vector = VectorLane(*options, depth)
        self._store = StoreLane(*options, depth)
        self._lanes: dict[Engine, Lane[Any]] = {
            Engine.LOAD: self._load,
            Engine.MATMUL: self._matmul,
            Engine.VECTOR: self._vector,
            Engine.STORE: self._store,
        }
        self._stamped: list[CommandRecord] = []
        self._activities = Activities()

    @property
    def stamps(self) -> list[int]:
        """When flagged commands completed, in that order."""
        return sorted(record.end for record in self._stamped)

    def works(self, engine: Engine) -> list[Work[Any]]:
        """Return an engine's commands of this run."""
        return self._lanes[engine].works

    def count(self, cycles: int) -> Counts:
        """Return what each of the run's cycles went to, as the hardware's counters would."""
        activities = self._activities
        for engine, lane in self._lanes.items():
            for work in lane.works:
                activities.work(engine, work.offered, work.record.end)
        for work in self._matmul.works:
            ready = work.taken + START_CYCLES
            activities.stream(work.offered, ready, work.first, work.last + 1, work.stall)
        return activities.count(cycles, self.stamps)

    def write(self, engine: Engine, now: int) -> int:
        """Issue a register write at `now`; return when the queue takes it."""
        lane = self._lanes[engine]
        issued = self._room(lane, now)
        # A command on offer is the register file itself: it must be taken before a change.
        lane.left_queue.append(max(self._reach(lane, issued), lane.taken))
        return issued

    def push(self, record: CommandRecord, wait_self: bool, action: Action, now: int) -> int:
        """Issue a command at `now`; fill in its record; return when the queue takes it."""
        engine = record.engine
        lane = self._lanes[engine]
        issued = self._room(lane, now)
        reached = max(self._reach(lane, issued), lane.taken)
        producers = [(t.engine, t.end) for t in record.tokens]
        if wait_self:
            producers.append((engine, lane.end))
        left = max(reached + GRANT_CYCLES, *(end + TOKEN_CYCLES for _, end in producers), 0)
        for producer, end in producers:
            if end >= reached:
                self._activities.block(engine, producer, reached, end + 1)
        lane.left_queue.append(left)
        work = lane.begin(record, action, left + 1)
        lane.works.append(work)
        record.start = work.taken
        self._meet(engine, work)
        if record.stamp:
            self._stamped.append(record)
        return issued

    def wait(self, mask: int, now: int) -> int:
        """Return when the engines in the mask have completed everything."""
        over = max(now, *(self._lanes[e].end + 1 for e in Engine if mask >> e & 1), 0)
        self._activities.hold(now, over)
        return over

    def _meet(self, engine: Engine, work: Work[Any]) -> None:
        """Let a new command and others that run at its time wait for one another."""
        if engine == Engine.MATMUL:
            for before in self._vector.recent:
                self._matmul.yield_port(before.fetches, [work])
            for lane in (self._vector, self._store):
                self._block(lane, lane.recent, work)
        elif engine == Engine.VECTOR:
            self._matmul.yield_port(work.fetches, self._matmul.recent)
        if engine in (Engine.VECTOR, Engine.STORE):
            for chunk in self._matmul.recent:
                self._block(self._lanes[engine], [work], chunk)

    @staticmethod
    def _block(lane: Lane[Any], works: list[Work[Any]], by: Work[Matmul]) -> None:
        words = by.action.bank_changes
        if words is not None:
            lane.block(works, by.first, by.last, words)

    def _room(self, lane: Lane[Any], now: int) -> int:
        """Return when there is room in the queue."""
        queue = lane.left_queue
        room = max(now, queue[0]) if len(queue) == queue.maxlen else now
        self._activities.hold(now, room)
        return room

    @staticmethod
    def _reach(lane: Lane[Any], issued: int) -> int:
        """Return when an entry is at the queue's head."""
        last = lane.left_queue[-1] if lane.left_queue else 0
        return max(issued + QUEUE_CYCLES, last + 1)
