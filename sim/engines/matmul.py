"""The matmul command."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accel.config import Config
from sim.engines.action import Access, Action, require, require_counts
from sim.engines.addresses import ADDRESS_MASK, Offsets, as_words, loop_offsets
from sim.spaces import Memory, Spaces, Words

__all__ = ["Matmul"]

LEVELS = ("col", "row", "k0", "k1", "k2")

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
    accumulates : bool
        The command adds to entries that an earlier one wrote.
    """

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        require_counts(fields, *(f"count_{level}" for level in LEVELS))
        counts = _levels(fields, "count_{}")
        steps = _levels(fields, "step_{}")
        y_steps, x_steps = _levels(fields, "step_{}_y"), _levels(fields, "step_{}_x")
        start = (fields["input_y"], fields["input_x"])
        size = (fields["input_height"], fields["input_width"])
        self.pixels = counts[0] * counts[1]
        self.tiles = counts[2] * counts[3] * counts[4]
        self.accumulates = bool(fields["accumulate"])
        words = self.tiles * config.rows
        require(words <= ADDRESS_MASK + 1, f"{self.tiles} tiles are more than any memory holds")
        self._acc = fields["acc_address"]
        last = self._acc + self.pixels - 1
        require(
            self._acc // config.acc_depth == last // config.acc_depth,
            f"entries {self._acc} .. {last} cross from one accumulator half of "
            f"{config.acc_depth} into another",
        )
        self._pad = fields["pad_value"]
        self._inside = _inside(counts, y_steps, x_steps, start, size)
        self._inputs = (fields["input_address"] + _loop(counts, steps)) & ADDRESS_MASK
        weights = fields["weight_address"]
        self._weights = weights + np.arange(words)

        entries: Words = slice(self._acc, last + 1)
        self.writes = (Access(Memory.ACCUMULATORS, entries),)
        reads = [Access(Memory.WEIGHTS, slice(weights, weights + words))]
        if self._inside is None or self._inside.any():
            distinct = _distinct(counts, steps, y_steps, x_steps, start, size)
            addresses = (fields["input_address"] + distinct) & ADDRESS_MASK
            reads.append(Access(Memory.SCRATCHPAD, as_words(addresses)))
        if self.accumulates:
            reads.append(Access(Memory.ACCUMULATORS, entries))
        self.reads = tuple(reads)

    def run(self, spaces: Spaces) -> None:
        """Gather the inputs, multiply, and add modulo 2**32."""
        inputs = spaces.scratchpad.take(self._inputs, axis=0, mode="wrap")
        if self._inside is not None:
            inputs[~self._inside] = self._pad
        weights = spaces.weights.take(self._weights, axis=0, mode="wrap")
        # Floating point takes the BLAS route and is exact: no sum here exceeds the mantissa.
        exact = np.float32 if len(weights) <= FLOAT32_TERMS else np.float64
        product = inputs.reshape(self.pixels, -1).astype(exact) @ weights.astype(exact)
        sums = product.astype(np.int64)
        entries = np.arange(self._acc, self._acc + self.pixels) % len(spaces.accumulators)
        if self.accumulates:
            sums += spaces.accumulators[entries]
        spaces.accumulators[entries] = sums.astype(np.int32)


def _levels(fields: Mapping[str, int], pattern: str) -> Levels:
    a, b, c, d, e = (fields[pattern.format(level)] for level in LEVELS)
    return a, b, c, d, e
