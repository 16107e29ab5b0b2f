"""Functions of one byte as tables of 256, by TFLM's own integer arithmetic.

Sources, of TFLM: activations.cc, leaky_relu.h, logistic.h, tanh.h, hard_swish.h, requantize.h.
"""

from collections.abc import Callable

import numpy as np

from accel.compiler.graph import Activation, Unary
from accel.compiler.layers import Int32Array
from accel.compiler.quantize import activation_range, quantize_ratio
from accel.errors import ModelError
from accel.numerics import (
    IntArray,
    hard_swish,
    logistic,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    tanh,
)

__all__ = ["FUNCTIONS", "function_table"]


def function_table(node: Unary) -> Int32Array:
    """Return the output byte of a function of each input byte -128 .. 127.

    Raises
    ------
    ModelError
        When the function's fixed-point arithmetic does not cover the tensors' scales.
    """
    offset = np.arange(-128, 128, dtype=np.int64) - node.input.zero_point
    try:
        values = FUNCTIONS[node.op](node, offset)
    except ValueError as error:
        raise ModelError(str(error)) from None
    return np.clip(values, -128, 127).astype(np.int32)


def _rescaled(node: Unary, offset: IntArray) -> IntArray:
    multiplier, shift = quantize_ratio(node.input.scale / node.output.scale)
    return multiply_by_quantized_multiplier(offset, multiplier, shift) + node.output.zero_point


def _relu(node: Unary, offset: IntArray) -> IntArray:
    low, high = activation_range(Activation.RELU, node.output)
    return np.clip(_rescaled(node, offset), low, high)


def _relu6(node: Unary, offset: IntArray) -> IntArray:
    # Bytes pass as they are, whatever the output's scale is.
    zero = node.input.zero_point
    _, six = activation_range(Activation.RELU6, node.input)
    return np.clip(offset + zero, zero, six)


def _leaky_relu(node: Unary, offset: IntArray) -> IntArray:
    scale, target, alpha = (
        np.float32(v) for v in (node.input.scale, node.output.scale, node.alpha)
    )
    ratios = float(scale / target), float(scale * alpha / target)
    if not all(abs(r) < 1 << 22 for r in ratios):
        raise ModelError(f"its scales differ by a factor of {max(ratios):.3g}")
    # TFLM rounds products with a negative slope as those with its magnitude.
    above, below = (
        multiply_by_quantized_multiplier(offset, *quantize_multiplier(abs(r))) for r in ratios
    )
    below = below if ratios[1] >= 0 else -below
    return np.where(offset >= 0, above, below) + node.output.zero_point


def _logistic(node: Unary, offset: IntArray) -> IntArray:
    _check_output(node, 1 / 256, -128)
    return logistic(offset, node.input.scale).astype(np.int64)


def _tanh(node: Unary, offset: IntArray) -> IntArray:
    _check_output(node, 1 / 128, 0)
    return tanh(offset, node.input.scale).astype(np.int64)


def _check_output(node: Unary, scale: float, zero_point: int) -> None:
    if (node.output.scale, node.output.zero_point) != (scale, zero_point):
        raise ModelError(
            f"its output must have a scale of 1/{round(1 / scale)} and a zero point of {zero_point}"
        )


def _hard_swish(node: Unary, offset: IntArray) -> IntArray:
    return hard_swish(offset, node.input.scale, node.output.scale) + node.output.zero_point


FUNCTIONS: dict[str, Callable[[Unary, IntArray], IntArray]] = {
    "HARD_SWISH": _hard_swish,
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _logistic,
    "QUANTIZE": _rescaled,
    "RELU": _relu,
    "RELU6": _relu6,
    "TANH": _tanh,
}
"""By the operator's TFLite name."""
