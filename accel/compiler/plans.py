"""How a layer is cut: what `accel.compiler.tile` chooses and `accel.compiler.emission` follows."""

from dataclasses import dataclass, replace

from accel.compiler.filters import Filter
from accel.compiler.layers import ControllerLayer, ConvLayer, ElementwiseLayer, PoolLayer
from accel.config import Config
from accel.isa import PARAM_WORDS

__all__ = ["ConvPlan", "DeviceLayer", "MapPlan", "Part", "Plan", "groups_of"]

DeviceLayer = ConvLayer | ElementwiseLayer | PoolLayer | ControllerLayer


@dataclass(frozen=True)
class Part:
    """A box of the reduction: kernel rows, kernel columns, channel groups of one source.

    With `filter` it is one channel group, read in that way.
    """

    source: int
    ky0: int
    nky: int
    kx0: int
    nkx: int
    g0: int
    ng: int
    filter: Filter | None = None

    @property
    def tiles(self) -> int:
        """Weight tiles of one column group."""
        if self.filter is not None:
            return self.filter.tiles
        return self.nky * self.nkx * self.ng


@dataclass(frozen=True)
class ConvPlan:
    """How a convolution is cut.

    Parameters
    ----------
    rows, cols : int
        Results of a chunk.
    parts : tuple of tuple of Part
        By column group, the reduction in this order; one matmul command each.
    whole_blocks : bool
        A column group's parameters and tiles are loaded together, not part by part.
    groups_outer : bool
        Loop order: column groups outside (weights loaded once) or inside (inputs loaded once).
    whole_depth : bool
        A streamed input region holds all channel groups that are read of its source and serves
        every part.
    aligned : bool
        A streamed output tile holds the planes of one column group, else all planes.
    input_block, output_block : int
        Scratchpad words of a streamed input region and output tile; 0 where resident.
    places : int
        Blocks of each that the streaming area holds: 2 for double buffering, or 1.
    cost : float
        Estimated cycles.
    array, transfer : float
        Of these, cycles of the array and the vector engine, and of transfers of maps.
    passes : int
        Times that the layer's weights are loaded.
    """

    rows: int
    cols: int
    parts: tuple[tuple[Part, ...], ...]
    whole_blocks: bool
    groups_outer: bool
    whole_depth: bool
    aligned: bool
    input_block: int
    output_block: int
    places: int
    cost: float
    array: float
    transfer: float
    passes: int

    def whole_part(self, source: int, kernel: tuple[int, int]) -> Part:
        """Return what all parts of a source read together."""
        read = [p for group in self.parts for p in group if p.source == source]
        first = min((p.g0 for p in read), default=0)
        end = max((p.g0 + p.ng for p in read), default=0)
        if read and read[0].filter is not None:
            return replace(read[0], g0=first, ng=end - first)
        return Part(source, 0, kernel[0], 0, kernel[1], first, end - first)

    def block_words(self, group: int, rows: int) -> int:
        """Return the weight words of a column group with its parameters."""
        return PARAM_WORDS + sum(part.tiles for part in self.parts[group]) * rows


@dataclass(frozen=True)
class MapPlan:
    """How any other layer is cut: output pixels and groups of one tile.

    `input_block`, `output_block` and `places` are those of ConvPlan; each operand has an area.
    """

    rows: int
    cols: int
    groups: int
    input_block: int
    output_block: int
    places: int


Plan = ConvPlan | MapPlan


def groups_of(channels: int, config: Config) -> int:
    """Return the channel groups (planes) of a map."""
    return -(-channels // config.rows)
