"""Moves commands up in program order: loads ahead of their use, element-wise work between chunks.

The emitter writes layer after layer. But engines take their commands in order, and the controller
waits where a queue is full: what could run beside the array must come early enough in the program.
Only commands move that conflict with nothing they pass.
"""

from bisect import insort
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
    """The last positions at which each stretch of a memory was written, and read."""

    def __init__(self) -> None:
        self._memories: dict[str, list[tuple[int, int, int, bool]]] = defaultdict(list)

    def latest(self, span: Span, write: bool) -> int:
        """Return the last position that an access must stay behind."""
        found = -1
        for position, start, stop, wrote in reversed(self._memories[span.memory]):
            if position <= found:
                break
            if (write or wrote) and start < span.stop and span.start < stop:
                found = position
        return found

    def add(self, span: Span, position: int, write: bool) -> None:
        """Note an access."""
        users = self._memories[span.memory]
        users[:] = [
            u for u in users
            if not (span.start <= u[1] and u[2] <= span.stop and u[0] <= position and (write or not u[3]))
        ]  # fmt: skip
        insort(users, (position, span.start, span.stop, write))


def hoist(steps: Sequence[Step | Call]) -> list[Step | Call]:
    """Return the commands in a better order, the same in every way that can be observed."""
    users = _Users()
    due: dict[Engine, list[int]] = {engine: [] for engine in AHEAD}  # where each stood
    placed: list[tuple[int, int]] = []
    barrier = -1
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
            if step.engine in AHEAD:
                stood, ahead = due[step.engine], AHEAD[step.engine]
                bounds += [stood[-ahead] if len(stood) >= ahead else -1, latest[step.engine]]
                stood.append(index)
            position = min(index, max(bounds))
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
