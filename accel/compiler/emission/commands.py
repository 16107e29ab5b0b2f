"""Commands of one network in program order, and where its maps and their parts lie on-chip."""

from dataclasses import replace

from accel.compiler.constants import ConstantPool
from accel.compiler.layers import FeatureMap
from accel.compiler.packing import PackedMemory
from accel.compiler.placement import Placement
from accel.compiler.plans import MapPlan, Plan, groups_of
from accel.compiler.regions import Box, MemoryMap, Slots, View
from accel.compiler.schedule import Call, Span, Step
from accel.config import Config
from accel.isa import Engine, Space

__all__ = ["Commands"]


class Commands:
    """What the emitters of all kinds of layers share: the commands so far, and the maps.

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
    layer : int
        Index of the operator that the next commands work for.
    """

    def __init__(
        self,
        config: Config,
        placement: Placement,
        maps: dict[int, MemoryMap],
        constants: ConstantPool,
    ) -> None:
        self.steps: list[Step | Call] = []
        self.layer = 0
        self.config = config
        self.constants = constants
        self._placement = placement
        self._maps = maps
        self._written: set[int] = set()
        self._fetched: dict[int, int] = {}

    def finish(self, output: FeatureMap) -> None:
        """Note that a map is written as a whole."""
        self._written.add(output.storage)

    def stamp(self) -> None:
        """Give the last vector command the stamp."""
        for step in reversed(self.steps):
            if isinstance(step, Step) and step.engine == Engine.VECTOR:
                step.stamp = True
                return

    def in_memory(self, item: FeatureMap) -> bool:
        """Return whether a map has a place in memory."""
        return item.storage in self._maps

    def is_resident(self, item: FeatureMap) -> bool:
        """Return whether a map lives on-chip as a whole."""
        return item.storage in self._placement.resident

    def step(
        self,
        engine: Engine,
        values: dict[str, int],
        *,
        reads: list[Span] | None = None,
        writes: list[Span],
        stream: int = 0,
        resident: bool = False,
    ) -> None:
        """Append a command (see Step)."""
        self.steps.append(
            Step(
                engine,
                values,
                reads or [],
                writes,
                self.layer,
                stream=stream,
                resident=resident,
            )
        )

    def whole(self, item: FeatureMap) -> Box:
        """Return all pixels and channel groups of a map."""
        return Box(0, item.height, 0, item.width, 0, groups_of(item.channels, self.config))

    def resident_view(self, item: FeatureMap) -> View | None:
        """Return where a map is that lives on-chip as a whole; None for others."""
        base = self._placement.resident.get(item.storage)
        if base is None:
            return None
        pitch = self._placement.pitches.get(item.storage, item.width)
        return View(base, self.whole(item), pitch - item.width)

    def fetch_resident(self, item: FeatureMap, rows: int | None = None) -> None:
        """Bring rows of a network input that lives on-chip into its place, all by default."""
        view = self.resident_view(item)
        if view is None or item.storage in self._written:
            return
        whole = view.box
        end = whole.rows if rows is None else rows
        start = self._fetched.get(item.storage, 0)
        # Without a wish, in bands: who reads the first rows need not wait for the last.
        band = -(-whole.rows // 4) if rows is None else whole.rows
        for y0 in range(start, end, band):
            y1 = min(y0 + band, end)
            self._load_map(item, Box(y0, y1, 0, whole.cols, 0, whole.groups), view)
        self._fetched[item.storage] = max(start, end)
        if end == whole.rows:
            self._written.add(item.storage)

    def memory(self, item: FeatureMap) -> MemoryMap:
        """Return where a map lies in memory, its pixels arranged as it says."""
        found = self._maps[item.storage]
        if isinstance(found, PackedMemory):
            return found
        return replace(found, height=item.height, width=item.width)

    def _load_map(self, item: FeatureMap, part: Box, view: View, stream: int = 0) -> None:
        source = self.memory(item)
        for piece in source.pieces(part):
            self.step(
                Engine.LOAD,
                source.transfer(piece, view),
                reads=source.spans(piece),
                writes=view.spans(piece),
                stream=stream,
            )

    def store_map(self, item: FeatureMap, part: Box, view: View) -> None:
        """Store a part of a map as it lies in memory."""
        target = self.memory(item)
        self.step(
            Engine.STORE,
            target.transfer(part, view),
            reads=view.spans(part),
            writes=target.spans(part),
        )

    def input_view(
        self, item: FeatureMap, places: Slots, box: Box, stream: int = 0, margin: int = 0
    ) -> View:
        """Return where a box of a map can be read, loading it where it is not on-chip."""
        view = self.resident_view(item)
        if view is not None:
            self.fetch_resident(item, box.y1)
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

    def output_view(self, item: FeatureMap, places: Slots, box: Box) -> View:
        """Return where a box of a map is to be written."""
        return self.resident_view(item) or View(
            places.allocate((item.storage, box, len(self.steps))), box
        )

    def stream_slots(self, plan: Plan, area: int, operands: int) -> tuple[Slots, ...]:
        """Return places for each operand's streamed regions, then for output tiles."""
        result = []
        for block in [plan.input_block] * operands + [plan.output_block]:
            result.append(Slots(area, plan.places * block, block, plan.places))
            area += plan.places * block
        return tuple(result)

    def load_constants(
        self,
        space: Space,
        memory: str,
        source: int,
        address: int,
        words: int,
        stream: int = 3,
        rows: int = 1,
        pitch: int = 0,
        resident: bool = False,
    ) -> None:
        """Load `rows` x `words` words: rows follow one another on-chip, `pitch` apart in memory.

        `resident`: they stay there for later inferences.
        """
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
        self.step(
            Engine.LOAD,
            values,
            writes=[Span(memory, address, address + rows * words)],
            stream=stream,
            resident=resident,
        )

    def map_tiles(self, item: FeatureMap, plan: MapPlan) -> list[Box]:
        """Return the tiles of a layer's output, in order."""
        whole = self.whole(item)
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

    def slices(self, item: FeatureMap, box: Box) -> int:
        """Return the slices of `lanes` channels in a box of a map."""
        channels = min(item.channels, box.g1 * self.config.rows) - box.g0 * self.config.rows
        return -(-channels // self.config.lanes)
