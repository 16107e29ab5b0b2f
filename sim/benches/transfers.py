"""Load and store commands for benches: random ones, and the words that each must move."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from accel.isa import Space

__all__ = ["Transfer", "long_row", "random_transfer"]

Move = tuple[int, int]
"""Byte offset in memory and on-chip word of one word that a command moves."""


@dataclass(frozen=True)
class Transfer:
    """A load or store command, without its encoding.

    Parameters
    ----------
    fields : mapping of str to int
        As in `accel.isa.COMMANDS`; steps are signed here.
    slot : int
        Bytes that a word takes in memory.
    """

    fields: Mapping[str, int]
    slot: int

    @property
    def rows(self) -> list[Move]:
        """Start of every row, in order."""
        f = self.fields
        memory, chip = f["memory_address"], f["chip_address"]
        starts = []
        for _plane in range(f["planes"]):
            for row in range(f["rows"]):
                starts.append((memory, chip))
                step = "row" if row < f["rows"] - 1 else "plane"
                memory += f[f"memory_step_{step}"]
                chip += f[f"chip_step_{step}"]
        return starts

    @property
    def moves(self) -> list[Move]:
        """Every word, in order."""
        return [
            (memory + i * self.slot, chip + i)
            for memory, chip in self.rows
            for i in range(self.fields["words"])
        ]

    def fits(self, memory_bytes: int, chip_words: int) -> bool:
        """Return whether nothing lies outside memories of these sizes."""
        length = self.fields["words"]
        return all(
            0 <= memory <= memory_bytes - length * self.slot and 0 <= chip <= chip_words - length
            for memory, chip in self.rows
        )

    def beats(self, bus_bytes: int) -> int:
        """Return the beats that its rows take."""
        length = self.fields["words"] * self.slot
        return sum(
            (memory + length - 1) // bus_bytes - memory // bus_bytes + 1
            for memory, _chip in self.rows
        )


def random_transfer(
    rng: random.Random,
    *,
    slot: int,
    chip_words: int,
    memory_bytes: int,
    space: Space = Space.SCRATCHPAD,
) -> Transfer:
    """Return a command with strided rows and planes; many rows straddle a multiple of 4 KiB.

    Parameters
    ----------
    rng : random.Random
    slot : int
        Bytes that a word takes in memory.
    chip_words, memory_bytes : int
        Sizes of the memories; at least 64 words, at least 16 KiB.
    space : Space
    """

    def memory_step() -> int:
        return slot * rng.choice([1, rng.randint(-64, 64), rng.randint(-700, 700)])

    def draw() -> Transfer:
        words = rng.choice([1, 1, 2, 3, rng.randint(1, 12), rng.randint(1, 40)])
        page = rng.randrange(1, memory_bytes // 4096) * 4096
        near_page = page - slot * rng.randint(0, words)
        anywhere = slot * rng.randrange(memory_bytes // slot)
        fields = {
            "memory_address": rng.choice([near_page, anywhere]),
            "chip_address": rng.randrange(chip_words),
            "words": words,
            "space": int(space),
            "rows": rng.choice([1, rng.randint(1, 5)]),
            "planes": rng.choice([1, rng.randint(1, 3)]),
            "memory_step_row": memory_step(),
            "chip_step_row": rng.randint(-20, 40),
            "memory_step_plane": memory_step(),
            "chip_step_plane": rng.randint(-20, 40),
        }
        return Transfer(fields, slot)

    return _first(draw, lambda t: t.fits(memory_bytes, chip_words))


def long_row(
    rng: random.Random,
    *,
    slot: int,
    bus_bytes: int,
    chip_words: int,
    memory_bytes: int,
    space: Space = Space.SCRATCHPAD,
) -> Transfer:
    """Return one row of more than 256 beats, or as long as the chip's memory allows.

    Parameters are those of `random_transfer`, and the bus width.
    """

    def draw() -> Transfer:
        wanted = 256 * bus_bytes // slot + rng.randint(1, 100)
        words = min(wanted, chip_words, memory_bytes // slot)
        fields = {
            "memory_address": slot * rng.randrange(memory_bytes // slot),
            "chip_address": rng.randrange(chip_words - words + 1),
            "words": words,
            "space": int(space),
            "rows": 1,
            "planes": 1,
            "memory_step_row": 0,
            "chip_step_row": 0,
            "memory_step_plane": 0,
            "chip_step_plane": 0,
        }
        return Transfer(fields, slot)

    return _first(draw, lambda t: t.fits(memory_bytes, chip_words))


def _first(draw: Callable[[], Transfer], good: Callable[[Transfer], bool]) -> Transfer:
    while True:
        transfer = draw()
        if good(transfer):
            return transfer
