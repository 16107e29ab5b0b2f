"""`accel flash` with programmers that only write down how they were called."""

from pathlib import Path

import pytest

from accel.cli import main
from boards.programmer import PROGRAMMERS

CALLS = {
    "ulx3s": "openFPGALoader -b ulx3s -m build/top.bit",
    "icebreaker": "iceprog build/top.bin",
    "tangnano9k": "openFPGALoader -b tangnano9k build/top.fs",
    "tangnano20k": "openFPGALoader -b tangnano20k build/top.fs",
    "tangprimer20k": "openFPGALoader -b tangprimer20k build/top.fs",
}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return a directory with an empty `build`, and nothing on PATH but its `bin`."""
    monkeypatch.chdir(tmp_path)
    for name in ("build", "bin"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("OPENFPGALOADER", "ICEPROG"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def install(path, status=0):
    """Install a programmer that writes its name and arguments to `calls`."""
    script = f'#!/bin/sh\necho "{path.name} $*" >> {path.parent.parent}/calls\nexit {status}\n'
    path.write_text(script)
    path.chmod(0o755)


def error(capfd, *arguments):
    assert main(["flash", *arguments]) == 2
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err.removeprefix("accel: error: ").rstrip()


@pytest.mark.parametrize("board", PROGRAMMERS)
def test_every_board(capfd, work, board):
    name, *_, bitstream = CALLS[board].split()
    Path(bitstream).write_bytes(b"bits")
    install(work / "bin" / name)
    assert main(["flash", board, "build"]) == 0
    assert (work / "calls").read_text() == f"{CALLS[board]}\n"
    assert capfd.readouterr().out == f"{board}: loaded {bitstream}\n"


def test_another_programmer_that_can_do_it(capfd, work):
    Path("build/top.bin").write_bytes(b"bits")
    install(work / "bin" / "openFPGALoader")
    assert main(["flash", "icebreaker", "build"]) == 0
    assert (work / "calls").read_text() == "openFPGALoader -b ice40_generic build/top.bin\n"


def test_a_programmer_elsewhere(work, monkeypatch):
    Path("build/top.bit").write_bytes(b"bits")
    install(work / "build" / "loader")
    monkeypatch.setenv("OPENFPGALOADER", str(work / "build" / "loader"))
    assert main(["flash", "ulx3s", "build"]) == 0
    assert (work / "calls").read_text() == "loader -b ulx3s -m build/top.bit\n"


def test_a_missing_programmer(capfd, work):
    Path("build/top.bit").write_bytes(b"bits")
    Path("build/top.bin").write_bytes(b"bits")
    assert error(capfd, "ulx3s", "build") == (
        "ulx3s is flashed with openFPGALoader, which is missing: apt install openfpgaloader, or "
        "brew install openfpgaloader"
    )
    message = error(capfd, "icebreaker", "build")
    assert message.startswith("icebreaker is flashed with iceprog, which is missing: apt install")


def test_what_else_can_be_wrong(capfd, work):
    assert error(capfd, "de10", "build") == f"unknown board de10: use {', '.join(PROGRAMMERS)}"
    message = error(capfd, "ulx3s", "nowhere")
    assert message == ("there is no directory nowhere: make one with accel build ulx3s -o nowhere")
    Path("build/top.fs").write_bytes(b"bits")
    message = error(capfd, "ulx3s", "build")
    assert message.startswith("build holds no bitstream (*.bit) for ulx3s: make one with accel bu")
    for name in "ab":
        Path(f"build/{name}.bit").write_bytes(b"bits")
    message = error(capfd, "ulx3s", "build")
    assert message == "build holds several bitstreams (a.bit, b.bit): leave one there"


def test_a_programmer_that_fails(capfd, work):
    Path("build/top.fs").write_bytes(b"bits")
    install(work / "bin" / "openFPGALoader", status=3)
    message = error(capfd, "tangnano9k", "build")
    assert message.startswith("openFPGALoader failed with exit status 3: is tangnano9k plugged in")
    (work / "bin" / "openFPGALoader").write_text("#!/no/such/interpreter\n")
    assert error(capfd, "tangnano9k", "build").startswith("cannot run ")
