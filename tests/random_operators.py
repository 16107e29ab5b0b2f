"""Operators with windows and weights, drawn at random: extremes as likely as ordinary ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.compiler.tiny_models import options
from tests.random_draw import MAX_ELEMENTS, MAX_MACS, Draw, T, scale_of

__all__ = ["KINDS", "Kind", "kind"]

Function = Callable[[Draw, T], list[T]]

SAME, VALID = 0, 1


@dataclass(frozen=True)
class Kind:
    """One operator.

    Parameters
    ----------
    name : str
        Its TFLite name.
    function : callable
        Appends it to a draw, reading a tensor or, for None, a new input; returns its outputs.
    rank : int or None
        What its input's rank must be in a chain.
    weight : int
        How often it is drawn.
    place : str
        "any", or "first" or "last" in a chain.
    deepest : int or None
        What its input's last dimension may be at most in a chain.
    """

    name: str
    function: Function
    rank: int | None
    weight: int
    place: str
    deepest: int | None

    def accepts(self, tensor: T) -> bool:
        """Return whether a chain can go on with it after `tensor`."""
        rank = len(tensor.shape)
        if self.deepest is not None and tensor.shape[-1] > self.deepest:
            return False
        return tensor.numpy_dtype == np.int8 and (rank == self.rank or self.rank is None)


KINDS: dict[str, Kind] = {}


def kind(
    name: str,
    *,
    rank: int | None = None,
    weight: int = 1,
    place: str = "any",
    deepest: int | None = None,
) -> Callable[[Function], Function]:
    """Register a function as the way to draw operator `name`."""

    def register(function: Function) -> Function:
        KINDS[name] = Kind(name, function, rank, weight, place, deepest)
        return function

    return register


def draw_kernel(d: Draw, size: Sequence[int]) -> tuple[int, int]:
    """Return a window's size: square, even, a line, or up to 15 x 15."""
    rng = d.rng
    line = rng.randint(2, 15)
    side = rng.choice((7, 9, 15))
    kernel = rng.choice(
        ((1, 1), (1, 1), (3, 3), (3, 3), (2, 2), (4, 4), (5, 5), (3, 2), (1, line), (line, 1))
        + ((side, side), (rng.randint(1, 6), rng.randint(1, 6)), (size[0], size[1]))
    )
    return min(kernel[0], 15), min(kernel[1], 15)


def draw_window(
    d: Draw, shape: Sequence[int], *, dilate: bool = True
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int, tuple[int, int]]:
    """Return (kernel, stride, dilation, padding mode, output size) that fit an input's shape."""
    rng = d.rng
    size = shape[1:3]
    kernel = draw_kernel(d, size)
    stride = rng.choice(((1, 1), (1, 1), (2, 2), (1, 2), (3, 1), (rng.randint(1, 5), 4)))
    dilation = (1, 1)
    if dilate and d.chance(0.25):
        dilation = (rng.randint(1, 3), rng.randint(1, 4))
    reach = tuple((k - 1) * s + 1 for k, s in zip(kernel, dilation, strict=True))
    mode = rng.choice((SAME, VALID))
    if any(r > n for r, n in zip(reach, size, strict=True)):
        mode = SAME
    out = tuple(
        -(-n // s) if mode == SAME else (n - r) // s + 1
        for n, s, r in zip(size, stride, reach, strict=True)
    )
    d.tags.add("SAME" if mode == SAME else "VALID")
    for tag, holds in (
        ("stride beyond kernel", any(s > r for s, r in zip(stride, reach, strict=True))),
        ("dilation", any(s > 1 and k > 1 for s, k in zip(dilation, kernel, strict=True))),
        ("even kernel", kernel[0] % 2 == 0 and kernel[1] % 2 == 0),
        ("kernel 15x15", kernel == (15, 15)),
        ("kernel Nx1", kernel[0] > 1 == kernel[1]),
        ("kernel 1xN", kernel[1] > 1 == kernel[0]),
    ):
        if holds:
            d.tags.add(tag)
    return kernel, stride, dilation, mode, (out[0], out[1])


def draw_linear(
    d: Draw, x: T, output: T, shape: Sequence[int], axis: int, depth: int
) -> tuple[T, T | None]:
    """Return weights of a shape, quantised along an axis or as a whole, and perhaps biases."""
    per_channel = d.chance(0.7)
    channels = shape[axis]
    ratios = d.ratios(channels if per_channel else 1, depth)
    scales = (ratios * scale_of(output) / scale_of(x)).astype(np.float32)
    ratios = scales.astype(np.float64) * scale_of(x) / scale_of(output)
    d.tag_ratios(ratios.tolist())
    d.tags.add("per channel" if per_channel else "per tensor")
    weights = d.constant(d.weights(shape), np.int8, scales.tolist(), axis=axis)
    if d.chance(0.2):
        d.tags.add("no bias")
        return weights, None
    d.tags.add("bias")
    values = d.bias(np.broadcast_to(ratios, channels), depth)
    bias_scales = np.float32(scale_of(x)) * scales
    return weights, d.constant(values, np.int32, bias_scales.tolist())


def draw_channels(d: Draw, cost: int, out_pixels: int) -> int:
    """Return output channels: `cost` multiplications each, `out_pixels` elements each."""
    most = max(1, min(MAX_MACS // max(cost, 1), MAX_ELEMENTS // out_pixels))
    return min(most, d.rng.choice((1, 2, 3, 4, 5, 8, 9, 12, 16, 17, 32, 33, 257)))


def _inputs(*tensors: T | None) -> list[T]:
    return list(tensors[:-1]) + ([] if tensors[-1] is None else [tensors[-1]])


@kind("CONV_2D", rank=4, weight=5)
def conv_2d(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.shape())
    kernel, stride, dilation, mode, out = draw_window(d, x.shape)
    depth = kernel[0] * kernel[1] * x.shape[3]
    channels = draw_channels(d, out[0] * out[1] * depth, out[0] * out[1])
    y = d.activation((1, *out, channels))
    weights, bias = draw_linear(d, x, y, (channels, *kernel, x.shape[3]), 0, depth)
    table = options(
        "Conv2D",
        padding=mode,
        strideH=stride[0],
        strideW=stride[1],
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=d.choose_activation(),
    )
    return d.operator("CONV_2D", _inputs(x, weights, bias), y, table)


@kind("DEPTHWISE_CONV_2D", rank=4, weight=5)
def depthwise_conv_2d(d: Draw, x: T) -> list[T]:
    if x is None:
        shape = d.shape()
        if d.chance(0.3):
            shape = (*shape[:3], 1)
        x = d.input(shape)
    kernel, stride, dilation, mode, out = draw_window(d, x.shape)
    depth = kernel[0] * kernel[1]
    per_multiplier = out[0] * out[1] * x.shape[3]
    multiplier = 1
    if d.chance(0.5):
        multiplier = draw_channels(d, per_multiplier * depth, per_multiplier)
        multiplier = multiplier if x.shape[3] == 1 else min(multiplier, 8)
    if multiplier > 1:
        d.tags.add("depthwise one to many" if x.shape[3] == 1 else "depthwise multiplier")
    channels = x.shape[3] * multiplier
    y = d.activation((1, *out, channels))
    weights, bias = draw_linear(d, x, y, (1, *kernel, channels), 3, depth)
    table = options(
        "DepthwiseConv2D",
        padding=mode,
        strideH=stride[0],
        strideW=stride[1],
        depthMultiplier=multiplier,
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=d.choose_activation(),
    )
    return d.operator("DEPTHWISE_CONV_2D", _inputs(x, weights, bias), y, table)


@kind("FULLY_CONNECTED", weight=4)
def fully_connected(d: Draw, x: T) -> list[T]:
    if x is None:
        shape = d.shape(small=True)
        # TFLM refuses a bias scale that is not the exact product where results shift left far.
        scale = 2.0 ** d.rng.randint(-7, 2) if d.chance(0.4) else None
        x = d.input((1, int(np.prod(shape))) if d.chance(0.6) else shape, scale=scale)
    elements = int(np.prod(x.shape))
    keep = len(x.shape) > 2 and d.chance(0.6)
    depth = x.shape[-1] if keep else elements
    rows = elements // depth
    channels = draw_channels(d, elements, rows)
    y = d.activation((*x.shape[:-1], channels) if keep else (1, channels))
    if keep:
        d.tags.add("keep_num_dims")
    weights, bias = draw_linear(d, x, y, (channels, depth), 0, depth)
    table = options(
        "FullyConnected", keepNumDims=keep, fusedActivationFunction=d.choose_activation()
    )
    # Three inputs even without biases: the last is then number -1.
    return d.operator("FULLY_CONNECTED", [x, weights, bias], y, table)


@kind("TRANSPOSE_CONV", rank=4, weight=3)
def transpose_conv(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.shape(small=True))
    rng = d.rng
    kernel = draw_kernel(d, x.shape[1:3])
    kernel = (min(kernel[0], 7), min(kernel[1], 7))
    stride = rng.choice(((1, 1), (2, 2), (2, 2), (1, 3), (3, 2)))
    mode = rng.choice((SAME, VALID))
    out = []
    for n, k, s in zip(x.shape[1:3], kernel, stride, strict=True):
        # As many rows as a convolution back would make n of.
        out.append(n * s - rng.randrange(s) if mode == SAME else (n - 1) * s + max(k, s))
    depth = kernel[0] * kernel[1] * x.shape[3]
    channels = draw_channels(d, x.shape[1] * x.shape[2] * depth, out[0] * out[1])
    y = d.activation((1, *out, channels))
    weights, bias = draw_linear(d, x, y, (channels, *kernel, x.shape[3]), 0, depth)
    table = options("TransposeConv", padding=mode, strideH=stride[0], strideW=stride[1])
    sizes = d.constant(y.shape)
    return d.operator("TRANSPOSE_CONV", _inputs(sizes, weights, x, bias), y, table)


def _pool(d: Draw, x: T, op: str) -> list[T]:
    x = x or d.input(d.shape())
    kernel, stride, _, mode, out = draw_window(d, x.shape, dilate=False)
    y = d.activation((1, *out, x.shape[3]), like=x)
    table = options(
        "Pool2D",
        padding=mode,
        strideH=stride[0],
        strideW=stride[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        fusedActivationFunction=d.choose_activation(),
    )
    return d.operator(op, [x], y, table)


@kind("AVERAGE_POOL_2D", rank=4, weight=2)
def average_pool_2d(d: Draw, x: T) -> list[T]:
    return _pool(d, x, "AVERAGE_POOL_2D")


@kind("MAX_POOL_2D", rank=4, weight=2)
def max_pool_2d(d: Draw, x: T) -> list[T]:
    return _pool(d, x, "MAX_POOL_2D")


@kind("MEAN", rank=4, weight=2)
def mean(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.shape())
    axes = d.rng.choice(((1, 2), (2, 1), (-3, -2)))
    keep = d.chance(0.5)
    shape = (1, 1, 1, x.shape[3]) if keep else (1, x.shape[3])
    y = d.activation(shape, like=x if d.chance(0.3) else None)
    return d.operator("MEAN", [x, d.constant(axes)], y, options("Reducer", keepDims=keep))
