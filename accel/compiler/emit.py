"""From planned layers to commands in program order, and the constants they read."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from accel.compiler.constants import ConstantPool, ConvBlock
from accel.compiler.filters import region_pitch
from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    ElementwiseLayer,
    FeatureMap,
    PoolLayer,
)
from accel.compiler.packing import PackedMemory
from accel.compiler.placement import Placement
from accel.compiler.plans import ConvPlan, DeviceLayer, MapPlan, Part, Plan, groups_of
from accel.compiler.regions import Box, MemoryMap, Slots, View, composite
from accel.compiler.schedule import Call, Span, Step
from accel.compiler.tile import PARAM_SLOTS, conv_box
from accel.config import Config
from accel.firmware import load_kernel
from accel.firmware.call import argument_block, kernel_call
from accel.isa import PARAM_WORDS, TABLE_WORDS, Engine, Operation, Space

__all__ = ["Emitter"]

RUN_WORDS = 512
"""Weight words that one load brings at most, where it brings several blocks."""

WINDOW = 0x4000_0000
"""Where the controller sees the scratchpad."""


class Emitter:
    """Emits a network's commands for one configuration.

    Parameters
    ----------
    config : Config
    placement : Placement
    maps : dict of storage to MemoryMap
        Maps that live in memory: network inputs and outputs, and those not resident.
    constants : ConstantPool
        Receives weights, parameters and tables.

    Attributes
    ----------
    steps : list of Step and Call
        Commands so far.
    """

    def __init__(
        self,
        config: Config,
        placement: Placement,
        maps: dict[int, MemoryMap],
        constants: ConstantPool,
    ) -> None:
        self.steps: list[Step | Call] = []
        self._config = config
        self._placement = placement
        self._maps = maps
        self._constants = constants
        self._written: set[int] = set()
        self._fetched: dict[int, int] = {}
        # A first part's parameters outlive the parts behind it: they get a place of their own.
        self._param_base = config.weight_words - PARAM_SLOTS * PARAM_WORDS
        self._weights = Slots(0, 0, 0, 1)
        self._blocks: list[ConvBlock] = []
        self._whole_parts: list[Part] = []
        self._chunks = 0
        self._layer = 0

    def emit(self, layers: Sequence[DeviceLayer]) -> None:
        """Emit all layers; the last vector command of each operator carries the stamp."""
        for time, layer in enumerate(layers):
            self._layer = layer.index
            if not isinstance(layer, ConvLayer):
                for item in layer.inputs:
                    self._fetch_resident(item)
            plan = self._placement.plans[time]
            area = self._placement.areas[time]
            if isinstance(layer, ConvLayer) and isinstance(plan, ConvPlan):
                self._conv(layer, plan, area)
                for item in layer.inputs:  # what no chunk has asked for
                    self._fetch_resident(item)
            elif isinstance(plan, MapPlan):
                if isinstance(layer, ElementwiseLayer):
                    self._elementwise(layer, plan, area)
                elif isinstance(layer, PoolLayer):
                    self._pool(layer, plan, area)
                elif isinstance(layer, ControllerLayer):
                    self._controller(layer, plan, area)
            self._written.add(layer.output.storage)
            if time + 1 == len(layers) or layers[time + 1].index != layer.index:
                self._stamp()

    def _stamp(self) -> None:
        for step in reversed(self.steps):
            if isinstance(step, Step) and step.engine == Engine.VECTOR:
                step.stamp = True
                return

    # Feature maps ------------------------------------------------------------------------------

    def _whole(self, item: FeatureMap) -> Box:
        return Box(0, item.height, 0, item.width, 0, groups_of(item.channels, self._config))

    def _resident_view(self, item: FeatureMap) -> View | None:
        base = self._placement.resident.get(item.storage)
        if base is None:
            return None
        pitch = self._placement.pitches.get(item.storage, item.width)
        return View(base, self._whole(item), pitch - item.width)

    def _fetch_resident(self, item: FeatureMap, rows: int | None = None) -> None:
        """Bring rows of a network input that lives on-chip into its place, all by default."""
        view = self._resident_view(item)
        if view is None or item.storage in self._written:
            return
        whole = view.box
        end = whole.rows if rows is None else rows
        start = self._fetched.get(item.storage, 0)
        band = -(-whole.rows // 4)
        for y0 in range(start, end, band):
            y1 = min(y0 + band, end)
            self._load_map(item, Box(y0, y1, 0, whole.cols, 0, whole.groups), view)
        self._fetched[item.storage] = max(start, end)
        if end == whole.rows:
            self._written.add(item.storage)

    def _memory(self, item: FeatureMap) -> MemoryMap:
        """Return where a map lies in memory, its pixels arranged as it says."""
        found = self._maps[item.storage]
        if isinstance(found, PackedMemory):
            return found
        return replace(found, height=item.height, width=item.width)

    def _load_map(self, item: FeatureMap, part: Box, view: View, stream: int = 0) -> None:
        source = self._memory(item)
        for piece in source.pieces(part):
            self._step(
                Engine.LOAD,
                source.transfer(piece, view),
                reads=source.spans(piece),
                writes=view.spans(piece),
                stream=stream,
            )

    def _store_map(self, item: FeatureMap, part: Box, view: View) -> None:
        target = self._memory(item)
        self._step(
            Engine.STORE,
            target.transfer(part, view),
            reads=view.spans(part),
            writes=target.spans(part),
        )

    def _store_results(self, layer: ConvLayer, tile: Box, view: View, *, resident: bool) -> None:
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
            self._store_map(layer.output, placed, moved)
            return
        target = self._memory(layer.output)
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
            self._step(
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

    def _input_view(
        self, item: FeatureMap, places: Slots, box: Box, stream: int = 0, margin: int = 0
    ) -> View:
        """Return where a box of a map can be read, loading it where it is not on-chip."""
        view = self._resident_view(item)
        if view is not None:
            self._fetch_resident(item, box.y1)
            return view
        if not box.words:
            return View(0, box)
        key = (item.storage, box)
        address = places.find(key)
        if address is not None:
            return View(address, box, margin)
        view = View(places.allocate(key), box, margin)
        self._load_map(item, box, view, stream)
        return view

    def _output_view(self, item: FeatureMap, places: Slots, box: Box) -> View:
        return self._resident_view(item) or View(
            places.allocate((item.storage, box, len(self.steps))), box
        )

    # Layers ------------------------------------------------------------------------------------

    def _conv(self, layer: ConvLayer, plan: ConvPlan, area: int) -> None:
        inputs, outputs = self._stream_slots(plan, area, 1)
        blocks = self._constants.conv_blocks(layer, plan, self._config)
        self._blocks = blocks
        self._whole_parts = [
            plan.whole_part(source, layer.kernel) for source in range(len(layer.sources))
        ]
        self._begin_weights(plan)
        rows, cols = layer.results
        tiles = [
            Box(y, min(y + plan.rows, rows), x, min(x + plan.cols, cols), 0, 0)
            for y in range(0, rows, plan.rows)
            for x in range(0, cols, plan.cols)
        ]
        column_groups = range(len(blocks))
        if plan.groups_outer:
            for group in column_groups:
                for tile in tiles:
                    view = self._conv_output(layer, plan, tile, group, outputs)
                    self._chunk(layer, plan, tile, group, blocks[group], inputs, view)
            return
        for tile in tiles:
            for group in column_groups:
                if group == 0 or plan.aligned:
                    view = self._conv_output(layer, plan, tile, group, outputs)
                self._chunk(layer, plan, tile, group, blocks[group], inputs, view)

    def _stream_slots(self, plan: Plan, area: int, operands: int) -> tuple[Slots, ...]:
        """Return places for each operand's streamed regions, then for output tiles."""
        result = []
        for block in [plan.input_block] * operands + [plan.output_block]:
            result.append(Slots(area, plan.places * block, block, plan.places))
            area += plan.places * block
        return tuple(result)

    def _begin_weights(self, plan: ConvPlan) -> None:
        """Lay out the weight memory for a layer, behind the last layer's blocks if there is room."""
        rows = self._config.rows
        if plan.whole_blocks:
            sizes = [plan.block_words(group, rows) for group in range(len(plan.parts))]
        else:
            sizes = [part.tiles * rows for parts in plan.parts for part in parts]
        block, wanted = max(sizes), len(sizes)
        start = self._weights.stop
        if start + min(wanted, 2) * block > self._param_base:
            start = 0
        room = self._param_base - start
        if wanted * block > room and wanted * block <= self._param_base:
            start, room = 0, self._param_base
        fitting = max(1, room // block)
        # Where not all fit, a number of places that divides the blocks keeps the loops regular.
        places = max(n for n in range(1, min(fitting, wanted) + 1) if wanted % n == 0)
        self._weights = Slots(start, room, block, max(places, min(2, fitting)))

    def _conv_output(
        self, layer: ConvLayer, plan: ConvPlan, tile: Box, group: int, places: Slots
    ) -> View:
        config = self._config
        planes = groups_of(layer.output.channels, config)
        g0, g1 = 0, planes
        if plan.aligned:
            per_group = config.cols // config.rows
            g0, g1 = group * per_group, min((group + 1) * per_group, planes)
        return self._output_view(
            layer.output, places, Box(tile.y0, tile.y1, tile.x0, tile.x1, g0, g1)
        )

    def _chunk(
        self,
        layer: ConvLayer,
        plan: ConvPlan,
        tile: Box,
        group: int,
        block: ConvBlock,
        inputs: Slots,
        output: View,
    ) -> None:
        """Emit the commands of one chunk: loads, matmul per part, vector, stores."""
        config = self._config
        acc = (self._chunks % 2) * config.acc_depth
        parts = plan.parts[group]
        if plan.whole_blocks:
            param_address = self._load_blocks(layer, plan, group)
        else:
            param_address = self._load_params(block)
        self._chunks += 1
        first_index = sum(len(p) for p in plan.parts[:group])
        for number, part in enumerate(parts):
            source = layer.sources[part.source]
            read = part
            if plan.whole_depth:
                read = self._whole_parts[part.source]
            box = conv_box(layer, tile, read)
            margin = region_pitch(box.cols) - box.cols if part.filter else 0
            view = self._input_view(source, inputs, box, margin=margin)
            if plan.whole_blocks:
                weight_address = param_address + block.part_offsets[number]
            else:
                weight_address = self._load_weights(
                    (layer.index, id(layer), first_index + number),
                    first_index + number,
                    block.address + block.part_offsets[number] * config.weight_slot,
                    part.tiles * config.rows,
                )
            for piece, skipped in self._pieces(part, number + 1 == len(parts) and group == 0):
                self._matmul(
                    layer,
                    tile,
                    piece,
                    view,
                    weight_address + skipped * config.rows,
                    acc,
                    accumulate=number > 0 or skipped > 0,
                )
        channels = min(config.cols, layer.output.channels - group * config.cols)
        self._vector_conv(layer, tile, group, channels, acc, param_address, output)
        self._store_complete_planes(layer, tile, group, channels, output)

    def _pieces(self, part: Part, first: bool) -> list[tuple[Part, int]]:
        """Return a part's commands, each with the tiles before it.

        A layer's first chunks leave the last channel group for a command of its own: it is the one
        that the layer before may still be at work on.
        """
        if not first or part.ng == 1:
            return [(part, 0)]
        most, last = replace(part, ng=part.ng - 1), replace(part, g0=part.g0 + part.ng - 1, ng=1)
        return [(most, 0), (last, most.tiles)]

    def _load_params(self, block: ConvBlock) -> int:
        address = self._param_base + (self._chunks % PARAM_SLOTS) * PARAM_WORDS
        self._load_constants(Space.WEIGHTS, "weights", block.address, address, PARAM_WORDS)
        return address

    def _load_blocks(self, layer: ConvLayer, plan: ConvPlan, group: int) -> int:
        """Return where a column group's whole block is; load it and some that follow if need be.

        Blocks of one size that follow one another in memory are the rows of one load: what runs
        ahead of its use is few commands then, however small the blocks.
        """
        found = self._weights.find((layer.index, id(layer), group))
        if found is not None:
            return found
        words = plan.block_words(group, self._config.rows)
        most = max(1, min(RUN_WORDS // words, self._weights.count // 2))
        place, run = group % self._weights.count, 1
        first = self._blocks[group].address
        pitch = self._blocks[min(group + 1, len(self._blocks) - 1)].address - first
        while run < most and group + run < len(plan.parts) and place + run < self._weights.count:
            block = self._blocks[group + run]
            alike = plan.block_words(group + run, self._config.rows) == words
            if not alike or words != self._weights.block or block.address != first + run * pitch:
                break
            run += 1
        addresses = [
            self._weights.allocate((layer.index, id(layer), group + i), group + i)
            for i in range(run)
        ]
        self._load_constants(
            Space.WEIGHTS, "weights", first, addresses[0], words, stream=2, rows=run, pitch=pitch
        )
        return addresses[0]

    def _load_weights(self, key: tuple[int, int, int], index: int, source: int, words: int) -> int:
        found = self._weights.find(key)
        if found is not None:
            return found
        address = self._weights.allocate(key, index)
        self._load_constants(Space.WEIGHTS, "weights", source, address, words, stream=2)
        return address

    def _load_constants(
        self,
        space: Space,
        memory: str,
        source: int,
        address: int,
        words: int,
        stream: int = 3,
        rows: int = 1,
        pitch: int = 0,
    ) -> None:
        """Load `rows` x `words` words: rows follow one another on-chip, `pitch` apart in memory."""
        values = {
            "memory_address": source,
            "chip_address": address,
            "words": words,
            "space": int(space),
            "rows": rows,
            "planes": 1,
        }
        if rows > 1:
            values |= {"memory_step_row": pitch, "chip_step_row": words}
        self._step(
            Engine.LOAD,
            values,
            writes=[Span(memory, address, address + rows * words)],
            stream=stream,
        )

    def _matmul(
        self,
        layer: ConvLayer,
        tile: Box,
        part: Part,
        view: View,
        weight_address: int,
        acc: int,
        *,
        accumulate: bool,
    ) -> None:
        config = self._config
        stride, dilation = layer.stride, layer.dilation
        y = tile.y0 * stride[0] - layer.padding[0] + part.ky0 * dilation[0]
        x = tile.x0 * stride[1] - layer.padding[1] + part.kx0 * dilation[1]
        counts = [tile.cols, tile.rows, part.nkx, part.nky, part.ng]
        y_strides = [0, stride[0], 0, dilation[0], 0]
        x_strides = [stride[1], 0, dilation[1], 0, 0]
        mode = {}
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
            "weight_address": weight_address,
            "acc_address": acc,
            "accumulate": int(accumulate),
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
        entries = Span("acc", acc, acc + tile.rows * tile.cols)
        read = conv_box(layer, tile, part)
        self._step(
            Engine.MATMUL,
            values,
            reads=[
                *view.spans(read),
                Span("weights", weight_address, weight_address + part.tiles * config.rows),
                *([entries] if accumulate else []),
            ],
            writes=[entries],
        )

    def _vector_conv(
        self,
        layer: ConvLayer,
        tile: Box,
        group: int,
        channels: int,
        acc: int,
        param_address: int,
        output: View,
    ) -> None:
        config = self._config
        first = group * config.cols
        plane = first // config.rows
        last_plane = (first + channels - 1) // config.rows
        y, x, step = tile.y0, tile.x0, (1, 1)
        if self._is_resident(layer.output):
            step = layer.step
            y, x = layer.origin[0] + y * step[0], layer.origin[1] + x * step[1]
        written = Box(
            y, y + (tile.rows - 1) * step[0] + 1, x, x + (tile.cols - 1) * step[1] + 1,
            plane, last_plane + 1,
        )  # fmt: skip
        self._step(
            Engine.VECTOR,
            {
                "operation": int(Operation.ACC),
                "a_address": acc,
                "dst_address": output.address(y, x, plane),
                "dst_slot": first % config.rows // config.lanes,
                "slices": -(-channels // config.lanes),
                "param_address": param_address,
                **self._vector_common(layer, tile, output, step=step),
            },
            reads=[
                Span("acc", acc, acc + tile.rows * tile.cols),
                Span("weights", param_address, param_address + PARAM_WORDS),
            ],
            writes=output.spans(written),
        )

    def _is_resident(self, item: FeatureMap) -> bool:
        return item.storage in self._placement.resident

    def _vector_common(
        self,
        layer: ConvLayer | ElementwiseLayer | PoolLayer,
        tile: Box,
        output: View,
        window: tuple[int, int] = (1, 1),
        step: tuple[int, int] = (1, 1),
    ) -> dict[str, int]:
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

    def _store_complete_planes(
        self, layer: ConvLayer, tile: Box, group: int, channels: int, output: View
    ) -> None:
        """Store the planes whose last channel this column group holds, where memory wants them."""
        if layer.output.storage not in self._maps:
            return
        rows, cols = self._config.rows, self._config.cols
        first = group * cols // rows  # a plane begun by an earlier group ends here or later
        end = group * cols + channels
        done = groups_of(layer.output.channels, self._config)
        if end < layer.output.channels:
            done = end // rows
        if done > first:
            self._store_results(
                layer, replace(tile, g0=first, g1=done), output,
                resident=self._is_resident(layer.output),
            )  # fmt: skip

    def _elementwise(self, layer: ElementwiseLayer, plan: MapPlan, area: int) -> None:
        tables = [t for t in (layer.table_a, layer.table_b) if t is not None]
        if tables:
            blob = np.concatenate(tables).astype("<i4").tobytes()
            words = TABLE_WORDS // 2 * len(tables)
            self._load_constants(Space.TABLE, "table", self._constants.add(blob), 0, words)
        *operands, outputs = self._stream_slots(plan, area, len(layer.inputs))
        for tile in self._map_tiles(layer.output, plan):
            views = []
            for stream, item in enumerate(layer.inputs):
                box = tile
                if item.shape[:2] != layer.output.shape[:2]:
                    box = Box(0, 1, 0, 1, tile.g0, tile.g1)
                views.append(self._input_view(item, operands[stream], box, stream=stream))
            output = self._output_view(layer.output, outputs, tile)
            if layer.operation in ("max", "min"):
                for piece in _equal_pitch(tile, views):
                    self._select(layer, piece, views[0], views[-1], output)
            else:
                self._combine(layer, tile, views, output)
            if layer.output.storage in self._maps:
                self._store_map(layer.output, tile, output)

    def _combine(self, layer: ElementwiseLayer, tile: Box, views: list[View], output: View) -> None:
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
        self._step(
            Engine.VECTOR,
            {
                **values,
                "dst_address": output.address(tile.y0, tile.x0, tile.g0),
                **self._uniform(layer, tile),
                **self._vector_common(layer, tile, output),
            },
            reads=reads,
            writes=output.spans(tile),
        )

    def _select(self, layer: ElementwiseLayer, tile: Box, a: View, b: View, output: View) -> None:
        """Emit one MAX or MIN of two maps: a window whose two elements are the operands."""
        delta = b.address(tile.y0, tile.x0, tile.g0) - a.address(tile.y0, tile.x0, tile.g0)
        steps = composite([2, 1, tile.cols, tile.rows], [delta, 0, 1, a.pitch])
        self._step(
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
                **self._uniform(layer, tile),
                **self._vector_common(layer, tile, output, (1, 2)),
            },
            reads=[*a.spans(tile), *b.spans(tile)],
            writes=output.spans(tile),
        )

    def _uniform(self, layer: ElementwiseLayer, tile: Box) -> dict[str, int]:
        return {
            "uniform": 1,
            "multiplier": layer.rescale.multiplier,
            "bias": layer.rescale.bias,
            "shift": layer.rescale.shift,
            "slices": self._slices(layer.output, tile),
        }

    def _controller(self, layer: ControllerLayer, plan: MapPlan, area: int) -> None:
        """Call the kernel once, or for one part of the pixels after another."""
        *operands, outputs = self._stream_slots(plan, area, len(layer.inputs))
        tiles = self._map_tiles(layer.output, plan)
        for tile in tiles:
            views = [
                self._input_view(
                    item,
                    places,
                    self._tile_of(item, tile) if layer.pixelwise else self._whole(item),
                    stream=min(i, 1),
                )
                for i, (item, places) in enumerate(zip(layer.inputs, operands, strict=True))
            ]
            output = self._output_view(layer.output, outputs, tile)
            self._call(layer, tile, views, output)
            if tile is tiles[-1]:
                self._touch(output, tile)
            if layer.output.storage in self._maps:
                self._store_map(layer.output, tile, output)

    def _tile_of(self, item: FeatureMap, tile: Box) -> Box:
        return replace(tile, g0=0, g1=groups_of(item.channels, self._config))

    def _call(self, layer: ControllerLayer, tile: Box, views: list[View], output: View) -> None:
        config = self._config
        slot = config.word_slot

        def window(item: FeatureMap, view: View) -> tuple[int, ...]:
            part = self._tile_of(item, tile) if layer.pixelwise else self._whole(item)
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
        self.steps.append(Call(tuple(kernel_call(kernel, block, config.program_bytes))))

    def _touch(self, output: View, tile: Box) -> None:
        """Emit the identity on one word: something of a layer's that an engine can stamp."""
        first = replace(tile, y1=tile.y0 + 1, x1=tile.x0 + 1, g1=tile.g0 + 1)
        address = output.address(tile.y0, tile.x0, tile.g0)
        self._step(
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

    def _pool(self, layer: PoolLayer, plan: MapPlan, area: int) -> None:
        inputs, outputs = self._stream_slots(plan, area, 1)
        for tile in self._map_tiles(layer.output, plan):
            output = self._output_view(layer.output, outputs, tile)
            view = self._input_view(layer.input, inputs, self._pool_box(layer, tile))
            for rows, y0, wy in _window_runs(layer, tile, 0):
                for cols, x0, wx in _window_runs(layer, tile, 1):
                    piece = Box(rows[0], rows[1], cols[0], cols[1], tile.g0, tile.g1)
                    self._pool_piece(layer, piece, (y0, x0), (wy, wx), view, output)
            if layer.output.storage in self._maps:
                self._store_map(layer.output, tile, output)

    def _pool_box(self, layer: PoolLayer, tile: Box) -> Box:
        limits: list[int] = []
        for axis, (first, last) in enumerate(((tile.y0, tile.y1), (tile.x0, tile.x1))):
            size = layer.input.shape[axis]
            low = first * layer.stride[axis] - layer.padding[axis]
            high = (last - 1) * layer.stride[axis] - layer.padding[axis] + layer.window[axis]
            limits += [max(low, 0), min(high, size)]
        y0, y1, x0, x1 = limits
        return Box(y0, y1, x0, x1, tile.g0, tile.g1)

    def _pool_piece(
        self,
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
        self._step(
            Engine.VECTOR,
            {
                "operation": int(operation),
                "uniform": 1,
                "multiplier": rescale.multiplier,
                "bias": rescale.bias,
                "shift": rescale.shift,
                "slices": self._slices(layer.output, piece),
                "a_address": view.address(origin[0], origin[1], piece.g0),
                "dst_address": output.address(piece.y0, piece.x0, piece.g0),
                "a_plane": view.plane,
                "a_step_wcol": steps[0],
                "a_step_wrow": steps[1],
                "a_step_col": steps[2],
                "a_step_row": steps[3],
                **self._vector_common(layer, piece, output, window),
            },
            reads=view.spans(read),
            writes=output.spans(piece),
        )

    def _map_tiles(self, item: FeatureMap, plan: MapPlan) -> list[Box]:
        whole = self._whole(item)
        return [
            Box(
                y,
                min(y + plan.rows, whole.rows),
                x,
                min(x + plan.cols, whole.cols),
                g,
                min(g + plan.groups, whole.groups),
            )
            for g in range(0, whole.groups, plan.groups)
            for y in range(0, whole.rows, plan.rows)
            for x in range(0, whole.cols, plan.cols)
        ]

    def _slices(self, item: FeatureMap, box: Box) -> int:
        channels = min(item.channels, box.g1 * self._config.rows) - box.g0 * self._config.rows
        return -(-channels // self._config.lanes)

    def _step(
        self,
        engine: Engine,
        values: dict[str, int],
        *,
        reads: list[Span] | None = None,
        writes: list[Span],
        stream: int = 0,
    ) -> None:
        self.steps.append(Step(engine, values, reads or [], writes, self._layer, stream=stream))


_OPERATIONS = {
    "add": Operation.ADD,
    "mul": Operation.MUL,
    "max": Operation.MAX,
    "min": Operation.MIN,
    "table": Operation.TABLE,
}


def _shift(box: Box, rows: int, cols: int) -> Box:
    return replace(box, y0=box.y0 + rows, y1=box.y1 + rows, x0=box.x0 + cols, x1=box.x1 + cols)


def _equal_pitch(tile: Box, views: list[View]) -> list[Box]:
    """Cut a tile until the distance between two views' pixels is the same all over each piece."""
    a, b = views[0], views[-1]
    pieces = [tile]
    if a.plane != b.plane:
        pieces = [replace(p, g0=g, g1=g + 1) for p in pieces for g in range(p.g0, p.g1)]
    if a.pitch != b.pitch:
        pieces = [replace(p, y0=y, y1=y + 1) for p in pieces for y in range(p.y0, p.y1)]
    return pieces


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
