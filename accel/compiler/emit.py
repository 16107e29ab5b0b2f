"""From planned layers to commands in program order, and the constants they read."""

from collections.abc import Sequence

import numpy as np

from accel.compiler.layers import AddLayer, ConvLayer, FeatureMap, PoolLayer
from accel.compiler.placement import DeviceLayer, Placement
from accel.compiler.regions import Box, MemoryMap, Slots, View, composite
from accel.compiler.schedule import Span, Step
from accel.compiler.tile import PARAM_SLOTS, ConvPlan, MapPlan, Part, conv_box, groups_of
from accel.config import Config
from accel.isa import PARAM_WORDS, Engine, Operation, Space

__all__ = ["Emitter"]

ALIGNMENT = 64
"""Bytes to which everything in the image is aligned."""


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
    steps : list of Step
        Commands so far.
    """

    def __init__(
        self,
        config: Config,
        placement: Placement,
        maps: dict[int, MemoryMap],
        constants: "ConstantPool",
    ) -> None:
        self.steps: list[Step] = []
        self._config = config
        self._placement = placement
        self._maps = maps
        self._constants = constants
        self._written: set[int] = set()
        # A first part's parameters outlive the parts behind it: they get a place of their own.
        self._param_base = config.weight_words - PARAM_SLOTS * PARAM_WORDS
        self._weights = Slots(0, 0, 0, 1)
        self._chunks = 0
        self._layer = 0

    def emit(self, layers: Sequence[DeviceLayer]) -> None:
        """Emit all layers; the last vector command of each carries the stamp."""
        for time, layer in enumerate(layers):
            self._layer = layer.index
            for item in layer.inputs:
                self._fetch_resident(item)
            plan = self._placement.plans[time]
            area = self._placement.areas[time]
            if isinstance(layer, ConvLayer) and isinstance(plan, ConvPlan):
                self._conv(layer, plan, area)
            elif isinstance(layer, AddLayer) and isinstance(plan, MapPlan):
                self._add(layer, plan, area)
            elif isinstance(layer, PoolLayer) and isinstance(plan, MapPlan):
                self._pool(layer, plan, area)
            self._written.add(layer.output.storage)
            last = max(i for i, s in enumerate(self.steps) if s.engine == Engine.VECTOR)
            self.steps[last].stamp = True

    # Feature maps ------------------------------------------------------------------------------

    def _whole(self, item: FeatureMap) -> Box:
        return Box(0, item.height, 0, item.width, 0, groups_of(item.channels, self._config))

    def _resident_view(self, item: FeatureMap) -> View | None:
        base = self._placement.resident.get(item.storage)
        return None if base is None else View(base, self._whole(item))

    def _fetch_resident(self, item: FeatureMap) -> None:
        """Bring a network input that lives on-chip into its place, in bands of rows."""
        view = self._resident_view(item)
        if view is None or item.storage in self._written:
            return
        self._written.add(item.storage)
        whole = view.box
        band = -(-whole.rows // 4)
        for y0 in range(0, whole.rows, band):
            y1 = min(y0 + band, whole.rows)
            self._load_map(item, Box(y0, y1, 0, whole.cols, 0, whole.groups), view)

    def _load_map(self, item: FeatureMap, part: Box, view: View, stream: int = 0) -> None:
        source = self._maps[item.storage]
        self._step(
            Engine.LOAD,
            source.transfer(part, view),
            reads=source.spans(part),
            writes=view.spans(part),
            stream=stream,
        )

    def _store_map(self, item: FeatureMap, part: Box, view: View) -> None:
        target = self._maps[item.storage]
        self._step(
            Engine.STORE,
            target.transfer(part, view),
            reads=view.spans(part),
            writes=target.spans(part),
        )

    def _input_view(self, item: FeatureMap, places: Slots, box: Box, stream: int = 0) -> View:
        """Return where a box of a map can be read, loading it where it is not on-chip."""
        view = self._resident_view(item)
        if view is not None:
            return view
        if not box.words:
            return View(0, box)
        key = (item.storage, box)
        address = places.find(key)
        if address is not None:
            return View(address, box)
        view = View(places.allocate(key), box)
        self._load_map(item, box, view, stream)
        return view

    def _output_view(self, item: FeatureMap, places: Slots, box: Box) -> View:
        return self._resident_view(item) or View(
            places.allocate((item.storage, box, len(self.steps))), box
        )

    # Layers ------------------------------------------------------------------------------------

    def _conv(self, layer: ConvLayer, plan: ConvPlan, area: int) -> None:
        config = self._config
        inputs, outputs = self._stream_slots(plan, area, 1)
        blocks = self._constants.conv_blocks(layer, plan.parts, config)
        self._begin_weights(plan, len(blocks))
        out = layer.output
        tiles = [
            Box(y, min(y + plan.rows, out.height), x, min(x + plan.cols, out.width), 0, 0)
            for y in range(0, out.height, plan.rows)
            for x in range(0, out.width, plan.cols)
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

    def _stream_slots(
        self, plan: ConvPlan | MapPlan, area: int, operands: int
    ) -> tuple[Slots, ...]:
        """Return places for each operand's streamed regions, then for output tiles."""
        result = []
        for block in [plan.input_block] * operands + [plan.output_block]:
            result.append(Slots(area, plan.places * block, block, plan.places))
            area += plan.places * block
        return tuple(result)

    def _begin_weights(self, plan: ConvPlan, column_groups: int) -> None:
        """Lay out the weight memory for a layer, behind the last layer's blocks if there is room."""
        rows = self._config.rows
        params = PARAM_WORDS if len(plan.parts) == 1 else 0
        block = params + max(part.tiles for part in plan.parts) * rows
        wanted = column_groups * len(plan.parts)
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
        block: "ConvBlock",
        inputs: Slots,
        output: View,
    ) -> None:
        """Emit the commands of one chunk: loads, matmul per part, vector, stores."""
        config = self._config
        acc = (self._chunks % 2) * config.acc_depth
        params = self._load_params(layer, group, block) if len(plan.parts) > 1 else None
        self._chunks += 1
        whole = Part(
            0, layer.kernel[0], 0, layer.kernel[1], 0, groups_of(layer.input.channels, config)
        )
        for number, part in enumerate(plan.parts):
            region = conv_box(layer, tile, whole if plan.whole_depth else part)
            view = self._input_view(layer.input, inputs, region)
            if params is None:
                words = PARAM_WORDS + part.tiles * config.rows
                param_address = self._load_weights(
                    (layer.index, group), group, block.address, words
                )
                weight_address = param_address + PARAM_WORDS
                param_span = Span("weights", param_address, weight_address)
            else:
                param_address = params
                param_span = Span("weights", params, params + PARAM_WORDS)
                index = group * len(plan.parts) + number
                weight_address = self._load_weights(
                    (layer.index, index),
                    index,
                    block.address + block.part_offsets[number] * config.weight_slot,
                    part.tiles * config.rows,
                )
            self._matmul(layer, tile, part, view, weight_address, acc, accumulate=number > 0)
        channels = min(config.cols, layer.output.channels - group * config.cols)
        self._vector_conv(layer, tile, group, channels, acc, param_address, param_span, output)
        self._store_complete_planes(layer, tile, group, channels, output)

    def _load_params(self, layer: ConvLayer, group: int, block: "ConvBlock") -> int:
        address = self._param_base + (self._chunks % PARAM_SLOTS) * PARAM_WORDS
        self._load_constants(Space.WEIGHTS, "weights", block.address, address, PARAM_WORDS)
        return address

    def _load_weights(self, key: tuple[int, int], index: int, source: int, words: int) -> int:
        found = self._weights.find(key)
        if found is not None:
            return found
        address = self._weights.allocate(key, index)
        self._load_constants(Space.WEIGHTS, "weights", source, address, words, stream=2)
        return address

    def _load_constants(
        self, space: Space, memory: str, source: int, address: int, words: int, stream: int = 3
    ) -> None:
        self._step(
            Engine.LOAD,
            {
                "memory_address": source,
                "chip_address": address,
                "words": words,
                "space": int(space),
                "rows": 1,
                "planes": 1,
            },
            writes=[Span(memory, address, address + words)],
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
        address = [stride[1], stride[0] * view.pitch, dilation[1], dilation[0] * view.pitch]
        steps = composite(counts, [*address, view.plane])
        y_steps = composite(counts, [0, stride[0], 0, dilation[0], 0])
        x_steps = composite(counts, [stride[1], 0, dilation[1], 0, 0])
        values = {
            "input_address": view.address(y, x, part.g0),
            "input_y": y,
            "input_x": x,
            "weight_address": weight_address,
            "acc_address": acc,
            "accumulate": int(accumulate),
            "pad_value": layer.pad_value,
            "input_height": layer.input.height,
            "input_width": layer.input.width,
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
        param_span: Span,
        output: View,
    ) -> None:
        config = self._config
        first = group * config.cols
        plane = first // config.rows
        last_plane = (first + channels - 1) // config.rows
        self._step(
            Engine.VECTOR,
            {
                "operation": int(Operation.ACC),
                "a_address": acc,
                "dst_address": output.address(tile.y0, tile.x0, plane),
                "dst_slot": first % config.rows // config.lanes,
                "slices": -(-channels // config.lanes),
                "param_address": param_address,
                **self._vector_common(layer, tile, output),
            },
            reads=[Span("acc", acc, acc + tile.rows * tile.cols), param_span],
            writes=output.spans(Box(tile.y0, tile.y1, tile.x0, tile.x1, plane, last_plane + 1)),
        )

    def _vector_common(
        self, layer: DeviceLayer, tile: Box, output: View, window: tuple[int, int] = (1, 1)
    ) -> dict[str, int]:
        steps = composite([tile.cols, tile.rows], [1, output.pitch])
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
            self._store_map(
                layer.output, Box(tile.y0, tile.y1, tile.x0, tile.x1, first, done), output
            )

    def _add(self, layer: AddLayer, plan: MapPlan, area: int) -> None:
        table = self._constants.table(layer)
        self._load_constants(Space.TABLE, "table", table, 0, 512)
        *operands, outputs = self._stream_slots(plan, area, 2)
        for tile in self._map_tiles(layer.output, plan):
            a = self._input_view(layer.a, operands[0], tile)
            b = self._input_view(layer.b, operands[1], tile, stream=1)
            output = self._output_view(layer.output, outputs, tile)
            counts = [tile.cols, tile.rows]
            a_steps = composite(counts, [1, a.pitch])
            b_steps = composite(counts, [1, b.pitch])
            self._step(
                Engine.VECTOR,
                {
                    "operation": int(Operation.ADD),
                    "uniform": 1,
                    "multiplier": layer.rescale.multiplier,
                    "bias": layer.rescale.bias,
                    "shift": layer.rescale.shift,
                    "slices": self._slices(layer.output, tile),
                    "a_address": a.address(tile.y0, tile.x0, tile.g0),
                    "b_address": b.address(tile.y0, tile.x0, tile.g0),
                    "dst_address": output.address(tile.y0, tile.x0, tile.g0),
                    "a_plane": a.plane,
                    "b_plane": b.plane,
                    "a_step_col": a_steps[0],
                    "a_step_row": a_steps[1],
                    "b_step_col": b_steps[0],
                    "b_step_row": b_steps[1],
                    **self._vector_common(layer, tile, output),
                },
                reads=[*a.spans(tile), *b.spans(tile), Span("table", 0, 512)],
                writes=output.spans(tile),
            )
            if layer.output.storage in self._maps:
                self._store_map(layer.output, tile, output)

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


class ConvBlock:
    """One column group's constants in the image.

    Parameters
    ----------
    address : int
        Byte offset of its parameters; the tiles follow.
    part_offsets : list of int
        Words from `address` to each part's first tile.
    """

    def __init__(self, address: int, part_offsets: list[int]) -> None:
        self.address = address
        self.part_offsets = part_offsets


class ConstantPool:
    """Collects constants; `base` is the byte offset of the first in memory."""

    def __init__(self, base: int) -> None:
        self.base = base
        self._blobs: list[bytes] = []
        self._size = 0
        self._places: dict[bytes, int] = {}

    @property
    def end(self) -> int:
        """Byte offset behind the last constant."""
        return self.base + self._size

    def data(self) -> bytes:
        """Return all constants as they lie in memory from `base` on."""
        return b"".join(self._blobs)

    def add(self, blob: bytes) -> int:
        """Return the offset of `blob`, equal blobs only once."""
        if blob not in self._places:
            self._places[blob] = self.end
            padded = blob + bytes(-len(blob) % ALIGNMENT)
            self._blobs.append(padded)
            self._size += len(padded)
        return self._places[blob]

    def table(self, layer: AddLayer) -> int:
        """Return the offset of an ADD's function table."""
        both = np.concatenate([layer.table_a, layer.table_b]).astype("<i4")
        return self.add(both.tobytes())

    def conv_blocks(
        self, layer: ConvLayer, parts: Sequence[Part], config: Config
    ) -> list[ConvBlock]:
        """Return the constants of every column group of a convolution."""
        rows, cols = config.rows, config.cols
        channels_out, kh, kw, channels_in = layer.weights.shape
        column_groups = -(-channels_out // cols)
        groups = -(-channels_in // rows)
        weights = np.zeros((column_groups * cols, kh, kw, groups * rows), np.int8)
        weights[:channels_out, :, :, :channels_in] = layer.weights
        # [column group, group, ky, kx, row, column]: the order of a whole reduction's tiles.
        tiles = weights.reshape(column_groups, cols, kh, kw, groups, rows).transpose(
            0, 4, 2, 3, 5, 1
        )
        offsets = []
        position = PARAM_WORDS
        for part in parts:
            offsets.append(position)
            position += part.tiles * rows
        blocks = []
        for group in range(column_groups):
            words = np.zeros((position, config.weight_slot), np.int8)
            words[:PARAM_WORDS, :cols] = _param_words(layer, group, cols)
            for part, offset in zip(parts, offsets, strict=True):
                box = tiles[
                    group,
                    part.g0 : part.g0 + part.ng,
                    part.ky0 : part.ky0 + part.nky,
                    part.kx0 : part.kx0 + part.nkx,
                ]
                words[offset : offset + part.tiles * rows, :cols] = box.reshape(-1, cols)
            blocks.append(ConvBlock(self.add(words.tobytes()), offsets))
        return blocks


def _param_words(layer: ConvLayer, group: int, cols: int) -> np.ndarray:
    """Return the 9 parameter words of a column group as int8 [9, cols]."""
    words = np.zeros((PARAM_WORDS, cols), np.uint8)
    chosen = slice(group * cols, (group + 1) * cols)
    bias = np.ascontiguousarray(layer.bias[chosen].astype("<i4")).view(np.uint8).reshape(-1, 4)
    scale = np.ascontiguousarray(layer.multiplier[chosen].astype("<i4"))
    count = len(bias)
    words[0:4, :count] = bias.T
    words[4:8, :count] = scale.view(np.uint8).reshape(-1, 4).T
    words[8, :count] = layer.shift[chosen].astype(np.int8).view(np.uint8)
    return words.view(np.int8)
