"""Where place and route put the cells of a design, and which unit each belongs to."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards.devices import Device

__all__ = [
    "KINDS",
    "UNITS",
    "PlacedCell",
    "count_units",
    "placed_cells",
    "read_placement",
    "unit_of",
]

_PLACE = re.compile(r"X(\d+)/?Y(\d+)/")

_PREFIXES = (
    # Of cells' names; the first that fits.
    ("system.accelerator.matmul.array.", "array"),
    ("system.accelerator.matmul", "matmul engine"),
    ("system.accelerator.vector", "vector engine"),
    ("system.accelerator.load", "load engine"),
    ("system.accelerator.store", "store engine"),
    ("system.accelerator.scratchpad", "scratchpad"),
    ("system.accelerator.window", "scratchpad"),
    ("system.accelerator.weights", "weight memory"),
    ("system.accelerator.controller", "controller"),
    ("system.accelerator", "registers, faults, counters"),
    ("system.memory", "memory controller"),
    ("system.arbiter", "memory controller"),
    ("system", "host link"),
    # What nextpnr puts before and behind chains of carries.
    ("nextpnr_", "feeds of carries"),
    ("", "clock, pads"),
)

UNITS = tuple(dict.fromkeys(unit for _prefix, unit in _PREFIXES))
"""Units in the order of tables."""

KINDS = ("luts", "flip_flops", "dsps", "rams")
"""What is counted: members of Device."""


@dataclass(frozen=True)
class PlacedCell:
    """One cell.

    Parameters
    ----------
    unit : str
        One of UNITS.
    kind : str
        The tool's type of it.
    x, y : int
        The tile that it is in.
    """

    unit: str
    kind: str
    x: int
    y: int


def unit_of(cell: str) -> str:
    """Return the unit that a cell belongs to, by its name."""
    name = cell.lstrip("$\\")
    return next(unit for prefix, unit in _PREFIXES if name.startswith(prefix))


def placed_cells(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[PlacedCell]:
    """Return the cells of a routed netlist, given by their names, that have a place."""
    for name, cell in cells:
        place = _PLACE.search(cell["attributes"].get("NEXTPNR_BEL", ""))
        if place:
            unit, x, y = unit_of(name), int(place[1]), int(place[2])
            yield PlacedCell(unit, cell["type"], x, y)
            # A logic cell of an iCE40 is a lookup table, a flip-flop or both.
            if int(cell["parameters"].get("DFF_ENABLE", "0"), 2):
                yield PlacedCell(unit, "SB_DFF", x, y)


def read_placement(path: Path) -> list[PlacedCell]:
    """Return the cells with a place in a routed netlist that nextpnr wrote.

    Such a file has hundreds of megabytes, most of it wires: it is read cell by cell, by nextpnr's
    indentation.
    """
    with path.open(encoding="utf-8") as lines:
        return list(placed_cells(_cells(lines)))


def _cells(lines: Iterator[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the cells of the first module by their names."""
    for line in lines:
        if line.startswith('      "cells": {'):
            break
    chunk: list[str] = []
    for line in lines:
        if line.startswith("      }"):
            break
        chunk.append(line)
        if line.startswith("        }"):
            yield from json.loads("{" + "".join(chunk).rstrip().rstrip(",") + "}").items()
            chunk = []


def count_units(device: Device, cells: Iterable[PlacedCell]) -> dict[str, dict[str, int]]:
    """Return what each unit takes of each kind; units without cells are left out."""
    weights = {kind: getattr(device, kind) for kind in KINDS}
    counts: dict[str, Counter[str]] = {unit: Counter() for unit in UNITS}
    for cell in cells:
        for kind, types in weights.items():
            counts[cell.unit][kind] += types.get(cell.kind, 0)
    return {
        unit: {kind: count[kind] for kind in KINDS}
        for unit, count in counts.items()
        if any(count.values())
    }
