"""Turns a graph into device layers: every operator's constants folded, every tensor a feature map.

To add an operator: a folding function in `accel.compiler.quantize`, and one here under `_lowering`.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from accel.compiler import graph as g
from accel.compiler.layers import (
    AddLayer,
    ConvLayer,
    FeatureMap,
    HostLayer,
    Layer,
    Network,
    PoolLayer,
    Port,
    Rescale,
    ReshapeLayer,
)
from accel.compiler.quantize import (
    IDENTITY,
    activation_range,
    add_constants,
    average_rescale,
    conv_constants,
    mean_rescale,
)
from accel.errors import ModelError
from accel.numerics import preprocess_softmax

__all__ = ["lower_graph"]

N = TypeVar("N", bound=g.Node)
Lowering = Callable[["_Lowerer", Any], Layer]

_LOWERINGS: dict[type[g.Node], Lowering] = {}


def lower_graph(graph: g.Graph) -> Network:
    """Return the network of device layers that computes exactly what TFLM does.

    Raises
    ------
    ModelError
        One line that names the operator and what cannot be done.
    """
    return _Lowerer(graph).network()


def _lowering(kind: type[N]) -> Callable[[Callable[["_Lowerer", N], Layer]], Lowering]:
    def register(function: Callable[["_Lowerer", N], Layer]) -> Lowering:
        _LOWERINGS[kind] = function
        return function

    return register


def _dimensions(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (height, width, channels) of a shape; the last axis is the channels."""
    width = shape[-2] if len(shape) > 2 else 1
    return math.prod(shape[:-2]) if len(shape) > 2 else 1, width, shape[-1]


class _Lowerer:
    """The feature map of every tensor met so far."""

    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.maps: dict[int, FeatureMap] = {}
        self.host: set[int] = set()
        """Storages that only the host sees."""
        for tensor in graph.inputs:
            self.maps[tensor.index] = self._new(tensor, self._input_shape(tensor))

    def network(self) -> Network:
        """Lower every node in order."""
        layers = []
        for node in self.graph.nodes:
            try:
                layer = _LOWERINGS[type(node)](self, node)
            except ModelError as error:
                raise ModelError(f"{self.graph.name}: {node.label}: {error}") from None
            self.maps[node.output.index] = layer.output
            layers.append(layer)
        ports = [
            tuple(Port(t.name, t.shape, self.maps[t.index]) for t in tensors)
            for tensors in (self.graph.inputs, self.graph.outputs)
        ]
        return Network(self.graph.name, tuple(layers), ports[0], ports[1])

    def _new(self, tensor: g.Tensor, shape: tuple[int, int, int]) -> FeatureMap:
        return FeatureMap(tensor.index, tensor.name, *shape, tensor.scale, tensor.zero_point)

    def _input_shape(self, tensor: g.Tensor) -> tuple[int, int, int]:
        """Return an input's dimensions after the reshapes that alone read it.

        The host writes inputs element by element, so these reshapes cost nothing.
        """
        outputs = {t.index for t in self.graph.outputs}
        while tensor.index not in outputs:
            readers = [n for n in self.graph.nodes if any(t is tensor for t in n.inputs)]
            if len(readers) != 1 or not isinstance(readers[0], g.Reshape):
                break
            tensor = readers[0].output
        return _dimensions(tensor.shape)

    def base(self, node: g.Node, macs: int = 0) -> dict[str, Any]:
        """Return the fields that every layer has, with a map of its own for the output."""
        output = self._new(node.output, _dimensions(node.output.shape))
        return {
            "index": node.index, "name": node.output.name, "op": node.op, "macs": macs,
            "output": output,
        }  # fmt: skip

    def stored(self, tensor: g.Tensor) -> FeatureMap:
        """Return the map that holds a tensor's elements, whatever their arrangement."""
        found = self.maps[tensor.index]
        if found.storage in self.host:
            raise ModelError(
                f"its input '{g.shorten(tensor.name)}' is computed on the host; only outputs of "
                "the network can be"
            )
        return found

    def image(self, tensor: g.Tensor) -> FeatureMap:
        """Return a tensor's map with the arrangement that its shape says."""
        found = self.stored(tensor)
        shape = _dimensions(tensor.shape)
        if found.shape != shape:
            raise ModelError(
                f"its input '{g.shorten(tensor.name)}' is a reshape of {found.height}x"
                f"{found.width}x{found.channels} to {shape[0]}x{shape[1]}x{shape[2]}, which would "
                "move data; that is not supported"
            )
        return found


@_lowering(g.Conv2D)
def _conv_2d(lowerer: _Lowerer, node: g.Conv2D) -> Layer:
    source, constants = lowerer.image(node.input), conv_constants(node)
    low, high = activation_range(node.activation, node.output)
    return ConvLayer(
        **lowerer.base(node, node.output.elements * math.prod(node.weights.shape[1:])),
        input=source,
        weights=constants.weights,
        bias=constants.bias,
        multiplier=constants.multiplier,
        shift=constants.shift,
        stride=node.stride,
        dilation=node.dilation,
        padding=(node.padding.top, node.padding.left),
        pad_value=node.input.zero_point,
        output_zero=node.output.zero_point,
        clamp_min=low,
        clamp_max=high,
    )


@_lowering(g.FullyConnected)
def _fully_connected(lowerer: _Lowerer, node: g.FullyConnected) -> Layer:
    constants = conv_constants(node)
    low, high = activation_range(node.activation, node.output)
    source = lowerer.stored(node.input)
    base = lowerer.base(node, node.output.elements * node.weights.shape[1])
    channels, depth = node.weights.shape
    output: FeatureMap = base["output"]
    kernel = source.shape
    if depth != node.input.elements:
        # Several rows of inputs: a 1x1 kernel on an image of the output's size.
        source = lowerer.image(node.input)
        kernel = (1, 1, depth)
        if depth != source.channels:
            raise ModelError(f"its rows of {depth} inputs are not pixels of {source.channels}")
        source = FeatureMap(
            source.storage, source.name, output.height, output.width, depth, source.scale,
            source.zero_point,
        )  # fmt: skip
    return ConvLayer(
        **base,
        input=source,
        weights=constants.weights.reshape(channels, *kernel),
        bias=constants.bias,
        multiplier=constants.multiplier,
        shift=constants.shift,
        pad_value=node.input.zero_point,
        output_zero=node.output.zero_point,
        clamp_min=low,
        clamp_max=high,
    )


@_lowering(g.Add)
def _add(lowerer: _Lowerer, node: g.Add) -> Layer:
    a, b, constants = lowerer.image(node.a), lowerer.image(node.b), add_constants(node)
    low, high = activation_range(node.activation, node.output)
    return AddLayer(
        **lowerer.base(node),
        a=a,
        b=b,
        table_a=constants.table_a,
        table_b=constants.table_b,
        rescale=constants.rescale,
        output_zero=node.output.zero_point,
        clamp_min=low,
        clamp_max=high,
    )


def _window_counts(node: g.AveragePool2D | g.MaxPool2D) -> set[int]:
    """Return every number of input elements that some window covers."""
    axes = []
    for axis, before in enumerate((node.padding.top, node.padding.left)):
        first = np.arange(node.output.shape[1 + axis]) * node.stride[axis] - before
        last = np.minimum(first + node.window[axis], node.input.shape[1 + axis])
        axes.append(set((last - np.maximum(first, 0)).tolist()))
    return {rows * columns for rows in axes[0] for columns in axes[1]}


def _pool(
    lowerer: _Lowerer, node: g.AveragePool2D | g.MaxPool2D, rescale: dict[int, Rescale]
) -> Layer:
    low, high = activation_range(node.activation, node.output)
    return PoolLayer(
        **lowerer.base(node),
        input=lowerer.image(node.input),
        operation="max" if isinstance(node, g.MaxPool2D) else "sum",
        window=node.window,
        stride=node.stride,
        padding=(node.padding.top, node.padding.left),
        rescale=rescale,
        clamp_min=low,
        clamp_max=high,
    )


@_lowering(g.AveragePool2D)
def _average_pool_2d(lowerer: _Lowerer, node: g.AveragePool2D) -> Layer:
    return _pool(lowerer, node, {n: average_rescale(n) for n in sorted(_window_counts(node))})


@_lowering(g.MaxPool2D)
def _max_pool_2d(lowerer: _Lowerer, node: g.MaxPool2D) -> Layer:
    return _pool(lowerer, node, dict.fromkeys(sorted(_window_counts(node)), IDENTITY))


@_lowering(g.Mean)
def _mean(lowerer: _Lowerer, node: g.Mean) -> Layer:
    source = lowerer.image(node.input)
    return PoolLayer(
        **lowerer.base(node),
        input=source,
        operation="sum",
        window=(source.height, source.width),
        stride=(1, 1),
        rescale={source.height * source.width: mean_rescale(node)},
        output_zero=node.output.zero_point,
    )


@_lowering(g.Reshape)
def _reshape(lowerer: _Lowerer, node: g.Reshape) -> Layer:
    # Readers that need the new arrangement and do not find it refuse; the others never look.
    source = lowerer.maps[node.input.index]
    height, width, channels = _dimensions(node.output.shape)
    if channels != source.channels:
        height, width, channels = source.shape
    base = lowerer.base(node)
    base["output"] = FeatureMap(
        source.storage, node.output.name, height, width, channels, node.output.scale,
        node.output.zero_point,
    )  # fmt: skip
    return ReshapeLayer(**base, input=source)


@_lowering(g.Softmax)
def _softmax(lowerer: _Lowerer, node: g.Softmax) -> Layer:
    try:
        multiplier, left_shift, diff_min = preprocess_softmax(node.beta, node.input.scale)
    except ValueError as error:
        raise ModelError(str(error)) from None
    base = lowerer.base(node)
    lowerer.host.add(base["output"].storage)
    return HostLayer(
        **base,
        input=lowerer.maps[node.input.index],
        shape=node.input.shape,
        parameters={"multiplier": multiplier, "left_shift": left_shift, "diff_min": diff_min},
    )
