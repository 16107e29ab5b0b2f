"""The slowest paths of a routed design, from the delays that nextpnr writes (SDF)."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SlowPath", "cell_name", "slowest_paths", "unit_name"]

_CLOCK = re.compile(r"CLK\w?|WCK|CK|C|RCLK|WCLK")
_NUMBERS = r"\(([-\d.:]+)\)"
_WIRE = re.compile(rf"\(INTERCONNECT (\S+) (\S+) {_NUMBERS}")
_ARC = re.compile(rf"\(IOPATH (?:\(\w+ )?(\S+?)\)? (\S+) {_NUMBERS}")
_CHECK = re.compile(rf"\(SETUPHOLD \(\w+ (\S+)\) \(\w+ \S+\) {_NUMBERS}")
_PRIMITIVE = re.compile(r"_(TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|SB_|DFF|LUT|ALU|MUX2).*|\$.*")


@dataclass(frozen=True)
class SlowPath:
    """The slowest path between two registers, or two groups of registers of one name.

    Parameters
    ----------
    delay : float
        Nanoseconds, from the clock's edge to the end of the setup time.
    wires : float
        What wires take of it.
    hops : int
        Wires on it; those inside a carry chain count, too.
    source, target : str
        Names of the registers.
    """

    delay: float
    wires: float
    hops: int
    source: str
    target: str


def cell_name(cell: str) -> str:
    """Return a readable name for a cell: that of the signal it drives, with its unit."""
    return _PRIMITIVE.sub("", cell.replace("/", ".").removeprefix("dut."))


def unit_name(cell: str) -> str:
    """Return the unit that a cell is in: the name without its last part."""
    return cell_name(cell).rpartition(".")[0] or "the top"


def slowest_paths(sdf: Path, count: int) -> list[SlowPath]:
    """Return the slowest path between each pair of register groups, slowest first.

    Parameters
    ----------
    sdf : Path
        Delays of one design with one clock.
    count : int
        Paths to return. Numbers in names do not tell groups apart: cell_0_1 is one with cell_3_2.
    """
    into: dict[str, list[tuple[str, float, bool]]] = defaultdict(list)
    starts: dict[str, float] = {}
    setups: dict[str, float] = {}
    instance = ""
    with sdf.open() as lines:
        for raw in lines:
            line = raw.strip().replace("\\", "")
            if match := _WIRE.match(line):
                into[match[2]].append((match[1], _slowest(match[3]), True))
            elif line.startswith("(INSTANCE"):
                instance = line[len("(INSTANCE") : -1].strip()
            elif match := _ARC.match(line):
                source, target = f"{instance}/{match[1]}", f"{instance}/{match[2]}"
                if _CLOCK.fullmatch(match[1]):
                    starts[target] = max(starts.get(target, 0.0), _slowest(match[3]))
                else:
                    into[target].append((source, _slowest(match[3]), False))
            elif match := _CHECK.match(line):
                setups[f"{instance}/{match[1]}"] = _slowest(match[2])

    arrivals = _arrivals(into, starts, setups)
    worst: dict[tuple[str, str], SlowPath] = {}
    for pin, setup in setups.items():
        arrival = arrivals[pin]
        if arrival is None:
            continue
        delay, wires, hops, source = arrival
        path = SlowPath(delay + setup, wires, hops, _group(source), _group(pin))
        key = path.source, path.target
        if key not in worst or path.delay > worst[key].delay:
            worst[key] = path
    return sorted(worst.values(), key=lambda path: -path.delay)[:count]


def _slowest(numbers: str) -> float:
    """Return the largest of an SDF triple of picoseconds, in nanoseconds."""
    return float(numbers.split(":")[-1]) / 1000


def _group(pin: str) -> str:
    return re.sub(r"\d+", "*", cell_name(pin.rpartition("/")[0]))


_Arrival = tuple[float, float, int, str]


def _arrivals(
    into: dict[str, list[tuple[str, float, bool]]], starts: dict[str, float], ends: dict[str, float]
) -> dict[str, _Arrival | None]:
    """Return when signals come to each pin: delay, wires, hops and the pin they come from."""
    arrivals: dict[str, _Arrival | None] = {}
    for end in ends:
        # Depth first without recursion: carry chains are long.
        stack = [end]
        while stack:
            pin = stack[-1]
            edges = into.get(pin, [])
            open_pins = [source for source, *_ in edges if source not in arrivals]
            if pin not in arrivals and open_pins:
                stack += open_pins
                continue
            stack.pop()
            best = (starts[pin], 0.0, 0, pin) if pin in starts else None
            for source, delay, wire in edges:
                before = arrivals[source]
                if before is not None and (best is None or before[0] + delay > best[0]):
                    part = delay if wire else 0.0
                    best = (before[0] + delay, before[1] + part, before[2] + wire, before[3])
            arrivals[pin] = best
    return arrivals
