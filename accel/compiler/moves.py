"""Layers that move the elements of maps into another map: linear layers, or the controller."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.compiler.layers import ControllerLayer, ConvLayer, FeatureMap
from accel.compiler.quantize import IDENTITY
from accel.compiler.rearrange import Move, plan
from accel.errors import FirmwareError, ModelError
from accel.firmware import gather_arguments

__all__ = ["moved"]

MAX_GATHERED = 1 << 16
"""Elements that the controller may move: it takes some twenty cycles for each."""


def moved(
    number: int,
    name: str,
    op: str,
    sources: Sequence[FeatureMap],
    index: npt.NDArray[Any],
    output: FeatureMap,
) -> list[ConvLayer] | list[ControllerLayer]:
    """Return the layers that fill a map with elements of others.

    Parameters
    ----------
    number, name, op : int, str, str
        The operator that they are reported as: index, name and op of a layer.
    sources : sequence of FeatureMap
    index : int array with as many elements as `output`
        Which element of all of the sources' elements, one after another, each one is.
    output : FeatureMap

    Raises
    ------
    ModelError
        When it takes too many layers or too large ones, and no four nested loops describe it.
    """
    try:
        moves = plan([s.shape for s in sources], index.reshape(output.shape))
    except ModelError:
        arguments = _loops(index, sources[0].channels) if len(sources) == 1 else None
        if arguments is None or index.size > MAX_GATHERED:
            raise
        layer = ControllerLayer(
            index=number,
            name=name,
            op=op,
            output=output,
            kernel="gather",
            sources=tuple(sources),
            arguments=arguments,
        )
        return [layer]
    return [_layer(number, name, op, sources, move, output) for move in moves]


def _layer(
    number: int,
    name: str,
    op: str,
    sources: Sequence[FeatureMap],
    move: Move,
    output: FeatureMap,
) -> ConvLayer:
    channels = len(move.weights)
    height, width = move.view
    used = (sources[i] for i in move.sources)
    return ConvLayer(
        index=number,
        name=name,
        op=op,
        output=replace(output, height=move.output_view[0], width=move.output_view[1]),
        sources=tuple(replace(s, height=height, width=width) for s in used),
        weights=move.weights,
        bias=np.zeros(channels, np.int32),
        multiplier=np.full(channels, IDENTITY.multiplier, np.int32),
        shift=np.full(channels, IDENTITY.shift, np.int8),
        stride=move.stride,
        padding=(-move.start[0], -move.start[1]),
        output_zero=0,
        clamp_min=-128,
        clamp_max=127,
        results=move.results,
        origin=move.origin,
        step=move.step,
    )


def _loops(index: npt.NDArray[Any], channels: int) -> tuple[int, ...] | None:
    """Return the arguments of the kernel `gather` for a movement with a stride per axis."""
    first = int(index.flat[0])
    strides = [
        int(index.take(1, axis).flat[0]) - first if size > 1 else 0
        for axis, size in enumerate(index.shape)
    ]
    regular = np.full(index.shape, first, np.int64)
    for axis, (size, stride) in enumerate(zip(index.shape, strides, strict=True)):
        shape = [1] * index.ndim
        shape[axis] = size
        regular += (np.arange(size, dtype=np.int64) * stride).reshape(shape)
    if math.prod(index.shape) < 1 or (regular != index).any():
        return None
    try:
        return gather_arguments(index.shape, strides, channels, first)
    except FirmwareError:
        return None
