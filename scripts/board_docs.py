"""Writes what `accel build` reports into docs/boards.md, and the pictures beside it.

    .venv/bin/accel build BOARD -o build/boards/BOARD     (or: make boards)
    .venv/bin/python scripts/board_docs.py build/boards/*

Each directory is a build. Only the text between `<!-- boards: builds -->` and `<!-- end -->` changes;
floor plans go to docs/floorplan-BOARD-CONFIGURATION.svg. `--cycles FILE` also makes the times of an
inference: FILE is JSON, {"BOARD": {"NETWORK": CYCLES}}, cycles as `sim/board.py` measures them.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "boards.md"
NETWORKS = ("resnet8_cifar10", "kws_dscnn", "vww_mobilenetv1_96", "ad_toycar_fc")
Builds = Sequence[tuple[str, Mapping[str, Any]]]
"""Boards with the summaries of their builds."""


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head, numbers stand right."""
    head, *body = rows
    lines = [head, ["---", *("---:" for _ in head[1:])], *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def builds_block(builds: Builds) -> str:
    """Return the table of builds, their tools and their pictures."""

    def of(kind: str, build: Mapping[str, Any]) -> str:
        return f"{build['used'][kind]:,} of {build['available'][kind]:,}"

    every = [build for _name, build in builds]
    rows = [
        ["", *(f"{b['board']}, `{b['config']}`" for b in every)],
        ["clock", *(f"{b['clock_mhz']:g} MHz" for b in every)],
        ["fmax (nextpnr)", *(f"{b['fmax_mhz']} MHz" for b in every)],
        ["timing", *("met" if b["timing_met"] else "**not met**" for b in every)],
        ["peak", *(f"{b['peak_gmacs']:.2f} GMAC/s" for b in every)],
        ["lookup tables", *(of("luts", b) for b in every)],
        ["flip-flops", *(of("flip_flops", b) for b in every)],
        ["DSP blocks", *(of("dsps", b) for b in every)],
        ["block RAMs", *(of("rams", b) for b in every)],
        ["seed", *(str(b["seed"]) for b in every)],
    ]
    tools = {f"{n} {v}": None for b in every for n, v in b["tools"].items()}
    pictures = "\n\n".join(
        f"![floor plan of {b['board']}, {b['config']}]({picture(name, b)})" for name, b in builds
    )
    return f"{table(rows)}\n\nTools: {', '.join(tools)}.\n\n{pictures}"


def times_block(builds: Builds, cycles: Mapping[str, Mapping[str, int]]) -> str:
    """Return the table of times: measured cycles divided by the clocks that were reached."""
    simulated = [(name, b) for name, b in builds if name in cycles]
    rows = [["network", *(f"{b['board']}, `{b['config']}`" for _name, b in simulated)]]
    for network in NETWORKS:
        row = [network]
        for name, build in simulated:
            count = cycles[name].get(network)
            mhz = build["clock_mhz"]
            row.append("-" if count is None else f"{count:,} cycles, {count / mhz / 1e3:.3f} ms")
        rows.append(row)
    return table(rows)


def picture(name: str, build: Mapping[str, Any]) -> str:
    """Return the file of a build's floor plan, beside the page."""
    return f"floorplan-{name}-{build['config']}.svg"


def replaced(page: str, block: str, content: str) -> str:
    """Return a page with the text of one block replaced."""
    pattern = rf"(<!-- boards: {block} -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda m: f"{m[1]}{content}\n{m[2]}", page, flags=re.DOTALL)


def main() -> int:
    """Write the blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("builds", nargs="+", type=Path, metavar="DIR", help="what accel build made")
    parser.add_argument("--cycles", type=Path, help="JSON file: cycles by board and network")
    options = parser.parse_args()
    builds = []
    for directory in options.builds:
        build = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        (verilog,) = directory.glob("systolite_*.v")
        name = verilog.stem.removeprefix("systolite_")
        builds.append((name, build))
        shutil.copy(directory / "floorplan.svg", PAGE.parent / picture(name, build))
    page = replaced(PAGE.read_text(encoding="utf-8"), "builds", builds_block(builds))
    if options.cycles:
        cycles = json.loads(options.cycles.read_text(encoding="utf-8"))
        page = replaced(page, "times", times_block(builds, cycles))
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
