"""Replaces layers that no tiling fits into a configuration by others that can be cut further."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, product

import numpy as np

from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    FeatureMap,
    Layer,
    Network,
    PoolLayer,
)
from accel.compiler.moves import moved
from accel.compiler.quantize import IDENTITY
from accel.compiler.tile import make_plan, unsupported
from accel.config import Config

__all__ = ["fitted"]

MAX_WEIGHTS = 1 << 27
"""Elements of the weights that a sum over a window may take."""


def fitted(network: Network, config: Config) -> Network:
    """Return the network with every layer that does not fit replaced by what computes the same.

    A sum over a large window becomes a convolution, which keeps its sums in the accumulators; a
    large maximum is taken along columns, then along rows; softmax over runs that lie across pixels
    is taken with each run in a pixel of its own.

    Raises
    ------
    ModelError
        When a layer does not fit and has no such form.
    """
    fresh = 1 + max(
        (m.storage for layer in network.layers for m in (*layer.inputs, layer.output)), default=0
    )
    fresh = max(fresh, 1 + max((p.map.storage for p in network.inputs), default=0))
    layers: list[Layer] = []
    for layer in network.layers:
        parts: Sequence[Layer] = [layer]
        if isinstance(layer, PoolLayer | ControllerLayer) and not _fits(layer, config):
            parts = _parts(layer, fresh, config)
            fresh += len(parts)
        layers += parts
    return replace(network, layers=tuple(layers))


def _fits(layer: PoolLayer | ControllerLayer, config: Config) -> bool:
    space = config.scratchpad_words
    return bool(make_plan(layer, config, pitches=None, output_resident=False, space=space))


def _parts(layer: PoolLayer | ControllerLayer, fresh: int, config: Config) -> Sequence[Layer]:
    """Return what a layer becomes; `fresh` is the first free storage number."""
    if isinstance(layer, PoolLayer) and layer.operation == "max" and min(layer.window) > 1:
        return _separated(layer, fresh)
    if isinstance(layer, PoolLayer) and layer.operation == "sum":
        channels = layer.input.channels
        if channels**2 * layer.window[0] * layer.window[1] <= MAX_WEIGHTS:
            return _as_convolutions(layer)
    if isinstance(layer, ControllerLayer) and layer.kernel == "softmax" and not layer.pixelwise:
        return _run_by_run(layer, fresh)
    raise unsupported(layer, config)


def _separated(layer: PoolLayer, fresh: int) -> list[PoolLayer]:
    """Return a maximum as one along the columns, then one along the rows."""
    source = layer.input
    middle = replace(layer.output, storage=fresh, height=source.height, width=layer.output.width)
    columns = replace(
        layer,
        output=middle,
        window=(1, layer.window[1]),
        stride=(1, layer.stride[1]),
        padding=(0, layer.padding[1]),
        rescale=dict.fromkeys(range(1, layer.window[1] + 1), IDENTITY),
        output_zero=0,
        clamp_min=-128,
        clamp_max=127,
    )
    last = next(iter(layer.rescale.values()))
    rows = replace(
        layer,
        input=middle,
        window=(layer.window[0], 1),
        stride=(layer.stride[0], 1),
        padding=(layer.padding[0], 0),
        rescale=dict.fromkeys(range(1, layer.window[0] + 1), last),
    )
    return [columns, rows]


def _as_convolutions(layer: PoolLayer) -> list[ConvLayer]:
    """Return a sum as convolutions, one for each part whose windows have as many elements."""
    channels = layer.input.channels
    weights = np.zeros((channels, *layer.window, channels), np.int8)
    weights[np.arange(channels), :, :, np.arange(channels)] = 1
    found = []
    for rows, columns in product(_alike(layer, 0), _alike(layer, 1)):
        rescale = layer.rescale[rows[2] * columns[2]]
        first = rows[0], columns[0]
        found.append(
            ConvLayer(
                index=layer.index,
                name=layer.name,
                op=layer.op,
                macs=layer.macs,
                output=layer.output,
                sources=(layer.input,),
                weights=weights,
                bias=np.full(channels, rescale.bias, np.int32),
                multiplier=np.full(channels, rescale.multiplier, np.int32),
                shift=np.full(channels, rescale.shift, np.int8),
                stride=layer.stride,
                padding=(
                    layer.padding[0] - first[0] * layer.stride[0],
                    layer.padding[1] - first[1] * layer.stride[1],
                ),
                pad_value=0,
                output_zero=layer.output_zero,
                clamp_min=layer.clamp_min,
                clamp_max=layer.clamp_max,
                results=(rows[1], columns[1]),
                origin=first,
            )
        )
    return found


def _alike(layer: PoolLayer, axis: int) -> list[tuple[int, int, int]]:
    """Return runs of results along an axis: (first, how many, elements inside each window)."""
    starts = np.arange(layer.output.shape[axis]) * layer.stride[axis] - layer.padding[axis]
    ends = np.minimum(starts + layer.window[axis], layer.input.shape[axis])
    counts = (ends - np.maximum(starts, 0)).tolist()
    runs = []
    for count, members in groupby(range(len(counts)), key=lambda i: counts[i]):
        places = list(members)
        runs.append((places[0], len(places), count))
    return runs


def _run_by_run(layer: ControllerLayer, fresh: int) -> list[Layer]:
    """Return softmax on a map that has each run in a pixel, and the movements there and back."""
    (source,) = layer.sources
    depth = layer.arguments[0]
    elements = source.height * source.width * source.channels
    inside = FeatureMap(
        fresh, source.name, elements // depth, 1, depth, source.scale, source.zero_point
    )
    outside = replace(
        layer.output, storage=fresh + 1, height=inside.height, width=1, channels=depth
    )
    order = np.arange(elements, dtype=np.int32)
    names = layer.index, layer.name, layer.op
    return [
        *moved(*names, (source,), order, inside),
        replace(layer, sources=(inside,), output=outside, pixelwise=True),
        *moved(*names, (outside,), order, layer.output),
    ]
