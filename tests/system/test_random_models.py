"""Random models of every operator: the bytes of TensorFlow Lite Micro on random configurations.

A case that fails names its number: `draw(number)` in this file is the same model for ever.
"""

import random
import re
from collections.abc import Iterable

import numpy as np
import pytest

import accel
from accel.compiler.backend import build_image
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.layers import Network
from accel.compiler.network import lower_graph
from accel.compiler.reference import evaluate
from accel.config import PRESETS, Config
from accel.errors import ModelError
from tests.random_models import KINDS, Case, draw_case

UNSUPPORTED: frozenset[str] = frozenset()
"""Operators that the compiler does not know yet."""

LIMITS: tuple[str, ...] = ()
"""What the compiler may refuse of operators that it knows; documented in docs/operators.md."""
MOST_REFUSED = 0.05
"""Share of the cases that limits may take."""

SMALL = {"scratchpad_bytes": 4096, "weight_bytes": 8192, "acc_depth": 32, "program_bytes": 4096}
CONFIGS = (
    PRESETS["test"],
    PRESETS["test"],
    PRESETS["small"],
    PRESETS["base"],
    Config(name="12x8", rows=12, cols=8, lanes=2, bus_bits=128, **SMALL),
    Config(name="4x32", rows=4, cols=32, lanes=1, scratchpad_banks=1, **SMALL),
    Config(name="32x4", rows=32, cols=4, scratchpad_banks=8, multiply=False, **SMALL),
)
CASES, CHUNK, MORE_CASES = 200, 10, 3000
SCHEDULE = [name for name, kind in sorted(KINDS.items()) for _ in range(kind.weight)]
# Every operator comes early, its repetitions far from each other.
random.Random(0).shuffle(SCHEDULE)

TAGS = {
    *("zero -128", "zero 127", "channels 1", "channels 257", "1x1 image"),
    *("shift left", "shift -24 or less", "shift -31", "saturating sums"),
    *("per channel", "per tensor", "bias", "no bias", "SAME", "VALID", "dilation", "even kernel"),
    *("stride beyond kernel", "kernel 15x15", "kernel Nx1", "kernel 1xN", "keep_num_dims"),
    *("depthwise one to many", "depthwise multiplier"),
    *("fused NONE", "fused RELU", "fused RELU6", "fused RELU_N1_TO_1"),
    *("constant map", "constant per channel", "constant scalar", "constant row", "constant column"),
    *("two maps", "itself", "map and vector", "several inputs", "several outputs"),
    *("uint8 input", "float32 input", "float32 output", "transpose layout", "transpose moves"),
}
"""Extremes that the cases of `make test` hold between them."""


def draw(number: int) -> Case:
    """Return a case; its first operator follows the schedule."""
    return draw_case(number, operator=SCHEDULE[number % len(SCHEDULE)])


def lowered(case: Case) -> Network | None:
    """Return the network, or None where the case is beyond what the compiler does, by name."""
    try:
        return lower_graph(read_tflite(case.model))
    except ModelError as error:
        allowed = [rf"operator \d+ {op}\b.* not supported" for op in UNSUPPORTED]
        if not any(re.search(pattern, str(error)) for pattern in (*allowed, *LIMITS)):
            raise
        return None


def differing(got: Iterable[np.ndarray], case: Case) -> list[int]:
    """Return for each output how many elements differ from TFLM's."""
    return [
        int((a.reshape(e.shape).view(np.uint8) != e.view(np.uint8)).sum()) if a.dtype == e.dtype
        else e.size
        for a, e in zip(got, case.expected, strict=True)
    ]  # fmt: skip


def check(case: Case, config: Config, device) -> bool:
    """Check a case in the compiler's reference and on a device; False where it is refused."""
    network = lowered(case)
    if network is None:
        return False
    if all(a.dtype == np.int8 for a in (*case.inputs, *case.expected)):
        assert not any(differing(evaluate(network, list(case.inputs)), case)), "reference"
    image = build_image(network, config)
    result = accel.run(image, list(case.inputs), device=device)
    assert not any(differing(result.outputs, case)), config.name
    return True


def run_chunk(device, numbers: Iterable[int]) -> None:
    """Check cases, each on a configuration of its own; tell of all that fail at once."""
    failures, refused, total = [], 0, 0
    for number in numbers:
        config = random.Random(number).choice(CONFIGS)
        case = draw(number)
        total += 1
        try:
            with accel.open_device("model", config) as opened:
                refused += not check(case, config, opened)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else ""
            failures.append(
                f"case {number} {'+'.join(case.operators)} on {config.name}: "
                f"{type(error).__name__} {reason}"
            )
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("start", range(0, CASES, CHUNK))
def test_cases_on_the_golden_machine(start):
    run_chunk(None, range(start, start + CHUNK))


@pytest.mark.full
@pytest.mark.parametrize("start", range(CASES, MORE_CASES, 5 * CHUNK))
def test_more_cases_on_the_golden_machine(start):
    run_chunk(None, range(start, min(start + 5 * CHUNK, MORE_CASES)))
