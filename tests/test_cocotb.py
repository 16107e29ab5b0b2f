"""The shipped cocotb benches, run as `accel cocotb` runs them."""

import dataclasses
from pathlib import Path

import pytest

from accel.config import PRESETS
from accel.errors import AccelError, DeviceError
from sim.benches import runner
from sim.benches.registry import BENCHES
from sim.benches.runner import run_bench, simulator_problem

BUILD = Path(__file__).parents[1] / "build" / "cocotb"

# The largest word sizes and the odd one, narrower and wider than the bus.
DMA_CONFIGS = {
    bits: dataclasses.replace(
        PRESETS["test"],
        bus_bits=bits,
        rows=rows,
        cols=cols,
        scratchpad_bytes=128 * 32,
        weight_bytes=128 * 32,
    )
    for bits, rows, cols in ((32, 12, 32), (64, 4, 12), (128, 8, 32))
}


def check(name, config, simulator):
    problem = simulator_problem(simulator)
    if problem:
        pytest.skip(problem)
    result = run_bench(name, config, simulator, build_dir=BUILD)
    assert result.tests > 0
    assert result.failed == 0, result.log.read_text(encoding="utf-8")


# Verilator builds for half a minute what Icarus starts at once: where both are, all three widths
# run under Icarus and one under Verilator.
BUILD_TWICE = pytest.mark.full if simulator_problem("icarus") is None else ()


@pytest.mark.parametrize(
    ("bits", "simulator"),
    [
        pytest.param(
            bits, simulator, marks=BUILD_TWICE if simulator == "verilator" and bits != 64 else ()
        )
        for bits in DMA_CONFIGS
        for simulator in runner.SIMULATORS
    ],
)
def test_dma(bits, simulator):
    check("dma", DMA_CONFIGS[bits], simulator)


@pytest.mark.parametrize("simulator", runner.SIMULATORS)
@pytest.mark.parametrize("name", [name for name in BENCHES if name != "dma"])
def test_bench(name, simulator):
    check(name, PRESETS["test"], simulator)


@pytest.mark.parametrize(
    ("name", "simulator", "message"),
    [
        ("nothing", "verilator", "unknown bench nothing: use .*dma"),
        ("dma", "questa", "unknown simulator questa: use verilator or icarus"),
    ],
)
def test_unknown_names_are_one_line(name, simulator, message, tmp_path):
    with pytest.raises(AccelError, match=message):
        run_bench(name, PRESETS["test"], simulator, build_dir=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_missing_icarus_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(runner.shutil, "which", lambda tool: None)
    with pytest.raises(DeviceError, match="iverilog is not installed: .* or use verilator"):
        run_bench("dma", PRESETS["test"], "icarus", build_dir=tmp_path)
