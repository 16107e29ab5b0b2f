"""The network's inputs and outputs: int8 as they are, float32 and uint8 converted by the host."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from accel.compiler import graph as g
from accel.compiler.layers import FeatureMap, Port
from accel.compiler.quantize import quantize_ratio
from accel.errors import ModelError
from accel.numerics import multiply_by_quantized_multiplier

__all__ = ["input_port", "output_port", "requantized"]

_Dtype = Literal["int8", "uint8", "float32"]
_DTYPES: tuple[_Dtype, ...] = get_args(_Dtype)


def requantized(
    values: npt.NDArray[np.int64], source: g.Tensor, target: g.Tensor
) -> npt.NDArray[np.int64]:
    """Return integers of one tensor as those of another, not yet saturated: TFLM's Requantize."""
    multiplier, shift = quantize_ratio(source.scale / target.scale)
    offset = values - source.zero_point
    return multiply_by_quantized_multiplier(offset, multiplier, shift) + target.zero_point


def _dtype(tensor: g.Tensor) -> _Dtype:
    for name in _DTYPES:
        if tensor.dtype == name:
            return name
    raise ModelError(f"input or output '{g.shorten(tensor.name)}' is of type {tensor.dtype}")


def input_port(graph: g.Graph, tensor: g.Tensor, map_: FeatureMap) -> Port:
    """Return the port of a graph input.

    Raises
    ------
    ModelError
        When a tensor that is not int8 is read by more than conversions that agree.
    """
    dtype = _dtype(tensor)
    if dtype == "int8":
        return Port(tensor.name, tensor.shape, map_)
    readers = [n for n in graph.nodes if any(t is tensor for t in n.inputs)]
    targets = [n.output for n in readers if isinstance(n, g.Convert)]
    if not targets or len(targets) < len(readers):
        raise ModelError(f"{graph.name}: input '{g.shorten(tensor.name)}' is not quantised to int8")
    first = targets[0]
    if any(t.quantization != first.quantization for t in targets):
        raise ModelError(
            f"{graph.name}: input '{g.shorten(tensor.name)}' is quantised in two different ways"
        )
    map_ = FeatureMap(map_.storage, map_.name, *map_.shape, first.scale, first.zero_point)
    table = None
    if dtype == "uint8":
        table = (
            requantized(np.arange(256, dtype=np.int64), tensor, first)
            .clip(-128, 127)
            .astype(np.int8)
        )
    return Port(tensor.name, tensor.shape, map_, dtype, table)


def output_port(graph: g.Graph, tensor: g.Tensor, map_: FeatureMap) -> Port:
    """Return the port of a graph output."""
    dtype = _dtype(tensor)
    if dtype == "int8":
        return Port(tensor.name, tensor.shape, map_)
    (node,) = (n for n in graph.nodes if n.output is tensor)
    (source,) = node.inputs
    map_ = FeatureMap(map_.storage, map_.name, *map_.shape, source.scale, source.zero_point)
    table = None
    if dtype == "uint8":
        table = (
            requantized(np.arange(-128, 128, dtype=np.int64), source, tensor)
            .clip(0, 255)
            .astype(np.uint8)
        )
    return Port(tensor.name, tensor.shape, map_, dtype, table)
