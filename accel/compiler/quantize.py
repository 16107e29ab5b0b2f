"""Folds scales and zero points into the integer constants that TensorFlow Lite Micro computes with.

Every function returns what one operator's device layer needs; the arithmetic is float32, double or
integer exactly where TFLM's is. Sources, of TFLM: kernel_util.cc
(PopulateConvolutionQuantizationParams,
CalculateActivationRangeQuantized), fully_connected_common.cc, add_common.cc, pooling.h, reduce.h.
"""

from dataclasses import dataclass

import numpy as np

from accel.compiler.graph import (
    Activation,
    Binary,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Mean,
    Tensor,
    TransposeConv,
)
from accel.compiler.layers import Int8Array, Int32Array, Rescale
from accel.errors import ModelError
from accel.numerics import multiply_by_quantized_multiplier, quantize_multiplier

__all__ = [
    "IDENTITY",
    "BinaryConstants",
    "ConvConstants",
    "activation_range",
    "average_rescale",
    "binary_constants",
    "conv_constants",
    "mean_rescale",
    "quantize_ratio",
]

IDENTITY = Rescale(bias=0, multiplier=1 << 30, shift=1)
"""Requantises every value below 2**30 to itself."""

MAX_AVERAGE = 2895
"""Largest window for which `average_rescale` is exact: 128 * n * n < 2**30."""

_ADD_SHIFT = 20
"""Left shift of an int8 operand before ADD rescales it."""


Convolution = Conv2D | DepthwiseConv2D | FullyConnected | TransposeConv


@dataclass(frozen=True, eq=False)
class ConvConstants:
    """Per-channel constants of a convolution; see `accel.compiler.layers.ConvLayer`."""

    bias: Int32Array
    multiplier: Int32Array
    shift: Int8Array


@dataclass(frozen=True, eq=False)
class BinaryConstants:
    """Constants of ADD, SUB or MUL; see `accel.compiler.layers.ElementwiseLayer`."""

    table_a: Int32Array
    table_b: Int32Array
    rescale: Rescale


def activation_range(activation: Activation, output: Tensor) -> tuple[int, int]:
    """Return (clamp_min, clamp_max) of a fused activation.

    Raises
    ------
    ModelError
        When a bound is too far from zero to quantise, or no value is left.
    """
    bounds = {
        Activation.NONE: (None, None),
        Activation.RELU: (0.0, None),
        Activation.RELU6: (0.0, 6.0),
        Activation.RELU_N1_TO_1: (-1.0, 1.0),
    }[activation]
    low, high = (
        default if bound is None else output.zero_point + _round_float32(bound, output.scale)
        for bound, default in zip(bounds, (-128, 127), strict=True)
    )
    low, high = max(low, -128), min(high, 127)
    if low > high:
        raise ModelError(f"its output scale {output.scale} leaves {activation.value} no value")
    return low, high


def _round_float32(value: float, scale: float) -> int:
    """Return value / scale in float32, rounded half away from zero."""
    with np.errstate(over="ignore"):
        quotient = float(np.float32(value) / np.float32(scale))
    if not abs(quotient) <= 2147483648.0:
        raise ModelError(f"its output scale {scale} is too small for its fused activation")
    return int(np.copysign(np.floor(abs(quotient) + 0.5), quotient))


def conv_constants(node: Convolution) -> ConvConstants:
    """Return a convolution's bias with the input's zero point folded in, multipliers and shifts.

    Raises
    ------
    ModelError
        When an accumulator could leave int32, or a multiplier is 2**30 or more.
    """
    data, quantization = node.weights.data, node.weights.quantization
    if data is None or quantization is None:
        raise ModelError("its weights are not quantised constants")
    if isinstance(node, DepthwiseConv2D):
        data = np.moveaxis(data, 3, 0)
    channels = data.shape[0]
    weights = data.reshape(channels, -1)
    sums = weights.sum(axis=1, dtype=np.int64)
    bias = np.zeros(channels, np.int64)
    if node.bias is not None and node.bias.data is not None:
        bias = node.bias.data.reshape(channels).astype(np.int64)
    folded = bias - node.input.zero_point * sums
    # Inputs, padding too, are -128 .. 127: the largest magnitude a partial sum can reach.
    reach = np.abs(folded) + 128 * np.abs(weights.astype(np.int16)).sum(axis=1, dtype=np.int64)
    if reach.max() > np.iinfo(np.int32).max:
        worst = int(reach.argmax())
        raise ModelError(f"the sums of its output channel {worst} can leave 32 bits")
    multipliers, shifts = _output_multipliers(node, quantization.scales, channels)
    return ConvConstants(folded.astype(np.int32), multipliers, shifts)


def _output_multipliers(
    node: Convolution, scales: tuple[float, ...], channels: int
) -> tuple[Int32Array, Int8Array]:
    # In double, from left to right. FULLY_CONNECTED too: older TFLM multiplied its two scales in
    # float32, which moves one result in ten thousand.
    source, target = node.input.scale, node.output.scale
    pairs = [quantize_ratio(source * scale / target) for scale in scales]
    pairs = pairs * channels if len(pairs) == 1 else pairs
    return (
        np.array([m for m, _ in pairs], np.int32),
        np.array([s for _, s in pairs], np.int8),
    )


def quantize_ratio(real: float) -> tuple[int, int]:
    """Return TFLM's multiplier and shift of a ratio of scales.

    Raises
    ------
    ModelError
        When it is 2**30 or more.
    """
    if not real < 1 << 30:
        raise ModelError(f"its scales differ by a factor of {real:.3g}; it must be below 2**30")
    return quantize_multiplier(real)


def binary_constants(node: Binary) -> BinaryConstants:
    """Return the operand tables and output constants of ADD, SUB or MUL.

    Raises
    ------
    ModelError
        When the output's scale is so small that a sum would have to be enlarged.
    """
    if node.kind == "mul":
        # In double, from left to right.
        multiplier, shift = quantize_ratio(node.a.scale * node.b.scale / node.output.scale)
        offsets = [np.arange(-128, 128, dtype=np.int32) - t.zero_point for t in (node.a, node.b)]
        return BinaryConstants(offsets[0], offsets[1], Rescale(0, multiplier, shift))
    twice_largest = 2 * max(node.a.scale, node.b.scale)
    tables = [_operand_table(t, t.scale / twice_largest) for t in (node.a, node.b)]
    real = twice_largest / ((1 << _ADD_SHIFT) * node.output.scale)
    multiplier, shift = quantize_ratio(real)
    if real >= 1 or shift > 0:
        raise ModelError(f"its output scale {node.output.scale} is too small for its inputs")
    second = -tables[1] if node.kind == "sub" else tables[1]
    return BinaryConstants(tables[0], second, Rescale(0, multiplier, shift))


def _operand_table(tensor: Tensor, real: float) -> Int32Array:
    multiplier, shift = quantize_multiplier(real)
    values = np.arange(-128, 128, dtype=np.int64) - tensor.zero_point
    scaled = multiply_by_quantized_multiplier(values << _ADD_SHIFT, multiplier, shift)
    return scaled.astype(np.int32)


def average_rescale(count: int) -> Rescale:
    """Return constants that divide the sum of `count` int8 values as TFLM's pooling does.

    TFLM rounds half away from zero: (|sum| + count / 2) / count in integers. With multiplier m =
    floor(2**31 / count) + 1 the product |sum| * m / 2**31 exceeds |sum| / count by at most
    |sum| / 2**31, which is less than the distance 1 / (2 * count) to the next rounding step while
    128 * count**2 < 2**30, and by more than nothing, so that halves of either sign move away
    from zero.

    Raises
    ------
    ModelError
        For more than MAX_AVERAGE values.
    """
    if count > MAX_AVERAGE:
        raise ModelError(f"it averages {count} elements; at most {MAX_AVERAGE} are supported")
    if count == 1:
        return IDENTITY
    return Rescale(0, (1 << 31) // count + 1, 0)


def mean_rescale(node: Mean) -> Rescale:
    """Return the constants of a MEAN over height * width values.

    Raises
    ------
    ModelError
        When a sum could leave int32, or the multiplier is 2**30 or more.
    """
    _, height, width, _ = node.input.shape
    count = height * width
    bias = -node.input.zero_point * count
    if 256 * count > np.iinfo(np.int32).max:
        raise ModelError(f"it averages {count} elements; their sum can leave 32 bits")
    multiplier, shift = quantize_ratio(node.input.scale / node.output.scale)
    # TFLM folds 1 / count into the multiplier with as many bits as fit.
    bits = min(count.bit_length() - 1, 31 + shift)
    return Rescale(bias, (multiplier << bits) // count, shift - bits)
