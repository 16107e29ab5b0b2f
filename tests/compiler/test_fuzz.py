"""Mutated files: compiled or refused in one line, in seconds, within a gigabyte."""

import os
import time
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pytest

from accel.data import digits_model
from accel.errors import ModelError
from tests.fuzzing import MEMORY_BYTES, SECONDS, mutate, run_limited
from tests.random_models import KINDS, draw_case

FILES, CHUNK, MORE_FILES = 500, 125, 20_000


@cache
def third_party() -> tuple[Path, ...]:
    """Return the small networks and single layers of ACCEL_MODELS, if there are any."""
    root = Path(os.environ.get("ACCEL_MODELS", os.devnull))
    return tuple(sorted(root.glob("models/*.tflite")) + sorted(root.glob("layers/*.tflite")))


@lru_cache(maxsize=256)
def source(number: int) -> tuple[str, bytes]:
    """Return the file that a number's mutation starts from: generated, bundled or third-party."""
    if number < 0 or number % 50 == 0:
        return "digits", digits_model()
    paths = third_party()
    if number % 3 == 1 and paths:
        path = paths[number // 3 % len(paths)]
        return path.name, path.read_bytes()
    case = draw_case(number % 400, operator=sorted(KINDS)[number % len(KINDS)])
    return "+".join(case.operators), case.model


def mutated(number: int) -> tuple[str, bytes]:
    """Return a mutated file; for -1 one that is sound."""
    name, content = source(number)
    return name, content if number < 0 else mutate(content, number)


def check(numbers: range) -> None:
    outcome = run_limited(mutated, numbers)
    assert not outcome.problems, "\n".join(outcome.problems)
    assert outcome.slowest < SECONDS
    assert outcome.grown_bytes < MEMORY_BYTES
    assert outcome.compiled + outcome.lowered + outcome.refused == len(numbers)
    # Mutations that all fail at the first check, or that change nothing, would show little.
    assert outcome.refused > len(numbers) // 4
    assert len(set(outcome.messages)) > len(numbers) // 20


@pytest.mark.parametrize("start", range(0, FILES, CHUNK))
def test_mutated_files(start):
    check(range(start, start + CHUNK))


@pytest.mark.full
@pytest.mark.parametrize("start", range(FILES, MORE_FILES, 1500))
def test_more_mutated_files(start):
    check(range(start, min(start + 1500, MORE_FILES)))


def misbehave(name: str, content: bytes) -> bool:
    """Do what the file says: stand for a compiler with every kind of fault."""
    fault = content.decode()
    if fault == "slow":
        while time.process_time() < 60:
            pass
    elif fault == "asleep":
        time.sleep(40)
    elif fault == "large":
        return len(np.ones(3 << 25, np.int8)) > 0
    elif fault == "huge":
        return len(np.ones(1 << 34, np.int8)) > 0
    elif fault == "error":
        raise ModelError("two\nlines")
    elif fault == "bug":
        raise KeyError(name)
    elif fault == "death":
        os.abort()
    return True


FAULTS = ("fine", "slow", "asleep", "large", "huge", "error", "bug")


def faulty(number: int) -> tuple[str, bytes]:
    fault = FAULTS[max(number, 0)]
    return fault, fault.encode()


def deadly(number: int) -> tuple[str, bytes]:
    return "death", b"death" if number == 3 else b"fine"


def test_faults_are_seen():
    outcome = run_limited(
        faulty, range(len(FAULTS)), task=misbehave, seconds=1, memory_bytes=1 << 26
    )
    assert [p.split("(")[1].split(")")[0] for p in outcome.problems] == list(FAULTS[1:])
    for problem, reason in zip(
        outcome.problems, ("1 s", "1 s", "took", "MemoryError", "message", "KeyError"), strict=True
    ):
        assert reason in problem
    with pytest.raises(RuntimeError, match="at file 3"):
        run_limited(deadly, range(5), task=misbehave)
