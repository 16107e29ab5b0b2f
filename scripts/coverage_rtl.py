"""Line and branch coverage of the emitted Verilog under Verilator.

    .venv/bin/python scripts/coverage_rtl.py [--config C] [--full] [--json FILE] [--missing] [TEST ...]

Runs tests of the suite with a simulator of the configuration that counts, and tells for each module
how many of its lines and branches were reached in any of its places. Tests are what pytest takes;
by default those of suite.py, and with `--full` its long list, the tests of `make test-full` among
them.

Lines are Verilator's points: bodies of processes and assignments, arms of `case`. Branches are both
arms of each `if` and of each `?:`. The points of the block that starts `always @*` at time 0, and
the values of memories before it, are left out.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from suite import BATTERY, LONG_BATTERY, TestsOfConfiguration

import sim.devices.verilator as verilator
from accel.config import Config
from sim.devices.build import accelerator_verilog, build_library

VARIABLE = "SYSTOLITE_COVERAGE"
"""Environment variable that tells the simulators where to write."""


@dataclass(frozen=True, order=True)
class Point:
    """Something that can be reached: `kind` is Verilator's name for it."""

    module: str
    line: int
    column: int
    kind: str
    branch: bool


Counts = Counter[Point]


def read_counts(text: str) -> Counts:
    """Return how often each point was reached, over all places of a module, from a data file."""
    counts: Counts = Counter()
    for match in re.finditer(r"^C '([^']*)' (\d+)$", text, re.M):
        fields = dict(item.split("\x02", 1) for item in match[1].split("\x01") if item)
        page, _, module = fields["page"].partition("/")
        place = int(fields["l"]), int(fields["n"])
        counts[Point(module, *place, fields["o"], page == "v_branch")] += int(match[2])
    return counts


def ignored(point: Point, lines: list[str]) -> bool:
    """Return whether a point is of no interest: what starts processes, and initial values."""
    line = lines[point.line - 1]
    return "_start_" in line or line.lstrip().startswith(("initial", "for (i"))


class Gatherer(TestsOfConfiguration):
    """Plugin of pytest: gives the device the simulator that counts, and adds up what it counts.

    Parameters
    ----------
    config : Config
    directory : Path
        Where the simulators write.

    Members
    -------
    counts : Counter of Point
    tests : int
        That were run.
    """

    def __init__(self, config: Config, directory: Path) -> None:
        super().__init__(config, {"icarus"})
        self.counts: Counts = Counter()
        self.tests = 0
        self._directory = directory
        verilog = accelerator_verilog(config).read_text(encoding="utf-8")
        counting = partial(build_library, coverage=True)

        def build(text: str, **options: Any) -> Path:
            plain = text != verilog or options["trace"]
            return (build_library if plain else counting)(text, **options)

        os.environ[VARIABLE] = str(directory)
        mock.patch.object(verilator, "build_library", build).start()

    def pytest_runtest_logfinish(self) -> None:
        """Add what simulators have written since the last test."""
        self.tests += 1
        self.gather()

    def gather(self) -> None:
        """Add what simulators have written, and remove it."""
        for path in self._directory.glob("*.dat"):
            self.counts.update(read_counts(path.read_text(encoding="latin-1")))
            path.unlink()


def part(counts: Counts, points: Iterable[Point]) -> str:
    """Return how many of the points were reached."""
    reached = [bool(counts[point]) for point in points]
    share = sum(reached) / len(reached) if reached else 1.0
    return f"{sum(reached):5}/{len(reached):5} {share:7.1%}"


def report(counts: Counts) -> str:
    """Return the figures by module, and their sum."""
    modules = sorted({point.module for point in counts})
    rows = [f"{'module':44} {'lines':>19} {'branches':>19}"]
    for name, chosen in [(m, [p for p in counts if p.module == m]) for m in modules] + [
        ("all", list(counts))
    ]:
        lines, branches = (
            part(counts, [p for p in chosen if p.branch == b]) for b in (False, True)
        )
        rows.append(f"{name:44} {lines} {branches}")
    return "\n".join(rows)


def missing(counts: Counts, lines: list[str]) -> list[str]:
    """Return a line of text for each point that was not reached."""
    return [
        f"{p.module}:{p.line} {p.kind}: {lines[p.line - 1].strip()}"
        for p in sorted(counts)
        if not counts[p]
    ]


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tests", nargs="*", metavar="TEST", help="by default those of suite.py")
    parser.add_argument("--config", default="test", help="preset or TOML file (default test)")
    parser.add_argument("--full", action="store_true", help="the long tests too")
    parser.add_argument("--missing", action="store_true", help="list what was not reached")
    parser.add_argument("--json", type=Path, help="file for all points and their counts")
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit status: 0 when all tests passed."""
    args = parse()
    config = Config.load(args.config)
    lines = accelerator_verilog(config).read_text(encoding="utf-8").splitlines()
    # The simulator is built from the text below the header.
    while lines[0].startswith("//"):
        del lines[0]
    with tempfile.TemporaryDirectory(prefix="systolite-coverage-") as scratch:
        gatherer = Gatherer(config, Path(scratch))
        tests = args.tests or (LONG_BATTERY if args.full else BATTERY)
        options = ["-q", "-p", "no:cacheprovider", *(["-m", "full or not full"] * args.full)]
        status = int(pytest.main([*options, *tests], [gatherer]))
        gatherer.gather()
    counts = Counter({p: n for p, n in gatherer.counts.items() if not ignored(p, lines)})
    print(report(counts))
    print(f"configuration {config.name}, {gatherer.tests} tests")
    if args.missing:
        print("\n".join(missing(counts, lines)))
    if args.json:
        points = [[p.module, p.line, p.kind, lines[p.line - 1].strip(), counts[p]] for p in counts]
        args.json.write_text(json.dumps(points, indent=0) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
