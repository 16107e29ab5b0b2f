"""Readers of operators that compute: convolutions, elementwise functions, pooling.

To add an operator: a node class in `accel.compiler.graph`, and a function under `reader` here or in
`accel.compiler.importers.tflite_layout`.
"""

from typing import Any

import numpy as np

from accel.compiler import graph
from accel.compiler.functions import FUNCTIONS
from accel.compiler.graph import Activation, Node
from accel.compiler.importers.tflite_operator import Operator, reader

__all__: list[str] = []


@reader("CONV_2D")
def _conv_2d(op: Operator) -> Node:
    op.arity(2, 3)
    options = op.options("Conv2DOptions")
    tensor, output, weights = op.input(0, 4), op.output(4), op.weights(4)
    channels, height, width, depth = weights.shape
    groups, rest = divmod(tensor.shape[3], depth)
    if rest or channels % groups or channels != output.shape[3]:
        op.fail(
            f"has weights {list(weights.shape)} for {tensor.shape[3]} input and "
            f"{output.shape[3]} output channels"
        )
    stride = op.steps("stride", options.StrideH(), options.StrideW())
    dilation = op.steps("dilation", options.DilationHFactor(), options.DilationWFactor())
    return graph.Conv2D(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        weights=weights,
        bias=op.bias(channels),
        stride=stride,
        dilation=dilation,
        padding=op.window_padding(options, tensor, output, (height, width), stride, dilation),
        activation=op.fused(options),
    )


@reader("DEPTHWISE_CONV_2D")
def _depthwise_conv_2d(op: Operator) -> Node:
    op.arity(2, 3)
    options = op.options("DepthwiseConv2DOptions")
    tensor, output, weights = op.input(0, 4), op.output(4), op.weights(4, axis=3)
    one, height, width, channels = weights.shape
    if one != 1 or channels % tensor.shape[3] or channels != output.shape[3]:
        op.fail(
            f"has weights {list(weights.shape)} for {tensor.shape[3]} input and "
            f"{output.shape[3]} output channels"
        )
    stride = op.steps("stride", options.StrideH(), options.StrideW())
    dilation = op.steps("dilation", options.DilationHFactor(), options.DilationWFactor())
    return graph.DepthwiseConv2D(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        weights=weights,
        bias=op.bias(channels),
        stride=stride,
        dilation=dilation,
        padding=op.window_padding(options, tensor, output, (height, width), stride, dilation),
        activation=op.fused(options),
    )


@reader("TRANSPOSE_CONV")
def _transpose_conv(op: Operator) -> Node:
    op.arity(3, 4)
    options = op.options("TransposeConvOptions")
    tensor, output, weights = op.input(2, 4), op.output(4), op.weights(4)
    channels, height, width, depth = weights.shape
    if depth != tensor.shape[3] or channels != output.shape[3]:
        op.fail(
            f"has weights {list(weights.shape)} for {tensor.shape[3]} input and "
            f"{output.shape[3]} output channels"
        )
    if op.fused(options) is not Activation.NONE:
        op.fail("has a fused activation, which is not supported")
    stride = op.steps("stride", options.StrideH(), options.StrideW())
    # Padding is that of the convolution which would lead back.
    return graph.TransposeConv(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        weights=weights,
        bias=op.bias(channels, 3),
        stride=stride,
        padding=op.window_padding(options, output, tensor, (height, width), stride),
    )


@reader("FULLY_CONNECTED")
def _fully_connected(op: Operator) -> Node:
    op.arity(2, 3)
    options = op.options("FullyConnectedOptions")
    if options.WeightsFormat() != 0:
        op.fail("has shuffled weights, which are not supported")
    tensor, output, weights = op.input(0), op.output(), op.weights(2)
    channels, depth = weights.shape
    rows, rest = divmod(tensor.elements, depth)
    if rest or output.shape[-1] != channels or output.elements != rows * channels:
        op.fail(
            f"has weights {list(weights.shape)} between shapes {list(tensor.shape)} and "
            f"{list(output.shape)}"
        )
    return graph.FullyConnected(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        weights=weights,
        bias=op.bias(channels),
        activation=op.fused(options),
    )


@reader("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM")
def _binary(op: Operator) -> Node:
    op.arity(2, 2)
    a, b, output = op.operand(0), op.operand(1), op.output()
    if a.data is not None and b.data is not None:
        op.fail("has two constant inputs, which is not supported")
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = ()
    if shape != output.shape:
        op.fail(f"makes {list(output.shape)} of {list(a.shape)} and {list(b.shape)}")
    activation = Activation.NONE
    if op.name in ("ADD", "SUB", "MUL"):
        activation = op.fused(op.options(f"{op.name.capitalize()}Options"))
    kind: Any = op.name.lower()[:3]
    return graph.Binary(
        index=op.index, op=op.name, output=output, kind=kind, a=a, b=b, activation=activation
    )


def _unary(op: Operator) -> graph.Unary:
    op.arity(1, 1)
    tensor, output = op.input(0), op.output()
    if tensor.elements != output.elements:
        op.fail(f"makes {list(output.shape)} of {list(tensor.shape)}")
    alpha = 0.0
    if op.name == "LEAKY_RELU":
        alpha = float(op.options("LeakyReluOptions").Alpha())
        if not np.isfinite(alpha):
            op.fail("has a slope that is not a number")
    return graph.Unary(index=op.index, op=op.name, output=output, input=tensor, alpha=alpha)


for _name in FUNCTIONS:
    reader(_name)(_unary)


@reader("QUANTIZE", "DEQUANTIZE")
def _convert(op: Operator) -> Node:
    op.arity(1, 1)
    tensor, output = op.edge(op.inputs[0], "input"), op.edge(op.outputs[0], "output")
    if tensor.elements != output.elements:
        op.fail(f"makes {list(output.shape)} of {list(tensor.shape)}")
    if tensor.dtype == output.dtype == np.int8:
        return _unary(op)
    kinds = {str(tensor.dtype), str(output.dtype)}
    float_out = output.dtype == np.float32
    if "int8" not in kinds or float_out != (op.name == "DEQUANTIZE"):
        op.fail(f"converts {tensor.dtype} to {output.dtype}, which is not supported")
    return graph.Convert(index=op.index, op=op.name, output=output, input=tensor)


def _pool(op: Operator, kind: type[graph.AveragePool2D] | type[graph.MaxPool2D]) -> Node:
    op.arity(1, 1)
    options = op.options("Pool2DOptions")
    tensor, output = op.input(0, 4), op.output(4)
    if tensor.shape[3] != output.shape[3]:
        op.fail(f"has {tensor.shape[3]} input and {output.shape[3]} output channels")
    window = op.steps("window", options.FilterHeight(), options.FilterWidth())
    stride = op.steps("stride", options.StrideH(), options.StrideW())
    return kind(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        window=window,
        stride=stride,
        padding=op.window_padding(options, tensor, output, window, stride),
        activation=op.fused(options),
    )


@reader("AVERAGE_POOL_2D")
def _average_pool_2d(op: Operator) -> Node:
    return _pool(op, graph.AveragePool2D)


@reader("MAX_POOL_2D")
def _max_pool_2d(op: Operator) -> Node:
    return _pool(op, graph.MaxPool2D)


@reader("MEAN")
def _mean(op: Operator) -> Node:
    op.arity(2, 2)
    options = op.options("ReducerOptions")
    tensor, output = op.input(0, 4), op.output()
    data = op.constant(1, np.int32, "axes").data
    axes = sorted(int(a) % 4 if -4 <= a < 4 else 9 for a in np.ravel(data)[:5]) if (
        data is not None
    ) else []  # fmt: skip
    if axes != [1, 2]:
        op.fail("is supported over height and width (axes 1 and 2) only")
    keep = bool(options.KeepDims())
    channels = tensor.shape[3]
    if output.shape != ((1, 1, 1, channels) if keep else (1, channels)):
        op.fail(f"has output shape {list(output.shape)} for {channels} channels")
    return graph.Mean(index=op.index, op=op.name, output=output, input=tensor, keep_dims=keep)


@reader("SOFTMAX")
def _softmax(op: Operator) -> Node:
    op.arity(1, 1)
    options = op.options("SoftmaxOptions")
    tensor, output = op.input(0), op.output()
    if tensor.shape != output.shape:
        op.fail(f"makes {list(output.shape)} of {list(tensor.shape)}")
    if (output.scale, output.zero_point) != (1 / 256, -128):
        op.fail("must have an output scale of 1/256 and a zero point of -128")
    return graph.Softmax(
        index=op.index, op=op.name, output=output, input=tensor, beta=float(options.Beta())
    )
