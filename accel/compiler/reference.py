"""Evaluates a network layer by layer in numpy: the exact meaning of the device layers.

The compiler checks itself with it, and it tells which layer of a device's run is wrong.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from accel.compiler.layers import (
    AddLayer,
    ConvLayer,
    HostLayer,
    Int8Array,
    Layer,
    Network,
    PoolLayer,
    Rescale,
    ReshapeLayer,
)
from accel.errors import InputError
from accel.numerics import multiply_by_quantized_multiplier, softmax

__all__ = ["evaluate", "evaluate_maps"]

IntArray = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


def evaluate(network: Network, inputs: Sequence[npt.ArrayLike]) -> list[Int8Array]:
    """Return the network's outputs, each [N, *port.shape without its leading 1].

    Parameters
    ----------
    network : Network
    inputs : sequence of int8 array_like
        One per network input: N values of the port's shape, with or without its leading 1.

    Raises
    ------
    InputError
        When the arrays do not fit the network's inputs.
    """
    maps = evaluate_maps(network, inputs)
    return [maps[p.map.storage].reshape(-1, *p.shape[1:]) for p in network.outputs]


def evaluate_maps(network: Network, inputs: Sequence[npt.ArrayLike]) -> dict[int, Int8Array]:
    """Return every feature map, [N, height, width, channels] as first written, by its storage.

    Parameters and errors are those of `evaluate`.
    """
    if len(inputs) != len(network.inputs):
        raise InputError(f"{network.name} has {len(network.inputs)} inputs, not {len(inputs)}")
    maps: dict[int, Int8Array] = {}
    count = None
    for port, given in zip(network.inputs, inputs, strict=True):
        values = np.asarray(given)
        wanted = port.shape[1:] if port.shape[0] == 1 and len(port.shape) > 1 else port.shape
        shapes = ((len(values), *wanted), (len(values), *port.shape)) if values.ndim else ()
        if values.dtype != np.int8 or values.shape not in shapes:
            raise InputError(
                f"input '{port.name}' of {network.name} takes int8 arrays of N x {list(wanted)}, "
                f"not {values.dtype} {list(values.shape)}"
            )
        if count not in (None, len(values)):
            raise InputError(f"the inputs of {network.name} hold different numbers of inferences")
        count = len(values)
        maps[port.map.storage] = values.reshape(-1, *port.map.shape)
    for layer in network.layers:
        operands = [maps[m.storage].reshape(-1, *m.shape) for m in layer.inputs]
        if not isinstance(layer, ReshapeLayer):
            result = _EVALUATORS[type(layer)](layer, *operands)
            maps[layer.output.storage] = result.reshape(-1, *layer.output.shape)
    return maps


def _finish(
    x: IntArray,
    multiplier: npt.ArrayLike,
    shift: npt.ArrayLike,
    layer: ConvLayer | AddLayer | PoolLayer,
) -> Int8Array:
    """Return the vector engine's last step."""
    scaled = multiply_by_quantized_multiplier(x, multiplier, shift) + layer.output_zero
    return np.clip(scaled, layer.clamp_min, layer.clamp_max).astype(np.int8)


def _shifted(
    x: Float64Array,
    out: tuple[int, int],
    start: tuple[int, int],
    stride: tuple[int, int],
) -> Float64Array:
    """Return x[:, start + stride * (0 .. out - 1), ...] of an image padded enough for it."""
    rows = slice(start[0], start[0] + (out[0] - 1) * stride[0] + 1, stride[0])
    columns = slice(start[1], start[1] + (out[1] - 1) * stride[1] + 1, stride[1])
    return x[:, rows, columns]


def _padded(
    x: Int8Array,
    layer: ConvLayer | PoolLayer,
    reach: tuple[int, int],
    value: int,
) -> Float64Array:
    """Return the image as float64 with everything that any window reads around it."""
    after = [
        max(0, (out - 1) * step + extent - before - size)
        for out, step, extent, before, size in zip(
            layer.output.shape[:2], layer.stride, reach, layer.padding, x.shape[1:3], strict=True
        )
    ]
    (top, left), (bottom, right) = layer.padding, after
    margins = ((0, 0), (top, bottom), (left, right), (0, 0))
    return np.pad(x.astype(np.float64), margins, constant_values=value)


def _conv(layer: ConvLayer, x: Int8Array) -> Int8Array:
    (height, width), (dy, dx) = layer.kernel, layer.dilation
    image = _padded(x, layer, ((height - 1) * dy + 1, (width - 1) * dx + 1), layer.pad_value)
    out = layer.output.height, layer.output.width
    # Products and sums stay below 2**53: float64 is exact, and its matrix product is fast.
    weights = layer.weights.astype(np.float64)
    total = np.zeros((len(x), *out, weights.shape[0]))
    if out == (1, 1):
        # One window: the whole kernel in one product.
        window = image[:, : (height - 1) * dy + 1 : dy, : (width - 1) * dx + 1 : dx]
        total += (window.reshape(len(x), -1) @ weights.reshape(len(weights), -1).T).reshape(
            total.shape
        )
    else:
        for i in range(height):
            for j in range(width):
                total += _shifted(image, out, (i * dy, j * dx), layer.stride) @ weights[:, i, j].T
    sums = total.astype(np.int64) + layer.bias
    return _finish(sums, layer.multiplier, layer.shift, layer)


def _add(layer: AddLayer, a: Int8Array, b: Int8Array) -> Int8Array:
    total = layer.table_a.astype(np.int64)[a.astype(np.int64) + 128]
    total = total + layer.table_b[b.astype(np.int64) + 128]
    return _finish(total, layer.rescale.multiplier, layer.rescale.shift, layer)


def _pool(layer: PoolLayer, x: Int8Array) -> Int8Array:
    summing = layer.operation == "sum"
    image = _padded(x, layer, layer.window, 0 if summing else -128)
    inside = _padded(np.ones_like(x[:1, :, :, :1]), layer, layer.window, 0)
    out = layer.output.height, layer.output.width
    value = np.full((len(x), *out, x.shape[3]), 0.0 if summing else -128.0)
    count = np.zeros((1, *out, 1))
    for i in range(layer.window[0]):
        for j in range(layer.window[1]):
            part = _shifted(image, out, (i, j), layer.stride)
            value = value + part if summing else np.maximum(value, part)
            count = count + _shifted(inside, out, (i, j), layer.stride)
    constants = np.vectorize(_constants(layer.rescale), otypes=[np.int64] * 3)(count)
    return _finish(value.astype(np.int64) + constants[0], constants[1], constants[2], layer)


def _constants(rescale: Mapping[int, Rescale]) -> Callable[[float], tuple[int, int, int]]:
    def find(count: float) -> tuple[int, int, int]:
        found = rescale[int(count)]
        return found.bias, found.multiplier, found.shift

    return find


def _host(layer: HostLayer, x: Int8Array) -> Int8Array:
    values = x.reshape(len(x), *layer.shape)
    return softmax(values, **layer.parameters)


_EVALUATORS: dict[type[Layer], Callable[..., Int8Array]] = {
    ConvLayer: _conv,
    AddLayer: _add,
    PoolLayer: _pool,
    HostLayer: _host,
}
