"""Mutation score: how many seeded faults of the emitted Verilog the tests find.

    .venv/bin/python scripts/mutation.py [--mutants N] [--seed S] [--config C] [--json FILE]
                                         [--only N,N] [--jobs N] [--work DIR]

Makes one netlist with all faults (mutation_netlist.py), builds one simulator of it, and runs the
tests of suite.py for each fault until one fails. A fault that all of them pass is equivalent where a
proof says so (mutation_equivalence.py) or scripts/mutation_reviewed.toml, which says of each why
nothing can find it; others are survivors. Exit status 1 when less than 95 % of those that can be
found are.
"""

import argparse
import json
import sys
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    parser.add_argument("--mutants", type=int, default=200, help="faults to seed (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="of yosys' choice (default 1)")
    parser.add_argument("--config", default="test", help="preset or TOML file (default test)")
    parser.add_argument("--only", default="", help="numbers of faults to try, by commas")
    parser.add_argument("--jobs", type=int, default=1, help="faults side by side (default 1)")
    parser.add_argument("--work", type=Path, default=BUILD, help="directory for the work")
    parser.add_argument("--json", type=Path, help="file for all figures and faults")
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit status."""
    args = parse()
    config = Config.load(args.config)
    known = reviewed()
    begin = time.monotonic()
    try:
        verilog = accelerator_verilog(config).read_text(encoding="utf-8")
        netlist, mutants = make_netlist(
            verilog, top=TOP, count=args.mutants, seed=args.seed, directory=args.work
        )
        battery = Battery(config, netlist, args.work)
        battery.rehearse()
    except (MutationError, AccelError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(mutants)} faults; the tests take {battery.seconds:.0f} s without one", flush=True)
    chosen = {int(n) for n in args.only.split(",")} if args.only else {m.number for m in mutants}
    tried = [mutant for mutant in mutants if mutant.number in chosen]
    rows, records = [], []
    with ThreadPoolExecutor(args.jobs) as pool:
        for mutant, verdict in zip(
            tried, pool.map(lambda m: battery.judge(m.number), tried), strict=True
        ):
            state = state_of(mutant, verdict, known, args.work)
            rows.append((mutant, state))
            records.append(mutant.record() | vars(verdict) | {"state": state})
            what = verdict.test.rpartition("::")[2] or mutant.key()
            how = f" ({verdict.how})" if verdict.how not in ("", "failed") else ""
            print(f"{mutant.number:4} {verdict.seconds:6.1f} s {state:10} {what}{how}", flush=True)
    print(table(rows))
    states = Counter(state for _, state in rows)
    print(f"score {score(states):.1%}, seed {args.seed}, {time.monotonic() - begin:.0f} s")
    if args.json:
        figures = {"config": config.name, "seed": args.seed, "states": states, "faults": records}
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if score(states) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
