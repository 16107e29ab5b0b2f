"""Tiling of convolutions: chunks and parts of the reduction, chosen by estimated cycles."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from accel.compiler.filters import Filter, choose_filter, region_pitch
from accel.compiler.layers import ConvLayer
from accel.compiler.packing import PackedMap, can_cut
from accel.compiler.plans import ConvPlan, Part, groups_of
from accel.compiler.regions import Box
from accel.config import Config
from accel.isa import PARAM_WORDS

__all__ = ["PARAM_SLOTS", "conv_box", "cuts", "plan_conv"]

PARAM_SLOTS = 2
"""Parameter blocks at the end of weight memory, for chunks whose weights come in several parts."""

ISSUE_CYCLES = 30
"""Cycles the controller needs to issue one chunk: a shorter chunk waits for it."""

TURN_CYCLES = 30
"""Cycles from matmul's last sum to the vector engine's first, and from its last back to matmul."""

POSITIONS = 4
"""Times an accumulator half's entries that a row of a command may have positions."""

DENSE = 0.7
"""Share of weight tiles with a weight from which on all are taken as if they had one."""

ROW_CYCLES = 6
"""Cycles that each row of a transfer costs besides its beats."""


def part_tiles_limit(config: Config) -> int:
    """Return the weight tiles of one block, so that two blocks fit the weight memory."""
    ring = config.weight_words - PARAM_SLOTS * PARAM_WORDS
    return (ring // 2 - PARAM_WORDS) // config.rows


@lru_cache(maxsize=64)
def used_groups(layer: ConvLayer, rows: int, cols: int) -> tuple[tuple[Part, ...], ...]:
    """Return by column group the runs of channel groups with any weight, whole kernels each."""
    kh, kw = layer.kernel
    counts = [-(-item.channels // rows) for item in layer.sources]
    starts = np.cumsum([0] + [item.channels for item in layer.sources])
    places = [(s, g) for s, count in enumerate(counts) for g in range(count)]
    used = (layer.weights != 0).any(axis=(1, 2))
    used = np.logical_or.reduceat(used, np.arange(0, len(used), cols), axis=0)
    used = np.logical_or.reduceat(used, [starts[s] + g * rows for s, g in places], axis=1)
    result = []
    for needed in used:
        runs: list[Part] = []
        for source, g in (places[n] for n in np.flatnonzero(needed)):
            if runs and runs[-1].source == source and runs[-1].g0 + runs[-1].ng == g:
                runs[-1] = replace(runs[-1], ng=runs[-1].ng + 1)
            else:
                runs.append(Part(source, 0, kh, 0, kw, g, 1))
        result.append(tuple(runs or [Part(0, 0, kh, 0, kw, 0, 1)]))
    groups = [-(-item.channels // rows) for item in layer.sources]
    if sum(run.ng for runs in result for run in runs) > DENSE * sum(groups) * len(result):
        # Few zeros: regular loads are worth more.
        whole = tuple(Part(s, 0, kh, 0, kw, 0, ng) for s, ng in enumerate(groups))
        return (whole,) * len(result)
    return tuple(result)


def split(run: Part, limit: int) -> list[Part]:
    """Cut a run into parts of at most `limit` tiles, even ones."""
    if run.filter is not None:
        return [replace(run, g0=g, ng=1) for g in range(run.g0, run.g0 + run.ng)]
    kh, kw = run.nky, run.nkx
    nky, nkx, ng = kh, kw, run.ng
    if run.tiles > limit:
        ng = max(1, limit // (kh * kw))
        ng = -(-run.ng // -(-run.ng // ng))
        if kh * kw > limit:
            nky = max(1, limit // kw)
            nkx = min(kw, limit)
    return [
        Part(
            run.source,
            ky,
            min(nky, kh - ky),
            kx,
            min(nkx, kw - kx),
            g,
            min(ng, run.g0 + run.ng - g),
        )
        for g in range(run.g0, run.g0 + run.ng, ng)
        for ky in range(0, kh, nky)
        for kx in range(0, kw, nkx)
    ]


def conv_box(layer: ConvLayer, tile: Box, part: Part) -> Box:
    """Return the input pixels inside the image that a chunk's part reads; may be empty."""
    source = layer.sources[part.source]

    def limits(first: int, last: int, axis: int, k0: int, nk: int, size: int) -> tuple[int, int]:
        stride, dilation = layer.stride[axis], layer.dilation[axis]
        low = first * stride - layer.padding[axis] + k0 * dilation
        high = (last - 1) * stride - layer.padding[axis] + (k0 + nk - 1) * dilation + 1
        low = min(max(low, 0), size)
        return low, max(min(high, size), low)

    y0, y1 = limits(tile.y0, tile.y1, 0, part.ky0, part.nky, source.height)
    x0, x1 = limits(tile.x0, tile.x1, 1, part.kx0, part.nkx, source.width)
    return Box(y0, y1, x0, x1, part.g0, part.g0 + part.ng)


def cuts(size: int) -> list[int]:
    """Return the distinct tile sizes of even cuts of `size`, largest first."""
    return sorted({-(-size // n) for n in range(1, size + 1)}, reverse=True)


def plan_conv(
    layer: ConvLayer,
    config: Config,
    pitches: Sequence[int] | None,
    output_resident: bool,
    space: int,
) -> ConvPlan | None:
    """Return the cheapest plan for a convolution; parameters as of `accel.compiler.tile.make_plan`."""
    plain = used_groups(layer, config.rows, config.cols)
    # Odd pitches are all alike to the banks.
    chosen = choose_filter(layer, config, pitches[0] if pitches else 1)
    candidates = [plain]
    if chosen is not None and chosen.tiles <= part_tiles_limit(config):
        candidates.insert(0, _filtered(plain, chosen))
    for runs in candidates:
        best: ConvPlan | None = None
        for rows, cols in _tiles(layer, runs, config):
            for plan in _conv_variants(
                layer, config, runs, rows, cols, pitches is not None, output_resident, space
            ):
                if best is None or plan.cost < best.cost:
                    best = plan
        if best is not None:
            return best
    return None


def _filtered(runs: tuple[tuple[Part, ...], ...], chosen: Filter) -> tuple[tuple[Part, ...], ...]:
    """Return the runs as they are read by a filter."""
    return tuple(
        tuple(
            replace(run, filter=chosen, nky=chosen.rows.extent, nkx=chosen.cols.extent)
            for run in group
        )
        for group in runs
    )


def _tiles(
    layer: ConvLayer, runs: tuple[tuple[Part, ...], ...], config: Config
) -> Iterator[tuple[int, int]]:
    """Yield sizes of tiles that accumulators, loops and loads allow, large ones first."""
    chosen = runs[0][0].filter
    for cols in cuts(layer.results[1]):
        if cols > config.acc_depth or not can_cut(layer, cols, config):
            continue
        if chosen and chosen.positions(cols, layer.stride[1]) >= POSITIONS * config.acc_depth:
            continue
        for rows in cuts(layer.results[0]):
            if rows * cols <= config.acc_depth:
                yield rows, cols


def _region(layer: ConvLayer, rows: int, cols: int, part: Part) -> int:
    """Return the words that an interior tile reads of a part: the most that any reads."""
    words = part.ng
    source = layer.sources[part.source]
    for axis, (count, k) in enumerate(((rows, part.nky), (cols, part.nkx))):
        extent = (count - 1) * layer.stride[axis] + (k - 1) * layer.dilation[axis] + 1
        extent = min(extent, source.shape[axis])
        words *= region_pitch(extent) if axis and part.filter else extent
    return words


def _fit_regions(
    layer: ConvLayer,
    runs: tuple[tuple[Part, ...], ...],
    rows: int,
    cols: int,
    room: int,
    limit: int,
) -> tuple[bool, int, tuple[tuple[Part, ...], ...]] | None:
    """Choose whole-depth regions or a region per part: (whole, largest region, parts)."""
    plain = tuple(tuple(p for run in group for p in split(run, limit)) for group in runs)
    depths: dict[int, Part] = {}
    for group in runs:
        for run in group:
            old = depths.get(run.source, run)
            low, high = min(old.g0, run.g0), max(old.g0 + old.ng, run.g0 + run.ng)
            depths[run.source] = replace(run, g0=low, ng=high - low)
    needed = {(run.source, run.g0, run.ng) for group in runs for run in group}
    if len(needed) == len(depths):  # every column group reads the same
        largest = max(_region(layer, rows, cols, run) for run in depths.values())
        if largest <= room:
            return True, largest, plain
    kernel = layer.kernel[0] * layer.kernel[1]
    one = max(_region(layer, rows, cols, replace(run[0], ng=1)) for run in runs)
    narrow = min(limit, max(1, min(room // one, max(1, limit // kernel))) * kernel)
    while True:
        parts = tuple(tuple(p for run in group for p in split(run, narrow)) for group in runs)
        region = max(_region(layer, rows, cols, p) for group in parts for p in group)
        if region <= room:
            return False, region, parts
        if narrow == 1:
            return None
        # Fewer kernel rows at a time, then fewer columns.
        width = layer.kernel[1]
        narrow = (min(narrow, kernel) - 1) // width * width if narrow > width else narrow // 2


def _arrival(layer: ConvLayer, source: PackedMap, config: Config, tile: Box) -> tuple[float, float]:
    """Return the cycles that loads take before the first tile can begin, and for the whole map."""
    planes = groups_of(source.channels, config)
    row = planes * source.row_cycles(config.bytes_per_cycle)
    needed = conv_box(layer, tile, Part(0, 0, layer.kernel[0], 0, layer.kernel[1], 0, planes))
    weights = config.rows * config.weight_slot / config.bytes_per_cycle
    return weights + needed.rows * row, source.height * row


def _conv_variants(
    layer: ConvLayer,
    config: Config,
    runs: tuple[tuple[Part, ...], ...],
    rows: int,
    cols: int,
    inputs_resident: bool,
    output_resident: bool,
    space: int,
) -> Iterator[ConvPlan]:
    out = layer.output
    pixels = rows * cols
    limit = part_tiles_limit(config)
    out_planes = groups_of(out.channels, config)
    aligned = config.cols % config.rows == 0
    output_tile = 0
    if not output_resident:
        planes = min(out_planes, config.cols // config.rows) if aligned else out_planes
        output_tile = planes * pixels * layer.pixels
    if inputs_resident:
        whole_depth, input_region = True, 0
        parts = tuple(tuple(p for run in group for p in split(run, limit)) for group in runs)
    else:
        fit = _fit_regions(layer, runs, rows, cols, space - output_tile, limit)
        if fit is None:
            return
        whole_depth, input_region, parts = fit
    if input_region + output_tile > space:
        return
    places = 2 if 2 * (input_region + output_tile) <= space else 1

    tiles = math.ceil(layer.results[0] / rows) * math.ceil(layer.results[1] / cols)
    column_groups = len(parts)
    positions = pixels
    if runs[0][0].filter is not None:
        positions = rows * runs[0][0].filter.positions(cols, layer.stride[1])
    tile_cycles = max(positions, config.rows, config.cols)
    vector = layer.pixels * (pixels * math.ceil(min(config.cols, out.channels) / config.lanes) + 12)
    # Nothing of the layer runs beside its last chunk's requantisation, though the next layer may.
    turn = config.rows + config.cols + TURN_CYCLES
    compute = (vector + turn) / 2
    blocks = []
    for group in parts:
        reduction = sum(part.tiles for part in group)
        chunk = max(reduction * tile_cycles + 4 * len(group), ISSUE_CYCLES * (1 + len(group)))
        # A half is free again when its chunk has been computed and requantised.
        compute += tiles * max(chunk, vector, (chunk + vector + turn) / 2)
        blocks.append((PARAM_WORDS + reduction * config.rows) * config.weight_slot)
    weights_fit = sum(blocks) <= config.weight_words * config.weight_slot
    block_fits = max(blocks) <= (config.weight_words - 64) * config.weight_slot
    output_bytes = output_rows = 0
    if not output_resident:
        output_bytes = math.prod(layer.results) * layer.pixels * out_planes * config.word_slot
        output_rows = tiles * column_groups * (1 if cols * layer.pixels == out.width else rows)
    for groups_outer in (True, False):
        if groups_outer and not aligned and not output_resident:
            continue
        reuse = weights_fit or (groups_outer and block_fits)
        weight_bytes = sum(blocks) * (1 if reuse else tiles)
        input_bytes, input_rows = 0.0, 0
        if not inputs_resident:
            regions = tiles * (len(layer.sources) if whole_depth else sum(map(len, parts)))
            regions *= column_groups if groups_outer and whole_depth else 1
            word_bytes: float = config.word_slot
            if isinstance(source := layer.sources[0], PackedMap):
                # A word takes a cycle, or the time of its share of a row's bytes.
                word_bytes = max(config.bytes_per_cycle, source.row_bytes / source.width)
            input_bytes = regions * input_region * word_bytes
            whole_rows = cols * layer.stride[1] >= layer.sources[0].width
            per_group = 1 if whole_rows else rows * layer.stride[0] + layer.kernel[0] - 1
            input_rows = regions * per_group * (parts[0][0].ng if parts[0] else 1)
        maps = (input_bytes + output_bytes) / config.bytes_per_cycle
        maps += ROW_CYCLES * (input_rows + output_rows)
        memory = weight_bytes / config.bytes_per_cycle + maps
        array = compute
        if isinstance(layer.sources[0], PackedMap):
            # A first layer: the array waits for the first rows, and works on when the last are there.
            first, every = _arrival(layer, layer.sources[0], config, Box(0, rows, 0, cols, 0, 1))
            memory += chunk + vector + turn + (every if inputs_resident else 0)
            maps += every if inputs_resident else 0
            compute += first + (vector + turn) / 2
        longest, other = max(compute, memory), min(compute, memory)
        cost = longest + other * (0.05 if places == 2 else 0.8)
        yield ConvPlan(
            rows=rows,
            cols=cols,
            parts=parts,
            whole_blocks=all(sum(p.tiles for p in group) <= limit for group in parts),
            groups_outer=groups_outer,
            whole_depth=whole_depth,
            aligned=aligned,
            input_block=input_region,
            output_block=output_tile,
            places=places,
            cost=cost,
            array=array,
            transfer=maps,
            passes=1 if reuse else tiles,
        )
