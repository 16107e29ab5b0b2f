"""Which weights stay on-chip from one inference to the next.

All, where they fit the weight memory. Else as many blocks as leave a ring for the others, where a
model of the load engine and the array says that later inferences gain by it.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from accel.compiler.convtiling import PARAM_SLOTS
from accel.compiler.layers import ConvLayer
from accel.compiler.plans import ConvPlan, DeviceLayer, Plan
from accel.config import Config
from accel.isa import PARAM_WORDS

__all__ = ["Residency", "choose_residency"]

GAIN = 0.97
"""Share of an inference's cycles that partial residency must come down to."""

LOSS = 1.3
"""Share that the first inference, which loads everything, may take then; where the memory is as
fast as the port it may take no longer at all."""

LATER = 20
"""Later inferences that one cycle of the first one counts as much as."""

LOAD_CYCLES = 8
"""Cycles of the memory port that a load costs besides its data."""

RINGS = (2, 3, 4, 6)
"""Sizes of the ring that are tried, in blocks of the largest that it takes."""

SEARCH_STEPS = 24


@dataclass(frozen=True)
class Residency:
    """What stays, and where.

    Parameters
    ----------
    places : dict of int to dict of int to int
        By layer (its place among the device's layers) and column group: the block's weight word.
    words : int
        Weight words that stay: 0 .. words - 1.
    """

    places: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    words: int = 0


@dataclass(frozen=True)
class _Block:
    """Weights that are loaded at once and used in one stretch of time.

    Parameters
    ----------
    layer : int
    groups : tuple of int
        Column groups: one, or all of a layer that goes through them for every tile.
    words : int
    load, other : float
        Cycles of the memory port: for the block, and for maps in front of it.
    array : float
        Cycles of the array.
    """

    layer: int
    groups: tuple[int, ...]
    words: int
    load: float
    other: float
    array: float


def choose_residency(
    layers: Sequence[DeviceLayer], plans: Sequence[Plan], config: Config
) -> Residency:
    """Return what stays: everything, a part, or nothing.

    Parameters
    ----------
    layers, plans : sequence
        As they are emitted.
    config : Config
    """
    space = config.weight_words - PARAM_SLOTS * PARAM_WORDS
    convolutions = {n: p for n, p in enumerate(plans) if isinstance(p, ConvPlan)}
    if not all(plan.whole_blocks for plan in convolutions.values()):
        return Residency()  # parts of blocks want the whole memory
    blocks = [
        block
        for number, (layer, plan) in enumerate(zip(layers, plans, strict=True))
        if isinstance(layer, ConvLayer) and isinstance(plan, ConvPlan)
        for block in _blocks(number, layer, plan, config)
    ]
    total = sum(block.words for block in blocks)
    if total <= space:
        return _placed(blocks, convolutions, config)
    present = _time(blocks, set(range(len(blocks))), space)
    allowed = present * (LOSS if config.bytes_per_cycle < config.bus_bytes else 1.0)
    best, chosen = present * GAIN, None
    for streamed in _candidates(blocks, space):
        ring = space - total + sum(blocks[n].words for n in streamed)
        later = _time([_free(b, n in streamed) for n, b in enumerate(blocks)], streamed, ring)
        first = _time(blocks, streamed, ring)
        if first <= allowed and later + (first - present) / LATER < best:
            best, chosen = later + (first - present) / LATER, streamed
    if chosen is None:
        return Residency()
    return _placed([b for n, b in enumerate(blocks) if n not in chosen], convolutions, config)


def _blocks(number: int, layer: ConvLayer, plan: ConvPlan, config: Config) -> Iterator[_Block]:
    """Yield a layer's blocks in the order of their use."""
    sizes = [plan.block_words(group, config.rows) for group in range(len(plan.parts))]
    tiles = -(-layer.results[0] // plan.rows) * -(-layer.results[1] // plan.cols)
    pace = config.weight_slot / config.bytes_per_cycle
    if not plan.groups_outer and tiles > 1:
        words = sum(sizes)
        load = plan.passes * (words * pace + LOAD_CYCLES * len(sizes))
        yield _Block(number, tuple(range(len(sizes))), words, load, plan.transfer, plan.array)
        return
    for group, words in enumerate(sizes):
        other = plan.transfer if group == 0 else 0.0
        array = plan.array / len(sizes)
        yield _Block(number, (group,), words, words * pace + LOAD_CYCLES, other, array)


def _free(block: _Block, streamed: bool) -> _Block:
    """Return a block as later inferences see it."""
    if streamed:
        return block
    return _Block(block.layer, block.groups, block.words, 0.0, block.other, block.array)


def _time(blocks: Sequence[_Block], streamed: set[int], ring: int) -> float:
    """Return the cycles of an inference whose streamed blocks share a ring of so many words."""
    port = array = 0.0
    held: deque[tuple[float, int]] = deque()
    room = ring
    for number, block in enumerate(blocks):
        port += block.other
        if number in streamed:
            while block.words > room and held:
                free, words = held.popleft()
                port, room = max(port, free), room + words
            room -= block.words
        port += block.load
        array = max(array, port if block.load or block.other else 0.0) + block.array
        if number in streamed:
            held.append((array, block.words))
    return max(array, port)


def _candidates(blocks: Sequence[_Block], space: int) -> Iterator[set[int]]:
    """Yield sets of blocks to stream that leave room for the others.

    For each size of a ring: those that a load engine which is never idle has in time, if the array
    were so much slower that what is left over just fits.
    """
    for largest in sorted({block.words for block in blocks}):
        for times in RINGS:
            ring = largest * times
            low, high = 0.0, 16.0
            found: set[int] | None = None
            for _ in range(SEARCH_STEPS):
                slowness = (low + high) / 2
                streamed = _in_time(blocks, largest, ring, slowness)
                kept = sum(b.words for n, b in enumerate(blocks) if n not in streamed)
                if kept + ring <= space:
                    found, high = streamed, slowness
                else:
                    low = slowness
            if found:
                yield found


def _in_time(blocks: Sequence[_Block], largest: int, ring: int, slowness: float) -> set[int]:
    """Return the blocks that can be there when a slow array wants them; of a layer, its last."""
    port = clock = 0.0
    held: deque[tuple[float, int]] = deque()
    room = ring
    counts: dict[int, int] = {}
    for block in blocks:
        port += block.other
        clock = max(clock, port if block.other else 0.0)
        begin = port
        if block.words <= largest:
            while block.words > room and held:
                free, words = held.popleft()
                begin, room = max(begin, free), room + words
            if begin + block.load <= clock:
                port, room = begin + block.load, room - block.words
                held.append((clock + block.array * slowness, block.words))
                counts[block.layer] = counts.get(block.layer, 0) + 1
        clock += block.array * slowness
    streamed = set()
    for number in reversed(range(len(blocks))):
        block = blocks[number]
        if counts.get(block.layer, 0) and block.words <= largest:
            counts[block.layer] -= 1
            streamed.add(number)
    return streamed


def _placed(blocks: Sequence[_Block], plans: Mapping[int, ConvPlan], config: Config) -> Residency:
    """Return places for blocks, one behind the other from word 0 on."""
    places: dict[int, dict[int, int]] = {}
    words = 0
    for block in blocks:
        for group in block.groups:
            places.setdefault(block.layer, {})[group] = words
            words += plans[block.layer].block_words(group, config.rows)
    return Residency(places, words)
