"""What `accel build` says of a build: size by unit, clock, tools, configuration."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accel.config import Config
from boards.devices import Device
from boards.flow import parse_report
from boards.paths import cell_name
from boards.placement import KINDS, PlacedCell, count_units

__all__ = ["Clock", "Summary", "clocks_of", "summarise", "available_in"]

_HEADINGS = {"luts": "LUT4", "flip_flops": "FF", "dsps": "DSP", "rams": "block RAM"}


@dataclass(frozen=True)
class Clock:
    """One clock net, as nextpnr reports it.

    Parameters
    ----------
    net : str
    achieved_mhz, constraint_mhz : float
        What it may run at, and what was asked for.
    """

    net: str
    achieved_mhz: float
    constraint_mhz: float

    @property
    def met(self) -> bool:
        """Whether timing is met."""
        return self.achieved_mhz >= self.constraint_mhz


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A build; its fields are those of `summary.json`.

    Parameters
    ----------
    board, device, config : str
    fingerprint : str
        Of the configuration, in hexadecimal.
    fields : mapping of str to object
        The configuration.
    clock_mhz : float
        What the PLL makes of the crystal.
    fmax_mhz : float
        What the system clock may run at, by nextpnr's model of the part.
    timing_met : bool
        Of all clocks.
    baud, seed : int
    macs_per_cycle : int
    peak_gmacs : float
        Multiply-accumulates per second, 10^9, at `clock_mhz`.
    used, available : mapping of str to int
        Of each kind of cell.
    units : mapping of str to mapping of str to int
        The same by unit.
    critical_path : tuple of str
        Its ends and its delays.
    tools : mapping of str to str
        Versions.
    bitstream : str, optional
        File; None when timing is not met.
    """

    board: str
    device: str
    config: str
    fingerprint: str
    fields: Mapping[str, Any]
    clock_mhz: float
    fmax_mhz: float
    timing_met: bool
    baud: int
    seed: int
    macs_per_cycle: int
    peak_gmacs: float
    used: Mapping[str, int]
    available: Mapping[str, int]
    units: Mapping[str, Mapping[str, int]]
    critical_path: Mapping[str, Any]
    tools: Mapping[str, str]
    bitstream: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what `summary.json` holds."""
        return dataclasses.asdict(self)

    def to_text(self) -> str:
        """Return what `summary.txt` holds."""
        verdict = "timing met" if self.timing_met else "TIMING NOT MET"
        path = self.critical_path
        title = f"{self.board}, configuration {self.config} (fingerprint {self.fingerprint})"
        speed = f"{self.macs_per_cycle} MACs per cycle, {self.peak_gmacs:.2f} GMAC/s peak"
        ends = f"critical path {path['from']} -> {path['to']}"
        lines = [
            f"{title}, seed {self.seed}",
            f"clock {self.clock_mhz:.2f} MHz, fmax {self.fmax_mhz:.2f} MHz: {verdict}",
            f"{speed}; host link {self.baud} baud",
            f"{ends}: {path['ns']:.2f} ns, {path['wires_ns']:.2f} in wires",
            "",
            f"{'unit':28}" + "".join(f"{_HEADINGS[kind]:>10}" for kind in KINDS),
        ]
        for unit, counts in self.units.items():
            lines.append(f"{unit:28}" + "".join(f"{counts[kind]:10,}" for kind in KINDS))
        lines.append(f"{'all':28}" + "".join(f"{self.used[kind]:10,}" for kind in KINDS))
        lines.append(f"{'the part has':28}" + "".join(f"{self.available[k]:10,}" for k in KINDS))
        lines += ["", ", ".join(f"{name} {number}" for name, number in self.tools.items())]
        return "\n".join(line.rstrip() for line in lines) + "\n"


def clocks_of(report: Mapping[str, Any]) -> list[Clock]:
    """Return the clocks in nextpnr's JSON report, the one with least to spare first.

    Raises
    ------
    ValueError
        When there is none.
    """
    clocks = [
        Clock(net, figures["achieved"], figures["constraint"])
        for net, figures in report.get("fmax", {}).items()
    ]
    if not clocks:
        raise ValueError("nextpnr reports no clock")
    return sorted(clocks, key=lambda clock: clock.achieved_mhz / clock.constraint_mhz)


def available_in(device: Device, report: Mapping[str, Any]) -> dict[str, int]:
    """Return what the part has of each kind, from nextpnr's JSON report.

    Several types of one kind are ways to use the same cells: the most that any makes of them.
    """
    cells = report["utilization"]
    has = {
        kind: max(
            (
                cells[name]["available"] * weight
                for name, weight in getattr(device, kind).items()
                if name in cells
            ),
            default=0,
        )
        for kind in KINDS
    }
    # Where a logic cell is a lookup table and a flip-flop, nextpnr counts it once.
    return has | {"flip_flops": has["flip_flops"] or has["luts"]}


def summarise(
    *,
    board: str,
    part: str,
    device: Device,
    config: Config,
    clock_mhz: float,
    baud: int,
    seed: int,
    report: Mapping[str, Any],
    cells: Sequence[PlacedCell],
    tools: Mapping[str, str],
    bitstream: str,
) -> Summary:
    """Return the summary of a build that was placed and routed.

    Raises
    ------
    ValueError
        When nextpnr's report holds no clock.
    """
    clocks = clocks_of(report)
    met = all(clock.met for clock in clocks)
    units = count_units(device, cells)
    ends = f"posedge {clocks[0].net}"
    slowest = [p for p in report.get("critical_paths", []) if p["from"] == p["to"] == ends]
    steps = parse_report({**report, "critical_paths": slowest}).path
    path = {
        "from": cell_name(steps[0].cell) if steps else "",
        "to": cell_name(steps[-1].cell) if steps else "",
        "ns": round(sum(step.delay for step in steps), 3),
        "wires_ns": round(sum(step.delay for step in steps if step.kind == "routing"), 3),
    }
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    del fields["name"]
    return Summary(
        board=board,
        device=part,
        config=config.name,
        fingerprint=f"{config.fingerprint:#010x}",
        fields=fields,
        clock_mhz=round(clock_mhz, 4),
        fmax_mhz=round(clocks[0].achieved_mhz, 2),
        timing_met=met,
        baud=baud,
        seed=seed,
        macs_per_cycle=config.macs_per_cycle,
        peak_gmacs=round(config.macs_per_cycle * clock_mhz / 1000, 3),
        used={kind: sum(counts[kind] for counts in units.values()) for kind in KINDS},
        available=available_in(device, report),
        units=units,
        critical_path=path,
        tools=tools,
        bitstream=bitstream if met else None,
    )
