"""Which weights and parameters lie where in the weight memory, and the loads that bring them."""

from itertools import accumulate

from accel.compiler.constants import ConvBlock
from accel.compiler.convtiling import PARAM_SLOTS
from accel.compiler.emission.commands import Commands
from accel.compiler.layers import ConvLayer
from accel.compiler.plans import ConvPlan
from accel.compiler.regions import Slots
from accel.isa import PARAM_WORDS, Space

__all__ = ["WeightMemory"]

RUN_WORDS = 512
"""Weight words that one load brings at most, where it brings several blocks."""


class WeightMemory:
    """The weight memory: places for the blocks of the layer at hand, and for parameters.

    Parameters
    ----------
    commands : Commands
        Receives the loads.
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        # A first part's parameters outlive the parts behind it: they get a place of their own.
        self._param_base = commands.config.weight_words - PARAM_SLOTS * PARAM_WORDS
        self._params = 0
        self._places = Slots(0, 0, 0, 1)
        self._blocks: list[ConvBlock] = []
        self._parts_before: list[int] = []

    def begin(self, plan: ConvPlan, blocks: list[ConvBlock]) -> None:
        """Lay out the memory for a layer, behind the last layer's blocks if there is room."""
        self._blocks = blocks
        self._parts_before = list(accumulate(map(len, plan.parts), initial=0))
        rows = self._commands.config.rows
        if plan.whole_blocks:
            sizes = [plan.block_words(group, rows) for group in range(len(plan.parts))]
        else:
            sizes = [part.tiles * rows for parts in plan.parts for part in parts]
        block, wanted = max(sizes), len(sizes)
        start = self._places.stop
        if start + min(wanted, 2) * block > self._param_base:
            start = 0
        room = self._param_base - start
        if wanted * block > room and wanted * block <= self._param_base:
            start, room = 0, self._param_base
        fitting = max(1, room // block)
        # Where not all fit, a number of places that divides the blocks keeps the loops regular.
        places = max(n for n in range(1, min(fitting, wanted) + 1) if wanted % n == 0)
        self._places = Slots(start, room, block, max(places, min(2, fitting)))

    def params(self, group: int) -> int:
        """Return where a column group's parameters are, loaded by themselves."""
        address = self._param_base + self._params * PARAM_WORDS
        self._params = (self._params + 1) % PARAM_SLOTS
        self._load(self._blocks[group].address, address, PARAM_WORDS, stream=3)
        return address

    def block(self, layer: ConvLayer, plan: ConvPlan, group: int) -> int:
        """Return where a column group's whole block is; load it and some that follow if need be.

        Blocks of one size that follow one another in memory are the rows of one load: what runs
        ahead of its use is few commands then, however small the blocks.
        """
        found = self._places.find((layer.index, id(layer), group))
        if found is not None:
            return found
        words = plan.block_words(group, self._commands.config.rows)
        most = max(1, min(RUN_WORDS // words, self._places.count // 2))
        place, run = group % self._places.count, 1
        first = self._blocks[group].address
        pitch = self._blocks[min(group + 1, len(self._blocks) - 1)].address - first
        while run < most and group + run < len(plan.parts) and place + run < self._places.count:
            block = self._blocks[group + run]
            alike = plan.block_words(group + run, self._commands.config.rows) == words
            if not alike or words != self._places.block or block.address != first + run * pitch:
                break
            run += 1
        addresses = [
            self._places.allocate((layer.index, id(layer), group + i), group + i)
            for i in range(run)
        ]
        self._load(first, addresses[0], words, rows=run, pitch=pitch)
        return addresses[0]

    def opening_block(self, layer: ConvLayer, group: int) -> int:
        """Return where a column group's block will be, nothing of which is loaded yet."""
        return self._places.allocate((layer.index, id(layer), group), group)

    def load_piece(self, group: int, address: int, offset: int, words: int) -> None:
        """Load `words` words of a block at `address`, from `offset` words behind its start on."""
        source = self._blocks[group].address + offset * self._commands.config.weight_slot
        self._load(source, address + offset, words, stream=3)

    def part(self, layer: ConvLayer, plan: ConvPlan, group: int, number: int) -> int:
        """Return where the tiles of part `number` of a column group are, loaded if need be."""
        config = self._commands.config
        index = self._parts_before[group] + number
        key = (layer.index, id(layer), index)
        found = self._places.find(key)
        if found is not None:
            return found
        address = self._places.allocate(key, index)
        block = self._blocks[group]
        source = block.address + block.part_offsets[number] * config.weight_slot
        self._load(source, address, plan.parts[group][number].tiles * config.rows)
        return address

    def _load(
        self,
        source: int,
        address: int,
        words: int,
        *,
        stream: int = 2,
        rows: int = 1,
        pitch: int = 0,
    ) -> None:
        self._commands.load_constants(
            Space.WEIGHTS, "weights", source, address, words, stream=stream, rows=rows, pitch=pitch
        )
