"""Random `.tflite` models of one or three operators, with the bytes that TFLM makes of them.

`draw_case(seed)` is a function of its seed alone. TensorFlow Lite Micro must accept a model:
otherwise it is drawn again from a derived seed, and the case says how often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tflite_micro.python.tflite_micro import runtime

import tests.random_shuffles  # noqa: F401  (registers its kinds)
from tests.random_draw import Draw, T
from tests.random_operators import KINDS, Kind

__all__ = ["KINDS", "Case", "draw_case", "run_tflm_all"]

SAMPLES = 3
"""Inferences of each case."""
MAX_TRIES = 50


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its inputs, and TFLM's outputs.

    Parameters
    ----------
    seed : int
    operators : tuple of str
        Those drawn, in order; SHAPE brings three more.
    tags : frozenset of str
        Extremes that it holds.
    model : bytes
    inputs, expected : tuple of array [SAMPLES, shape]
        One per input and output of the model.
    refused : int
        Draws that TFLM refused before this one.
    """

    seed: int
    operators: tuple[str, ...]
    tags: frozenset[str]
    model: bytes
    inputs: tuple[npt.NDArray[Any], ...]
    expected: tuple[npt.NDArray[Any], ...]
    refused: int


def run_tflm_all(
    model: bytes, inputs: Sequence[npt.NDArray[Any]], outputs: int
) -> list[npt.NDArray[Any]]:
    """Return every output of TensorFlow Lite Micro, stacked over stacked inputs.

    Raises
    ------
    RuntimeError
        When TFLM refuses the model.
    """
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    results: list[list[npt.NDArray[Any]]] = [[] for _ in range(outputs)]
    for sample in zip(*inputs, strict=True):
        for number, values in enumerate(sample):
            interpreter.set_input(values, number)
        interpreter.invoke()
        for number, result in enumerate(results):
            result.append(interpreter.get_output(number).copy())
    return [np.array(r) for r in results]


def draw_case(seed: int, *, operator: str | None = None, length: int | None = None) -> Case:
    """Return the case of a seed.

    Parameters
    ----------
    seed : int
    operator : str, optional
        The first operator; drawn where it is left out.
    length : int, optional
        Number of operators; 1 or, in a third of the cases, 3 where it is left out.
    """
    for refused in range(MAX_TRIES):
        d = Draw(seed * MAX_TRIES + refused)
        count = length or d.rng.choice((1, 1, 3))
        if operator is not None and KINDS[operator].place == "last":
            count = 1
        operators, tensors = _chain(d, operator, count)
        outputs = _outputs(d, tensors)
        model = d.build.build(d.inputs, outputs)
        inputs = tuple(d.data(t, SAMPLES) for t in d.inputs)
        try:
            expected = run_tflm_all(model, inputs, len(outputs))
        except RuntimeError:
            continue
        return Case(
            seed, tuple(operators), frozenset(d.tags), model, inputs, tuple(expected), refused
        )
    raise RuntimeError(f"TFLM refused {MAX_TRIES} draws of seed {seed}")


def _chain(d: Draw, operator: str | None, count: int) -> tuple[list[str], list[T]]:
    """Append operators, each reading an output of the last; return their names and outputs."""
    names: list[str] = []
    made: list[T] = []
    last: T | None = None
    for place in range(count):
        candidates = [k for k in KINDS.values() if _fits(k, last, place, count)]
        chosen = d.rng.choices(candidates, [k.weight for k in candidates])[0]
        if operator is not None and place == 0:
            chosen = KINDS[operator]
        results = chosen.function(d, last)
        names.append(chosen.name)
        made += results
        last = d.rng.choice(results)
    return names, made


def _fits(kind: Kind, last: T | None, place: int, count: int) -> bool:
    if kind.place == "last" and place != count - 1:
        return False
    return last is None or kind.accepts(last)


def _outputs(d: Draw, tensors: list[T]) -> list[T]:
    """Return the model's outputs: every result that nothing reads, sometimes one more."""
    results = [t for t in tensors if id(t) not in d.read or d.chance(0.1)]
    if len(results) > 1:
        d.tags.add("several outputs")
    if len(d.inputs) > 1:
        d.tags.add("several inputs")
    return results
