"""From a chunk's sums to results: the vector command, and stores of what memory wants."""

from dataclasses import replace

from accel.compiler.emission.commands import Commands
from accel.compiler.layers import ConvLayer, ElementwiseLayer, PoolLayer
from accel.compiler.plans import groups_of
from accel.compiler.regions import Box, View, composite
from accel.compiler.schedule import Span
from accel.isa import PARAM_WORDS, Engine, Operation

__all__ = ["requantise", "result_box", "store_complete_planes", "vector_fields"]


def vector_fields(
    layer: ConvLayer | ElementwiseLayer | PoolLayer,
    tile: Box,
    output: View,
    window: tuple[int, int] = (1, 1),
    step: tuple[int, int] = (1, 1),
) -> dict[str, int]:
    """Return the fields that say how many results of a layer there are, and where they go.

    Parameters
    ----------
    layer : ConvLayer, ElementwiseLayer or PoolLayer
    tile : Box
        The results.
    output : View
    window : (rows, columns)
    step : (rows, columns)
        Output pixels from one result to the next.
    """
    steps = composite([tile.cols, tile.rows], [step[1], step[0] * output.pitch])
    return {
        "count_col": tile.cols,
        "count_row": tile.rows,
        "window_col": window[1],
        "window_row": window[0],
        "output_zero": layer.output_zero,
        "clamp_min": layer.clamp_min,
        "clamp_max": layer.clamp_max,
        "dst_plane": output.plane,
        "dst_step_col": steps[0],
        "dst_step_row": steps[1],
    }


def requantise(
    commands: Commands,
    layer: ConvLayer,
    tile: Box,
    group: int,
    channels: int,
    acc: int,
    param_address: int,
    output: View,
) -> None:
    """Emit the vector commands that make results of a chunk's sums: one for each pixel of an entry.

    Parameters
    ----------
    commands : Commands
    layer : ConvLayer
    tile : Box
        Accumulator entries, in the layer's own numbering of results.
    group : int
        Column group.
    channels : int
        Channels of that group.
    acc : int
        First accumulator entry.
    param_address : int
    output : View
    """
    config = commands.config
    first = group * config.cols
    plane = first // config.rows
    last_plane = (first + channels - 1) // config.rows
    y, x, step = tile.y0, tile.x0 * layer.pixels, (1, layer.pixels)
    if commands.is_resident(layer.output):
        step = layer.step[0], layer.step[1] * layer.pixels
        y, x = layer.origin[0] + y * layer.step[0], layer.origin[1] + x * layer.step[1]
    for pixel in range(layer.pixels):
        column = pixel * config.cols // layer.pixels
        left = x + pixel * step[1] // layer.pixels
        written = Box(
            y, y + (tile.rows - 1) * step[0] + 1, left, left + (tile.cols - 1) * step[1] + 1,
            plane, last_plane + 1,
        )  # fmt: skip
        commands.step(
            Engine.VECTOR,
            {
                "operation": int(Operation.ACC),
                "a_address": acc,
                "a_slot": column // config.lanes,
                "upper": int(column % config.lanes > 0),
                "dst_address": output.address(y, left, plane),
                "dst_slot": first % config.rows // config.lanes,
                "slices": -(-channels // config.lanes),
                "param_address": param_address,
                **vector_fields(layer, tile, output, step=step),
            },
            reads=[
                Span("acc", acc, acc + tile.rows * tile.cols),
                Span("weights", param_address, param_address + PARAM_WORDS),
            ],
            writes=output.spans(written),
        )


def result_box(layer: ConvLayer, tile: Box) -> Box:
    """Return the results of a chunk's accumulator entries."""
    return replace(tile, x0=tile.x0 * layer.pixels, x1=tile.x1 * layer.pixels)


def store_complete_planes(
    commands: Commands, layer: ConvLayer, tile: Box, group: int, channels: int, output: View
) -> None:
    """Store the planes whose last channel this column group holds, where memory wants them."""
    if not commands.in_memory(layer.output):
        return
    rows, cols = commands.config.rows, commands.config.cols
    first = group * cols // rows  # a plane begun by an earlier group ends here or later
    end = group * cols + channels
    done = groups_of(layer.output.channels, commands.config)
    if end < layer.output.channels:
        done = end // rows
    if done > first:
        _store_results(
            commands, layer, replace(tile, g0=first, g1=done), output,
            resident=commands.is_resident(layer.output),
        )  # fmt: skip


def _store_results(
    commands: Commands, layer: ConvLayer, tile: Box, view: View, *, resident: bool
) -> None:
    """Store a convolution's results `tile` (planes g0 .. g1) where memory wants them."""
    oy, ox = layer.origin
    sy, sx = layer.step
    placed = Box(
        oy + tile.y0 * sy,
        oy + (tile.y1 - 1) * sy + 1,
        ox + tile.x0 * sx,
        ox + (tile.x1 - 1) * sx + 1,
        tile.g0,
        tile.g1,
    )
    if (sy, sx) == (1, 1):
        moved = view if resident else replace(view, box=_shift(view.box, oy, ox))
        commands.store_map(layer.output, placed, moved)
        return
    target = commands.memory(layer.output)
    for g in range(tile.g0, tile.g1):
        one = replace(placed, g0=g, g1=g + 1)
        if resident:
            start, col, row = view.address(one.y0, one.x0, g), sx, sy * view.pitch
            reads = view.spans(one)
        else:
            start, col, row = view.address(tile.y0, tile.x0, g), 1, view.pitch
            reads = view.spans(replace(tile, g0=g, g1=g + 1))
        memory_col, memory_row = sx * target.slot, sy * target.width * target.slot
        counts = [tile.cols, tile.rows]
        memory_steps = composite(counts, [memory_col, memory_row])
        chip_steps = composite(counts, [col, row])
        commands.step(
            Engine.STORE,
            {
                "memory_address": target.address(one.y0, one.x0, g),
                "chip_address": start,
                "words": 1,
                "rows": tile.cols,
                "planes": tile.rows,
                "memory_step_row": memory_steps[0],
                "chip_step_row": chip_steps[0],
                "memory_step_plane": memory_steps[1],
                "chip_step_plane": chip_steps[1],
            },
            reads=reads,
            writes=target.spans(one),
        )


def _shift(box: Box, rows: int, cols: int) -> Box:
    return replace(box, y0=box.y0 + rows, y1=box.y1 + rows, x0=box.x0 + cols, x1=box.x1 + cols)
