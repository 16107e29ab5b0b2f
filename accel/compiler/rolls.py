"""Feature maps that roll over one another: results take the place of rows that are read for good.

A convolution goes through its input from the first row to the last. Its results may lie over that
input, as far in front of it as no result is written over a row that a later chunk reads. Maps
that follow one another so are a chain, which takes little more room than the largest of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from accel.compiler.layers import ConvLayer, FeatureMap
from accel.compiler.packing import PackedMap
from accel.compiler.plans import ConvPlan, DeviceLayer, Plan, groups_of
from accel.config import Config

__all__ = ["Roll", "find_rolls", "fitted", "offsets"]


@dataclass(frozen=True)
class Roll:
    """A layer whose results may lie over its input.

    Parameters
    ----------
    time : int
        The layer's place.
    source, result : int
        Storages.
    lead : int
        Words that the results' first word must lie before the input's first word, at least.
    """

    time: int
    source: int
    result: int
    lead: int


def find_rolls(
    layers: Sequence[DeviceLayer], pitches: Mapping[int, int], config: Config
) -> list[Roll]:
    """Return the layers that may write over their input, one plane each way, in order."""
    uses: dict[int, list[int]] = {}
    for time, layer in enumerate(layers):
        for item in (*layer.inputs, layer.output):
            uses.setdefault(item.storage, []).append(time)
    rolls = []
    for time, layer in enumerate(layers):
        if not isinstance(layer, ConvLayer) or len(layer.sources) != 1:
            continue
        source, result = layer.sources[0], layer.output
        if (
            isinstance(source, PackedMap)
            or max(groups_of(m.channels, config) for m in (source, result)) > 1
            or source.storage == result.storage
            or layer.origin != (0, 0)
            or layer.step != (1, 1)
            or max(uses[source.storage]) > time
            or min(uses[result.storage]) < time
        ):
            continue
        rolls.append(Roll(time, source.storage, result.storage, _lead(layer, pitches, 1, True)))
    return rolls


def _lead(layer: ConvLayer, pitches: Mapping[int, int], rows: int, whole_rows: bool) -> int:
    """Return how far in front the results must lie.

    Parameters
    ----------
    layer : ConvLayer
    pitches : mapping of storage to int
    rows : int
        Of a chunk.
    whole_rows : bool
        A chunk has all columns; else the next one begins with the same rows again.
    """

    def pitch(item: FeatureMap) -> int:
        return pitches.get(item.storage, item.width)

    source, result = layer.sources[0], layer.output
    height = layer.results[0]
    lead = 0
    for first in range(0, height, rows):
        done = min(first + rows, height)
        next_row = done if whole_rows else first
        if next_row < height:
            needed = max(0, next_row * layer.stride[0] - layer.padding[0])
            lead = max(lead, done * pitch(result) - needed * pitch(source))
    return lead


def fitted(roll: Roll, layer: DeviceLayer, plan: Plan, pitches: Mapping[int, int]) -> Roll | None:
    """Return a roll that is far enough for a layer's plan; None where the plan cannot roll.

    It can where it goes through the rows once.
    """
    if not isinstance(layer, ConvLayer) or not isinstance(plan, ConvPlan) or len(plan.parts) > 1:
        return None
    lead = _lead(layer, pitches, plan.rows, plan.cols >= layer.results[1])
    return replace(roll, lead=max(lead, roll.lead))


def offsets(rolls: Sequence[Roll]) -> dict[int, tuple[int, int]]:
    """Return by storage which chain it belongs to, and its first word from the chain's start.

    A chain's last map begins at its start.
    """
    places: dict[int, tuple[int, int]] = {}
    for roll in reversed(rolls):
        chain, offset = places.setdefault(roll.result, (roll.result, 0))
        places[roll.source] = chain, offset + roll.lead
    return places
