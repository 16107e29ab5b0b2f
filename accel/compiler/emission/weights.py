"""Which weights and parameters lie where in the weight memory, and the loads that bring them."""

from collections.abc import Mapping
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
    """The weight memory: resident blocks, places for those of the layer at hand, parameters.

    Parameters
    ----------
    commands : Commands
        Receives the loads.
    base : int
        Words at its beginning that hold resident blocks.
    """

    def __init__(self, commands: Commands, base: int) -> None:
        self._commands = commands
        self._base = base
        # A first part's parameters outlive the parts behind it: they get a place of their own.
        self._param_base = commands.config.weight_words - PARAM_SLOTS * PARAM_WORDS
        self._params = 0
        self._places = Slots(base, 0, 0, 1)
        self._resident: Mapping[int, int] = {}
        self._loaded: set[int] = set()
        self._ranks: dict[int, int] = {}
        self._blocks: list[ConvBlock] = []
        self._parts_before: list[int] = []

    def begin(self, plan: ConvPlan, blocks: list[ConvBlock], resident: Mapping[int, int]) -> None:
        """Lay out the memory for a layer, behind the last layer's blocks if there is room.

        Parameters
        ----------
        plan : ConvPlan
        blocks : list of ConvBlock
        resident : mapping of int to int
            Weight words of column groups that stay.
        """
        self._blocks = blocks
        self._resident, self._loaded = resident, set()
        streamed = [group for group in range(len(plan.parts)) if group not in resident]
        self._ranks = {group: rank for rank, group in enumerate(streamed)}
        self._parts_before = list(accumulate(map(len, plan.parts), initial=0))
        rows = self._commands.config.rows
        if plan.whole_blocks:
            sizes = [plan.block_words(group, rows) for group in streamed]
        else:
            sizes = [part.tiles * rows for parts in plan.parts for part in parts]
        if not sizes:
            return
        block, wanted = max(sizes), len(sizes)
        start = self._places.stop
        if start + min(wanted, 2) * block > self._param_base:
            start = self._base
        room = self._param_base - start
        if wanted * block > room and wanted * block <= self._param_base - self._base:
            start, room = self._base, self._param_base - self._base
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
        rows = self._commands.config.rows
        words = plan.block_words(group, rows)
        resident = group in self._resident
        if resident:
            address = self._resident[group]
            if group in self._loaded:
                return address
            most = min(RUN_WORDS // words, len(self._resident) // 2)
        else:
            found = self._places.find((layer.index, id(layer), group))
            if found is not None:
                return found
            place = self._ranks[group] % self._places.count
            most = min(RUN_WORDS // words, self._places.count // 2, self._places.count - place)
        run = 1
        first = self._blocks[group].address
        pitch = self._blocks[min(group + 1, len(self._blocks) - 1)].address - first
        while run < most and group + run < len(plan.parts):
            block = self._blocks[group + run]
            alike = plan.block_words(group + run, rows) == words
            alike = alike and block.address == first + run * pitch
            if resident:
                alike = alike and self._resident.get(group + run) == address + run * words
            else:
                alike = alike and words == self._places.block and group + run in self._ranks
            if not alike:
                break
            run += 1
        groups = range(group, group + run)
        if resident:
            self._loaded.update(groups)
        else:
            address = [self._allocate(layer, other) for other in groups][0]
        self._load(first, address, words, rows=run, pitch=pitch, resident=resident)
        return address

    def _allocate(self, layer: ConvLayer, group: int) -> int:
        """Return a place for a column group's block."""
        return self._places.allocate((layer.index, id(layer), group), self._ranks[group])

    def opening_block(self, layer: ConvLayer, group: int) -> int:
        """Return where a column group's block will be, nothing of which is loaded yet."""
        if group in self._resident:
            self._loaded.add(group)
            return self._resident[group]
        return self._allocate(layer, group)

    def load_piece(self, group: int, address: int, offset: int, words: int) -> None:
        """Load `words` words of a block at `address`, from `offset` words behind its start on."""
        source = self._blocks[group].address + offset * self._commands.config.weight_slot
        resident = group in self._resident
        self._load(source, address + offset, words, stream=3, resident=resident)

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
        resident: bool = False,
    ) -> None:
        self._commands.load_constants(
            Space.WEIGHTS,
            "weights",
            source,
            address,
            words,
            stream=stream,
            rows=rows,
            pitch=pitch,
            resident=resident,
        )
