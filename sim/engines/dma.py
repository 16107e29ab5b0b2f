"""Load and store commands."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.isa import Space
from sim.engines.action import Access, Action, require, require_counts
from sim.engines.addresses import ADDRESS_MASK, Offsets, as_words, loop_offsets
from sim.spaces import Memory, Spaces, Words

__all__ = ["Dma", "Load", "Store"]


class Dma(Action):
    """Rows of words between external memory and a chip memory.

    Parameters
    ----------
    config : Config
    fields : mapping of str to int
        Decoded command.

    Members
    -------
    words : int
        Words moved.
    beats : int
        Data beats on the memory port.
    transfer_cycles : int
        The larger of words and beats, summed over rows.
    bursts : int
        Bursts that the rows take at least.
    """

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        require_counts(fields, "words", "rows", "planes")
        space = fields["space"]
        require(space in list(Space), f"space must be from 0 to {max(Space)}, not {space}")
        self._space = Memory(space)
        self._slot = {
            Memory.SCRATCHPAD: config.word_slot,
            Memory.WEIGHTS: config.weight_slot,
        }.get(self._space, 4)
        count = fields["words"]
        moved = count * fields["rows"] * fields["planes"]
        require(moved <= ADDRESS_MASK + 1, f"{moved} words are more than any memory holds")
        shape = (fields["rows"], fields["planes"])
        starts = self._row_starts(fields, shape)
        row_bytes = count * self._slot

        beats = (starts + row_bytes - 1) // config.bus_bytes - starts // config.bus_bytes + 1
        self.words = count * starts.size
        self.beats = int(beats.sum())
        self.transfer_cycles = int(np.maximum(beats, count).sum())
        self.bursts = int((-(-beats // 256)).sum())

        chip_steps = (fields["chip_step_row"], fields["chip_step_plane"])
        self._slots = (starts // self._slot)[:, None] + np.arange(count)
        self._chip: Offsets = (
            fields["chip_address"] + _row_words(count, shape, chip_steps)
        ) & ADDRESS_MASK
        self._chip_words: Words = as_words(self._chip)
        groups = (starts // 4)[:, None] + np.arange(row_bytes // 4)
        self._external: Words = as_words(groups)

    def _row_starts(self, fields: Mapping[str, int], shape: tuple[int, int]) -> Offsets:
        """Return the byte offset of each row's first word."""
        steps = (fields["memory_step_row"], fields["memory_step_plane"])
        used = {
            "memory_address": True,
            "memory_step_row": shape[0] > 1,
            "memory_step_plane": shape[1] > 1,
        }
        for name, is_used in used.items():
            require(
                not is_used or fields[name] % self._slot == 0,
                f"{name} must be a multiple of the slot of {self._slot} bytes, not {fields[name]}",
            )
        starts: Offsets = (fields["memory_address"] + loop_offsets(shape, steps)) & 0xFFFFFFFF
        return starts.ravel()

    def _memory_words(self, spaces: Spaces) -> tuple[npt.NDArray[np.uint8], Offsets]:
        """Return external memory as slots, and the slots that the command touches."""
        whole = len(spaces.memory) // self._slot * self._slot
        base = spaces.memory_offset // self._slot
        return spaces.memory[:whole].reshape(-1, self._slot), self._slots + base


@lru_cache(maxsize=256)
def _row_words(count: int, shape: tuple[int, int], steps: tuple[int, int]) -> Offsets:
    """Return chip address offsets [row, word]."""
    return loop_offsets(shape, steps).reshape(-1, 1) + np.arange(count)


class Load(Dma):
    """External memory to scratchpad, weight memory, function table or program memory."""

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        super().__init__(config, fields)
        self.reads = (Access(Memory.EXTERNAL, self._external),)
        self.writes = (Access(self._space, self._chip_words),)

    def run(self, spaces: Spaces) -> None:
        """Copy; the bytes of a slot past the word are dropped."""
        memory, slots = self._memory_words(spaces)
        chip: dict[Memory, npt.NDArray[Any]] = {
            Memory.SCRATCHPAD: spaces.scratchpad,
            Memory.WEIGHTS: spaces.weights,
            Memory.TABLE: spaces.table[:, None],
            Memory.PROGRAM: spaces.program[:, None],
        }
        target = chip[self._space]
        data = memory[slots].view(target.dtype)
        target[self._chip % len(target)] = data[..., : target.shape[1]]


class Store(Dma):
    """Scratchpad to external memory."""

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        require(fields["space"] == Space.SCRATCHPAD, "space of a store must be 0 (scratchpad)")
        super().__init__(config, fields)
        self.reads = (Access(Memory.SCRATCHPAD, self._chip_words),)
        self.writes = (Access(Memory.EXTERNAL, self._external),)

    def run(self, spaces: Spaces) -> None:
        """Copy; the bytes of a slot past the word become 0."""
        memory, slots = self._memory_words(spaces)
        source = spaces.scratchpad[self._chip % len(spaces.scratchpad)].view(np.uint8)
        padding = self._slot - source.shape[-1]
        memory[slots] = np.pad(source, ((0, 0), (0, 0), (0, padding))) if padding else source
