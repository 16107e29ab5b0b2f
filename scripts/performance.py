"""Measures every figure of docs/performance.md and writes it there, into README.md and the roofline.

    .venv/bin/python scripts/performance.py [--check] [BLOCK ...]

Without blocks it makes all of them: two minutes, and more when simulators have to be built. The
networks are those in the directory that ACCEL_MODELS names. Only the text between marks changes:
`<!-- performance: BLOCK -->` up to `<!-- end -->`. With --check nothing is written; the exit status
is 1 when a block would change. Wall times (`speed`) are made only when they are asked for.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import performance_blocks as blocks
from performance_data import Measurements

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "roofline.svg"
MARKED = re.compile(r"(<!-- performance: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

BLOCKS: dict[str, Callable[[Measurements], str]] = {
    "tools": blocks.tools,
    "goals": blocks.goals,
    "peers": blocks.peers,
    "networks": blocks.networks,
    "port": blocks.port,
    "depthwise": blocks.depthwise,
    "choices": blocks.choices,
    "estimate": blocks.estimate,
    "layers": blocks.layers,
    "speed": blocks.speed,
    "readme": blocks.readme,
}
TIMED = {"speed"}
"""Blocks that differ from run to run."""


def replaced(text: str, wanted: set[str], data: Measurements) -> str:
    """Return a page with its marked blocks made anew."""

    def make(match: re.Match[str]) -> str:
        begin, name, old, end = match.groups()
        if name not in wanted:
            return f"{begin}{old}{end}"
        print(f"{name} ...", file=sys.stderr, flush=True)
        return f"{begin}{BLOCKS[name](data)}\n{end}"

    return MARKED.sub(make, text)


def main() -> int:
    """Make the blocks; 1 when something differs under --check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help=", ".join([*BLOCKS, "roofline"]))
    parser.add_argument("--check", action="store_true", help="write nothing, show what differs")
    options = parser.parse_args()
    unknown = set(options.blocks) - {*BLOCKS, "roofline"}
    if unknown:
        parser.error(f"unknown block {', '.join(sorted(unknown))}")
    if "ACCEL_MODELS" not in os.environ:
        parser.error("ACCEL_MODELS must name the directory with models/")
    wanted = set(options.blocks) or {*BLOCKS, "roofline"} - TIMED
    with Measurements(Path(os.environ["ACCEL_MODELS"], "models")) as data:
        pages = {
            page: replaced(page.read_text(encoding="utf-8"), wanted, data)
            for page in (ROOT / "docs" / "performance.md", ROOT / "README.md")
        }
        if "roofline" in wanted:
            pages[PICTURE] = blocks.roofline_picture(data)
    differs = False
    for page, text in pages.items():
        old = page.read_text(encoding="utf-8") if page.exists() else ""
        if text == old:
            continue
        differs = True
        name = str(page.relative_to(ROOT))
        if options.check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    old.splitlines(True), text.splitlines(True), name, f"{name} (measured)"
                )
            )
        else:
            page.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return int(options.check and differs)


if __name__ == "__main__":
    sys.exit(main())
