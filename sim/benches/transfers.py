"""Load and store commands for benches: random ones, and the words that each must move."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from accel.isa import Space

__all__ = ["Transfer", "long_row", "random_packing", "random_transfer"]

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
    def packs(self) -> bool:
        """Whether words are cut from rows of bytes."""
        return bool(self.fields.get("pack_step"))

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in memory."""
        return self.fields["pack_bytes"] if self.packs else self.fields["words"] * self.slot

    def loaded(self, read: Callable[[int, int], bytes], width: int) -> list[tuple[int, int]]:
        """Return (on-chip word, its content) of every word that a load writes, in order.

        Parameters
        ----------
        read : callable
            Memory: (byte offset, bytes) to content.
        width : int
            Bytes of a word.
        """
        if not self.packs:
            return [(chip, int.from_bytes(read(at, width), "little")) for at, chip in self.moves]
        f = self.fields
        pad = bytes([f["pack_value"] & 0xFF])
        result = []
        for memory, chip in self.rows:
            row = f["pack_lead"] * pad + read(memory, f["pack_bytes"]) + f["pack_tail"] * pad
            for i in range(f["words"]):
                word = row[i * f["pack_step"] :][:width]
                result.append((chip + i, int.from_bytes(word, "little")))
        return result

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
            0 <= memory <= memory_bytes - self.row_bytes and 0 <= chip <= chip_words - length
            for memory, chip in self.rows
        )

    def beats(self, bus_bytes: int) -> int:
        """Return the beats that its rows take."""
        return sum(
            (memory + self.row_bytes - 1) // bus_bytes - memory // bus_bytes + 1
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


def random_packing(
    rng: random.Random, *, slot: int, chip_words: int, memory_bytes: int
) -> Transfer:
    """Return a load that packs rows which begin at any byte into overlapping words.

    Parameters are those of `random_transfer`.
    """

    def draw() -> Transfer:
        words = rng.choice([1, 2, rng.randint(1, 40)])
        step = rng.choice([1, 3, 6, rng.randint(1, 63)])
        stream = (words - 1) * step + slot
        lead = min(rng.choice([0, 0, rng.randint(0, 20), rng.randint(0, 63)]), stream - 1)
        tail = rng.choice([0, rng.randint(0, 20), rng.randint(0, 63)])
        row = max(1, stream - lead - rng.choice([tail, rng.randint(0, tail)]))
        near_page = rng.randrange(1, memory_bytes // 4096) * 4096 - rng.randint(0, row)
        fields = {
            "memory_address": rng.choice([near_page, rng.randrange(memory_bytes)]),
            "chip_address": rng.randrange(chip_words),
            "words": words,
            "space": int(Space.SCRATCHPAD),
            "rows": rng.choice([1, rng.randint(1, 5)]),
            "planes": rng.choice([1, rng.randint(1, 3)]),
            "memory_step_row": rng.choice([row, rng.randint(-700, 700)]),
            "chip_step_row": rng.randint(-20, 40),
            "memory_step_plane": rng.randint(-700, 700),
            "chip_step_plane": rng.randint(-20, 40),
            "pack_bytes": row,
            "pack_lead": lead,
            "pack_value": rng.randint(-128, 127),
            "pack_step": step,
            "pack_tail": tail,
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
