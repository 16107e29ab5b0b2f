"""Where parts of feature maps lie: views in the scratchpad, maps in memory, ring allocation."""

from collections.abc import Hashable
from dataclasses import dataclass

from accel.compiler.schedule import Span

__all__ = ["Box", "MemoryMap", "Ring", "View", "composite"]


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


@dataclass(frozen=True)
class View:
    """A box of a feature map as it lies in the scratchpad: planes of rows from `base` on."""

    base: int
    box: Box

    @property
    def pitch(self) -> int:
        """Words from a pixel to the one below."""
        return self.box.cols

    @property
    def plane(self) -> int:
        """Words from a pixel to the same one of the next channel group."""
        return self.box.pixels

    def address(self, y: int, x: int, g: int) -> int:
        """Return the word of a pixel; outside the box it is where the pixel would be."""
        box = self.box
        return self.base + (g - box.g0) * self.plane + (y - box.y0) * self.pitch + (x - box.x0)

    def spans(self, part: Box) -> list[Span]:
        """Return what a command that touches `part` touches, a span per plane."""
        if not part.pixels:
            return []
        return [
            Span(
                "scratchpad",
                self.address(part.y0, part.x0, g),
                self.address(part.y1 - 1, part.x1 - 1, g) + 1,
            )
            for g in range(part.g0, part.g1)
        ]


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
        """Return what a command that touches `part` touches, a span per plane."""
        return [
            Span(
                "external",
                self.address(part.y0, part.x0, g),
                self.address(part.y1 - 1, part.x1 - 1, g) + self.slot,
            )
            for g in range(part.g0, part.g1)
        ]

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


class Ring:
    """Allocates blocks of a memory one behind the other, round and round, and knows what is there.

    Parameters
    ----------
    start, size : int
        The addresses it may use.
    """

    def __init__(self, start: int, size: int) -> None:
        self._start = start
        self._size = size
        self._next = 0
        self._blocks: dict[Hashable, tuple[int, int]] = {}

    def find(self, key: Hashable) -> int | None:
        """Return the address of a block that is still there."""
        block = self._blocks.get(key)
        return None if block is None else self._start + block[0]

    def allocate(self, key: Hashable, size: int) -> int:
        """Return the address of a new block; blocks in its way are forgotten."""
        if size > self._size:
            raise RuntimeError(f"a block of {size} does not fit a ring of {self._size}")
        if self._next + size > self._size:
            self._next = 0
        low, high = self._next, self._next + size
        self._blocks = {
            k: (a, s) for k, (a, s) in self._blocks.items() if a + s <= low or high <= a
        }
        self._blocks[key] = (low, size)
        self._next = high
        return self._start + low


def composite(counts: list[int], strides: list[int]) -> list[int]:
    """Return LoopNest steps for loops (innermost first) with these natural strides."""
    steps = []
    undo = 0
    for count, stride in zip(counts, strides, strict=True):
        steps.append(stride - undo)
        undo += (count - 1) * stride
    return steps
