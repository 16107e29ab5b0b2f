"""Where parts of feature maps lie: views in the scratchpad, maps in memory, places for blocks."""

from collections.abc import Hashable
from dataclasses import dataclass

from accel.compiler.schedule import Span

__all__ = ["Box", "MemoryMap", "Slots", "View", "composite"]


@dataclass(frozen=True)
class Box:
    """Pixels [y0, y1) x [x0, x1) of channel groups [g0, g1)."""

    y0: int
    y1: int
    x0: int
    x1: int
    g0: int
    g1: int

    @property
    def rows(self) -> int:
        """Pixel rows."""
        return self.y1 - self.y0

    @property
    def cols(self) -> int:
        """Pixel columns."""
        return self.x1 - self.x0

    @property
    def groups(self) -> int:
        """Channel groups."""
        return self.g1 - self.g0

    @property
    def pixels(self) -> int:
        """Pixels of one group."""
        return self.rows * self.cols

    @property
    def words(self) -> int:
        """Words of all its groups."""
        return self.pixels * self.groups


def _planes(memory: str, start: int, stop: int, step: int, count: int) -> list[Span]:
    """Return the spans of the same part of several planes; one where they touch."""
    if stop - start == step:
        return [Span(memory, start, start + count * step)]
    return [Span(memory, start + n * step, stop + n * step) for n in range(count)]


@dataclass(frozen=True)
class View:
    """A box of a feature map as it lies in the scratchpad: planes of rows from `base` on.

    Parameters
    ----------
    base : int
    box : Box
    margin : int
        Words between the end of a row and the next one's start.
    """

    base: int
    box: Box
    margin: int = 0

    @property
    def pitch(self) -> int:
        """Words from a pixel to the one below."""
        return self.box.cols + self.margin

    @property
    def plane(self) -> int:
        """Words from a pixel to the same one of the next channel group."""
        return self.box.rows * self.pitch

    def address(self, y: int, x: int, g: int) -> int:
        """Return the word of a pixel; outside the box it is where the pixel would be."""
        box = self.box
        return self.base + (g - box.g0) * self.plane + (y - box.y0) * self.pitch + (x - box.x0)

    def spans(self, part: Box) -> list[Span]:
        """Return what a command that touches `part` touches: a span per plane, or one."""
        if not part.pixels:
            return []
        start = self.address(part.y0, part.x0, part.g0)
        stop = self.address(part.y1 - 1, part.x1 - 1, part.g0) + 1
        return _planes("scratchpad", start, stop, self.plane, part.groups)


@dataclass(frozen=True)
class MemoryMap:
    """A whole feature map in external memory.

    Parameters
    ----------
    offset : int
        Bytes from MEMORY_BASE.
    height, width, groups, slot : int
    """

    offset: int
    height: int
    width: int
    groups: int
    slot: int

    @property
    def plane_bytes(self) -> int:
        """Bytes of one channel group."""
        return self.height * self.width * self.slot

    @property
    def size(self) -> int:
        """Bytes of the map."""
        return self.groups * self.plane_bytes

    def address(self, y: int, x: int, g: int) -> int:
        """Return a pixel's byte offset."""
        return self.offset + g * self.plane_bytes + (y * self.width + x) * self.slot

    def spans(self, part: Box) -> list[Span]:
        """Return what a command that touches `part` touches: a span per plane, or one."""
        start = self.address(part.y0, part.x0, part.g0)
        stop = self.address(part.y1 - 1, part.x1 - 1, part.g0) + self.slot
        return _planes("external", start, stop, self.plane_bytes, part.groups)

    def pieces(self, part: Box) -> list[Box]:
        """Return what one command each moves of `part`: all of it."""
        return [part]

    def transfer(self, part: Box, view: View) -> dict[str, int]:
        """Return the fields of the load or store that moves `part` between here and `view`."""
        whole_rows = part.cols == self.width == view.pitch
        words, rows = (part.pixels, 1) if whole_rows else (part.cols, part.rows)
        return {
            "memory_address": self.address(part.y0, part.x0, part.g0),
            "chip_address": view.address(part.y0, part.x0, part.g0),
            "words": words,
            "rows": rows,
            "planes": part.groups,
            "memory_step_row": self.width * self.slot if rows > 1 else 0,
            "chip_step_row": view.pitch if rows > 1 else 0,
            "memory_step_plane": self.plane_bytes - (rows - 1) * self.width * self.slot,
            "chip_step_plane": view.plane - (rows - 1) * view.pitch,
        }


class Slots:
    """Equal places for blocks, used in turn, with a note of what each holds.

    Places in turn, and not packed blocks, keep the commands of a loop regular: the program's loops
    depend on it.

    Parameters
    ----------
    start : int
        First address.
    size : int
        Addresses it may use.
    block : int
        Addresses of the largest block.
    most : int
        Places to use at most.
    """

    def __init__(self, start: int, size: int, block: int, most: int) -> None:
        self.count = max(1, min(most, size // max(block, 1)))
        self.block = block
        self._start = start
        self._next = 0
        self._held: list[Hashable] = [None] * self.count

    @property
    def stop(self) -> int:
        """The address behind the last place."""
        return self._start + self.count * self.block

    def find(self, key: Hashable) -> int | None:
        """Return the address of a block that is still there."""
        return self._address(self._held.index(key)) if key in self._held else None

    def allocate(self, key: Hashable, index: int | None = None) -> int:
        """Return the address for a new block.

        Its place is `index` modulo the places, so that each round of a loop is like the last, or
        the one after the last block's.
        """
        place = (self._next if index is None else index) % self.count
        self._held[place] = key
        self._next = place + 1
        return self._address(place)

    def _address(self, place: int) -> int:
        return self._start + place * self.block


def composite(counts: list[int], strides: list[int]) -> list[int]:
    """Return LoopNest steps for loops (innermost first) with these natural strides."""
    steps = []
    undo = 0
    for count, stride in zip(counts, strides, strict=True):
        steps.append(stride - undo)
        undo += (count - 1) * stride
    return steps
