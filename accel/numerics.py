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
    "preprocess_softmax",
    "quantize_multiplier",
    "rounding_divide_by_pot",
    "saturating_rounding_doubling_high_mul",
    "softmax",
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
    return np.clip(np.asarray(x, np.int64), -128, 127).astype(np.int8)


def preprocess_softmax(beta: float, input_scale: float) -> tuple[int, int, int]:
    """Return (multiplier, left_shift, diff_min) of `softmax` for beta * input_scale.

    Parameters
    ----------
    beta, input_scale : float
        float32 values. Their product must exceed 2**-26.

    Raises
    ------
    ValueError
        When the product is too small for a multiplier greater than one.

    Source: PreprocessSoftmaxScaling and CalculateInputRadius (quantization_util.cc) with the five
    integer bits of softmax_common.cc.
    """
    real = min(beta * input_scale * (1 << 26), (1 << 31) - 1.0)
    if not real > 1.0:
        raise ValueError(
            f"beta times its input scale is {beta * input_scale:.3g}; it must exceed 2**-26"
        )
    multiplier, shift = quantize_multiplier(real)
    return multiplier, shift, -((31 << 26) >> shift)


def softmax(
    x: npt.ArrayLike, multiplier: int, left_shift: int, diff_min: int
) -> npt.NDArray[np.int8]:
    """Return the int8 softmax over the last axis, scale 1/256 and zero point -128.

    Parameters
    ----------
    x : array_like of int8
    multiplier, left_shift, diff_min : int
        From `preprocess_softmax`.

    Source: reference_ops::Softmax (kernels/internal/reference/softmax.h) on int8. TFLM stops the
    machine when a sum of exponentials reaches 512, which takes at least 512 elements; here the
    result is then what wider shifts give.
    """
    values = np.asarray(x, np.int64)
    difference = values - values.max(axis=-1, keepdims=True)
    table = _softmax_exponentials(multiplier, left_shift)[-difference]
    counted = difference >= diff_min
    accumulated = np.where(counted, rounding_divide_by_pot(table, 12), 0)
    scale, bits_over_unit = _reciprocal(accumulated.sum(axis=-1, keepdims=True))
    product = saturating_rounding_doubling_high_mul(scale, table)
    result = rounding_divide_by_pot(product, bits_over_unit + 23)
    return as_int8(np.where(counted, result - 128, -128))


def _softmax_exponentials(multiplier: int, left_shift: int) -> IntArray:
    """Return exp(-d * scale) in Q0.31 for d = 0 .. 255 (only those >= diff_min matter)."""
    difference = wrap_int32(-np.arange(256, dtype=np.int64) << left_shift)
    return _exp_on_negative_values(saturating_rounding_doubling_high_mul(difference, multiplier))


def _multiply_by_pot(x: IntArray, exponent: int) -> IntArray:
    """Return int32 x * 2**exponent, saturated."""
    return np.asarray(np.clip(x << exponent, INT32_MIN, INT32_MAX), np.int64)


def _exp_on_negative_values(a: IntArray) -> IntArray:
    """Return exp of Q5.26 values <= 0 in Q0.31; gemmlowp's exp_on_negative_values."""
    mul = saturating_rounding_doubling_high_mul
    quarter = 1 << 24
    remainder = (a & (quarter - 1)) - quarter
    # exp on [-1/4, 0) by its Taylor series around -1/8.
    x = _multiply_by_pot(remainder, 5) + (1 << 28)
    square = mul(x, x)
    cube, fourth = mul(square, x), mul(square, square)
    series = mul(rounding_divide_by_pot(fourth, 2) + cube, 715827883) + square
    result = 1895147668 + mul(1895147668, x + rounding_divide_by_pot(series, 1))
    # Each set bit of the rest multiplies by exp(-2**exponent).
    rest = remainder - a
    for exponent, factor in zip(
        range(-2, 5),
        (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242),
        strict=True,
    ):
        result = np.where(rest & (1 << (26 + exponent)), mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _reciprocal(x: IntArray) -> tuple[IntArray, IntArray]:
    """Return 1/x of Q12.19 values >= 1 as (Q0.31, bits it is shifted by); TFLM's GetReciprocal."""
    mul = saturating_rounding_doubling_high_mul
    # frexp is exact here: the values have at most 32 bits.
    bits = np.frexp(x.astype(np.float64))[1].astype(np.int64)
    headroom = 32 - bits
    a = wrap_int32(x << headroom) - INT32_MIN
    total = a + INT32_MAX
    half_denominator = (total + 1) >> 1
    # Newton-Raphson in Q2.29, started at 48/17 - 32/17 * d.
    estimate = 1515870810 + mul(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - mul(half_denominator, estimate)
        estimate = wrap_int32(estimate + _multiply_by_pot(mul(estimate, error), 2))
    return _multiply_by_pot(estimate, 1), 12 - headroom
