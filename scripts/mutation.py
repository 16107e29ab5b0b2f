"""Mutation score: how many seeded faults of the emitted Verilog the tests find.

    .venv/bin/python scripts/mutation.py [--mutants N] [--seed S] [--config C] [--json FILE]
                                         [--only N,N] [--jobs N] [--work DIR] [--resume]

Makes one netlist with all faults (mutation_netlist.py), builds one simulator of it, and runs the
tests of suite.py for each fault until one fails. A fault that all of them pass is equivalent where a
proof says so (mutation_equivalence.py) or scripts/mutation_reviewed.toml, which says of each why
nothing can find it; others are survivors. The file is written after each fault: a run that was
stopped goes on with --resume. Exit status 1 when less than 95 % of those that can be found are.
"""

import argparse
import json
import sys
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mutation_battery import Battery, Verdict
from mutation_equivalence import is_redundant
from mutation_netlist import Mutant, MutationError, make_netlist

from accel.config import Config
from accel.errors import AccelError
from sim.devices.build import TOP, accelerator_verilog

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "mutation"
REVIEWED = Path(__file__).with_name("mutation_reviewed.toml")
GOAL = 0.95


def reviewed() -> dict[str, str]:
    """Return why a fault changes nothing that could be found, by its key."""
    entries = tomllib.loads(REVIEWED.read_text(encoding="utf-8")).get("fault", [])
    return {entry["key"]: entry["why"] for entry in entries}


def state_of(mutant: Mutant, verdict: Verdict, known: dict[str, str], work: Path) -> str:
    """Return killed, redundant (by proof), equivalent (by review) or survived."""
    if verdict.killed:
        return "killed"
    if mutant.key() in known:
        return "equivalent"
    return "redundant" if is_redundant(mutant, work) else "survived"


def score(states: Counter[str]) -> float:
    """Return the part of the faults that can be found which is."""
    return states["killed"] / max(states["killed"] + states["survived"], 1)


def table(rows: list[tuple[Mutant, str]]) -> str:
    """Return the figures by unit."""
    units: dict[str, Counter[str]] = {}
    for mutant, state in rows:
        units.setdefault(mutant.unit, Counter())[state] += 1
    columns = ("killed", "redundant", "equivalent", "survived")
    lines = [f"{'unit':12} faults  {'  '.join(columns)}  score"]
    total: Counter[str] = sum(units.values(), Counter())
    for unit, states in [*sorted(units.items()), ("all", total)]:
        counts = "  ".join(f"{states[column]:{len(column)}}" for column in columns)
        lines.append(f"{unit:12} {states.total():6}  {counts}  {score(states):.1%}")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=120, help="faults to seed (default 120)")
    parser.add_argument("--seed", type=int, default=2, help="of yosys' choice (default 2)")
    parser.add_argument("--config", default="test", help="preset or TOML file (default test)")
    parser.add_argument("--only", default="", help="numbers of faults to try, by commas")
    parser.add_argument("--jobs", type=int, default=1, help="faults side by side (default 1)")
    parser.add_argument("--work", type=Path, default=BUILD, help="directory for the work")
    parser.add_argument("--json", type=Path, help="file for all figures and faults")
    parser.add_argument("--resume", action="store_true", help="keep what the file has, but --only")
    return parser.parse_args()


class Records:
    """What became of each fault, kept in a file as it becomes known.

    Parameters
    ----------
    path : Path or None
        None to keep nothing.
    head : dict
        What else the file says.
    """

    def __init__(self, path: Path | None, head: dict[str, Any]) -> None:
        self._path, self._head = path, head
        self.faults: dict[int, dict[str, Any]] = {}

    def take(self, mutants: list[Mutant], known: dict[str, str]) -> None:
        """Take from the file what it says of faults that are the same now.

        Raises
        ------
        MutationError
            When it is of another configuration.
        """
        if self._path is None or not self._path.exists():
            return
        found = json.loads(self._path.read_text(encoding="utf-8"))
        if found["config"] != self._head["config"]:
            raise MutationError(f"{self._path} is of {found['config']}: name another file")
        keys = {mutant.key(): mutant.number for mutant in mutants}
        for record in found["faults"]:
            if record["key"] in keys:
                if record["state"] in ("survived", "equivalent"):
                    record["state"] = "equivalent" if record["key"] in known else "survived"
                self.faults[keys[record["key"]]] = record

    def add(self, mutant: Mutant, verdict: Verdict, state: str) -> None:
        """Add one, and write the file."""
        self.faults[mutant.number] = mutant.record() | vars(verdict) | {"state": state}
        self.write()

    def write(self) -> None:
        """Write the file, all at once."""
        if self._path is None:
            return
        faults = [self.faults[number] for number in sorted(self.faults)]
        states = Counter(fault["state"] for fault in faults)
        partial = self._path.with_suffix(".partial")
        figures = self._head | {"states": states, "faults": faults}
        partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        partial.replace(self._path)


def try_all(
    mutants: list[Mutant], battery: Battery, records: Records, known: dict[str, str], jobs: int
) -> None:
    """Run the tests with each fault, and record and print what became of it."""
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = pool.map(lambda mutant: battery.judge(mutant.number), mutants)
        for mutant, verdict in zip(mutants, verdicts, strict=True):
            state = state_of(mutant, verdict, known, battery.directory)
            records.add(mutant, verdict, state)
            what = verdict.test.rpartition("::")[2] or mutant.key()
            how = f" ({verdict.how})" if verdict.how not in ("", "failed") else ""
            print(f"{mutant.number:4} {verdict.seconds:6.1f} s {state:10} {what}{how}", flush=True)


def main() -> int:
    """Run the command line; return the exit status."""
    args = parse()
    config = Config.load(args.config)
    known = reviewed()
    records = Records(args.json, {"config": config.name, "seed": args.seed})
    begin = time.monotonic()
    try:
        verilog = accelerator_verilog(config).read_text(encoding="utf-8")
        netlist, mutants = make_netlist(
            verilog, top=TOP, count=args.mutants, seed=args.seed, directory=args.work
        )
        if args.resume:
            records.take(mutants, known)
        only = {int(number) for number in args.only.split(",") if number}
        tried = [m for m in mutants if m.number in (only or {m.number} - records.faults.keys())]
        print(f"{len(mutants)} faults, {len(tried)} to be tried", flush=True)
        if tried:
            battery = Battery(config, netlist, args.work)
            battery.rehearse()
            print(f"the tests take {battery.seconds:.0f} s without a fault", flush=True)
            try_all(tried, battery, records, known, args.jobs)
    except (MutationError, AccelError) as error:
        print(error, file=sys.stderr)
        return 1
    records.write()
    faults = records.faults
    rows = [(m, faults[m.number]["state"]) for m in mutants if m.number in faults]
    print(table(rows))
    states = Counter(state for _, state in rows)
    print(f"score {score(states):.1%}, seed {args.seed}, {time.monotonic() - begin:.0f} s")
    return 0 if score(states) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
