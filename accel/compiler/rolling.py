"""Loop recovery: a straight sequence of symbols becomes nested loops."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Loop", "Node", "roll"]

MAX_PERIOD = 192


@dataclass(frozen=True)
class Loop:
    """`body` repeated `count` times; a body holds symbol numbers and loops."""

    count: int
    body: "tuple[Node, ...]"


Node = int | Loop


def roll(symbols: Sequence[Hashable], depth: int = 4) -> tuple[list[Node], list[Hashable]]:
    """Return the sequence as nodes, and the distinct symbols that the node numbers index.

    Unrolling the nodes gives `symbols` again, exactly; loops nest at most `depth` deep. Each pass
    replaces the tandem repeats of the sequence, longest stretch first, and looks for more inside
    their bodies; the next pass finds repeats of the shorter sequence.
    """
    table: dict[Hashable, int] = {}
    sequence: list[Node] = [table.setdefault(s, len(table)) for s in symbols]
    while True:
        shorter = _roll_once(sequence, depth)
        if len(shorter) == len(sequence):
            return sequence, list(table)
        sequence = shorter


def _depth(node: Node) -> int:
    return 1 + max(map(_depth, node.body)) if isinstance(node, Loop) else 0


def _roll_once(sequence: list[Node], depth: int) -> list[Node]:
    """Replace tandem repeats by loops, at most `depth` deep."""
    if depth == 0:
        return sequence
    table: dict[Node, int] = {}
    numbers = np.array([table.setdefault(n, len(table)) for n in sequence], np.int64)
    depths = np.array([_depth(n) for n in table], np.int64)[numbers] if len(numbers) else numbers
    numbers = np.where(depths < depth, numbers, -1 - np.arange(len(numbers)))
    best_cover, best_period = _best_repeats(numbers)
    result: list[Node] = []
    position = 0
    while position < len(sequence):
        period = int(best_period[position])
        if period == 0:
            result.append(sequence[position])
            position += 1
            continue
        count = int(best_cover[position]) // period + 1
        body = _roll_once(sequence[position : position + period], depth - 1)
        result.append(Loop(count, tuple(body)))
        position += period * count
    return result


def _best_repeats(
    numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]",
) -> tuple[
    "np.ndarray[tuple[int], np.dtype[np.int64]]", "np.ndarray[tuple[int], np.dtype[np.int64]]"
]:
    """Return for each position the symbols that the best repeat saves, and its period."""
    size = len(numbers)
    best_cover = np.zeros(size, np.int64)
    best_period = np.zeros(size, np.int64)
    for period in range(1, min(MAX_PERIOD, size // 2) + 1):
        equal = np.concatenate([numbers[period:] == numbers[:-period], [False]])
        # Length of the run of equal positions that starts at each index.
        stops = np.flatnonzero(~equal)
        run = stops[np.searchsorted(stops, np.arange(len(equal)))] - np.arange(len(equal))
        cover = (run // period) * period
        better = cover > best_cover[: len(cover)]
        best_cover[: len(cover)][better] = cover[better]
        best_period[: len(cover)][better] = period
    return best_cover, best_period
