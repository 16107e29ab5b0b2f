"""Seeded faults: the netlist that has them all, and the score of a few of them."""

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from accel.gateware.export import emit_verilog
from accel.gateware.fifo import Fifo

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scripts():
    """Return what imports a module of scripts/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module


@pytest.fixture(scope="module")
def netlist(scripts, tmp_path_factory):
    directory = tmp_path_factory.mktemp("mutation") / "work"
    verilog = emit_verilog(Fifo(shape=8, depth=4), name="systolite")
    make = scripts("mutation_netlist").make_netlist
    path, mutants = make(verilog, top="systolite", count=20, seed=1, directory=directory)
    return verilog, path.read_text(), mutants


def test_every_fault_has_its_number_in_one_netlist(netlist):
    verilog, text, mutants = netlist
    assert [mutant.number for mutant in mutants] == list(range(1, 21))
    assert {mutant.unit for mutant in mutants} == {"top"}
    assert {mutant.mode for mutant in mutants} >= {"inv", "const0", "const1", "cnot1"}
    # yosys compares the input with the number of each.
    compared = re.findall(r"mutant_select == 5'h(\w\w)", text)
    assert {int(number, 16) for number in compared} == set(range(1, 21))
    lines = [line.strip() for line in verilog.splitlines()]
    for mutant in mutants:
        assert mutant.source and mutant.source[0] in lines
    assert len({mutant.key() for mutant in mutants}) == 20


def test_it_has_the_ports_of_the_emitted_one(netlist):
    verilog, text, _ = netlist
    head = re.compile(r"^module systolite\(.*?\);", re.M | re.S)
    assert head.findall(text) == head.findall(verilog)
    assert 'getenv("SYSTOLITE_MUTANT")' in text.replace("\\", "")


def test_a_fault_that_was_reviewed_does_not_count(scripts, netlist, monkeypatch):
    mutation = scripts("mutation")
    verdict = scripts("mutation_battery").Verdict
    one, other = netlist[2][:2]
    survived, killed = verdict(False, "", "", 1.0), verdict(True, "t", "failed", 1.0)
    assert mutation.state_of(one, killed, {one.key(): ""}, Path()) == "killed"
    assert mutation.state_of(one, survived, {one.key(): "no reader"}, Path()) == "equivalent"
    monkeypatch.setattr(mutation, "is_redundant", lambda *_: False)
    assert mutation.state_of(other, survived, {one.key(): "no reader"}, Path()) == "survived"
    assert mutation.score(Counter(killed=19, survived=1, equivalent=9)) == 0.95
    rows = [(one, "equivalent"), (other, "killed")]
    assert mutation.table(rows).splitlines()[-1].split() == "all 2 1 0 1 0 100.0%".split()


def test_a_run_that_was_stopped_goes_on(scripts, netlist, tmp_path):
    mutation = scripts("mutation")
    verdict = scripts("mutation_battery").Verdict
    path, mutants = tmp_path / "faults.json", netlist[2]
    first = mutation.Records(path, {"config": "test"})
    for mutant, state in zip(mutants[:3], ("killed", "survived", "survived"), strict=True):
        first.add(mutant, verdict(state == "killed", "", "", 1.0), state)
    # The faults are the same under other numbers, and one has been reviewed meanwhile.
    later = [dataclasses.replace(mutant, number=mutant.number + 5) for mutant in mutants[1:]]
    second = mutation.Records(path, {"config": "test"})
    second.take(later, {mutants[1].key(): "no reader"})
    states = {number: fault["state"] for number, fault in second.faults.items()}
    assert states == {7: "equivalent", 8: "survived"}
    other = mutation.Records(path, {"config": "small"})
    with pytest.raises(scripts("mutation_netlist").MutationError, match="of test"):
        other.take(later, {})


def test_a_fault_of_redundant_logic_is_proven(scripts, tmp_path):
    verilog = """module systolite(input clk, input [1:0] a, output x, output reg y);
  wire [1:0] b;
  assign b = a;
  assign x = & b;
  always @(posedge clk) y <= ^ a;
endmodule
"""
    work = tmp_path / "work"
    make = scripts("mutation_netlist").make_netlist
    _, mutants = make(verilog, top="systolite", count=60, seed=1, directory=work)
    one = next(mutant for mutant in mutants if mutant.cell.startswith("$reduce_and"))
    proven = scripts("mutation_equivalence").is_redundant
    for mode, redundant in (("cnot0", True), ("cnot1", False)):
        command = f"mutate -mode {mode} -module systolite -cell {one.cell} -port A"
        fault = dataclasses.replace(one, command=f"{command} -portbit 0 -ctrlbit 1")
        # Where the other bit is 0 the AND is 0 anyhow.
        assert proven(fault, work) == redundant


@pytest.mark.full
def test_a_few_faults_are_found(tmp_path, models):
    del models
    out = tmp_path / "out.json"
    # A process of its own: it changes the devices for good.
    script = [sys.executable, str(ROOT / "scripts" / "mutation.py"), "--mutants", "24"]
    options = ["--seed", "5", "--work", str(tmp_path / "work"), "--json", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*script, *options], cwd=ROOT, env=environment, check=False)
    states = json.loads(out.read_text())["states"]
    assert sum(states.values()) == 24 and states["killed"] >= 18
