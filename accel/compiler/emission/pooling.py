"""Commands of pooling layers."""

from accel.compiler.emission.commands import Commands
from accel.compiler.emission.requantise import vector_fields
from accel.compiler.layers import PoolLayer
from accel.compiler.plans import MapPlan
from accel.compiler.regions import Box, View, composite
from accel.isa import Engine, Operation

__all__ = ["emit_pool"]


def emit_pool(commands: Commands, layer: PoolLayer, plan: MapPlan, area: int) -> None:
    """Emit a layer, tile after tile; streamed ones in the scratchpad from `area` on."""
    inputs, outputs = commands.stream_slots(plan, area, 1)
    for tile in commands.map_tiles(layer.output, plan):
        output = commands.output_view(layer.output, outputs, tile)
        view = commands.input_view(layer.input, inputs, _pool_box(layer, tile))
        for rows, y0, wy in _window_runs(layer, tile, 0):
            for cols, x0, wx in _window_runs(layer, tile, 1):
                piece = Box(rows[0], rows[1], cols[0], cols[1], tile.g0, tile.g1)
                _pool_piece(commands, layer, piece, (y0, x0), (wy, wx), view, output)
        if commands.in_memory(layer.output):
            commands.store_map(layer.output, tile, output)


def _pool_box(layer: PoolLayer, tile: Box) -> Box:
    limits: list[int] = []
    for axis, (first, last) in enumerate(((tile.y0, tile.y1), (tile.x0, tile.x1))):
        size = layer.input.shape[axis]
        low = first * layer.stride[axis] - layer.padding[axis]
        high = (last - 1) * layer.stride[axis] - layer.padding[axis] + layer.window[axis]
        limits += [max(low, 0), min(high, size)]
    y0, y1, x0, x1 = limits
    return Box(y0, y1, x0, x1, tile.g0, tile.g1)


def _pool_piece(
    commands: Commands,
    layer: PoolLayer,
    piece: Box,
    origin: tuple[int, int],
    window: tuple[int, int],
    view: View,
    output: View,
) -> None:
    """Emit the vector command for results whose windows have the same elements inside."""
    rescale = layer.rescale[window[0] * window[1]]
    counts = [window[1], window[0], piece.cols, piece.rows]
    steps = composite(counts, [1, view.pitch, layer.stride[1], layer.stride[0] * view.pitch])
    last_y = origin[0] + (piece.rows - 1) * layer.stride[0] + window[0]
    last_x = origin[1] + (piece.cols - 1) * layer.stride[1] + window[1]
    read = Box(origin[0], last_y, origin[1], last_x, piece.g0, piece.g1)
    operation = Operation.SUM if layer.operation == "sum" else Operation.MAX
    commands.step(
        Engine.VECTOR,
        {
            "operation": int(operation),
            "uniform": 1,
            "multiplier": rescale.multiplier,
            "bias": rescale.bias,
            "shift": rescale.shift,
            "slices": commands.slices(layer.output, piece),
            "a_address": view.address(origin[0], origin[1], piece.g0),
            "dst_address": output.address(piece.y0, piece.x0, piece.g0),
            "a_plane": view.plane,
            "a_step_wcol": steps[0],
            "a_step_wrow": steps[1],
            "a_step_col": steps[2],
            "a_step_row": steps[3],
            **vector_fields(layer, piece, output, window),
        },
        reads=view.spans(read),
        writes=output.spans(piece),
    )


def _window_runs(layer: PoolLayer, tile: Box, axis: int) -> list[tuple[tuple[int, int], int, int]]:
    """Return runs of results along an axis whose windows are clipped alike.

    Each is ((first, end) results, first element inside, elements inside).
    """
    first, last = ((tile.y0, tile.y1), (tile.x0, tile.x1))[axis]
    size, window = layer.input.shape[axis], layer.window[axis]
    runs: list[tuple[tuple[int, int], int, int]] = []
    for result in range(first, last):
        start = result * layer.stride[axis] - layer.padding[axis]
        low, high = max(start, 0), min(start + window, size)
        count = high - low
        if runs and runs[-1][2] == count and low == start and runs[-1][1] >= 0:
            (run_first, run_end), run_low, run_count = runs[-1]
            expected = run_low + (run_end - run_first) * layer.stride[axis]
            if expected == low:
                runs[-1] = ((run_first, result + 1), run_low, run_count)
                continue
        runs.append(((result, result + 1), low, count))
    return runs
