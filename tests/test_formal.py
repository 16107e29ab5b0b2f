"""Formal proofs: all seeded bugs can be sown, and the quick proofs of `make formal`."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def formal(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    module = importlib.import_module("formal")
    monkeypatch.setattr(module, "BUILD", tmp_path)
    return module


def test_every_seed_can_be_sown_and_every_file_is_used(formal, tmp_path):
    for proof in formal.PROOFS:
        assert formal.properties(proof), proof.name
        assert proof.seeds, proof.name
        for number, seed in enumerate(proof.seeds):
            formal.seeded_tree(seed, tmp_path / f"{proof.name}{number}")
    names = [proof.name for proof in formal.PROOFS]
    assert len(names) == len(set(names))
    used = {file for proof in formal.PROOFS for file in proof.files.split()}
    used |= {file for proof in formal.PROOFS for file in proof.within.values()}
    assert used == {path.name for path in (ROOT / "tests" / "formal").iterdir()}


def test_quick_proofs_hold_and_find_their_bugs(formal):
    proofs = {proof.name: proof for proof in formal.PROOFS}
    quick = dataclasses.replace(proofs["tokens"], seeds=proofs["tokens"].seeds[:1])
    outcomes = formal.check([proofs["fifo"], quick])
    assert [outcome for outcome in outcomes if not outcome.good] == []
    assert len(outcomes) == 2 * 2 + len(proofs["fifo"].seeds) + 1


def test_a_bug_that_survives_is_told(formal, capsys):
    (fifo,) = (proof for proof in formal.PROOFS if proof.name == "fifo")
    harmless = formal.Seed("none", "fifo.py", "level != self._depth - 1", "level != self._depth-1")
    formal.check([dataclasses.replace(fifo, seeds=(harmless,))], seeds="only")
    assert re.fullmatch(r"FAIL +\d+\.\d s  fifo: none: SURVIVED\n", capsys.readouterr().out)


def test_a_seed_whose_text_has_gone_says_so(formal, tmp_path):
    seed = formal.Seed("none", "fifo.py", "no such text", "")
    with pytest.raises(formal.FormalError, match="fifo.py holds 0 times 'no such text'"):
        formal.seeded_tree(seed, tmp_path / "tree")


def test_the_page_lists_the_proofs(formal):
    page = (ROOT / "docs" / "verification.md").read_text()
    for proof in formal.PROOFS:
        how = "proven" if proof.proven else f"bounded, {proof.depth} cycles"
        assert f"| {proof.name} | {how} | {proof.what} |" in page
