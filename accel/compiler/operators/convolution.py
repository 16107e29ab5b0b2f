"""CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, FULLY_CONNECTED: linear maps of windows."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accel.compiler import graph as g
from accel.compiler.layers import ConvLayer, FeatureMap, Int8Array
from accel.compiler.operators.lowerer import Lowerer, dimensions, lowering
from accel.compiler.quantize import ConvConstants, activation_range, conv_constants
from accel.errors import ModelError

__all__: list[str] = []

MAX_WEIGHTS = 1 << 27
"""Elements of one layer's weights with their zeros."""


def _constants(constants: ConvConstants) -> dict[str, Any]:
    return {
        "bias": constants.bias,
        "multiplier": constants.multiplier,
        "shift": constants.shift,
    }


def _window_source(
    lowerer: Lowerer, node: g.Conv2D | g.DepthwiseConv2D
) -> tuple[FeatureMap, tuple[int, int]]:
    """Return the map that a convolution reads and its padding, a PAD before it included."""
    margin = lowerer.margins.get(node.input.index)
    if margin is None:
        return lowerer.image(node.input, node), (node.padding.top, node.padding.left)
    return margin.map, (margin.top + node.padding.top, margin.left + node.padding.left)


def _window_layer(
    lowerer: Lowerer, node: g.Conv2D | g.DepthwiseConv2D, weights: Int8Array, macs: int
) -> None:
    constants = conv_constants(node)
    low, high = activation_range(node.activation, node.output)
    source, padding = _window_source(lowerer, node)
    lowerer.emit(
        ConvLayer(
            **lowerer.base(node, macs),
            **_constants(constants),
            sources=(source,),
            weights=weights,
            stride=node.stride,
            dilation=node.dilation,
            padding=padding,
            pad_value=node.input.zero_point,
            output_zero=node.output.zero_point,
            clamp_min=low,
            clamp_max=high,
            results=dimensions(node.output.shape)[:2],
        )
    )


def _data(tensor: g.Tensor) -> Int8Array:
    if tensor.data is None:
        raise ModelError("its weights are not constant")
    return tensor.data


@lowering(g.Conv2D)
def _conv_2d(lowerer: Lowerer, node: g.Conv2D) -> None:
    weights = _data(node.weights)
    macs = node.output.elements * math.prod(weights.shape[1:])
    groups = node.input.shape[3] // weights.shape[3]
    if groups > 1:
        weights = _grouped(weights, groups)
    _window_layer(lowerer, node, weights, macs)


def _grouped(weights: Int8Array, groups: int) -> Int8Array:
    """Return the weights of a grouped convolution with zeros where a group does not look."""
    channels, height, width, depth = weights.shape
    _check_size(weights.size * groups)
    spread = np.zeros((channels, height, width, groups, depth), np.int8)
    group = np.arange(channels) // (channels // groups)
    spread[np.arange(channels), :, :, group] = weights
    return spread.reshape(channels, height, width, groups * depth)


@lowering(g.DepthwiseConv2D)
def _depthwise_conv_2d(lowerer: Lowerer, node: g.DepthwiseConv2D) -> None:
    compact = _data(node.weights)
    # Each output channel looks at one input channel: a grouped convolution of depth 1.
    weights = _grouped(np.moveaxis(compact, 3, 0).transpose(0, 2, 3, 1), node.input.shape[3])
    macs = node.output.elements * math.prod(compact.shape[1:3])
    _window_layer(lowerer, node, weights, macs)


def _check_size(elements: int) -> None:
    if elements > MAX_WEIGHTS:
        raise ModelError(f"its weights with their zeros are {elements} bytes; too many")


@lowering(g.FullyConnected)
def _fully_connected(lowerer: Lowerer, node: g.FullyConnected) -> None:
    constants = conv_constants(node)
    low, high = activation_range(node.activation, node.output)
    channels, depth = node.weights.shape
    source = lowerer.stored(node.input)
    kernel = source.shape
    base = lowerer.base(node, node.output.elements * depth)
    output: FeatureMap = base["output"]
    if depth != node.input.elements:
        # Several rows of inputs: a 1x1 kernel on an image of the output's size.
        kernel = (1, 1, depth)
        if source.channels != depth:
            rows = replace(node.input, shape=(node.input.elements // depth, depth))
            source = lowerer.image(rows, node)
        source = replace(source, height=output.height, width=output.width)
    lowerer.emit(
        ConvLayer(
            **base,
            **_constants(constants),
            sources=(source,),
            weights=_data(node.weights).reshape(channels, *kernel),
            pad_value=node.input.zero_point,
            output_zero=node.output.zero_point,
            clamp_min=low,
            clamp_max=high,
            results=output.shape[:2],
        )
    )


@dataclass(frozen=True)
class _Phase:
    """One axis of a phase: which weights it sees, in the order of its inputs, and its padding."""

    taps: list[int]
    padding: int


def _phase(start: int, before: int, stride: int, kernel: int) -> _Phase:
    """Return the phase of outputs start, start + stride, ...

    Input y meets output o in weight o + before - y * stride.
    """
    first = (start + before) % stride
    taps = list(range(first, kernel, stride))[::-1]
    return _Phase(taps, max(len(taps), 1) - 1 - (start + before) // stride)


@lowering(g.TransposeConv)
def _transpose_conv(lowerer: Lowerer, node: g.TransposeConv) -> None:
    """Each phase of the output (its rows and columns modulo the stride) is a convolution."""
    weights, constants = _data(node.weights), conv_constants(node)
    sums = weights.sum(axis=(1, 2, 3), dtype=np.int64)
    macs = node.input.elements * weights.size // weights.shape[3]
    source = lowerer.image(node.input, node)
    base = lowerer.base(node, macs)
    output: FeatureMap = base["output"]
    before = node.padding.top, node.padding.left
    for y in range(min(node.stride[0], output.height)):
        for x in range(min(node.stride[1], output.width)):
            rows = _phase(y, before[0], node.stride[0], weights.shape[1])
            columns = _phase(x, before[1], node.stride[1], weights.shape[2])
            part = weights[:, rows.taps][:, :, columns.taps]
            if not part.size:
                part = np.zeros((len(weights), 1, 1, weights.shape[3]), np.int8)
            # The folded bias counts all weights; a phase sees some of them.
            unseen = sums - part.sum(axis=(1, 2, 3), dtype=np.int64)
            bias = constants.bias + node.input.zero_point * unseen
            lowerer.emit(
                ConvLayer(
                    **base,
                    sources=(source,),
                    weights=np.ascontiguousarray(part),
                    bias=bias.astype(np.int32),
                    multiplier=constants.multiplier,
                    shift=constants.shift,
                    padding=(rows.padding, columns.padding),
                    pad_value=node.input.zero_point,
                    output_zero=node.output.zero_point,
                    clamp_min=-128,
                    clamp_max=127,
                    results=(
                        -(-(output.height - y) // node.stride[0]),
                        -(-(output.width - x) // node.stride[1]),
                    ),
                    origin=(y, x),
                    step=node.stride,
                )
            )
            base["macs"] = 0
