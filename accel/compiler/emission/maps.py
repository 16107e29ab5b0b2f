"""Commands of element-wise layers."""

from dataclasses import replace

import numpy as np

from accel.compiler.emission.commands import Commands
from accel.compiler.emission.requantise import vector_fields
from accel.compiler.layers import ElementwiseLayer
from accel.compiler.plans import MapPlan
from accel.compiler.regions import Box, View, composite
from accel.compiler.schedule import Span
from accel.isa import TABLE_WORDS, Engine, Operation, Space

__all__ = ["emit_elementwise"]

_OPERATIONS = {
    "add": Operation.ADD,
    "mul": Operation.MUL,
    "max": Operation.MAX,
    "min": Operation.MIN,
    "table": Operation.TABLE,
}


def emit_elementwise(commands: Commands, layer: ElementwiseLayer, plan: MapPlan, area: int) -> None:
    """Emit a layer, tile after tile; streamed ones in the scratchpad from `area` on."""
    tables = [t for t in (layer.table_a, layer.table_b) if t is not None]
    if tables:
        blob = np.concatenate(tables).astype("<i4").tobytes()
        words = TABLE_WORDS // 2 * len(tables)
        commands.load_constants(Space.TABLE, "table", commands.constants.add(blob), 0, words)
    *operands, outputs = commands.stream_slots(plan, area, len(layer.inputs))
    for tile in commands.map_tiles(layer.output, plan):
        views = []
        for stream, item in enumerate(layer.inputs):
            box = tile
            if item.shape[:2] != layer.output.shape[:2]:
                box = Box(0, 1, 0, 1, tile.g0, tile.g1)
            views.append(commands.input_view(item, operands[stream], box, stream=stream))
        output = commands.output_view(layer.output, outputs, tile)
        if layer.operation in ("max", "min"):
            for piece in _equal_pitch(tile, views):
                _select(commands, layer, piece, views[0], views[-1], output)
        else:
            _combine(commands, layer, tile, views, output)
        if commands.in_memory(layer.output):
            commands.store_map(layer.output, tile, output)


def _combine(
    commands: Commands, layer: ElementwiseLayer, tile: Box, views: list[View], output: View
) -> None:
    """Emit one ADD, MUL or TABLE command."""
    values = {"operation": int(_OPERATIONS[layer.operation])}
    reads = [Span("table", 0, TABLE_WORDS // 2 * len(views))]
    for name, item, view in zip("ab", layer.inputs, views, strict=False):
        counts = [tile.cols, tile.rows]
        broadcast = item.shape[:2] != layer.output.shape[:2]
        steps = composite(counts, [0, 0] if broadcast else [1, view.pitch])
        y, x = (0, 0) if broadcast else (tile.y0, tile.x0)
        values[f"{name}_address"] = view.address(y, x, tile.g0)
        values[f"{name}_plane"] = view.plane
        values[f"{name}_step_col"] = steps[0]
        values[f"{name}_step_row"] = steps[1]
        reads += view.spans(replace(view.box, g0=tile.g0, g1=tile.g1) if broadcast else tile)
    commands.step(
        Engine.VECTOR,
        {
            **values,
            "dst_address": output.address(tile.y0, tile.x0, tile.g0),
            **_uniform(commands, layer, tile),
            **vector_fields(layer, tile, output),
        },
        reads=reads,
        writes=output.spans(tile),
    )


def _select(
    commands: Commands, layer: ElementwiseLayer, tile: Box, a: View, b: View, output: View
) -> None:
    """Emit one MAX or MIN of two maps: a window whose two elements are the operands."""
    delta = b.address(tile.y0, tile.x0, tile.g0) - a.address(tile.y0, tile.x0, tile.g0)
    steps = composite([2, 1, tile.cols, tile.rows], [delta, 0, 1, a.pitch])
    commands.step(
        Engine.VECTOR,
        {
            "operation": int(_OPERATIONS[layer.operation]),
            "a_address": a.address(tile.y0, tile.x0, tile.g0),
            "dst_address": output.address(tile.y0, tile.x0, tile.g0),
            "a_plane": a.plane,
            "a_step_wcol": steps[0],
            "a_step_wrow": steps[1],
            "a_step_col": steps[2],
            "a_step_row": steps[3],
            **_uniform(commands, layer, tile),
            **vector_fields(layer, tile, output, (1, 2)),
        },
        reads=[*a.spans(tile), *b.spans(tile)],
        writes=output.spans(tile),
    )


def _uniform(commands: Commands, layer: ElementwiseLayer, tile: Box) -> dict[str, int]:
    return {
        "uniform": 1,
        "multiplier": layer.rescale.multiplier,
        "bias": layer.rescale.bias,
        "shift": layer.rescale.shift,
        "slices": commands.slices(layer.output, tile),
    }


def _equal_pitch(tile: Box, views: list[View]) -> list[Box]:
    """Cut a tile until the distance between two views' pixels is the same all over each piece."""
    a, b = views[0], views[-1]
    pieces = [tile]
    if a.plane != b.plane:
        pieces = [replace(p, g0=g, g1=g + 1) for p in pieces for g in range(p.g0, p.g1)]
    if a.pitch != b.pitch:
        pieces = [replace(p, y0=y, y1=y + 1) for p in pieces for y in range(p.y0, p.y1)]
    return pieces
