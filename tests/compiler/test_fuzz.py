"""Mutated files: compiled or refused in one line, in seconds, within a gigabyte."""

import os
from functools import cache, lru_cache
from pathlib import Path

import pytest

from accel.data import digits_model
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


def test_limits_are_kept():
    """The process tells of an error, of time, of memory and of its death."""
    outcome = run_limited(_bad_source, range(2))
    assert len(outcome.problems) == 1
    assert "ZeroDivisionError" in outcome.problems[0] or outcome.problems


def _bad_source(number: int) -> tuple[str, bytes]:
    return source(-1)


assert pytest
