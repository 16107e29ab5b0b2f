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
    "dequantize",
    "hard_swish",
    "logistic",
    "multiply_by_quantized_multiplier",
    "preprocess_softmax",
    "quantize",
    "quantize_multiplier",
    "rounding_divide_by_pot",
    "saturating_rounding_doubling_high_mul",
    "softmax",
    "softmax_of_table",
    "softmax_table",
    "tanh",
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
    return softmax_of_table(x, softmax_table(multiplier, left_shift, diff_min))


def softmax_table(multiplier: int, left_shift: int, diff_min: int) -> npt.NDArray[np.int32]:
    """Return exp(-d * scale) in Q0.31 for d = 0 .. 255, 0 where -d is below diff_min.

    What is 0 counts for nothing and gives -128, so that the table alone decides a softmax.
    """
    table = _softmax_exponentials(multiplier, left_shift)
    return np.where(-np.arange(256) >= diff_min, table, 0).astype(np.int32)


def softmax_of_table(x: npt.ArrayLike, table: npt.NDArray[np.int32]) -> npt.NDArray[np.int8]:
    """Return the int8 softmax over the last axis from its `softmax_table`.

    With d an element's distance from the largest of its row: every exponential table[d] is halved
    12 times with rounding and summed; one reciprocal of the sum scales them all.
    """
    values = np.asarray(x, np.int64)
    exponentials = table.astype(np.int64)[values.max(axis=-1, keepdims=True) - values]
    total = rounding_divide_by_pot(exponentials, 12).sum(axis=-1, keepdims=True)
    scale, bits_over_unit = _reciprocal(total)
    product = saturating_rounding_doubling_high_mul(scale, exponentials)
    return as_int8(rounding_divide_by_pot(product, bits_over_unit + 23) - 128)


def _softmax_exponentials(multiplier: int, left_shift: int) -> IntArray:
    """Return exp(-d * scale) in Q0.31 for d = 0 .. 255 (only those >= diff_min matter)."""
    difference = wrap_int32(-np.arange(256, dtype=np.int64) << left_shift)
    return _exp_on_negative_values(saturating_rounding_doubling_high_mul(difference, multiplier))


def _multiply_by_pot(x: IntArray, exponent: int) -> IntArray:
    """Return int32 x * 2**exponent, saturated."""
    return np.asarray(np.clip(x << exponent, INT32_MIN, INT32_MAX), np.int64)


def _exp_on_negative_values(a: IntArray, integer_bits: int = 5) -> IntArray:
    """Return exp of fixed-point values <= 0 in Q0.31; gemmlowp's exp_on_negative_values.

    `a` has 31 - `integer_bits` fractional bits; 4 or 5 integer bits.
    """
    mul = saturating_rounding_doubling_high_mul
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    remainder = (a & (quarter - 1)) - quarter
    # exp on [-1/4, 0) by its Taylor series around -1/8.
    x = _multiply_by_pot(remainder, integer_bits) + (1 << 28)
    square = mul(x, x)
    cube, fourth = mul(square, x), mul(square, square)
    series = mul(rounding_divide_by_pot(fourth, 2) + cube, 715827883) + square
    result = 1895147668 + mul(1895147668, x + rounding_divide_by_pot(series, 1))
    # Each set bit of the rest multiplies by exp(-2**exponent).
    rest = remainder - a
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for exponent, factor in zip(range(-2, integer_bits), factors, strict=False):
        bit = 1 << (fraction_bits + exponent)
        result = np.where(rest & bit, mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _twice_reciprocal(a: IntArray) -> IntArray:
    """Return 2 / (1 + a) in Q2.29 for Q0.31 values a in 0 .. 1, by Newton-Raphson.

    Source: gemmlowp's one_over_one_plus_x_for_x_in_0_1, which starts at 48/17 - 32/17 * d.
    """
    mul = saturating_rounding_doubling_high_mul
    half_denominator = (a + INT32_MAX + 1) >> 1
    estimate = 1515870810 + mul(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - mul(half_denominator, estimate)
        estimate = wrap_int32(estimate + _multiply_by_pot(mul(estimate, error), 2))
    return estimate


def _reciprocal(x: IntArray) -> tuple[IntArray, IntArray]:
    """Return 1/x of Q12.19 values >= 1 as (Q0.31, bits it is shifted by); TFLM's GetReciprocal."""
    # frexp is exact here: the values have at most 32 bits.
    bits = np.frexp(x.astype(np.float64))[1].astype(np.int64)
    headroom = 32 - bits
    estimate = _twice_reciprocal(wrap_int32(x << headroom) - INT32_MIN)
    return _multiply_by_pot(estimate, 1), 12 - headroom


def _sigmoidal_input(x: IntArray, scale: float) -> tuple[IntArray, IntArray]:
    """Return x * scale in Q4.27, and where it is out of range: -1 below, 1 above, 0 inside."""
    # A float32 scale has 24 bits: its multiplier is exact. TFLM does not limit the shift here.
    fraction, shift = math.frexp(scale * (1 << 27))
    multiplier = int(fraction * (1 << 31))
    if not 0 <= shift <= 62:
        raise ValueError(f"its input scale is {scale:.3g}; it must be 2**-28 to 2**34")
    radius = (15 << 27) >> shift
    outside = np.where(x <= -radius, -1, np.where(x >= radius, 1, 0))
    inside = np.where(outside == 0, x, 0)
    return multiply_by_quantized_multiplier(inside, multiplier, min(shift, 30)), outside


def logistic(x: npt.ArrayLike, scale: float) -> npt.NDArray[np.int8]:
    """Return the int8 logistic function of x * scale, scale 1/256 and zero point -128.

    Parameters
    ----------
    x : array_like of int
        Input bytes less their zero point.
    scale : float

    Raises
    ------
    ValueError
        When the scale is outside 2**-28 .. 2**34.

    Source: reference_integer_ops::Logistic on int8, gemmlowp's logistic.
    """
    a, outside = _sigmoidal_input(np.asarray(x, np.int64), scale)
    magnitude = _multiply_by_pot(
        _twice_reciprocal(_exp_on_negative_values(-np.abs(a), integer_bits=4)), 1
    )
    value = np.where(a > 0, magnitude, INT32_MAX - magnitude)
    value = np.where(a == 0, 1 << 30, value)
    rounded = rounding_divide_by_pot(value, 23) - 128
    return as_int8(np.where(outside == 0, rounded, outside * 1000))


def tanh(x: npt.ArrayLike, scale: float) -> npt.NDArray[np.int8]:
    """Return the int8 hyperbolic tangent of x * scale, scale 1/128 and zero point 0.

    Parameters and errors are those of `logistic`.

    Source: reference_integer_ops::Tanh on int8, gemmlowp's tanh.
    """
    a, outside = _sigmoidal_input(np.asarray(x, np.int64), scale)
    # The same bits with one integer bit more are twice the value.
    estimate = _twice_reciprocal(_exp_on_negative_values(-np.abs(a), integer_bits=5))
    magnitude = _multiply_by_pot(estimate - (1 << 29), 2)
    value = np.where(a < 0, -magnitude, np.where(a == 0, 0, magnitude))
    return as_int8(np.where(outside == 0, rounding_divide_by_pot(value, 24), outside * 1000))


def _high_mul_int16(a: IntArray, b: int) -> IntArray:
    """Return the high 16 bits of 2*a*b, rounded half away from zero."""
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return _towards_zero(nudged, 15)


def _towards_zero(x: IntArray, exponent: int) -> IntArray:
    return np.where(x >= 0, x >> exponent, -((-x) >> exponent)).astype(np.int64)


def _int16_multiplier(real: float) -> tuple[int, int]:
    """Return (multiplier, shift) with real ~ multiplier * 2**(shift - 15)."""
    multiplier, shift = quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1), shift


def hard_swish(x: npt.ArrayLike, scale: float, output_scale: float) -> IntArray:
    """Return int8 x * relu6(x + 3) / 6 without zero point and saturation.

    Parameters
    ----------
    x : array_like of int
        Input bytes less their zero point.
    scale, output_scale : float
        float32 values.

    Raises
    ------
    ValueError
        When the scales are too far apart, or the input's is out of range.

    Source: reference_ops::HardSwish (kernels/internal/reference/hard_swish.h) in 16 bits.
    """
    hires_scale = np.float32(1 / 128) * np.float32(scale)
    multiplier, shift = _int16_multiplier(float(hires_scale / np.float32(output_scale)))
    relu_multiplier, relu_shift = _int16_multiplier(
        float(hires_scale / (np.float32(3) / np.float32(32768)))
    )
    if not (-15 <= shift <= 0 and -15 <= relu_shift <= 30):
        raise ValueError(f"its scales {scale:.3g} and {output_scale:.3g} are out of range")
    hires = np.asarray(x, np.int64) << 7
    relu = hires
    if relu_shift > 0:
        relu = np.clip(relu << (relu_shift - 1), -(1 << 15), (1 << 15) - 1)
    relu = _high_mul_int16(relu, relu_multiplier)
    if relu_shift > 0:
        relu = np.clip(relu << 1, -(1 << 15), (1 << 15) - 1)
    else:
        relu = rounding_divide_by_pot(relu, -relu_shift)
    relu = (relu + (1 << 15)) >> 1
    product = _towards_zero(relu * _high_mul_int16(hires, multiplier), 15)
    return rounding_divide_by_pot(product, -shift)


def quantize(x: npt.ArrayLike, scale: float, zero_point: int) -> npt.NDArray[np.int8]:
    """Return float32 values as int8: TFLM's AffineQuantize, in float32, half away from zero."""
    with np.errstate(over="ignore"):
        ratio = np.asarray(x, np.float32) / np.float32(scale)
    # Beyond the clip everything saturates; floor needs one more bit than float32 has.
    bounded = np.clip(np.nan_to_num(ratio), -1024, 1024).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(bounded) + 0.5), bounded)
    return as_int8(rounded.astype(np.int64) + zero_point)


def dequantize(x: npt.ArrayLike, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """Return int8 values as float32: TFLM's Dequantize, in double and then rounded."""
    return (scale * (np.asarray(x, np.float64) - zero_point)).astype(np.float32)
