"""Integer arithmetic of TensorFlow Lite Micro, to the bit, on numpy arrays.

The one Python statement of requantisation: the compiler folds constants with it and the golden
machine computes with it. Source: gemmlowp's fixedpoint.h and TensorFlow Lite Micro's
kernels/internal/common.cc (double rounding); pinned by vectors recorded from `tflite-micro`.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "multiply_by_quantized_multiplier",
    "quantize_multiplier",
    "rounding_divide_by_pot",
    "saturating_rounding_doubling_high_mul",
]

INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1

IntArray = npt.NDArray[np.int64]


def saturating_rounding_doubling_high_mul(a: npt.ArrayLike, b: npt.ArrayLike) -> IntArray:
    """Return the high 32 bits of 2*a*b, rounded half away from zero as gemmlowp does.

    Parameters
    ----------
    a, b : array_like of int
        int32 values; the only case that saturates is both being -2**31.
    """
    wide_a, wide_b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    product = wide_a * wide_b
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    # C++ division truncates towards zero; the arithmetic shift does not.
    high = np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31))
    overflow = (wide_a == INT32_MIN) & (wide_b == INT32_MIN)
    return np.where(overflow, INT32_MAX, high).astype(np.int64)


def rounding_divide_by_pot(x: npt.ArrayLike, exponent: npt.ArrayLike) -> IntArray:
    """Return x / 2**exponent (0..31), rounded half away from zero."""
    wide, power = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << power) - 1
    threshold = (mask >> 1) + (wide < 0)
    return ((wide >> power) + ((wide & mask) > threshold)).astype(np.int64)


def wrap_int32(x: npt.ArrayLike) -> IntArray:
    """Return x modulo 2**32 as a signed value: what int32 hardware keeps."""
    return ((np.asarray(x, np.int64) + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def multiply_by_quantized_multiplier(
    x: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike
) -> IntArray:
    """Return int32 x times multiplier * 2**(shift - 31), rounded twice as TFLM does.

    Parameters
    ----------
    x : array_like of int
        int32 values. A left shift wraps modulo 2**32.
    multiplier : array_like of int
        0 .. 2**31 - 1.
    shift : array_like of int
        -31 .. 30; positive shifts left before the multiplication, negative right after it.
    """
    amount = np.asarray(shift, np.int64)
    left, right = np.maximum(amount, 0), np.maximum(-amount, 0)
    shifted = wrap_int32(np.asarray(x, np.int64) << left)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), right)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (multiplier, shift) with real ~ multiplier * 2**(shift - 31).

    Source: TensorFlow Lite's QuantizeMultiplier (kernels/internal/quantization_util.cc).
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    # C's llround: half away from zero; Python's round() is half to even.
    fixed = math.floor(abs(fraction) * (1 << 31) + 0.5) * (1 if fraction >= 0 else -1)
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return INT32_MAX, 30
    return int(fixed), shift


def as_int8(x: Any) -> npt.NDArray[np.int8]:
    """Saturate to int8."""
    return np.clip(x, -128, 127).astype(np.int8)
