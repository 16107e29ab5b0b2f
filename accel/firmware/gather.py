"""Arguments of the kernel `gather`."""

import math
from collections.abc import Sequence

from accel.errors import FirmwareError

__all__ = ["gather_arguments"]

LOOPS = 4
"""Nested loops that the kernel has."""


def gather_arguments(
    dims: Sequence[int], strides: Sequence[int], channels: int, offset: int = 0
) -> tuple[int, ...]:
    """Return the kernel's arguments for output element (i0, i1, ...) = input element
    offset + i0 * strides[0] + i1 * strides[1] + ...

    Elements of either map are numbered in C order (y, x, c).

    Parameters
    ----------
    dims : sequence of int
        The output's dimensions, outermost first, at least 1 each. Those that one stride covers
        are taken as one; four must remain at most.
    strides : sequence of int
        Input elements per step of each; 0 repeats, a negative one runs backwards.
    channels : int
        The input map's channels.
    offset : int
        The first input element.

    Raises
    ------
    FirmwareError
        When more than four dimensions remain.
    """  # noqa: D205, D400
    loops: list[tuple[int, int]] = []
    for count, stride in zip(dims, strides, strict=True):
        if count < 1:
            raise FirmwareError(f"gather: a dimension must be at least 1, not {count}")
        if count == 1:
            continue
        if loops and loops[-1][1] == count * stride:
            loops[-1] = (loops[-1][0] * count, stride)
        else:
            loops.append((count, stride))
    if len(loops) > LOOPS:
        shape = "x".join(map(str, dims))
        raise FirmwareError(
            f"gather: {shape} with strides {tuple(strides)} takes {len(loops)} nested loops; "
            f"there are {LOOPS}: move the data in two steps"
        )
    loops = [(1, 0)] * (LOOPS - len(loops)) + loops
    words = [*divmod(offset, channels)]
    for k, (count, stride) in enumerate(loops):
        # When loop k steps, the loops inside it stand at their last element.
        back = sum((inner - 1) * step for inner, step in loops[k + 1 :])
        words += [count, *divmod(stride - back, channels)]
    return tuple(words)


def transpose_strides(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """Return the strides that transpose an input of `shape` as numpy.transpose does."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in axes)
