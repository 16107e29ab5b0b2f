"""The walk of a matmul command over its input."""

from accel.compiler.layers import ConvLayer
from accel.compiler.plans import Part
from accel.compiler.regions import Box, View, composite

__all__ = ["matmul_fields"]


def matmul_fields(layer: ConvLayer, tile: Box, part: Part, view: View) -> dict[str, int]:
    """Return the fields of the command that multiplies a part of a chunk's reduction.

    Those of weights and accumulators are left to the caller.

    Parameters
    ----------
    layer : ConvLayer
    tile : Box
        Results of the chunk.
    part : Part
    view : View
        Where the input is.
    """
    stride, dilation = layer.stride, layer.dilation
    y = tile.y0 * stride[0] - layer.padding[0] + part.ky0 * dilation[0]
    x = tile.x0 * stride[1] - layer.padding[1] + part.kx0 * dilation[1]
    counts = [tile.cols, tile.rows, part.nkx, part.nky, part.ng]
    y_strides = [0, stride[0], 0, dilation[0], 0]
    x_strides = [stride[1], 0, dilation[1], 0, 0]
    mode: dict[str, int] = {}
    if part.filter is not None:
        rows, cols = part.filter.rows, part.filter.cols
        positions = part.filter.positions(tile.cols, stride[1])
        counts = [positions, tile.rows, cols.passes, rows.passes, 1]
        y_strides = [0, stride[0], 0, rows.size * dilation[0], 0]
        x_strides = [stride[1], 0, cols.size * dilation[1], 0, 0]
        mode = {"groups": rows.size}
        if part.filter.taps:
            x_strides[0] = 1
            mode |= {
                "taps": part.filter.taps, "skip": cols.size - 1, "gap": stride[1] - 1,
            }  # fmt: skip
        mode |= {
            "group_step": dilation[0] * view.pitch if rows.size > 1 else 0,
            "group_step_y": dilation[0] if rows.size > 1 else 0,
        }
    planes = [0, 0, 0, 0, view.plane]
    steps = composite(
        counts,
        [
            dy * view.pitch + dx + plane
            for dy, dx, plane in zip(y_strides, x_strides, planes, strict=True)
        ],
    )
    y_steps, x_steps = composite(counts, y_strides), composite(counts, x_strides)
    values = {
        "input_address": view.address(y, x, part.g0),
        "input_y": y,
        "input_x": x,
        "pad_value": layer.pad_value,
        "input_height": layer.sources[part.source].height,
        "input_width": layer.sources[part.source].width,
        **mode,
    }
    for level, name in enumerate(("col", "row", "k0", "k1", "k2")):
        values[f"count_{name}"] = counts[level]
        if counts[level] > 1:
            values[f"step_{name}"] = steps[level]
            values[f"step_{name}_y"] = y_steps[level]
            values[f"step_{name}_x"] = x_steps[level]
    return values
