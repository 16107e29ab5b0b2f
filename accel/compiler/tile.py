"""Tiling: how each layer is cut so that its parts fit the memories."""

import math
from collections.abc import Iterator, Sequence

from accel.compiler.convtiling import cuts, plan_conv
from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    ElementwiseLayer,
    FeatureMap,
    PoolLayer,
)
from accel.compiler.plans import DeviceLayer, MapPlan, Plan, groups_of
from accel.config import Config
from accel.errors import ModelError

__all__ = ["make_plan", "unsupported"]

COMMAND_CYCLES = 4096
"""Array rows times cycles of one command on maps on-chip, where it has more than one row.

Requantisation waits for such a command, and the array for that; and a chunk of the same
convolution takes the longer, the fewer rows the array has.
"""


def make_plan(
    layer: DeviceLayer,
    config: Config,
    *,
    pitches: Sequence[int] | None,
    output_resident: bool,
    space: int,
) -> Plan | None:
    """Return the cheapest plan whose streamed parts fit `space` scratchpad words, or None.

    Parameters
    ----------
    layer : DeviceLayer
    config : Config
    pitches : sequence of int, or None
        Of the inputs, where all are resident.
    output_resident : bool
    space : int
    """
    inputs_resident = pitches is not None
    if isinstance(layer, ConvLayer):
        return plan_conv(layer, config, pitches, output_resident, space)
    if isinstance(layer, ControllerLayer):
        return _plan_controller(layer, config, inputs_resident, output_resident, space)
    return _plan_map(layer, config, inputs_resident, output_resident, space)


def _plan_controller(
    layer: ControllerLayer, config: Config, inputs_resident: bool, output_resident: bool, space: int
) -> MapPlan | None:
    """Return a plan of equal tiles: calls that are equal are a loop in the program."""
    out = layer.output
    groups = groups_of(out.channels, config)
    depth = max(groups_of(item.channels, config) for item in layer.inputs)
    for rows, cols in _even_tiles(out) if layer.pixelwise else [out.shape[:2]]:
        pixels = [rows * cols] if layer.pixelwise else [m.height * m.width for m in layer.inputs]
        region = 0 if inputs_resident else depth * max(pixels)
        tile = 0 if output_resident else groups * rows * cols
        if len(layer.inputs) * region + tile <= space:
            return MapPlan(rows, cols, groups, region, tile, 1)
    return None


def _even_tiles(item: FeatureMap) -> Iterator[tuple[int, int]]:
    """Yield sizes of tiles that cover a map evenly: whole rows, then parts of one row."""
    for rows in cuts(item.height):
        if item.height % rows == 0:
            yield rows, item.width
    for cols in cuts(item.width)[1:]:
        if item.width % cols == 0:
            yield 1, cols


def _plan_map(
    layer: ElementwiseLayer | PoolLayer,
    config: Config,
    inputs_resident: bool,
    output_resident: bool,
    space: int,
) -> MapPlan | None:
    """Return the plan with the largest tiles that fit."""
    out = layer.output
    all_groups = groups_of(out.channels, config)
    operands = len(layer.inputs)
    slices = -(-min(out.channels, config.rows) // config.lanes)
    per_result = slices * (math.prod(layer.window) if isinstance(layer, PoolLayer) else operands)

    most = COMMAND_CYCLES // config.rows

    def too_long(rows: int, cols: int) -> bool:
        return rows * cols * per_result > max(most, out.width * per_result)

    for share in (2, 1):  # twice for double buffering, else once
        for groups in [1] if inputs_resident and output_resident else cuts(all_groups):
            for cols in cuts(out.width):
                for rows in cuts(out.height):
                    if inputs_resident and output_resident and too_long(rows, cols):
                        continue
                    region = 0 if inputs_resident else groups * _map_region(layer, rows, cols)
                    tile = 0 if output_resident else groups * rows * cols
                    if share * (operands * region + tile) <= space:
                        return MapPlan(rows, cols, groups, region, tile, share)
    return None


def _map_region(layer: ElementwiseLayer | PoolLayer, rows: int, cols: int) -> int:
    if isinstance(layer, ElementwiseLayer):
        return rows * cols
    source: FeatureMap = layer.input
    height = min((rows - 1) * layer.stride[0] + layer.window[0], source.height)
    width = min((cols - 1) * layer.stride[1] + layer.window[1], source.width)
    return height * width


def unsupported(layer: DeviceLayer, config: Config) -> ModelError:
    """Return the error for a layer that no tiling fits."""
    return ModelError(
        f"operator {layer.index} {layer.op} ({layer.name}) does not fit configuration "
        f"{config.name}: one output pixel needs more than its {config.scratchpad_words} words of "
        f"scratchpad; use a larger scratchpad_bytes"
    )
