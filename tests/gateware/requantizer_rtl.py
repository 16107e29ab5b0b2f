"""The requantiser's Verilog, compiled by Verilator, over arrays of elements."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accel.gateware.export import emit_verilog
from accel.gateware.requantizer import Requantizer
from accel.numerics import wrap_int32
from sim.devices.build import verilator_root
from sim.devices.cache import cached_file, digest_of

__all__ = ["requantise_on_rtl"]

MAIN = Path(__file__).with_name("requantizer_main.cpp")
Int64Array = npt.NDArray[np.int64]


def _program() -> Path:
    """Return the simulator, built when it is not cached."""
    verilog = emit_verilog(Requantizer(), name="requantizer")
    key = digest_of([verilog, MAIN.read_bytes(), Path(__file__).read_bytes()])

    def make(path: Path) -> None:
        root = verilator_root()
        with tempfile.TemporaryDirectory(prefix="systolite-") as scratch:
            (Path(scratch) / "top.v").write_text(verilog, encoding="utf-8")
            subprocess.run(
                [root / "bin" / "verilator_bin", "--cc", "--prefix", "Vtop", "--no-timing"]
                + ["--top-module", "requantizer", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
                + ["--quiet", "-Wno-INITIALDLY"]
                + ["--Mdir", scratch, f"{scratch}/top.v"],
                env={**os.environ, "VERILATOR_ROOT": str(root)},
                check=True,
            )
            runtime = [root / "include" / f"verilated{part}.cpp" for part in ("", "_threads")]
            subprocess.run(
                [os.environ.get("CXX", "g++"), "-O1", "-std=c++17", "-w", "-DVERILATOR=1"]
                + [f"-DPERIOD={Requantizer.LATENCY}", f"-I{scratch}", f"-I{root}/include"]
                + [f"-I{root}/include/vltstd", *Path(scratch).glob("*.cpp"), *runtime, MAIN]
                + ["-lpthread", "-o", path],
                check=True,
            )

    return cached_file(f"{key}-requantizer", make)


def requantise_on_rtl(
    values: Int64Array, multipliers: Int64Array, shifts: Int64Array, zeros: Int64Array, seed: int
) -> npt.NDArray[np.int8]:
    """Return clamp(zeros + requantised values), each with its own multiplier, shift and zero.

    Random biases are taken off the values and given to the circuit.
    """
    bias = np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, len(values))
    record = np.zeros((len(values), 5), np.uint32)
    record[:, 0] = wrap_int32(values - bias) & 0xFFFFFFFF
    record[:, 1] = bias & 0xFFFFFFFF
    # The struct's fields from bit 0: bias, 31 bits of multiplier, 8 of shift.
    record[:, 2] = multipliers | (shifts & 1) << 31
    record[:, 3] = (shifts & 0xFF) >> 1
    record[:, 4] = (zeros & 0xFF) | 0x7F8000
    result = subprocess.run([_program()], input=record.tobytes(), capture_output=True, check=True)
    return np.frombuffer(result.stdout, np.int8)
