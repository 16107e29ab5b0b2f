"""What an estimated run's cycles went to: the golden machine's counters."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accel.isa import Engine
from accel.regmap import Activity

__all__ = ["Activities", "Counts"]

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """Cycles that counters have counted.

    Parameters
    ----------
    activities : array
        By Activity, at the end of the run.
    stamps : array
        [stamp, Activity], at each stamp.
    busy, waiting : array
        By Engine, see `Activities`.
    """

    activities: Integers
    stamps: Integers
    busy: Integers
    waiting: Integers


class Activities:
    """Notes from when to when things lasted, and counts cycles as the hardware does.

    The rules are those of accel/gateware/activity.py; what they are told is as coarse as the estimate
    of time: that a command waits for its weights is put behind the rest of it.
    """

    def __init__(self) -> None:
        self._spans: dict[object, list[tuple[int, int]]] = defaultdict(list)

    def stream(self, offered: int, ready: int, begin: int, end: int, stall: int) -> None:
        """Note a matmul command.

        Parameters
        ----------
        offered, ready : int
            On offer; when it could have had its first word.
        begin, end : int
            First word, and the cycle behind the last one.
        stall : int
            Cycles between them without a word.
        """
        self._spans["taken"].append((offered, end))
        self._spans["streams"].append((begin, end - stall))
        self._spans["starved"] += [(ready, begin), (end - stall, end)]

    def work(self, engine: Engine, offered: int, end: int) -> None:
        """Note a command from when it is on offer to its completion."""
        self._spans["busy", engine].append((offered, end))

    def block(self, engine: Engine, producer: Engine, begin: int, end: int) -> None:
        """Note that an engine's next command waits for another engine's, or its own."""
        self._spans["waiting", engine].append((begin, end))
        if engine == Engine.MATMUL:
            self._spans["missing", producer].append((begin, end))

    def hold(self, begin: int, end: int) -> None:
        """Note that the controller waits."""
        self._spans["held"].append((begin, end))

    def count(self, cycles: int, stamps: Iterable[int]) -> Counts:
        """Return the counters of a run of so many cycles, and as they were at the stamps."""
        at = np.minimum(np.array(list(stamps), np.int64), cycles)
        spans = {
            name: np.array([s for s in pairs if s[0] < s[1]], np.int64).reshape(-1, 2)
            for name, pairs in self._spans.items()
        }
        edges = [np.array([0, cycles], np.int64), at, *(s.reshape(-1) for s in spans.values())]
        times = np.unique(np.clip(np.concatenate(edges), 0, cycles))
        lengths = np.diff(times)

        def level(*name: object) -> Flags:
            """Return in which of the stretches between `times` it lasts."""
            pairs = spans.get(name if len(name) > 1 else name[0])
            if pairs is None:
                return np.zeros(len(lengths), np.bool_)
            begins, ends = (
                np.bincount(np.searchsorted(times, np.clip(side, 0, cycles)), minlength=len(times))
                for side in pairs.T
            )
            return np.asarray(np.cumsum(begins - ends)[:-1] > 0)

        busy = [level("busy", engine) for engine in Engine]
        waiting = [level("waiting", engine) for engine in Engine]
        missing = [level("missing", engine) for engine in Engine]
        vector = busy[Engine.VECTOR]
        transfers = busy[Engine.LOAD] | busy[Engine.STORE]
        waits = waiting[Engine.MATMUL] | level("held")
        streams = level("streams")
        cases = (
            (streams & vector, Activity.MATMUL_VECTOR),
            (streams, Activity.MATMUL),
            (level("starved"), Activity.WEIGHTS),
            (level("taken"), Activity.TOKENS),
            (missing[Engine.VECTOR] & vector, Activity.VECTOR),
            ((missing[Engine.LOAD] | missing[Engine.STORE]) & transfers, Activity.MEMORY),
            (waits & vector, Activity.VECTOR),
            (waits & transfers, Activity.MEMORY),
            (np.any(waiting, axis=0) | busy[Engine.MATMUL], Activity.TOKENS),
            (vector, Activity.CONTROLLER_VECTOR),
        )
        activity = np.select(
            [condition for condition, _ in cases],
            [int(value) for _, value in cases],
            int(Activity.CONTROLLER),
        )
        totals = np.zeros((len(times), len(Activity)), np.int64)
        totals[1 + np.arange(len(lengths)), activity] = lengths
        totals = totals.cumsum(axis=0)
        return Counts(
            activities=totals[-1],
            stamps=totals[np.searchsorted(times, at)],
            busy=np.array([lengths[b].sum() for b in busy]),
            waiting=np.array([lengths[w & ~b].sum() for b, w in zip(busy, waiting, strict=True)]),
        )
