"""Commands of convolutions: chunk after chunk of loads, matmul, requantisation, stores."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from accel.compiler.constants import ConvBlock
from accel.compiler.convtiling import conv_box
from accel.compiler.emission.commands import Commands
from accel.compiler.emission.matmul import matmul_fields
from accel.compiler.emission.requantise import (
    requantise,
    result_box,
    store_complete_planes,
)
from accel.compiler.emission.weights import WeightMemory
from accel.compiler.filters import region_pitch
from accel.compiler.layers import ConvLayer
from accel.compiler.plans import ConvPlan, Part, groups_of
from accel.compiler.regions import Box, Slots, View
from accel.compiler.schedule import Span
from accel.isa import PARAM_WORDS, Engine

__all__ = ["ConvEmitter"]


class ConvEmitter:
    """Emits convolutions; accumulator halves and weight memory go on from layer to layer.

    Parameters
    ----------
    commands : Commands
    resident_words : int
        Words at the beginning of the weight memory that resident blocks take.
    """

    def __init__(self, commands: Commands, resident_words: int) -> None:
        self._commands = commands
        self._weights = WeightMemory(commands, resident_words)
        self._chunks = 0
        self._whole: list[Part] = []

    def emit(
        self, layer: ConvLayer, plan: ConvPlan, area: int, resident: Mapping[int, int]
    ) -> None:
        """Emit a layer, its streamed parts in the scratchpad from `area` on.

        `resident` are the weight words of column groups whose weights stay.
        """
        inputs, outputs = self._commands.stream_slots(plan, area, 1)
        blocks = self._commands.constants.conv_blocks(layer, plan, self._commands.config)
        self._weights.begin(plan, blocks, resident)
        sources = range(len(layer.sources) if plan.whole_depth else 0)
        self._whole = [plan.whole_part(source, layer.kernel) for source in sources]
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
                    view = self._output(layer, plan, tile, group, outputs)
                    self._chunk(layer, plan, tile, group, blocks[group], inputs, view)
            return
        for tile in tiles:
            for group in column_groups:
                if group == 0 or plan.aligned:
                    view = self._output(layer, plan, tile, group, outputs)
                self._chunk(layer, plan, tile, group, blocks[group], inputs, view)

    def _output(
        self, layer: ConvLayer, plan: ConvPlan, tile: Box, group: int, places: Slots
    ) -> View:
        config = self._commands.config
        planes = groups_of(layer.output.channels, config)
        g0, g1 = 0, planes
        if plan.aligned:
            per_group = config.cols // config.rows
            g0, g1 = group * per_group, min((group + 1) * per_group, planes)
        box = replace(result_box(layer, tile), g0=g0, g1=g1)
        return self._commands.output_view(layer.output, places, box)

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
        config = self._commands.config
        acc = (self._chunks % 2) * config.acc_depth
        self._chunks += 1
        parts = plan.parts[group]
        opening = plan.whole_blocks and not self._commands.steps
        if opening:
            param_address = self._weights.opening_block(layer, group)
        elif plan.whole_blocks:
            param_address = self._weights.block(layer, plan, group)
        else:
            param_address = self._weights.params(group)
        for number, part in enumerate(parts):
            view = self._input(layer, plan, tile, part, inputs)
            if plan.whole_blocks:
                weight_address = param_address + block.part_offsets[number]
            else:
                weight_address = self._weights.part(layer, plan, group, number)
            pieces = _pieces(part, number + 1 == len(parts) and group == 0)
            for piece, skipped in _opening_pieces(part) if opening and number == 0 else pieces:
                address = weight_address + skipped * config.rows
                if opening:
                    words = piece.tiles * config.rows
                    self._weights.load_piece(group, param_address, address - param_address, words)
                started = number > 0 or skipped > 0
                self._matmul(layer, tile, piece, view, address, acc, accumulate=started)
        if opening:
            self._weights.load_piece(group, param_address, 0, PARAM_WORDS)
        channels = min(config.cols, layer.output.channels - group * config.cols)
        requantise(self._commands, layer, tile, group, channels, acc, param_address, output)
        results = result_box(layer, tile)
        store_complete_planes(self._commands, layer, results, group, channels, output)

    def _input(
        self, layer: ConvLayer, plan: ConvPlan, tile: Box, part: Part, places: Slots
    ) -> View:
        read = self._whole[part.source] if plan.whole_depth else part
        box = conv_box(layer, tile, read)
        margin = region_pitch(box.cols) - box.cols if part.filter else 0
        return self._commands.input_view(layer.sources[part.source], places, box, margin=margin)

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
        entries = Span("acc", acc, acc + tile.rows * tile.cols)
        weights = part.tiles * self._commands.config.rows
        self._commands.step(
            Engine.MATMUL,
            {
                **matmul_fields(layer, tile, part, view),
                "weight_address": weight_address,
                "acc_address": acc,
                "accumulate": int(accumulate),
            },
            reads=[
                *view.spans(conv_box(layer, tile, part)),
                Span("weights", weight_address, weight_address + weights),
                *([entries] if accumulate else []),
            ],
            writes=[entries],
        )


def _pieces(part: Part, first: bool) -> Iterator[tuple[Part, int]]:
    """Yield a part's commands, each with the tiles before it.

    A layer's first chunks leave the last channel group for a command of its own: it is the one
    that the layer before may still be at work on.
    """
    if not first or part.ng == 1:
        yield part, 0
        return
    most = replace(part, ng=part.ng - 1)
    yield most, 0
    yield replace(part, g0=part.g0 + most.ng, ng=1), most.tiles


def _opening_pieces(part: Part) -> Iterator[tuple[Part, int]]:
    """Yield the commands of the network's very first part, each with the tiles before it.

    Small ones first: the array begins as soon as their weights are there.
    """
    size = part.filter.rows.size if part.filter else 1
    head = replace(part, ng=1)
    pieces = [head]
    if part.nky > size:
        pieces = [_kernel_rows(head, 0, size), _kernel_rows(head, size, part.nky - size)]
    if part.ng > 1:
        pieces.append(replace(part, g0=part.g0 + 1, ng=part.ng - 1))
    tiles = 0
    for piece in pieces:
        yield piece, tiles
        tiles += piece.tiles


def _kernel_rows(part: Part, first: int, count: int) -> Part:
    """Return `count` kernel rows of a part from row `first` on; whole passes of a filter."""
    chosen = part.filter
    if chosen is not None:
        chosen = replace(chosen, rows=replace(chosen.rows, passes=count // chosen.rows.size))
    return replace(part, ky0=part.ky0 + first, nky=count, filter=chosen)
