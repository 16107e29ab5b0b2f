"""Calls of kernels on the controller."""

from dataclasses import replace

from accel.compiler.emission.commands import Commands
from accel.compiler.layers import ControllerLayer, FeatureMap
from accel.compiler.plans import MapPlan, groups_of
from accel.compiler.regions import Box, View
from accel.compiler.schedule import Call
from accel.firmware import load_kernel
from accel.firmware.call import argument_block, kernel_call
from accel.isa import Engine, Operation

__all__ = ["emit_kernel"]

WINDOW = 0x4000_0000
"""Where the controller sees the scratchpad."""


def emit_kernel(commands: Commands, layer: ControllerLayer, plan: MapPlan, area: int) -> None:
    """Emit calls of a kernel: once, or for one part of the pixels after another."""
    *operands, outputs = commands.stream_slots(plan, area, len(layer.inputs))
    tiles = commands.map_tiles(layer.output, plan)
    for tile in tiles:
        views = [
            commands.input_view(
                item,
                places,
                _tile_of(commands, item, tile) if layer.pixelwise else commands.whole(item),
                stream=min(i, 1),
            )
            for i, (item, places) in enumerate(zip(layer.inputs, operands, strict=True))
        ]
        output = commands.output_view(layer.output, outputs, tile)
        _call(commands, layer, tile, views, output)
        if tile is tiles[-1]:
            _touch(commands, output, tile)
        if commands.in_memory(layer.output):
            commands.store_map(layer.output, tile, output)


def _tile_of(commands: Commands, item: FeatureMap, tile: Box) -> Box:
    return replace(tile, g0=0, g1=groups_of(item.channels, commands.config))


def _call(
    commands: Commands, layer: ControllerLayer, tile: Box, views: list[View], output: View
) -> None:
    config = commands.config
    slot = config.word_slot

    def window(item: FeatureMap, view: View) -> tuple[int, ...]:
        part = _tile_of(commands, item, tile) if layer.pixelwise else commands.whole(item)
        first = view.address(part.y0, part.x0, 0)
        return WINDOW + first * slot, part.rows, part.cols, item.channels, view.plane * slot

    block = argument_block(
        config.rows,
        slot,
        window(layer.output, output),
        [window(item, view) for item, view in zip(layer.inputs, views, strict=True)],
        layer.arguments,
        layer.tables,
    )
    kernel = load_kernel(layer.kernel, config.multiply)
    commands.steps.append(Call(tuple(kernel_call(kernel, block, config.program_bytes))))


def _touch(commands: Commands, output: View, tile: Box) -> None:
    """Emit the identity on one word: something of a layer's that an engine can stamp."""
    first = replace(tile, y1=tile.y0 + 1, x1=tile.x0 + 1, g1=tile.g0 + 1)
    address = output.address(tile.y0, tile.x0, tile.g0)
    commands.step(
        Engine.VECTOR,
        {
            "operation": int(Operation.MAX),
            "uniform": 1,
            "multiplier": 1 << 30,
            "shift": 1,
            "slices": 1,
            "a_address": address,
            "dst_address": address,
            "count_col": 1,
            "count_row": 1,
            "window_col": 1,
            "window_row": 1,
            "clamp_min": -128,
            "clamp_max": 127,
        },
        reads=output.spans(first),
        writes=output.spans(first),
    )
