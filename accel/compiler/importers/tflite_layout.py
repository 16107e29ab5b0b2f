"""Readers of operators that only move or rename elements, whether of activations or of shapes.

Each is stated once, by numpy on the numbers of its elements; where all inputs are constants, the
same statement gives the constant result.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.compiler import graph
from accel.compiler.graph import Node, Tensor
from accel.compiler.importers.tflite_operator import Operator, reader

__all__: list[str] = []

MAX_ELEMENTS = 1 << 23
"""Elements that one of these operators may move."""
MAX_CHANNEL_PAIRS = 1 << 26
"""Weights of the layer that pads: its input's channels times its output's."""

Index = npt.NDArray[np.int32]
Rule = Callable[..., Index]


def _numbered(op: Operator, tensors: list[Tensor]) -> list[Index]:
    """Return the numbers of the tensors' elements, counted on from one to the next."""
    total = sum(t.elements for t in tensors)
    if total > MAX_ELEMENTS:
        op.fail(f"moves {total} elements; at most {MAX_ELEMENTS} are supported")
    numbers = np.arange(total, dtype=np.int32)
    parts = np.split(numbers, np.cumsum([t.elements for t in tensors])[:-1])
    return [p.reshape(t.shape) for p, t in zip(parts, tensors, strict=True)]


def _moved(op: Operator, tensors: list[Tensor], output: int, index: Index) -> list[Node]:
    """Return the node that gives tensor `output` the elements `index`, or fold it."""
    target = op.tensor(output)
    if index.shape != target.shape:
        op.fail(f"has output shape {list(target.shape)}; its inputs give {list(index.shape)}")
    if any(t.dtype != target.dtype for t in tensors):
        op.fail(f"makes {target.dtype} of {', '.join(str(t.dtype) for t in tensors)}")
    values = [t.data for t in tensors if t.data is not None]
    if len(values) == len(tensors):
        op.fold(output, np.concatenate([v.reshape(-1) for v in values])[index])
        return []
    target = op.activation_tensor(output, "output")
    sources = tuple(op.activation_tensor(t.index, "input") for t in tensors)
    if target.elements > MAX_ELEMENTS:
        op.fail(f"moves {target.elements} elements; at most {MAX_ELEMENTS} are supported")
    return [
        graph.Rearrange(index=op.index, op=op.name, output=target, sources=sources, elements=index)
    ]


def _given(op: Operator, position: int) -> Tensor:
    """Return an input that is there."""
    if not 0 <= position < len(op.inputs) or op.inputs[position] < 0:
        op.fail(f"has no input {position}")
    return op.tensor(op.inputs[position])


def _axis(op: Operator, axis: int, rank: int) -> int:
    """Return an axis counted from the first."""
    if not -rank <= axis < rank:
        op.fail(f"has axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


@reader("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def _reshape(op: Operator) -> list[Node]:
    op.arity(1, 2)
    tensor, output = _given(op, 0), op.tensor(op.outputs[0])
    if tensor.elements != output.elements:
        op.fail(f"makes {list(output.shape)} of {list(tensor.shape)}")
    if tensor.data is not None:
        if tensor.dtype != output.dtype:
            op.fail(f"makes {output.dtype} of {tensor.dtype}")
        op.fold(op.outputs[0], tensor.data)
        return []
    return [graph.Reshape(index=op.index, op=op.name, output=op.output(), input=op.input(0))]


@reader("SHAPE")
def _shape(op: Operator) -> list[Node]:
    op.arity(1, 1)
    shape = np.array(_given(op, 0).shape, np.int64)
    if op.tensor(op.outputs[0]).shape != shape.shape:
        op.fail(f"has output shape {list(op.tensor(op.outputs[0]).shape)} for {len(shape)}")
    op.fold(op.outputs[0], shape)
    return []


@reader("CONCATENATION")
def _concatenation(op: Operator) -> list[Node]:
    op.arity(1, 256)
    options = op.options("ConcatenationOptions")
    if options.FusedActivationFunction() != 0:
        op.fail("has a fused activation, which is not supported")
    tensors = [_given(op, i) for i in range(len(op.inputs))]
    axis = _axis(op, options.Axis(), len(tensors[0].shape))
    rest = {t.shape[:axis] + t.shape[axis + 1 :] for t in tensors}
    if len(rest) > 1 or any(len(t.shape) != len(tensors[0].shape) for t in tensors):
        op.fail(f"joins shapes {', '.join(str(list(t.shape)) for t in tensors)} along axis {axis}")
    return _moved(op, tensors, op.outputs[0], np.concatenate(_numbered(op, tensors), axis))


@reader("PACK")
def _pack(op: Operator) -> list[Node]:
    op.arity(1, 256)
    options = op.options("PackOptions")
    tensors = [_given(op, i) for i in range(len(op.inputs))]
    if any(t.shape != tensors[0].shape for t in tensors):
        op.fail(f"joins shapes {', '.join(str(list(t.shape)) for t in tensors)}")
    axis = _axis(op, options.Axis(), len(tensors[0].shape) + 1)
    return _moved(op, tensors, op.outputs[0], np.stack(_numbered(op, tensors), axis))


@reader("TRANSPOSE")
def _transpose(op: Operator) -> list[Node]:
    op.arity(2, 2)
    tensor, order = _given(op, 0), op.integers(1, "axes")
    rank = len(tensor.shape)
    axes = [_axis(op, a, rank) for a in order]
    if sorted(axes) != list(range(rank)):
        op.fail(f"has axes {order} for {rank} dimensions")
    (index,) = _numbered(op, [tensor])
    return _moved(op, [tensor], op.outputs[0], np.transpose(index, axes))


@reader("STRIDED_SLICE")
def _strided_slice(op: Operator) -> list[Node]:
    op.arity(4, 4)
    options = op.options("StridedSliceOptions")
    tensor = _given(op, 0)
    first, last, step = (op.integers(i, w) for i, w in ((1, "begin"), (2, "end"), (3, "strides")))
    if options.EllipsisMask() or options.NewAxisMask():
        op.fail("has an ellipsis or new-axis mask, which is not supported")
    if not len(first) == len(last) == len(step) <= len(tensor.shape) or 0 in step:
        op.fail(f"has begin {first}, end {last}, strides {step} of shape {list(tensor.shape)}")
    parts: list[Any] = []
    for axis in range(len(first)):
        bit = 1 << axis
        if options.ShrinkAxisMask() & bit:
            parts.append(_axis(op, first[axis], tensor.shape[axis]))
            continue
        begin = None if options.BeginMask() & bit else first[axis]
        end = None if options.EndMask() & bit else last[axis]
        if options.Offset() and begin is not None and end is not None:
            end = begin + end
        parts.append(slice(begin, end, step[axis]))
    (index,) = _numbered(op, [tensor])
    return _moved(op, [tensor], op.outputs[0], np.asarray(index[tuple(parts)]))


@reader("SLICE")
def _slice(op: Operator) -> list[Node]:
    op.arity(3, 3)
    tensor = _given(op, 0)
    first, sizes = op.integers(1, "begin"), op.integers(2, "size")
    if not len(first) == len(sizes) == len(tensor.shape):
        op.fail(f"has begin {first} and size {sizes} of shape {list(tensor.shape)}")
    parts = []
    for begin, size, length in zip(first, sizes, tensor.shape, strict=True):
        end = length if size == -1 else begin + size
        if not 0 <= begin <= end <= length:
            op.fail(f"has begin {first} and size {sizes} of shape {list(tensor.shape)}")
        parts.append(slice(begin, end))
    (index,) = _numbered(op, [tensor])
    return _moved(op, [tensor], op.outputs[0], index[tuple(parts)])


@reader("SPLIT", "SPLIT_V", "UNPACK")
def _split(op: Operator) -> list[Node]:
    position = 1 if op.name == "SPLIT" else 0
    tensor = _given(op, position)
    (index,) = _numbered(op, [tensor])
    rank, count = len(tensor.shape), len(op.outputs)
    if op.name == "UNPACK":
        axis = _axis(op, op.options("UnpackOptions").Axis(), rank)
        ends = list(range(1, tensor.shape[axis] + 1))
    else:
        axis = _axis(op, (op.integers(0 if position else 2, "axis") or [rank])[0], rank)
        if op.name == "SPLIT":
            if not count or tensor.shape[axis] % count:
                op.fail(f"cuts {list(tensor.shape)} into {count} parts along axis {axis}")
            sizes = [tensor.shape[axis] // count] * count
        else:
            sizes = op.integers(1, "sizes")
            if sizes.count(-1) == 1:
                sizes[sizes.index(-1)] = tensor.shape[axis] - sum(sizes) - 1
        ends = np.cumsum(sizes).tolist()
        if any(s < 1 for s in sizes) or ends[-1] != tensor.shape[axis]:
            op.fail(f"cuts {list(tensor.shape)} into parts of {sizes} along axis {axis}")
    if len(ends) != count or -1 in op.outputs:
        op.fail(f"has {count} outputs for {len(ends)} parts")
    nodes = []
    for number, part in zip(op.outputs, np.split(index, ends[:-1], axis), strict=True):
        shaped = part.squeeze(axis) if op.name == "UNPACK" else part
        nodes += _moved(op, [tensor], number, shaped)
    return nodes


@reader("RESIZE_NEAREST_NEIGHBOR")
def _resize_nearest_neighbor(op: Operator) -> list[Node]:
    op.arity(2, 2)
    options = op.options("ResizeNearestNeighborOptions")
    tensor, output = op.input(0, 4), op.output(4)
    if op.integers(1, "sizes") != list(output.shape[1:3]):
        op.fail(f"has sizes {op.integers(1, 'sizes')} for output shape {list(output.shape)}")
    index = _numbered(op, [tensor])[0]
    corners, centers = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
    for axis in (1, 2):
        nearest = _nearest(tensor.shape[axis], output.shape[axis], corners, centers)
        index = index.take(nearest, axis)
        if index.size > MAX_ELEMENTS:
            op.fail(f"moves {index.size} elements; at most {MAX_ELEMENTS} are supported")
    return _moved(op, [tensor], op.outputs[0], index)


def _nearest(
    size: int, output: int, align_corners: bool, half_pixel_centers: bool
) -> npt.NDArray[np.int64]:
    """Return the input row or column of each output one, in float32.

    Source: GetNearestNeighbor of kernels/internal/reference/resize_nearest_neighbor.h.
    """
    aligned = align_corners and output > 1
    ends = (size - 1, output - 1) if aligned else (size, output)
    center = np.float32(0.5 if half_pixel_centers else 0)
    scale = np.float32(ends[0]) / np.float32(ends[1])
    place = (np.arange(output, dtype=np.float32) + center) * scale
    whole = np.floor(place.astype(np.float64) + 0.5) if align_corners else np.floor(place)
    return np.minimum(whole.astype(np.int64), size - 1)


@reader("PAD", "PADV2")
def _pad(op: Operator) -> Node:
    op.arity(2 if op.name == "PAD" else 3, 2 if op.name == "PAD" else 3)
    tensor, output = op.input(0), op.output()
    rank = len(tensor.shape)
    amounts = op.constant(1, _integer_type(op, 1), "paddings").data
    if amounts is None or amounts.shape != (rank, 2) or amounts.min() < 0:
        op.fail(f"has paddings that do not fit {rank} dimensions")
    before, after = amounts[:, 0].tolist(), amounts[:, 1].tolist()
    shape = tuple(b + d + a for b, d, a in zip(before, tensor.shape, after, strict=True))
    if shape != output.shape:
        op.fail(f"has output shape {list(output.shape)}; its inputs give {list(shape)}")
    if rank and tensor.shape[-1] * shape[-1] > MAX_CHANNEL_PAIRS:
        op.fail(f"pads {tensor.shape[-1]} channels to {shape[-1]}, which is not supported")
    if (tensor.scale, tensor.zero_point) != (output.scale, output.zero_point):
        op.fail("changes scale or zero point, which is not supported")
    value = output.zero_point
    if op.name == "PADV2":
        data = op.constant(2, np.int8, "values").data
        if data is None or data.size != 1:
            op.fail("has more than one value to pad with")
        value = int(data.reshape(-1)[0])
    return graph.Pad(
        index=op.index, op=op.name, output=output, input=tensor, before=tuple(before),
        after=tuple(after), value=value,
    )  # fmt: skip


def _integer_type(op: Operator, position: int) -> type[np.generic]:
    return np.int64 if _given(op, position).dtype == np.int64 else np.int32
