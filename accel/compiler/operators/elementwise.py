"""ADD, SUB, MUL, MINIMUM, MAXIMUM with broadcasting, and functions of one byte."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accel.compiler import graph as g
from accel.compiler.functions import function_table
from accel.compiler.layers import ElementwiseLayer, FeatureMap, Int8Array, Int32Array
from accel.compiler.operators.lowerer import Lowerer, dimensions, lowering
from accel.compiler.quantize import IDENTITY, activation_range, binary_constants
from accel.numerics import multiply_by_quantized_multiplier

__all__: list[str] = []

_OPERATIONS: dict[str, Literal["add", "mul", "max", "min"]] = {
    "add": "add", "sub": "add", "mul": "mul", "max": "max", "min": "min",
}  # fmt: skip


@lowering(g.Unary)
def _unary(lowerer: Lowerer, node: g.Unary) -> None:
    source = lowerer.stored(node.input)
    _emit_table(lowerer, node, source, function_table(node))


def _emit_table(lowerer: Lowerer, node: g.Node, source: FeatureMap, table: Int32Array) -> None:
    base = lowerer.base(node)
    # Arranged as the input is: readers that need another arrangement move it themselves.
    base["output"] = lowerer.arranged_as(node.output, source)
    lowerer.emit(
        ElementwiseLayer(**base, operation="table", a=source, table_a=table, rescale=IDENTITY)
    )


@lowering(g.Binary)
def _binary(lowerer: Lowerer, node: g.Binary) -> None:
    a, b = node.a, node.b
    fields = _fields(node)
    single = _single_value(b) if b.data is not None else _single_value(a)
    if single is not None and (a.data is None or b.data is None):
        other = b if a.data is not None else a
        if other.shape == node.output.shape:
            _emit_table(lowerer, node, lowerer.stored(other), _table_of(node, fields, single))
            return
    shape = dimensions(node.output.shape)
    first, second = (_operand(lowerer, node, t) for t in (a, b))
    if first.shape != shape:
        # Only the second operand may be one pixel for all; all five commute on their tables.
        first, second = second, first
        fields["table_a"], fields["table_b"] = fields["table_b"], fields["table_a"]
    if first.shape != shape:
        lowest: Int8Array = np.full(shape, -128, np.int8)
        first = _broadcast(lowerer, node, first, lowerer.constant(a, lowest))
    if fields["table_a"] is None and second.shape != shape:
        second = _broadcast(lowerer, node, second, first)
    lowerer.emit(ElementwiseLayer(**lowerer.base(node), **fields, a=first, b=second))


def _fields(node: g.Binary) -> dict[str, Any]:
    low, high = activation_range(node.activation, node.output)
    fields: dict[str, Any] = {
        "operation": _OPERATIONS[node.kind],
        "table_a": None,
        "table_b": None,
        "rescale": IDENTITY,
    }
    if node.kind in ("add", "sub", "mul"):
        constants = binary_constants(node)
        fields |= {
            "table_a": constants.table_a,
            "table_b": constants.table_b,
            "rescale": constants.rescale,
            "output_zero": node.output.zero_point,
            "clamp_min": low,
            "clamp_max": high,
        }
    return fields


def _single_value(tensor: g.Tensor) -> int | None:
    """Return the value that all elements of a constant have."""
    data = tensor.data
    if data is None or (data != data.flat[0]).any():
        return None
    return int(data.flat[0])


def _table_of(node: g.Binary, fields: dict[str, Any], single: int) -> Int32Array:
    """Return a binary operator with one operand fixed as a function of the other."""
    each = np.arange(-128, 128, dtype=np.int64)
    fixed = np.full(256, single, np.int64)
    a, b = (fixed, each) if node.a.data is not None else (each, fixed)
    if node.kind in ("min", "max"):
        return np.asarray(np.minimum(a, b) if node.kind == "min" else np.maximum(a, b), np.int32)
    a, b = fields["table_a"].astype(np.int64)[a + 128], fields["table_b"].astype(np.int64)[b + 128]
    x = a * b if node.kind == "mul" else a + b
    rescale = fields["rescale"]
    scaled = multiply_by_quantized_multiplier(x, rescale.multiplier, rescale.shift)
    scaled = scaled + fields["output_zero"]
    return np.asarray(scaled.clip(fields["clamp_min"], fields["clamp_max"]), np.int32)


def _operand(lowerer: Lowerer, node: g.Binary, tensor: g.Tensor) -> FeatureMap:
    """Return an operand as a map of the output's shape, or of one pixel that holds for all."""
    if tensor.data is not None:
        return lowerer.constant(tensor, _spread(tensor.data, node.output.shape))
    if tensor.shape == node.output.shape:
        return lowerer.image(tensor, node)
    index = np.arange(tensor.elements, dtype=np.int32).reshape(tensor.shape)
    spread = _spread(index, node.output.shape)
    found = lowerer.stored(tensor)
    if found.shape == dimensions(spread.shape) and spread.size == tensor.elements:
        return found
    return lowerer.rearranged(node, (found,), spread, tensor)


def _spread(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return values broadcast to a shape, or to its last axis where that is all that matters."""
    pixel = np.broadcast_to(values, shape[:-1] + (shape[-1],))
    first = pixel[(0,) * (len(shape) - 1)]
    return first.reshape(1, 1, -1) if (pixel == first).all() else pixel


def _broadcast(lowerer: Lowerer, node: g.Binary, pixel: FeatureMap, like: FeatureMap) -> FeatureMap:
    """Return one pixel repeated all over a map's shape: added to that map's bytes times 0."""
    output = replace(
        like,
        storage=lowerer.new_storage(),
        name=pixel.name,
        scale=pixel.scale,
        zero_point=pixel.zero_point,
    )
    lowerer.emit(
        ElementwiseLayer(
            index=node.index,
            name=node.output.name,
            op=node.op,
            output=output,
            operation="add",
            a=like,
            b=pixel,
            table_a=np.zeros(256, np.int32),
            table_b=np.arange(-128, 128, dtype=np.int32),
            rescale=IDENTITY,
        )
    )
    return output
