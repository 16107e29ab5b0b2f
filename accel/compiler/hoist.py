"""Moves commands up in program order: loads ahead of their use, element-wise work between chunks.

The emitter writes layer after layer. But engines take their commands in order, and the controller
waits where a queue is full: what could run beside the array must come early enough in the program.
Only commands move that conflict with nothing they pass.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from accel.compiler.layers import ConvLayer, ElementwiseLayer
from accel.compiler.plans import DeviceLayer
from accel.compiler.schedule import Call, Span, Step
from accel.isa import Engine, Operation

__all__ = ["branches_first", "hoist"]

AHEAD = {Engine.LOAD: 14, Engine.MATMUL: 1}
"""Commands that may be issued before they are due: no more than the engine's queue holds."""


class _Users:
    """The last positions at which each stretch of a memory was written, and used at all."""

    def __init__(self) -> None:
        # Stretch i of a memory goes from starts[i] to starts[i + 1].
        self._starts: dict[str, list[int]] = defaultdict(lambda: [0])
        self._last: dict[str, list[tuple[int, int]]] = defaultdict(lambda: [(-1, -1)])

    def latest(self, span: Span, write: bool) -> int:
        """Return the last position that an access must stay behind."""
        starts = self._starts[span.memory]
        first = bisect_right(starts, span.start) - 1
        stop = bisect_left(starts, span.stop)
        return max((last[write] for last in self._last[span.memory][first:stop]), default=-1)

    def add(self, span: Span, position: int, write: bool) -> None:
        """Note an access."""
        first, stop = self._cut(span.memory, span.start), self._cut(span.memory, span.stop)
        starts, last = self._starts[span.memory], self._last[span.memory]
        now = (position if write else -1, position)
        merged = [(max(w, now[0]), max(u, now[1])) for w, u in last[first:stop]]
        if merged and merged.count(merged[0]) == len(merged):
            starts[first:stop], merged = [span.start], merged[:1]
        last[first:stop] = merged

    def _cut(self, memory: str, place: int) -> int:
        """Return the index of the stretch that starts at a place, which becomes one."""
        starts, last = self._starts[memory], self._last[memory]
        index = bisect_left(starts, place)
        if index == len(starts) or starts[index] != place:
            starts.insert(index, place)
            last.insert(index, last[index - 1])
        return index


def hoist(steps: Sequence[Step | Call]) -> list[Step | Call]:
    """Return the commands in a better order, the same in every way that can be observed."""
    users = _Users()
    due: dict[Engine, list[int]] = {engine: [] for engine in AHEAD}  # where each stood
    placed: list[tuple[int, int]] = []
    barrier = stamped = -1
    latest = {engine: -1 for engine in Engine}
    for index, step in enumerate(steps):
        position = index
        if isinstance(step, Call):
            barrier = index
            placed.append((position, index))
            continue
        movable = step.engine in AHEAD or _elementwise(step)
        if movable:
            bounds = [barrier]
            bounds += [users.latest(span, False) for span in step.reads]
            bounds += [users.latest(span, True) for span in step.writes]
            if step.stamp:
                bounds.append(stamped)  # layers end in their order
            if step.engine in AHEAD:
                stood, ahead = due[step.engine], AHEAD[step.engine]
                bounds += [stood[-ahead] if len(stood) >= ahead else -1, latest[step.engine]]
                stood.append(index)
            position = min(index, max(bounds))
        if step.stamp:
            stamped = position
        latest[step.engine] = max(latest[step.engine], position)
        placed.append((position, index))
        for span in step.reads:
            users.add(span, position, False)
        for span in step.writes:
            users.add(span, position, True)
    return [steps[index] for _, index in sorted(placed)]


def _elementwise(step: Step) -> bool:
    return step.engine == Engine.VECTOR and step.values["operation"] != Operation.ACC


def branches_first(layers: Sequence[DeviceLayer]) -> list[DeviceLayer]:
    """Return layers with the smaller of two convolutions that meet in an element-wise one first.

    The element-wise work then runs beside the larger one, chunk by chunk.
    """
    result = list(layers)
    indices = [layer.index for layer in layers]
    for i in range(len(result) - 2):
        first, second, meet = result[i : i + 3]
        if (
            isinstance(first, ConvLayer)
            and isinstance(second, ConvLayer)
            and isinstance(meet, ElementwiseLayer)
            and {m.storage for m in meet.inputs} == {first.output.storage, second.output.storage}
            and first.output.storage not in {m.storage for m in second.inputs}
            and second.macs < first.macs
            and indices.count(first.index) == indices.count(second.index) == 1
        ):
            result[i], result[i + 1] = second, first
    return result
