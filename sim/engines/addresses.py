"""Address arithmetic of the nested loops, on whole arrays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sim.spaces import Words

__all__ = ["ADDRESS_MASK", "Offsets", "as_words", "loop_offsets"]

ADDRESS_MASK = (1 << 20) - 1
"""Chip addresses are 20 bits in every command."""

Offsets = npt.NDArray[np.int64]


def loop_offsets(counts: Sequence[int], steps: Sequence[int]) -> Offsets:
    """Return how far each iteration's value is from the first one's, before any modulus.

    Steps are composite: `steps[l]` is added when level `l` advances and all levels inside it
    return to their first iteration, without undoing what they added.

    Parameters
    ----------
    counts, steps : sequence of int
        Innermost level first.

    Returns
    -------
    array of shape reversed(counts)
        Outermost level first: C order is the order of time.
    """
    travelled = 0
    offsets = np.zeros((1,) * len(counts), np.int64)
    for level, (count, step) in enumerate(zip(counts, steps, strict=True)):
        stride = travelled + step
        shape = [1] * len(counts)
        shape[len(counts) - 1 - level] = count
        offsets = offsets + (np.arange(count, dtype=np.int64) * stride).reshape(shape)
        travelled += (count - 1) * stride
    return offsets


def as_words(addresses: Offsets) -> Words:
    """Return the distinct addresses, as a range when they are one."""
    distinct: Offsets = np.unique(addresses)
    low, high = int(distinct[0]), int(distinct[-1])
    return slice(low, high + 1) if high - low + 1 == len(distinct) else distinct
