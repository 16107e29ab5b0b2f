"""Operators on single elements, and those that move elements about, drawn at random."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.compiler.tiny_models import options
from tests.random_draw import Draw, T, scale_of, zero_of
from tests.random_operators import kind

__all__: list[str] = []


def _shape(d: Draw) -> tuple[int, ...]:
    shape = d.shape()
    return shape if d.chance(0.8) else (1, int(np.prod(shape)))


def _constant_like(d: Draw, shape: Sequence[int], like: T | None) -> T:
    scale, zero = (d.scale(), d.zero()) if like is None else (scale_of(like), zero_of(like))
    return d.constant(d.arrays.integers(-128, 128, shape), np.int8, scale, zero)


def _partner(d: Draw, x: T, like: T | None) -> tuple[T, str]:
    """Return the other operand of x, broadcast or not; `like` has its quantisation, if any."""
    shape = x.shape
    forms: list[tuple[str, tuple[int, ...]]] = [
        ("constant map", shape),
        ("constant per channel", (shape[-1],)),
        ("constant per channel", (1,) * (len(shape) - 1) + (shape[-1],)),
        ("constant scalar", ()),
        ("constant scalar", (1,)),
    ]
    if len(shape) == 4:
        forms += [
            ("constant row", (1, 1, shape[2], 1)),
            ("constant column", (shape[1], 1, 1)),
            ("constant row", (1, 1, *shape[2:])),
        ]
    earlier = [t for t in d.activations if t.shape == shape and t is not x]
    if like is not None:
        earlier = [t for t in earlier if _same_quantization(t, like)]
    choice = d.rng.choice(("constant",) * 4 + ("input", "input", "earlier", "self", "vector"))
    if choice == "earlier" and earlier:
        return d.rng.choice(earlier), "two maps"
    if choice == "self":
        return x, "itself"
    if choice == "vector" and len(shape) == 4:
        return d.input((1, 1, 1, shape[3]), like=like), "map and vector"
    if choice != "constant":
        return d.input(shape, like=like), "two maps"
    form, shape = d.rng.choice(forms)
    return _constant_like(d, shape, like), form


def _same_quantization(a: T, b: T) -> bool:
    return (scale_of(a), zero_of(a)) == (scale_of(b), zero_of(b))


def _binary(d: Draw, x: T, op: str, kind_: str, *, same: bool = False, act: bool = True) -> list[T]:
    x = x or d.input(_shape(d))
    b, form = _partner(d, x, x if same else None)
    d.tags.add(form)
    shape = np.broadcast_shapes(x.shape, b.shape)
    pair = [x, b] if d.chance(0.6) else [b, x]
    scale = None
    if op in ("ADD", "SUB"):
        # TFLM stops the process where twice the larger scale is 2**20 output scales or more.
        scale = max(scale_of(x), scale_of(b)) * d.log2(-4, 3)
    elif op == "MUL":
        scale = scale_of(x) * scale_of(b) * d.rng.choice((d.log2(0, 9), d.log2(-12, 20)))
        d.tag_ratios([scale_of(x) * scale_of(b) / scale])
    y = d.activation(shape, like=x) if same else d.activation(shape, scale=scale)
    table = options(kind_, fusedActivationFunction=d.choose_activation()) if act else options(kind_)
    return d.operator(op, pair, y, table)


@kind("ADD", weight=3)
def add(d: Draw, x: T) -> list[T]:
    return _binary(d, x, "ADD", "Add")


@kind("SUB", weight=2)
def sub(d: Draw, x: T) -> list[T]:
    return _binary(d, x, "SUB", "Sub")


@kind("MUL", weight=3)
def mul(d: Draw, x: T) -> list[T]:
    return _binary(d, x, "MUL", "Mul")


@kind("MINIMUM")
def minimum(d: Draw, x: T) -> list[T]:
    return _binary(d, x, "MINIMUM", "MaximumMinimum", same=True, act=False)


@kind("MAXIMUM")
def maximum(d: Draw, x: T) -> list[T]:
    return _binary(d, x, "MAXIMUM", "MaximumMinimum", same=True, act=False)


def _unary(d: Draw, x: T, op: str, table: Any = None, **quantization: Any) -> list[T]:
    x = x or d.input(_shape(d))
    if quantization.pop("same", False):
        quantization["like"] = x
    elif not quantization:
        quantization["scale"] = scale_of(x) * d.rng.choice((1.0, d.log2(-3, 3), d.log2(-9, 9)))
    y = d.activation(x.shape, **quantization)
    return d.operator(op, [x], y, table)


@kind("RELU")
def relu(d: Draw, x: T) -> list[T]:
    return _unary(d, x, "RELU")


@kind("RELU6")
def relu6(d: Draw, x: T) -> list[T]:
    return _unary(d, x, "RELU6", same=True)


@kind("LEAKY_RELU")
def leaky_relu(d: Draw, x: T) -> list[T]:
    alpha = d.rng.choice((0.01, 0.1, 0.3, d.rng.uniform(0, 1), 0.0, 1.5, -0.25))
    return _unary(d, x, "LEAKY_RELU", options("LeakyRelu", alpha=alpha))


@kind("LOGISTIC")
def logistic(d: Draw, x: T) -> list[T]:
    return _unary(d, x, "LOGISTIC", scale=1 / 256, zero=-128)


@kind("TANH")
def tanh(d: Draw, x: T) -> list[T]:
    return _unary(d, x, "TANH", scale=1 / 128, zero=0)


@kind("HARD_SWISH")
def hard_swish(d: Draw, x: T) -> list[T]:
    return _unary(d, x, "HARD_SWISH")


# TFLM stops the process where the exponentials of a run add up to 512 or more.
@kind("SOFTMAX", weight=2, deepest=511)
def softmax(d: Draw, x: T) -> list[T]:
    if x is None:
        shape = d.shape(small=True)
        flat = (1, min(int(np.prod(shape)), 400))
        x = d.input(shape if d.chance(0.4) else flat, scale=d.log2(-12, 2))
    beta = d.rng.choice((1.0, 1.0, 0.5, 3.0))
    return _unary(d, x, "SOFTMAX", options("Softmax", beta=beta), scale=1 / 256, zero=-128)


@kind("QUANTIZE", weight=2)
def quantize(d: Draw, x: T) -> list[T]:
    source = d.rng.choice(("int8", "float32", "uint8")) if x is None else "int8"
    if source == "int8":
        return _unary(d, x, "QUANTIZE", options("Quantize"))
    d.tags.add(f"{source} input")
    y = d.activation(_shape(d))
    scale = scale_of(y)
    if source == "uint8":
        zero = zero_of(y) + 128
        if d.chance(0.5):
            scale, zero = scale * d.log2(-3, 3), d.rng.randint(0, 255)
        x = d.input(y.shape, scale=scale, zero=zero, dtype=np.uint8)
    else:
        x = d.input(y.shape, dtype=np.float32)
        d.float_units[id(x)] = scale
    return d.operator("QUANTIZE", [x], y, options("Quantize"))


@kind("QUANTIZE to uint8", place="last")
def quantize_to_uint8(d: Draw, x: T) -> list[T]:
    x = x or d.input(_shape(d))
    d.tags.add("uint8 output")
    scale = scale_of(x) * d.rng.choice((1.0, d.log2(-3, 3)))
    y = d.activation(x.shape, scale=scale, zero=d.rng.randint(0, 255), dtype=np.uint8)
    return d.operator("QUANTIZE", [x], y, options("Quantize"))


@kind("DEQUANTIZE", place="last")
def dequantize(d: Draw, x: T) -> list[T]:
    x = x or d.input(_shape(d))
    d.tags.add("float32 output")
    y = d.activation(x.shape, dtype=np.float32)
    return d.operator("DEQUANTIZE", [x], y, options("Dequantize"))


@kind("PAD", rank=4, weight=2)
def pad(d: Draw, x: T) -> list[T]:
    return _pad(d, x, [])


@kind("PADV2", rank=4)
def padv2(d: Draw, x: T) -> list[T]:
    return _pad(d, x, ["value"])


def _pad(d: Draw, x: T, extra: list[str]) -> list[T]:
    x = x or d.input(d.shape(small=True))
    margins = d.arrays.integers(0, 4, (4, 2))
    margins[0] = 0
    margins[3] *= d.chance(0.3)
    shape = tuple(int(n) for n in np.array(x.shape) + margins.sum(axis=1))
    y = d.activation(shape, like=x)
    constants = [d.constant(margins)] + [_constant_like(d, (1,), x) for _ in extra]
    table = options("PadV2" if extra else "Pad")
    return d.operator("PADV2" if extra else "PAD", [x, *constants], y, table)


@kind("CONCATENATION", rank=4, weight=3)
def concatenation(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.shape(small=True))
    axis = d.rng.choice((1, 2, 3, 3, 3))
    parts = [x]
    for _ in range(d.rng.randint(1, 3)):
        shape = list(x.shape)
        shape[axis] = d.rng.randint(1, 9)
        choice = d.rng.choice(("input", "input", "constant", "self", "earlier"))
        earlier = [t for t in d.activations if _same_quantization(t, x) and _joins(t, x, axis)]
        if choice == "constant":
            parts.append(_constant_like(d, shape, x))
        elif choice == "input":
            parts.append(d.input(shape, like=x))
        else:
            parts.append(x if choice == "self" else d.rng.choice(earlier))
    d.rng.shuffle(parts)
    shape = list(x.shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    y = d.activation(shape, like=x)
    table = options("Concatenation", axis=axis if d.chance(0.5) else axis - 4)
    return d.operator("CONCATENATION", parts, y, table)


def _joins(a: T, b: T, axis: int) -> bool:
    return len(a.shape) == 4 and all(a.shape[i] == b.shape[i] for i in range(4) if i != axis)


def _factor(d: Draw, n: int) -> int:
    return d.rng.choice([k for k in range(1, n + 1) if n % k == 0])


@kind("RESHAPE", weight=2)
def reshape(d: Draw, x: T) -> list[T]:
    x = x or d.input(_shape(d))
    total = int(np.prod(x.shape))
    rows = _factor(d, total)
    columns = _factor(d, total // rows)
    depth = x.shape[-1]
    shape = d.rng.choice(
        ((1, total), (1, total // depth, depth), (1, 1, total // depth, depth))
        + ((1, rows, columns, total // rows // columns), (1, total, 1))
    )
    y = d.activation(shape, like=x)
    if d.chance(0.3):
        return d.operator("RESHAPE", [x], y, options("Reshape", newShape=list(shape)))
    asked = (*shape[:-1], -1) if d.chance(0.3) else shape
    table = options("Reshape", newShape=list(asked))
    return d.operator("RESHAPE", [x, d.constant(asked)], y, table)


@kind("SQUEEZE", rank=4)
def squeeze(d: Draw, x: T) -> list[T]:
    if x is None:
        shape = list(d.shape())
        shape[d.rng.choice((1, 2))] = 1
        x = d.input(shape)
    ones = [i for i in range(1, 4) if x.shape[i] == 1]
    shape = [n for i, n in enumerate(x.shape) if i not in ones]
    y = d.activation(shape, like=x)
    return d.operator("SQUEEZE", [x], y, options("Squeeze", squeezeDims=ones))


@kind("EXPAND_DIMS")
def expand_dims(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.shape()[:: d.rng.choice((1, 3))][:3])
    axis = d.rng.randint(1, len(x.shape))
    y = d.activation((*x.shape[:axis], 1, *x.shape[axis:]), like=x)
    return d.operator("EXPAND_DIMS", [x, d.constant(axis)], y, options("ExpandDims"))


@kind("TRANSPOSE", rank=4, weight=2)
def transpose(d: Draw, x: T) -> list[T]:
    orders = [(0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2), (0, 2, 3, 1), (0, 1, 3, 2)]
    order = d.rng.choice(orders)
    if x is None:
        shape = list(d.shape())
        if d.chance(0.6):
            shape[d.rng.choice((1, 2))] = 1
        x = d.input(shape)
    moved = [i for i in order if x.shape[i] > 1]
    d.tags.add("transpose layout" if moved == sorted(moved) else "transpose moves")
    y = d.activation([x.shape[i] for i in order], like=x)
    return d.operator("TRANSPOSE", [x, d.constant(order)], y, options("Transpose"))


@kind("STRIDED_SLICE", rank=4, weight=2)
def strided_slice(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.shape())
    begin, end, step = [0], [1], [1]
    for n in x.shape[1:]:
        begin.append(d.rng.randrange(n))
        end.append(d.rng.randint(begin[-1] + 1, n))
        step.append(d.rng.choice((1, 1, 1, 2, 3)))
    shrink = d.rng.choice((0, 0, 0, 2, 4))
    masks = {"beginMask": d.rng.choice((0, 1, 9)), "endMask": d.rng.choice((0, 1, 9))}
    shape = []
    for i, n in enumerate(x.shape):
        first = 0 if masks["beginMask"] >> i & 1 else begin[i]
        last = n if masks["endMask"] >> i & 1 else end[i]
        if not shrink >> i & 1:
            shape.append(len(range(first, last, step[i])))
    if d.chance(0.2) and not masks["endMask"]:
        end = [e - n if e < n else e for e, n in zip(end, x.shape, strict=True)]
    y = d.activation(shape, like=x)
    table = options("StridedSlice", shrinkAxisMask=shrink, **masks)
    return d.operator("STRIDED_SLICE", [x, *map(d.constant, (begin, end, step))], y, table)


@kind("SPLIT", rank=4, weight=2)
def split(d: Draw, x: T) -> list[T]:
    axis = d.rng.choice((1, 2, 3, 3))
    if x is None:
        shape = list(d.shape())
        shape[axis] = min(shape[axis], 24) * d.rng.randint(1, 3)
        x = d.input(shape)
    parts = d.rng.choice([k for k in range(1, 6) if x.shape[axis] % k == 0])
    shape = list(x.shape)
    shape[axis] //= parts
    results = [d.activation(shape, like=x) for _ in range(parts)]
    d.tags.add("several outputs" if parts > 1 else "one output")
    table = options("Split", numSplits=parts)
    number = axis if d.chance(0.5) else axis - 4
    return d.operator("SPLIT", [d.constant(number), x], results, table)


@kind("PACK")
def pack(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.rng.choice((d.shape(small=True), (1, d.rng.randint(1, 40)))))
    others = [t for t in d.activations if t.shape == x.shape and _same_quantization(t, x)]
    parts = [x]
    for _ in range(d.rng.randint(1, 2)):
        parts.append(d.rng.choice(others) if d.chance(0.3) else d.input(x.shape, like=x))
    axis = d.rng.randint(1, len(x.shape))
    y = d.activation((*x.shape[:axis], len(parts), *x.shape[axis:]), like=x)
    return d.operator("PACK", parts, y, options("Pack", valuesCount=len(parts), axis=axis))


@kind("SHAPE", rank=4)
def shape_of(d: Draw, x: T) -> list[T]:
    """Append what Keras makes of Flatten: a shape computed from a shape that is known."""
    x = x or d.input(d.shape())
    total = int(np.prod(x.shape))
    sizes = d.build.tensor(d.name("s"), (4,), dtype=np.int32)
    batch = d.build.tensor(d.name("s"), (), dtype=np.int32)
    wanted = d.build.tensor(d.name("s"), (2,), dtype=np.int32)
    d.operator("SHAPE", [x], sizes, options("Shape", outType=2))
    limits = [d.constant([n]) for n in (0, 1, 1)]
    d.operator("STRIDED_SLICE", [sizes, *limits], batch, options("StridedSlice", shrinkAxisMask=1))
    d.operator("PACK", [batch, d.constant(total)], wanted, options("Pack", valuesCount=2))
    y = d.activation((1, total), like=x)
    return d.operator("RESHAPE", [x, wanted], y, options("Reshape"))


@kind("RESIZE_NEAREST_NEIGHBOR", rank=4, weight=2)
def resize_nearest_neighbor(d: Draw, x: T) -> list[T]:
    x = x or d.input(d.shape(small=True))
    height, width = x.shape[1:3]
    size = d.rng.choice(
        ((2 * height, 2 * width), (3 * height, width), (-(-height // 2), width + 1))
        + ((d.rng.randint(1, 12), d.rng.randint(1, 12)),)
    )
    mode = {m: d.chance(0.4) for m in ("alignCorners", "halfPixelCenters")}
    if mode["alignCorners"]:
        d.tags.add("corners aligned")
    if mode["halfPixelCenters"]:
        d.tags.add("half-pixel centers")
    y = d.activation((1, *size, x.shape[3]), like=x)
    table = options("ResizeNearestNeighbor", **mode)
    return d.operator("RESIZE_NEAREST_NEIGHBOR", [x, d.constant(size)], y, table)
