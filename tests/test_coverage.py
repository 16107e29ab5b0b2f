"""What the coverage script makes of Verilator's counts."""

import importlib
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

import sim.devices.verilator as verilator
from accel.config import PRESETS
from sim.devices.build import build_library
from sim.devices.verilator import VerilatorDevice

ROOT = Path(__file__).parents[1]


@pytest.fixture
def coverage(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("coverage_rtl")


def entry(line: int, column: int, page: str, kind: str, place: str, count: int) -> str:
    fields = {"f": "top.v", "l": line, "n": column, "page": page, "o": kind, "h": place}
    text = "".join(f"\x01{key}\x02{value}" for key, value in fields.items())
    return f"C '{text}' {count}\n"


def test_places_of_a_module_count_together(coverage):
    data = "# SystemC::Coverage-3\n"
    data += entry(3, 1, "v_branch/m", "if", "top.a", 0) + entry(
        3, 1, "v_branch/m", "if", "top.b", 4
    )
    data += entry(3, 2, "v_branch/m", "else", "top.a", 0) + entry(2, 5, "v_line/m", "block", "a", 7)
    counts = coverage.read_counts(data)
    assert sorted(counts.values()) == [0, 4, 7]
    lines = ["module m;", "assign a = b;", "if (c) d"]
    assert coverage.missing(counts, lines) == ["m:3 else: if (c) d"]
    assert (
        "m                                                1/    1  100.0%     1/    2   50.0%"
        in (coverage.report(counts))
    )


def test_what_starts_processes_is_left_out(coverage):
    lines = ["  initial _start_ <= 1;", "    if (_start_) begin end", "    if (a) b = 1;"]
    points = [coverage.Point("m", line, 1, "if", True) for line in (1, 2, 3)]
    assert [coverage.ignored(point, lines) for point in points] == [True, True, False]


def test_counts_of_runs_add_up(coverage):
    one = coverage.read_counts(entry(3, 1, "v_line/m", "block", "a", 0))
    total = Counter(one)
    total.update(coverage.read_counts(entry(3, 1, "v_line/m", "block", "a", 2)))
    total.update(one)
    assert list(total.values()) == [2]


def test_a_simulator_that_is_closed_writes_its_counts(coverage, monkeypatch, tmp_path):
    toy = (ROOT / "tests" / "sim" / "toy.v").read_text()
    monkeypatch.setenv(coverage.VARIABLE, str(tmp_path))
    monkeypatch.setattr(verilator, "build_library", partial(build_library, coverage=True))
    for expected in (1, 2):
        with VerilatorDevice(PRESETS["test"], verilog=toy) as device:
            device.advance(10)
        files = list(tmp_path.iterdir())
        assert len(files) == expected
    counts = coverage.read_counts(files[0].read_text(encoding="latin-1"))
    modules = {point.module for point in counts}
    assert modules == {"systolite"} and {point.branch for point in counts} == {False, True}
    # It was never started: not all of it is reached, and what is clocked 18 times or so.
    assert 0 in counts.values() and max(counts.values()) >= 10
