"""Random models of every operator: the bytes of TensorFlow Lite Micro on random configurations.

A case that fails names its number: `draw(number)` in this file is the same model for ever. The
compiler refuses none of them: all are within the limits of docs/operators.md.
"""

import dataclasses
import random
from collections.abc import Iterable

import numpy as np
import pytest

import accel
from accel.compiler.backend import build_image
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.network import lower_graph
from accel.compiler.reference import evaluate
from accel.config import PRESETS, Config
from accel.host.device import Device
from tests.random_models import KINDS, Case, draw_case

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
CASES, CHUNK, MORE_CASES = 200, 20, 3400
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
    *("uint8 input", "float32 input", "uint8 output", "float32 output"),
    *("transpose layout", "transpose moves", "corners aligned", "half-pixel centers"),
}
"""Extremes that the cases of `make test` hold between them."""


def draw(number: int) -> Case:
    """Return a case; its first operator follows the schedule."""
    return draw_case(number, operator=SCHEDULE[number % len(SCHEDULE)])


def differing(got: Iterable[np.ndarray], case: Case) -> list[int]:
    """Return for each output how many elements differ from TFLM's."""
    return [
        int((a.reshape(e.shape).view(np.uint8) != e.view(np.uint8)).sum()) if a.dtype == e.dtype
        else e.size
        for a, e in zip(got, case.expected, strict=True)
    ]  # fmt: skip


def check(case: Case, device: Device) -> None:
    """Check a case in the compiler's reference and on a device."""
    network = lower_graph(read_tflite(case.model))
    assert not any(differing(evaluate(network, list(case.inputs)), case)), "reference differs"
    image = build_image(network, device.config)
    result = accel.run(image, list(case.inputs), device=device)
    assert not any(differing(result.outputs, case)), "device differs"


def failure(number: int, case: Case, device: Device) -> list[str]:
    """Return what is wrong with a case, in at most one line. A refusal by the compiler is wrong."""
    try:
        check(case, device)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        where = f"case {number} {'+'.join(case.operators)} on {device.config.name}"
        return [f"{where}: {type(error).__name__} {reason}"]
    return []


def run_chunk(numbers: Iterable[int]) -> None:
    """Check cases, each on a configuration of its own; tell of all that fail at once."""
    failures = []
    for number in numbers:
        config = random.Random(number).choice(CONFIGS)
        with accel.open_device("model", config) as device:
            failures += failure(number, draw(number), device)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("start", range(0, CASES, CHUNK))
def test_cases_on_the_golden_machine(start):
    run_chunk(range(start, start + CHUNK))


@pytest.mark.full
@pytest.mark.parametrize("start", range(CASES, MORE_CASES, 5 * CHUNK))
def test_more_cases_on_the_golden_machine(start):
    run_chunk(range(start, min(start + 5 * CHUNK, MORE_CASES)))


def test_the_cases_hold_every_operator_and_extreme():
    cases = [draw(number) for number in range(CASES)]
    assert {name for case in cases for name in case.operators} == set(KINDS)
    assert TAGS <= {tag for case in cases for tag in case.tags}
    assert min(sum(len(case.operators) == n for case in cases) for n in (1, 3)) > CASES // 5


def run_samples(device: Device, seeds: Iterable[int], length: int) -> None:
    """Check cases of every operator, one after another on one device."""
    failures = []
    for seed in seeds:
        for name in sorted(KINDS):
            case = draw_case(seed, operator=name, length=length)
            one = dataclasses.replace(
                case,
                inputs=tuple(x[:1] for x in case.inputs),
                expected=tuple(y[:1] for y in case.expected),
            )
            failures += failure(seed, one, device)
    assert not failures, "\n".join(failures)


def test_a_sample_of_each_operator_on_rtl(device):
    run_samples(device("verilator", PRESETS["test"]), [1], 1)


@pytest.mark.full
@pytest.mark.parametrize("config", [PRESETS["test"], *CONFIGS[4:]], ids=lambda c: c.name)
def test_more_samples_of_each_operator_on_rtl(device, config):
    dut = device("verilator", config, stalls="sometimes", seed=1)
    run_samples(dut, range(2, 4), 1)
    run_samples(dut, range(4, 6), 3)
