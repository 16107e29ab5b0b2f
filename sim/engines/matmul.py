"""The matmul command."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.regmap import Rule
from sim.engines.action import Access, Action, require, require_counts
from sim.engines.addresses import ADDRESS_MASK, Offsets, as_words, loop_offsets
from sim.spaces import Memory, Spaces, Words

__all__ = ["Matmul"]

LEVELS = ("col", "row", "k0", "k1", "k2")

GROUP_BYTES = 4
"""Array rows that a group's word fills in matrix mode."""

WORDS_LIMIT = 1 << 16
"""Weight words of a command that is worked out, however small the memory: they wrap."""

GROUP_TAPS = (3, 5)
"""Array rows from group to group that the depthwise mode has wires for."""

FLOAT32_TERMS = 1024
"""Products of two int8 that float32 sums exactly: 1024 * 2**14 = 2**24."""

Levels = tuple[int, int, int, int, int]
Mask = npt.NDArray[np.bool_]


@lru_cache(maxsize=256)
def _loop(counts: Levels, steps: Levels) -> Offsets:
    """Return offsets [pixel, tile]."""
    tiles = counts[2] * counts[3] * counts[4]
    return np.ascontiguousarray(loop_offsets(counts, steps).reshape(tiles, -1).T)


@lru_cache(maxsize=512)
def _inside(
    counts: Levels, y_steps: Levels, x_steps: Levels, start: tuple[int, int], size: tuple[int, int]
) -> Mask | None:
    """Return where [pixel, tile] the input is inside the image; None when it is everywhere."""
    inside: Mask | None = None
    for steps, first, limit in zip((y_steps, x_steps), start, size, strict=True):
        # Coordinates are 16 bits, signed: those from 2**15 on are negative, hence outside.
        here = ((first + _loop(counts, steps)) & 0xFFFF) < min(limit, 1 << 15)
        inside = here if inside is None else inside & here
    return None if inside is None or inside.all() else inside


@lru_cache(maxsize=512)
def _distinct(
    counts: Levels,
    steps: Levels,
    y_steps: Levels,
    x_steps: Levels,
    start: tuple[int, int],
    size: tuple[int, int],
) -> Offsets:
    """Return the distinct address offsets that are read."""
    offsets = _loop(counts, steps)
    inside = _inside(counts, y_steps, x_steps, start, size)
    return np.unique(offsets if inside is None else offsets[inside])


class Matmul(Action):
    """One accumulation chunk: pixels times tiles of a whole reduction.

    Parameters
    ----------
    config : Config
    fields : mapping of str to int
        Decoded command.

    Members
    -------
    pixels, tiles : int
        Output pixels, and weight tiles.
    positions : int
        Cycles that a tile's input words take: more than `pixels` where some give none.
    groups, taps : int
        Words of a position, at least 1; array rows of a group in depthwise mode, else 0.
    bank_changes : int or None
        All words of a tile come from one bank, and tiles follow one another without a pause: others
        get words of that bank only when it changes, so many times. None where it is not so.
    accumulates : bool
        The command adds to entries that an earlier one wrote.
    """

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        require_counts(fields, *(f"count_{level}" for level in LEVELS))
        counts = _levels(fields, "count_{}")
        self._config = config
        self.groups = max(fields["groups"], 1)
        self.taps = fields["taps"]
        _check_mode(config, self.groups, self.taps)
        self._skip, self._stride = fields["skip"], fields["gap"] + 1
        require(
            not config.serial or not (self._skip or fields["gap"]),
            "this configuration has neither skip nor gap",
            Rule.VALUE,
        )
        require(
            self._skip < counts[0],
            f"skip {self._skip} leaves no output pixel of {counts[0]}",
            Rule.SIZE,
        )
        require(
            counts[0] < 4 * config.acc_depth,
            f"{counts[0]} positions in a row; the limit is {4 * config.acc_depth - 1}",
            Rule.SIZE,
        )
        self._counts = counts
        self.positions = counts[0] * counts[1]
        self.pixels = len(range(self._skip, counts[0], self._stride)) * counts[1]
        self.tiles = counts[2] * counts[3] * counts[4]
        self.accumulates = bool(fields["accumulate"])
        words = self.tiles * config.rows
        require(
            words <= max(config.weight_words, WORDS_LIMIT),
            f"{self.tiles} tiles are more than any memory holds",
            Rule.WEIGHTS,
        )
        self._acc = fields["acc_address"]
        last = self._acc + self.pixels - 1
        require(
            self._acc // config.acc_depth == last // config.acc_depth,
            f"entries {self._acc} .. {last} cross from one accumulator half of "
            f"{config.acc_depth} into another",
            Rule.ACCUMULATORS,
        )
        self._pad = fields["pad_value"]
        weights = fields["weight_address"]
        self._weights = weights + np.arange(words)
        self._inputs: list[tuple[Offsets, Mask | None]] = []
        touched = [self._walk(fields, group) for group in range(self.groups)]
        if self.groups > 1:
            self._check_banks()

        self.bank_changes = self._bank_changes()

        entries: Words = slice(self._acc, last + 1)
        self.writes = (Access(Memory.ACCUMULATORS, entries),)
        reads = [Access(Memory.WEIGHTS, slice(weights, weights + words))]
        distinct = np.unique(np.concatenate(touched))
        if len(distinct):
            reads.append(Access(Memory.SCRATCHPAD, as_words(distinct & ADDRESS_MASK)))
        if self.accumulates:
            reads.append(Access(Memory.ACCUMULATORS, entries))
        self.reads = tuple(reads)

    def _walk(self, fields: Mapping[str, int], group: int) -> Offsets:
        """Note where a group reads, and where inside the image; return the distinct words."""
        counts = self._counts
        steps = _levels(fields, "step_{}")
        y_steps, x_steps = _levels(fields, "step_{}_y"), _levels(fields, "step_{}_x")
        start = (fields["input_y"] + group * fields["group_step_y"], fields["input_x"])
        size = (fields["input_height"], fields["input_width"])
        inside = _inside(counts, y_steps, x_steps, start, size)
        first = fields["input_address"] + group * fields["group_step"]
        self._inputs.append(((first + _loop(counts, steps)) & ADDRESS_MASK, inside))
        if inside is not None and not inside.any():
            return np.empty(0, np.int64)
        return first + _distinct(counts, steps, y_steps, x_steps, start, size)

    def _bank_changes(self) -> int | None:
        banks = self._inputs[0][0] % self._config.scratchpad_banks
        if (
            self.positions < max(self._config.rows, self._config.cols)
            or np.ptp(banks, axis=0).any()
        ):
            return None
        return int(np.count_nonzero(np.diff(banks[0])))

    def _check_banks(self) -> None:
        """Refuse a command whose groups meet in a bank at some position."""
        banks = self._config.scratchpad_banks
        for (a, a_inside), (b, b_inside) in combinations(self._inputs, 2):
            meet = (a - b) % banks == 0
            for inside in (a_inside, b_inside):
                if inside is not None:
                    meet = meet & inside
            require(not meet.any(), "two groups read the same bank at once", Rule.BANKS)

    def _gather(self, spaces: Spaces, group: int) -> npt.NDArray[np.int8]:
        """Return a group's words [position, tile, byte]."""
        addresses, inside = self._inputs[group]
        words = spaces.scratchpad.take(addresses, axis=0, mode="wrap")
        if inside is not None:
            words[~inside] = self._pad
        return words

    def run(self, spaces: Spaces) -> None:
        """Gather the inputs, multiply, and add modulo 2**32."""
        weights = spaces.weights.take(self._weights, axis=0, mode="wrap")
        if self.taps:
            sums = self._filter(spaces, weights.reshape(self.tiles, self._config.rows, -1))
        else:
            sums = self._multiply(spaces, weights)
        entries = np.arange(self._acc, self._acc + self.pixels) % len(spaces.accumulators)
        if self.accumulates:
            sums += spaces.accumulators[entries]
        spaces.accumulators[entries] = sums.astype(np.int32)

    def _multiply(self, spaces: Spaces, weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        inputs = self._gather(spaces, 0)
        for group in range(1, self.groups):
            rows = slice(group * GROUP_BYTES, (group + 1) * GROUP_BYTES)
            inputs[..., rows] = self._gather(spaces, group)[..., :GROUP_BYTES]
        rows_of = inputs.reshape(self._counts[1], self._counts[0], -1)
        chosen = rows_of[:, self._skip :: self._stride].reshape(self.pixels, -1)
        # Floating point takes the BLAS route and is exact: no sum here exceeds the mantissa.
        exact = np.float32 if len(weights) <= FLOAT32_TERMS else np.float64
        product = chosen.astype(exact) @ weights.astype(exact)
        sums: npt.NDArray[np.int64] = product.astype(np.int64)
        return sums

    def _filter(self, spaces: Spaces, weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        """Depthwise: row r of group g's part weighs the word of r positions before."""
        counts, cols = self._counts, self._config.cols
        sums = np.zeros((counts[1], counts[0], cols), np.int64)
        for group in range(self.groups):
            shape = (counts[1], counts[0], self.tiles, cols)
            words = self._gather(spaces, group).astype(np.int64).reshape(shape)
            first = group * self.taps
            end = self._config.rows if group + 1 == self.groups else first + self.taps
            for row in range(first, end):
                tap = weights[:, row].astype(np.int64)
                back = row - first
                if not tap.any():
                    continue
                require(back <= self._skip, f"row {row} weighs words before the first of a row")
                moved = words[:, : counts[0] - back] * tap
                sums[:, back:] += moved.sum(axis=2)
        chosen: Offsets = sums[:, self._skip :: self._stride].reshape(self.pixels, cols)
        return chosen


def _check_mode(config: Config, groups: int, taps: int) -> None:
    """Refuse what the array has no wires for."""
    require(
        groups <= config.groups,
        f"{groups} groups; this configuration has {config.groups}",
        Rule.VALUE,
    )
    if not taps:
        require(
            groups == 1 or GROUP_BYTES * groups <= config.rows,
            f"{groups} groups of {GROUP_BYTES} bytes need more than {config.rows} array rows",
            Rule.VALUE,
        )
        return
    square = config.depthwise
    require(square, "depthwise mode needs as many array rows as columns", Rule.VALUE)
    require(
        groups == 1 or (taps in GROUP_TAPS and taps * groups <= config.rows),
        f"{groups} groups of {taps} taps on {config.rows} array rows",
        Rule.VALUE,
    )


def _levels(fields: Mapping[str, int], pattern: str) -> Levels:
    a, b, c, d, e = (fields[pattern.format(level)] for level in LEVELS)
    return a, b, c, d, e
