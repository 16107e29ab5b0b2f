"""Where every feature map lives: on-chip for its lifetime where it fits, else in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from accel.compiler.filters import choose_filter, region_pitch
from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    ElementwiseLayer,
    FeatureMap,
    PoolLayer,
)
from accel.compiler.plans import DeviceLayer, Plan, groups_of
from accel.compiler.rolls import Roll, find_rolls, fitted, offsets
from accel.compiler.tile import make_plan, unsupported
from accel.config import Config
from accel.errors import ModelError

__all__ = ["Placement", "place"]


@dataclass(frozen=True)
class Placement:
    """The outcome: resident maps, each layer's plan and its streaming area.

    Parameters
    ----------
    resident : dict of storage to scratchpad address
    pitches : dict of storage to int
        Words from row to row of resident maps, where it is not the width.
    plans : list of Plan, one per device layer
    areas : list of int
        Start of each layer's streaming area in the scratchpad.
    """

    resident: dict[int, int]
    pitches: dict[int, int]
    plans: list[Plan]
    areas: list[int]


@dataclass
class _Life:
    map: FeatureMap
    words: int
    first: int
    last: int


def place(layers: Sequence[DeviceLayer], config: Config) -> Placement:
    """Choose residence, plans and addresses.

    Starts with every map on-chip and sends the largest one that is alive where a layer does not
    fit to memory, until all layers fit. Where maps must go that could stay if others rolled over
    one another, these do.

    Raises
    ------
    ModelError
        When a layer fits in no way.
    """
    pitches = _choose_pitches(layers, config)
    lives: dict[int, _Life] = {}
    for time, layer in enumerate(layers):
        for item in (*layer.inputs, layer.output):
            words = item.height * pitches.get(item.storage, item.width)
            words *= groups_of(item.channels, config)
            life = lives.setdefault(item.storage, _Life(item, words, time, time))
            life.last = time
    plain = _place(layers, config, pitches, lives, [])
    rolls = find_rolls(layers, pitches, config)
    if not rolls or all(storage in plain.resident for storage in lives):
        return plain
    try:
        rolling = _place(layers, config, pitches, lives, rolls)
    except ModelError:
        return plain

    def moved(placement: Placement) -> int:
        return sum(life.words for s, life in lives.items() if s not in placement.resident)

    return rolling if moved(rolling) < moved(plain) else plain


def _place(
    layers: Sequence[DeviceLayer],
    config: Config,
    pitches: dict[int, int],
    lives: dict[int, _Life],
    rolls: list[Roll],
) -> Placement:
    """Return the placement where some layers may roll; those whose plans do not fit it do not."""
    resident = {s for s, life in lives.items() if life.words <= config.scratchpad_words}
    written = {layer.output.storage for layer in layers}
    while True:
        rolls = [r for r in rolls if {r.source, r.result} <= resident]
        addresses = _allocate({s: lives[s] for s in resident}, config.scratchpad_words, rolls)
        failed: int | None = None
        plans: list[Plan] = []
        areas: list[int] = []
        if isinstance(addresses, dict):
            for time, layer in enumerate(layers):
                start, space = _largest_gap(lives, addresses, time, config.scratchpad_words)
                plan = make_plan(
                    layer,
                    config,
                    pitches=_pitches_of(layer, resident, pitches),
                    output_resident=layer.output.storage in resident,
                    space=space,
                )
                if plan is None:
                    failed = time
                    break
                plans.append(plan)
                areas.append(start)
            else:
                wanted = [fitted(r, layers[r.time], plans[r.time], pitches) for r in rolls]
                if wanted != rolls:
                    rolls = [roll for roll in wanted if roll is not None]
                    continue
                placement = Placement(addresses, pitches, plans, areas)
                early = _with_early_results(layers, lives, placement, config, rolls)
                return early or placement
        else:
            failed = addresses
        alive = [s for s in resident if lives[s].first <= failed <= lives[s].last]
        if not alive:
            raise unsupported(layers[failed], config)
        # What no layer writes is in memory anyway.
        resident.remove(max(alive, key=lambda s: (s not in written, lives[s].words, s)))


def _with_early_results(
    layers: Sequence[DeviceLayer],
    lives: dict[int, _Life],
    placement: Placement,
    config: Config,
    rolls: list[Roll],
) -> Placement | None:
    """Return a placement where results of element-wise layers may come early; None: no room.

    They then do not lie where the layer before still reads its inputs: such a layer can work on
    the first results of the one before it while the last ones are computed.
    """
    early = {storage: replace(lives[storage]) for storage in placement.resident}
    for time, (before, layer) in enumerate(pairwise(layers)):
        reads = {item.storage for item in layer.inputs}
        life = early.get(layer.output.storage)
        if (
            isinstance(layer, ElementwiseLayer | PoolLayer)
            and before.output.storage in reads
            and life
        ):
            life.first = min(life.first, time)
    addresses = _allocate(early, config.scratchpad_words, rolls)
    if not isinstance(addresses, dict):
        return None
    areas = []
    for time, (layer, plan) in enumerate(zip(layers, placement.plans, strict=True)):
        start, space = _largest_gap(lives, addresses, time, config.scratchpad_words)
        operands = 1 if isinstance(layer, ConvLayer) else len(layer.inputs)
        if plan.places * (operands * plan.input_block + plan.output_block) > space:
            return None
        areas.append(start)
    return replace(placement, resident=addresses, areas=areas)


def _choose_pitches(layers: Sequence[DeviceLayer], config: Config) -> dict[int, int]:
    """Return the pitches of maps whose rows the depthwise mode wants in different banks."""
    shapes: dict[int, set[tuple[int, int]]] = {}
    packed: set[int] = set()  # kernels on the controller know no margin
    wanted: set[int] = set()
    for layer in layers:
        for item in (*layer.inputs, layer.output):
            shapes.setdefault(item.storage, set()).add(item.shape[:2])
            if isinstance(layer, ControllerLayer):
                packed.add(item.storage)
        if isinstance(layer, ConvLayer):
            source = layer.sources[0]
            odd = choose_filter(layer, config, region_pitch(source.width))
            if odd != choose_filter(layer, config, source.width):
                wanted.add(source.storage)
    return {
        storage: region_pitch(next(iter(shapes[storage]))[1])
        for storage in wanted - packed
        if len(shapes[storage]) == 1
    }


def _pitches_of(
    layer: DeviceLayer, resident: set[int], pitches: dict[int, int]
) -> tuple[int, ...] | None:
    """Return the pitches of a layer's inputs where all are resident."""
    if not all(item.storage in resident for item in layer.inputs):
        return None
    return tuple(pitches.get(item.storage, item.width) for item in layer.inputs)


def _allocate(lives: dict[int, _Life], size: int, rolls: list[Roll]) -> dict[int, int] | int:
    """Return an address for each map, or the time at which one did not fit."""
    inside = offsets(rolls)
    units: dict[int, _Life] = {}
    for storage, life in lives.items():
        unit, offset = inside.get(storage, (storage, 0))
        words = offset + life.words
        if unit in units:
            old = units[unit]
            first, last = min(old.first, life.first), max(old.last, life.last)
            units[unit] = _Life(old.map, max(old.words, words), first, last)
        else:
            units[unit] = _Life(life.map, words, life.first, life.last)
    starts: dict[int, int] = {}
    # In order of time; the larger first where several begin together.
    for number in sorted(units, key=lambda s: (units[s].first, -units[s].words, s)):
        life = units[number]
        taken = sorted(
            (starts[s], starts[s] + units[s].words)
            for s in starts
            if units[s].first <= life.last and life.first <= units[s].last
        )
        address = 0
        for start, stop in taken:
            if start - address >= life.words:
                break
            address = max(address, stop)
        if address + life.words > size:
            return life.first
        starts[number] = address
    where = {storage: inside.get(storage, (storage, 0)) for storage in lives}
    return {storage: starts[unit] + offset for storage, (unit, offset) in where.items()}


def _largest_gap(
    lives: dict[int, _Life], addresses: dict[int, int], time: int, size: int
) -> tuple[int, int]:
    """Return start and size of the largest free stretch at a layer."""
    taken = sorted(
        (address, address + lives[s].words)
        for s, address in addresses.items()
        if lives[s].first <= time <= lives[s].last
    )
    best = (0, 0)
    position = 0
    for start, stop in [*taken, (size, size)]:
        if start - position > best[1]:
            best = (position, start - position)
        position = max(position, stop)
    return best
