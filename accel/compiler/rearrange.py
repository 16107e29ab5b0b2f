"""Plans the movement of bytes between maps as few linear layers with one-hot weights.

Given for each element of the result which element of the sources it is, pixels that take their
channels in the same pattern form groups, and groups are cut into regular grids. Each grid is one
convolution: its kernel is the pattern, its stride the distance of the pixels it reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.compiler.layers import Int8Array
from accel.errors import ModelError

__all__ = ["Move", "plan"]

MAX_MOVES = 2048
"""Layers that one movement may take."""

MAX_WEIGHTS = 1 << 26
"""Elements of all its weights."""

PERIODS = range(1, 33)
"""Distances between pixels of a grid that are tried."""

Shape = tuple[int, int, int]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Move:
    """One layer; see `accel.compiler.layers.ConvLayer` for the fields of the same name.

    Parameters
    ----------
    sources : tuple of int
        Which maps it reads.
    view, output_view : (height, width)
        How the pixels of the sources, and of the output, are arranged for it.
    weights : int8 array [out, kernel height, kernel width, channels of the sources]
    start : (row, column)
        The first pixel it reads.
    stride, results, origin, step : (rows, columns)
    """

    sources: tuple[int, ...]
    view: tuple[int, int]
    output_view: tuple[int, int]
    weights: Int8Array
    start: tuple[int, int]
    stride: tuple[int, int]
    results: tuple[int, int]
    origin: tuple[int, int]
    step: tuple[int, int]


@dataclass(frozen=True)
class _Run:
    """Outputs origin, origin + step, ... read start, start + stride, ..."""

    origin: int
    step: int
    start: int
    stride: int
    count: int


class _TooMany(Exception):
    """More moves than are worth while."""


def plan(shapes: Sequence[Shape], index: npt.NDArray[Any]) -> list[Move]:
    """Return moves that fill a map of index.shape.

    Parameters
    ----------
    shapes : sequence of (height, width, channels)
        Of the sources.
    index : int array [height, width, channels]
        Which element of all sources' elements, one after another, each one is.

    Raises
    ------
    ModelError
        When it takes too many layers, or too large ones.
    """
    sizes = [h * w * c for h, w, c in shapes]
    limits = np.cumsum(sizes)
    source = np.searchsorted(limits, index.reshape(-1), side="right").reshape(index.shape)
    moves: list[Move] = []
    pixels = source.reshape(-1, index.shape[2])
    for view in dict.fromkeys((h, w) for h, w, _ in shapes):
        members = [i for i, s in enumerate(shapes) if s[:2] == view]
        inside = np.isin(pixels, members)
        mine = np.asarray(inside.any(axis=1))
        if (mine != inside.all(axis=1)).any():
            raise ModelError("it mixes tensors of different sizes within one pixel")
        if mine.any():
            moves += _plan_view(shapes, members, index, source, mine)
    return moves


def _plan_view(
    shapes: Sequence[Shape],
    members: list[int],
    index: npt.NDArray[Any],
    source: npt.NDArray[Any],
    mine: npt.NDArray[np.bool_],
) -> list[Move]:
    """Plan the pixels whose sources all have one size."""
    height, width = shapes[members[0]][:2]
    starts = np.concatenate([[0], np.cumsum([h * w * c for h, w, c in shapes])])
    channels = np.array([c for _, _, c in shapes])
    # Channels of the members side by side.
    offset = np.zeros(len(shapes), np.int64)
    offset[members] = np.cumsum([0] + [shapes[i][2] for i in members[:-1]])
    flat = source.reshape(-1, index.shape[2])[mine]
    element = index.reshape(-1, index.shape[2])[mine] - starts[flat]
    pixel, channel = element // channels[flat], element % channels[flat] + offset[flat]
    places = np.flatnonzero(mine)
    natural = (height, width), index.shape[:2]
    linear = (1, height * width), (1, index.shape[0] * index.shape[1])
    best: list[Move] | None = None
    for view, output_view in dict.fromkeys((natural, linear)):
        try:
            moves = list(_moves(shapes, members, view, output_view, pixel, channel, places))
        except _TooMany:
            continue
        if best is None or len(moves) < len(best):
            best = moves
    if best is None:
        raise ModelError(
            f"its elements move in more than {MAX_MOVES} steps, or in too large ones; "
            "that is not supported"
        )
    return best


def _moves(
    shapes: Sequence[Shape],
    members: list[int],
    view: tuple[int, int],
    output_view: tuple[int, int],
    pixel: IntArray,
    channel: IntArray,
    places: IntArray,
) -> Iterator[Move]:
    y, x = pixel // view[1], pixel % view[1]
    base_y, base_x = y.min(axis=1), x.min(axis=1)
    dy, dx = y - base_y[:, None], x - base_x[:, None]
    kernel = int(dy.max()) + 1, int(dx.max()) + 1
    total = sum(shapes[i][2] for i in members)
    if kernel[0] * kernel[1] * total * pixel.shape[1] > MAX_WEIGHTS:
        raise _TooMany
    pattern = (dy * kernel[1] + dx) * total + channel
    made = size = 0
    for rows in _groups(pattern):
        first = rows[0]
        weights = np.zeros((pixel.shape[1], *kernel, total), np.int8)
        weights[np.arange(pixel.shape[1]), dy[first], dx[first], channel[first]] = 1
        used, weights = _trimmed(shapes, members, weights)
        out_y, out_x = places[rows] // output_view[1], places[rows] % output_view[1]
        for down, across in _grids(out_y, out_x, base_y[rows], base_x[rows]):
            made += 1
            size += weights.size
            if made > MAX_MOVES or size > MAX_WEIGHTS:
                raise _TooMany
            yield Move(
                used, view, output_view, weights,
                start=(down.start, across.start),
                stride=(down.stride, across.stride),
                results=(down.count, across.count),
                origin=(down.origin, across.origin),
                step=(down.step, across.step),
            )  # fmt: skip


def _trimmed(
    shapes: Sequence[Shape], members: list[int], weights: Int8Array
) -> tuple[tuple[int, ...], Int8Array]:
    """Drop what a pattern does not use: sources, and the kernel's last rows and columns."""
    height, width = (
        int(np.flatnonzero(weights.any(axis=a))[-1]) + 1 for a in ((0, 2, 3), (0, 1, 3))
    )
    weights = weights[:, :height, :width]
    parts, used, position = [], [], 0
    for i in members:
        part = weights[..., position : position + shapes[i][2]]
        position += shapes[i][2]
        if part.any():
            parts.append(part)
            used.append(i)
    return tuple(used), np.concatenate(parts, axis=3)


def _groups(pattern: IntArray) -> Iterator[IntArray]:
    """Yield the rows that are equal, group by group."""
    if (pattern == pattern[0]).all():
        yield np.arange(len(pattern))
        return
    # Sorting one number a row is many times faster than sorting rows.
    factors = np.random.default_rng(0).integers(1, 1 << 62, pattern.shape[1]) | 1
    sums = (pattern * factors).sum(axis=1)
    _, first, inverse = np.unique(sums, return_index=True, return_inverse=True)
    if (pattern != pattern[first[inverse]]).any():
        _, inverse = np.unique(pattern, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)


def _grids(
    out_y: IntArray, out_x: IntArray, base_y: IntArray, base_x: IntArray
) -> Iterator[tuple[_Run, _Run]]:
    """Cut pixels into grids: rows that hold the same columns, each cut into runs."""
    rows: dict[tuple[int, int], list[int]] = {}
    changes = np.flatnonzero(np.diff(out_y) | np.diff(base_y)) + 1
    if len(changes) > 1 << 16:
        raise _TooMany
    for part in np.split(np.arange(len(out_y)), changes):
        rows.setdefault((int(out_y[part[0]]), int(base_y[part[0]])), []).extend(part.tolist())
    alike: dict[bytes, tuple[list[int], list[tuple[int, int]]]] = {}
    for row, members in rows.items():
        key = out_x[members].tobytes() + base_x[members].tobytes()
        alike.setdefault(key, (members, []))[1].append(row)
    for members, places in alike.values():
        downs = _runs(np.array([p[0] for p in places]), np.array([p[1] for p in places]))
        acrosses = _runs(out_x[members], base_x[members])
        if len(downs) * len(acrosses) > MAX_MOVES:
            raise _TooMany
        for down in downs:
            for across in acrosses:
                yield down, across


def _runs(out: IntArray, base: IntArray) -> list[_Run]:
    """Cut (out, base) pairs, by rising out, into few arithmetic runs."""
    best: list[_Run] | None = None
    for period in PERIODS:
        if period > 1 and best is not None and len(best) <= period:
            break
        found: list[_Run] = []
        for phase in range(period):
            chosen = np.flatnonzero(out % period == phase)
            if len(chosen) and len(found) <= MAX_MOVES:
                _append_runs(found, out[chosen], base[chosen], period)
        if best is None or len(found) < len(best):
            best = found
    return best or []


def _append_runs(runs: list[_Run], out: IntArray, base: IntArray, period: int) -> None:
    stride = np.where(np.diff(out) == period, np.maximum(np.diff(base), 0), 0)
    # Where each stretch of equal strides ends.
    ends = np.append(np.flatnonzero(np.diff(stride)), len(stride) - 1)
    position = 0
    while position < len(out):
        last = position
        if position < len(stride) and stride[position] > 0:
            last = int(ends[np.searchsorted(ends, position)]) + 1
        step = int(stride[position]) if last > position else 1
        runs.append(
            _Run(int(out[position]), period if last > position else 1, int(base[position]), step,
                 last - position + 1)
        )  # fmt: skip
        if len(runs) > MAX_MOVES:
            return
        position = last + 1
