"""Tiling: how each layer is cut so that its parts fit the memories, chosen by estimated cycles."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from accel.compiler.layers import AddLayer, ConvLayer, FeatureMap, PoolLayer
from accel.compiler.regions import Box
from accel.config import Config
from accel.errors import ModelError
from accel.isa import PARAM_WORDS

__all__ = ["ConvPlan", "MapPlan", "Part", "conv_box", "groups_of", "plan_conv", "plan_map"]

PARAM_SLOTS = 2
"""Parameter blocks at the end of weight memory, for chunks whose weights come in several parts."""

ISSUE_CYCLES = 30
"""Cycles the controller needs to issue one chunk: a shorter chunk waits for it."""


ROW_CYCLES = 6
"""Cycles that each row of a transfer costs besides its beats."""


@dataclass(frozen=True)
class Part:
    """A box of the reduction: kernel rows, kernel columns, input channel groups."""

    ky0: int
    nky: int
    kx0: int
    nkx: int
    g0: int
    ng: int

    @property
    def tiles(self) -> int:
        """Weight tiles of one column group."""
        return self.nky * self.nkx * self.ng


@dataclass(frozen=True)
class ConvPlan:
    """How a convolution is cut.

    Parameters
    ----------
    rows, cols : int
        Output pixels of a chunk.
    parts : tuple of Part
        The reduction in this order; one matmul command each.
    groups_outer : bool
        Loop order: column groups outside (weights loaded once) or inside (inputs loaded once).
    whole_depth : bool
        A streamed input region holds all channel groups and serves every part.
    aligned : bool
        A streamed output tile holds the planes of one column group, else all planes.
    input_block, output_block : int
        Scratchpad words of a streamed input region and output tile; 0 where resident.
    places : int
        Blocks of each that the streaming area holds: 2 for double buffering, or 1.
    cost : float
        Estimated cycles.
    """

    rows: int
    cols: int
    parts: tuple[Part, ...]
    groups_outer: bool
    whole_depth: bool
    aligned: bool
    input_block: int
    output_block: int
    places: int
    cost: float


@dataclass(frozen=True)
class MapPlan:
    """How an elementwise or pooling layer is cut: output pixels and groups of one tile.

    `input_block`, `output_block` and `places` are those of ConvPlan; ADD has two input areas.
    """

    rows: int
    cols: int
    groups: int
    input_block: int
    output_block: int
    places: int


def groups_of(channels: int, config: Config) -> int:
    """Return the channel groups (planes) of a map."""
    return -(-channels // config.rows)


def part_tiles_limit(config: Config) -> int:
    """Return the weight tiles of one block, so that two blocks fit the weight memory."""
    ring = config.weight_words - PARAM_SLOTS * PARAM_WORDS
    return (ring // 2 - PARAM_WORDS) // config.rows


def split_reduction(kernel: tuple[int, int], groups: int, limit: int) -> tuple[Part, ...]:
    """Cut a reduction of kernel x groups tiles into boxes of at most `limit` tiles."""
    kh, kw = kernel
    nky, nkx, ng = kh, kw, groups
    if kh * kw * groups > limit:
        ng = max(1, limit // (kh * kw))
        ng = -(-groups // -(-groups // ng))
        if kh * kw > limit:
            nky = max(1, limit // kw)
            nkx = min(kw, limit)
    return tuple(
        Part(ky, min(nky, kh - ky), kx, min(nkx, kw - kx), g, min(ng, groups - g))
        for g in range(0, groups, ng)
        for ky in range(0, kh, nky)
        for kx in range(0, kw, nkx)
    )


def conv_box(layer: ConvLayer, tile: Box, part: Part) -> Box:
    """Return the input pixels inside the image that a chunk's part reads; may be empty."""

    def limits(first: int, last: int, axis: int, k0: int, nk: int, size: int) -> tuple[int, int]:
        stride, dilation = layer.stride[axis], layer.dilation[axis]
        low = first * stride - layer.padding[axis] + k0 * dilation
        high = (last - 1) * stride - layer.padding[axis] + (k0 + nk - 1) * dilation + 1
        low = min(max(low, 0), size)
        return low, max(min(high, size), low)

    y0, y1 = limits(tile.y0, tile.y1, 0, part.ky0, part.nky, layer.input.height)
    x0, x1 = limits(tile.x0, tile.x1, 1, part.kx0, part.nkx, layer.input.width)
    return Box(y0, y1, x0, x1, part.g0, part.g0 + part.ng)


def _cuts(size: int) -> list[int]:
    """Return the distinct tile sizes of even cuts of `size`, largest first."""
    return sorted({-(-size // n) for n in range(1, size + 1)}, reverse=True)


def plan_conv(
    layer: ConvLayer, config: Config, *, input_resident: bool, output_resident: bool, space: int
) -> ConvPlan | None:
    """Return the cheapest plan whose streamed parts fit `space` words, or None."""
    groups = groups_of(layer.input.channels, config)
    best: ConvPlan | None = None
    for cols in _cuts(layer.output.width):
        if cols > config.acc_depth:
            continue
        for rows in _cuts(layer.output.height):
            if rows * cols > config.acc_depth:
                continue
            for plan in _conv_variants(
                layer, config, groups, rows, cols, input_resident, output_resident, space
            ):
                if best is None or plan.cost < best.cost:
                    best = plan
    return best


def _conv_variants(
    layer: ConvLayer,
    config: Config,
    groups: int,
    rows: int,
    cols: int,
    input_resident: bool,
    output_resident: bool,
    space: int,
) -> Iterator[ConvPlan]:
    out = layer.output
    pixels = rows * cols
    limit = part_tiles_limit(config)
    parts = split_reduction(layer.kernel, groups, limit)
    column_groups = -(-out.channels // config.cols)
    out_planes = groups_of(out.channels, config)
    aligned = config.cols % config.rows == 0
    whole_depth = True

    output_tile = 0
    if not output_resident:
        planes = min(out_planes, config.cols // config.rows) if aligned else out_planes
        output_tile = planes * pixels
    input_region = 0
    if not input_resident:
        # An interior tile reads the most.
        def region(part: Part) -> int:
            spans = [
                min((n - 1) * s + (k - 1) * d + 1, size)
                for n, s, k, d, size in zip(
                    (rows, cols),
                    layer.stride,
                    (part.nky, part.nkx),
                    layer.dilation,
                    layer.input.shape[:2],
                    strict=True,
                )
            ]
            return spans[0] * spans[1] * part.ng

        kernel = layer.kernel
        input_region = region(Part(0, kernel[0], 0, kernel[1], 0, groups))
        if input_region + output_tile > space:
            whole_depth = False
            one = region(Part(0, kernel[0], 0, kernel[1], 0, 1))
            fit = (space - output_tile) // max(one, 1)
            if fit < 1:
                return
            fit = min(fit, max(1, limit // (kernel[0] * kernel[1])))
            parts = split_reduction(kernel, groups, min(limit, fit * kernel[0] * kernel[1]))
            input_region = max(region(part) for part in parts)
    if input_region + output_tile > space:
        return

    places = 2 if 2 * (input_region + output_tile) <= space else 1

    tiles = math.ceil(out.height / rows) * math.ceil(out.width / cols)
    reduction = sum(part.tiles for part in parts)
    tile_cycles = max(pixels, config.rows, config.cols)
    chunk = max(reduction * tile_cycles + 4 * len(parts), ISSUE_CYCLES * (1 + len(parts)))
    vector = pixels * math.ceil(min(config.cols, out.channels) / config.lanes) + 12
    chunks = tiles * column_groups
    compute = chunks * max(chunk, vector) + vector
    block = (PARAM_WORDS + reduction * config.rows) * config.weight_slot
    weights_fit = column_groups * block <= config.weight_words * config.weight_slot
    block_fits = block <= (config.weight_words - 64) * config.weight_slot
    output_bytes = 0 if output_resident else out.height * out.width * out_planes * config.word_slot
    output_rows = 0
    if not output_resident:
        output_rows = chunks * (1 if cols == out.width else rows)
    for groups_outer in (True, False):
        if groups_outer and not aligned and not output_resident:
            continue
        reuse = weights_fit or (groups_outer and block_fits)
        weight_bytes = column_groups * block * (1 if reuse else tiles)
        input_bytes = input_rows = 0
        if not input_resident:
            regions = tiles * (1 if whole_depth else len(parts))
            regions *= column_groups if groups_outer or not whole_depth else 1
            input_bytes = regions * input_region * config.word_slot
            whole_rows = cols * layer.stride[1] >= layer.input.width
            per_group = 1 if whole_rows else rows * layer.stride[0] + layer.kernel[0] - 1
            input_rows = regions * per_group * groups // (1 if whole_depth else len(parts))
        memory = (weight_bytes + input_bytes + output_bytes) / config.bus_bytes
        memory += ROW_CYCLES * (input_rows + output_rows)
        longest, other = max(compute, memory), min(compute, memory)
        cost = longest + other * (0.05 if places == 2 else 0.8)
        yield ConvPlan(
            rows=rows,
            cols=cols,
            parts=parts,
            groups_outer=groups_outer,
            whole_depth=whole_depth,
            aligned=aligned,
            input_block=input_region,
            output_block=output_tile,
            places=places,
            cost=cost,
        )


def plan_map(
    layer: AddLayer | PoolLayer,
    config: Config,
    *,
    inputs_resident: bool,
    output_resident: bool,
    space: int,
) -> MapPlan | None:
    """Return the plan with the largest tiles whose streamed parts fit `space`, or None.

    A streamed input area holds one operand's region; ADD has two such areas.
    """
    out = layer.output
    all_groups = groups_of(out.channels, config)
    operands = len(layer.inputs)
    for share in (2, 1):  # twice for double buffering, else once
        for groups in _cuts(all_groups):
            for cols in _cuts(out.width):
                for rows in _cuts(out.height):
                    if inputs_resident and output_resident and rows * cols > max(128, out.width):
                        continue  # several commands, so that neighbours overlap
                    region = 0 if inputs_resident else groups * _map_region(layer, rows, cols)
                    tile = 0 if output_resident else groups * rows * cols
                    if share * (operands * region + tile) <= space:
                        return MapPlan(rows, cols, groups, region, tile, share)
    return None


def _map_region(layer: AddLayer | PoolLayer, rows: int, cols: int) -> int:
    if isinstance(layer, AddLayer):
        return rows * cols
    source: FeatureMap = layer.input
    height = min((rows - 1) * layer.stride[0] + layer.window[0], source.height)
    width = min((cols - 1) * layer.stride[1] + layer.window[1], source.width)
    return height * width


def unsupported(layer: ConvLayer | AddLayer | PoolLayer, config: Config) -> ModelError:
    """Return the error for a layer that no tiling fits."""
    return ModelError(
        f"operator {layer.index} {layer.op} ({layer.name}) does not fit configuration "
        f"{config.name}: one output pixel needs more than its {config.scratchpad_words} words of "
        f"scratchpad; use a larger scratchpad_bytes"
    )
