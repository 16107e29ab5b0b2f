"""Evaluates a network layer by layer in numpy: the exact meaning of the device layers.

The compiler checks itself with it, and it tells which layer of a device's run is wrong.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    ElementwiseLayer,
    Int8Array,
    Int32Array,
    Layer,
    Network,
    PoolLayer,
    Port,
    Rescale,
    ReshapeLayer,
)
from accel.errors import InputError
from accel.numerics import (
    dequantize,
    multiply_by_quantized_multiplier,
    quantize,
    softmax_of_table,
)

__all__ = ["evaluate", "evaluate_maps"]

IntArray = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

BLOCK = 32
"""Output channels evaluated together where most weights are zero."""


def evaluate(network: Network, inputs: Sequence[npt.ArrayLike]) -> list[npt.NDArray[Any]]:
    """Return the network's outputs, each [N, *port.shape without its leading 1].

    Parameters
    ----------
    network : Network
    inputs : sequence of array_like
        One per network input, of the port's type: N values of its shape, with or without its
        leading 1.

    Raises
    ------
    InputError
        When the arrays do not fit the network's inputs.
    """
    maps = evaluate_maps(network, inputs)
    return [_user_values(p, maps[p.map.storage]) for p in network.outputs]


def _user_values(port: Port, values: Int8Array) -> npt.NDArray[Any]:
    """Return an output as its user sees it."""
    found: npt.NDArray[Any] = values
    if port.dtype == "float32":
        found = dequantize(values, port.map.scale, port.map.zero_point)
    elif port.table is not None:
        found = port.table[values.astype(np.int64) + 128]
    return found.reshape(-1, *_inner(port.shape))


def _device_values(port: Port, values: npt.NDArray[Any]) -> Int8Array:
    """Return an input's bytes on the device."""
    found = values
    if port.dtype == "float32":
        found = quantize(values, port.map.scale, port.map.zero_point)
    elif port.table is not None:
        found = port.table[values]
    return found.reshape(-1, *port.map.shape)


def _inner(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a port's shape as one of several inferences: without its leading 1."""
    return shape[1:] if shape[0] == 1 and len(shape) > 1 else shape


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
        wanted = _inner(port.shape)
        shapes = ((len(values), *wanted), (len(values), *port.shape)) if values.ndim else ()
        if values.dtype != port.dtype or values.shape not in shapes:
            raise InputError(
                f"input '{port.name}' of {network.name} takes {port.dtype} arrays of N x {list(wanted)}, "
                f"not {values.dtype} {list(values.shape)}"
            )
        if count not in (None, len(values)):
            raise InputError(f"the inputs of {network.name} hold different numbers of inferences")
        count = len(values)
        maps[port.map.storage] = _device_values(port, values)
    inferences = count or 0
    for storage, constant in network.constants.items():
        maps[storage] = np.broadcast_to(constant, (inferences, *constant.shape))
    for layer in network.layers:
        if not isinstance(layer, ReshapeLayer):
            operands = [maps[m.storage].reshape(-1, *m.shape) for m in layer.inputs]
            _store(maps, layer, _EVALUATORS[type(layer)](layer, *operands))
    return maps


def _store(maps: dict[int, Int8Array], layer: Layer, result: Int8Array) -> None:
    """Write a layer's results, which may be a part of its output, into the output's map."""
    output = layer.output
    if not isinstance(layer, ConvLayer):
        maps[output.storage] = result.reshape(-1, *output.shape)
        return
    if output.storage not in maps:
        maps[output.storage] = np.zeros((len(result), *output.shape), np.int8)
    # A map first written under another shape is the same bytes.
    target = maps[output.storage].reshape(-1, *output.shape)
    rows, columns = (
        slice(start, start + (count - 1) * step + 1, step)
        for start, count, step in zip(layer.origin, layer.results, layer.step, strict=True)
    )
    target[:, rows, columns] = result


def _finish(
    x: IntArray,
    multiplier: npt.ArrayLike,
    shift: npt.ArrayLike,
    layer: ConvLayer | ElementwiseLayer | PoolLayer,
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
    out: tuple[int, int],
    reach: tuple[int, int],
    value: int,
) -> Float64Array:
    """Return as float64 all that `out` windows read, from the first one's first element on."""
    margins = [(0, 0), (0, 0)]
    image = x
    for axis in range(2):
        before, size = layer.padding[axis], x.shape[1 + axis]
        after = (out[axis] - 1) * layer.stride[axis] + reach[axis] - before - size
        kept = slice(max(0, -before), size + min(0, after))
        image = image[:, kept] if axis == 0 else image[:, :, kept]
        margins[axis] = (max(0, before), max(0, after))
    return np.pad(image.astype(np.float64), ((0, 0), *margins, (0, 0)), constant_values=value)


def _conv(layer: ConvLayer, *sources: Int8Array) -> Int8Array:
    (height, width), (dy, dx), out = layer.kernel, layer.dilation, layer.results
    reach = (height - 1) * dy + 1, (width - 1) * dx + 1
    x = sources[0] if len(sources) == 1 else np.concatenate(sources, axis=3)
    image = _padded(x, layer, out, reach, layer.pad_value)
    channels = layer.weights.shape[0]
    # Products and sums stay below 2**53: float64 is exact, and its matrix product is fast.
    total = np.zeros((len(x), *out, channels))
    for outputs, inputs in _blocks(layer.weights):
        part = image[..., inputs]
        weights = layer.weights[outputs][..., inputs].astype(np.float64)
        if out == (1, 1):
            # One window: the whole kernel in one product.
            window = part[:, : reach[0] : dy, : reach[1] : dx].reshape(len(x), -1)
            total[:, 0, 0, outputs] = window @ weights.reshape(len(weights), -1).T
            continue
        for i, j in np.argwhere(weights.any(axis=(0, 3))):
            window = _shifted(part, out, (i * dy, j * dx), layer.stride)
            total[..., outputs] += window @ weights[:, i, j].T
    sums = total.astype(np.int64) + layer.bias
    return _finish(sums, layer.multiplier, layer.shift, layer)


def _blocks(weights: Int8Array) -> Iterator[tuple[slice, slice]]:
    """Yield ranges of output channels with the range of input channels that matter to them.

    Diagonal and one-hot weights are mostly zero: small blocks skip most of that.
    """
    used = np.any(weights != 0, axis=(1, 2))
    channels = used.shape[0]
    block = channels if used.mean() > 0.25 else BLOCK
    for start in range(0, channels, block):
        inputs = np.flatnonzero(used[start : start + block].any(axis=0))
        if len(inputs):
            yield slice(start, start + block), slice(int(inputs[0]), int(inputs[-1]) + 1)


def _elementwise(layer: ElementwiseLayer, a: Int8Array, b: Int8Array | None = None) -> Int8Array:
    x = _operand(a, layer.table_a)
    if b is not None:
        x = _BINARY[layer.operation](x, _operand(b, layer.table_b))
    rescale = layer.rescale
    return _finish(x + rescale.bias, rescale.multiplier, rescale.shift, layer)


def _operand(x: Int8Array, table: Int32Array | None) -> IntArray:
    values = x.astype(np.int64)
    return values if table is None else table.astype(np.int64)[values + 128]


_BINARY: dict[str, Callable[[IntArray, IntArray], IntArray]] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _pool(layer: PoolLayer, x: Int8Array) -> Int8Array:
    summing = layer.operation == "sum"
    out = layer.output.height, layer.output.width
    image = _padded(x, layer, out, layer.window, 0 if summing else -128)
    inside = _padded(np.ones_like(x[:1, :, :, :1]), layer, out, layer.window, 0)
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


def _controller(layer: ControllerLayer, *sources: Int8Array) -> Int8Array:
    return _KERNELS[layer.kernel](layer, *sources)


def _softmax(layer: ControllerLayer, x: Int8Array) -> Int8Array:
    rows = x.reshape(len(x), -1, layer.arguments[0])
    return softmax_of_table(rows, layer.tables[0]).reshape(x.shape)


def _gather(layer: ControllerLayer, x: Int8Array) -> Int8Array:
    """Walk as accel/firmware/gather.c does."""
    channels = x.shape[3]
    pixel, channel, *loops = layer.arguments
    places = np.array([pixel * channels + channel])
    back = 0
    strides: list[tuple[int, int]] = []
    # The innermost loop first: each step also undoes the loops inside it.
    for count, pixels, step in zip(loops[9::-3], loops[10::-3], loops[11::-3], strict=False):
        strides.insert(0, (count, pixels * channels + step + back))
        back += (count - 1) * strides[0][1]
    for count, stride in strides:
        places = (places[:, None] + np.arange(count) * stride).reshape(-1)
    return x.reshape(len(x), -1)[:, places].reshape(-1, *layer.output.shape)


_KERNELS: dict[str, Callable[..., Int8Array]] = {"softmax": _softmax, "gather": _gather}
"""What the controller's kernels compute, by name."""

_EVALUATORS: dict[type[Layer], Callable[..., Int8Array]] = {
    ConvLayer: _conv,
    ElementwiseLayer: _elementwise,
    PoolLayer: _pool,
    ControllerLayer: _controller,
}
