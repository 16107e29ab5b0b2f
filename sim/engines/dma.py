"""Load and store commands."""

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.isa import Space
from accel.regmap import Rule
from sim.engines.action import Access, Action, require, require_counts
from sim.engines.addresses import ADDRESS_MASK, Offsets, as_words, loop_offsets
from sim.spaces import Memory, Spaces, Words

__all__ = ["Dma", "Load", "Store"]

BURST_BEATS = 256
"""Longest burst."""


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
    bursts : tuple of tuple of int
        Per row, the cycles that each of its bursts keeps the port: its beats, at the memory's rate,
        or its words where they are more.
    transfer_cycles : int
        The larger of words and beats, summed over rows.
    bursts : int
        Bursts that the rows take at least.
    rows : tuple of array, array
        First and last byte of each row, as offsets from MEMORY_BASE.
    """

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        require_counts(fields, "words", "rows", "planes")
        space = fields["space"]
        require(
            space in list(Space), f"space must be from 0 to {max(Space)}, not {space}", Rule.VALUE
        )
        self._space = Memory(space)
        self._slot = {
            Memory.SCRATCHPAD: config.word_slot,
            Memory.WEIGHTS: config.weight_slot,
        }.get(self._space, 4)
        count = fields["words"]
        moved = count * fields["rows"] * fields["planes"]
        require(moved <= ADDRESS_MASK + 1, f"{moved} words are more than any memory holds")
        shape = (fields["rows"], fields["planes"])
        self._pack_step = fields.get("pack_step", 0)
        row_bytes = self._row_bytes(config, fields)
        starts = self._row_starts(fields, shape)

        bus = config.bus_bytes
        beats = (starts + row_bytes - 1) // bus - starts // bus + 1
        self.rows = (starts, starts + row_bytes - 1)
        self.words = count * starts.size
        self.beats = int(beats.sum())
        cycles = beats
        if self._pack_step:
            first, behind = starts % bus, (starts + row_bytes - 1) % bus
            lead, tail = fields["pack_lead"], fields["pack_tail"]
            cycles = beats + np.maximum(lead - first + bus - 1, 0) // bus + (behind + tail) // bus
        pace = bus / config.bytes_per_cycle
        self.bursts = tuple(
            _row_bursts(*row, pace)
            for row in zip(
                (starts // bus % BURST_BEATS).tolist(),
                beats.tolist(),
                np.maximum(cycles, count).tolist(),
                strict=True,
            )
        )

        chip_steps = (fields["chip_step_row"], fields["chip_step_plane"])
        self._starts = starts
        self._chip: Offsets = (
            fields["chip_address"] + _row_words(count, shape, chip_steps)
        ) & ADDRESS_MASK
        self._chip_words: Words = as_words(self._chip)
        groups = (starts // 4)[:, None] + np.arange(-(-row_bytes // 4) + 1)
        last = (starts + row_bytes - 1) // 4
        self._external: Words = as_words(np.minimum(groups, last[:, None]))

    def _row_bytes(self, config: Config, fields: Mapping[str, int]) -> int:
        """Return the bytes that a row takes in memory."""
        words = fields["words"]
        pads = [fields.get(name, 0) for name in ("pack_lead", "pack_tail")]
        if not self._pack_step:
            require(
                not any(pads),
                "pack_lead and pack_tail must be 0 where pack_step is 0",
                Rule.PACKING,
            )
            return words * self._slot
        require(config.packs, "this configuration cannot pack", Rule.PACKING)
        scratchpad = self._space == Memory.SCRATCHPAD
        require(scratchpad, "only loads of the scratchpad can pack", Rule.PACKING)
        require_counts(fields, "pack_bytes")
        row_bytes = fields["pack_bytes"]
        held, wanted = pads[0] + row_bytes, (words - 1) * self._pack_step + self._slot
        require(
            held <= wanted <= held + pads[1],
            f"{words} words take {wanted} bytes, which is not from {held} to {held + pads[1]}",
        )
        return row_bytes

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
                bool(self._pack_step) or not is_used or fields[name] % self._slot == 0,
                f"{name} must be a multiple of the slot of {self._slot} bytes, not {fields[name]}",
                Rule.ALIGNMENT,
            )
        starts: Offsets = (fields["memory_address"] + loop_offsets(shape, steps)) & 0xFFFFFFFF
        return starts.ravel()

    def _memory_words(self, spaces: Spaces) -> tuple[npt.NDArray[np.uint8], Offsets]:
        """Return external memory as slots, and the slots that the command touches."""
        whole = len(spaces.memory) // self._slot * self._slot
        first = (self._starts + spaces.memory_offset) // self._slot
        slots = first[:, None] + np.arange(self._chip.shape[1])
        return spaces.memory[:whole].reshape(-1, self._slot), slots


def _row_bursts(first: int, beats: int, cycles: int, pace: float) -> tuple[int, ...]:
    """Return what each burst of a row takes: none crosses a multiple of BURST_BEATS beats.

    A beat takes `pace` cycles. What the row takes more than that goes to the last burst.
    """
    edges = [0, *range(BURST_BEATS - first, beats, BURST_BEATS), beats]
    *sizes, last = [math.ceil((end - begin) * pace) for begin, end in pairwise(edges)]
    return (*sizes, max(last, cycles - sum(sizes)))


@lru_cache(maxsize=256)
def _row_words(count: int, shape: tuple[int, int], steps: tuple[int, int]) -> Offsets:
    """Return chip address offsets [row, word]."""
    return loop_offsets(shape, steps).reshape(-1, 1) + np.arange(count)


class Load(Dma):
    """External memory to scratchpad, weight memory, function table or program memory."""

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        super().__init__(config, fields)
        self._fields = fields
        self.reads = (Access(Memory.EXTERNAL, self._external),)
        self.writes = (Access(self._space, self._chip_words),)

    def run(self, spaces: Spaces) -> None:
        """Copy; the bytes of a slot past the word are dropped."""
        if self._pack_step:
            self._pack(spaces)
            return
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

    def _pack(self, spaces: Spaces) -> None:
        """Cut each row's bytes, padding around them, into overlapping words."""
        f, target = self._fields, spaces.scratchpad
        lead, row_bytes = f["pack_lead"], f["pack_bytes"]
        first = self._starts + spaces.memory_offset
        row = spaces.memory[first[:, None] + np.arange(row_bytes)].view(np.int8)
        padding = ((0, 0), (lead, f["pack_tail"]))
        stream = np.pad(row, padding, constant_values=f["pack_value"])
        word, count = target.shape[1], self._chip.shape[1]
        places = np.arange(count)[:, None] * self._pack_step + np.arange(word)
        target[self._chip % len(target)] = stream[:, places]


class Store(Dma):
    """Scratchpad to external memory."""

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        scratchpad = fields["space"] == Space.SCRATCHPAD
        require(scratchpad, "space of a store must be 0 (scratchpad)", Rule.VALUE)
        super().__init__(config, fields)
        self.reads = (Access(Memory.SCRATCHPAD, self._chip_words),)
        self.writes = (Access(Memory.EXTERNAL, self._external),)

    def run(self, spaces: Spaces) -> None:
        """Copy; the bytes of a slot past the word become 0."""
        memory, slots = self._memory_words(spaces)
        source = spaces.scratchpad[self._chip % len(spaces.scratchpad)].view(np.uint8)
        padding = self._slot - source.shape[-1]
        memory[slots] = np.pad(source, ((0, 0), (0, 0), (0, padding))) if padding else source
