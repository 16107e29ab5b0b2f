"""Weights that stay on the chip: inferences in a row, other images and faults between them."""

from dataclasses import replace

import numpy as np
import pytest

import accel
from accel.compiler.backend import build_image
from accel.compiler.reference import evaluate
from accel.config import PRESETS
from accel.data import digits_model, load_digits
from accel.errors import FaultError
from accel.host.driver import Driver
from accel.isa import Engine, Operation, Space
from accel.regmap import Cause, Rule
from sim.devices.probing import ProbingDevice
from sim.devices.verilator import VerilatorDevice
from tests.random_networks import random_network
from tests.wild import READ, Outcome, WildBench, command_program

TEST = PRESETS["test"]
SLOW = replace(TEST, memory_rate=1)  # the same hardware
SPLIT = replace(TEST, weight_bytes=3 * 2048, parity=True, memory_rate=1, name="split")
WORDS = SPLIT.weight_words
MEMORY = 1 << 20


class Case:
    """A network, its image, inputs, and what the reference says of them."""

    def __init__(self, seed, config, size=8, count=6):
        network = random_network(seed, size=size, channels=20)
        self.image = build_image(network, config)
        assert self.image.resident is not None
        shape = (count, *network.inputs[0].shape)
        self.x = np.random.default_rng(seed).integers(-128, 128, shape, np.int8)
        (self.expected,) = evaluate(network, [self.x])
        self.next = 0

    def run(self, driver):
        """Run the next input; return whether weights were there."""
        number = self.next % len(self.x)
        self.next += 1
        (found,), stats = driver.run([self.x[number]])
        expected = self.expected[number]
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
        return stats.resident


@pytest.fixture(scope="module")
def cases():
    """Return all that stays, a part that stays, with several loads for what does not."""
    return Case(8, TEST), Case(11, TEST), Case(3, SLOW)


@pytest.mark.parametrize(
    ("name", "stalls"), [("model", "never"), ("verilator", "never"), ("verilator", "often")]
)
def test_inferences_in_a_row_and_images_in_turn(device, cases, name, stalls):
    opened = device(name, TEST, stalls=stalls, seed=3, memory_bytes=MEMORY)
    driver = Driver(opened)
    for case in (*cases, *cases):
        driver.load_image(case.image)
        assert [case.run(driver) for _ in range(3)] == [False, True, True]
    # Two drivers on one device, without loading their images again.
    drivers = [Driver(opened), Driver(opened)]
    pairs = list(zip(drivers, cases, strict=False))
    for one, case in pairs:
        one.load_image(case.image)
    for _ in range(2):
        for one, case in reversed(pairs):
            case.run(one)
            assert case.run(one)


def test_faults_between_inferences(cases):
    case = cases[2]
    with VerilatorDevice(TEST, memory_bytes=MEMORY, stalls="sometimes", seed=4) as device:
        driver = Driver(device)
        driver.load_image(case.image)
        for beat in (0, 40, 100):
            assert [case.run(driver), case.run(driver)] == [False, True]
            device.inject_error("read", beat, 2)
            with pytest.raises(FaultError, match="READ_RESPONSE"):
                case.run(driver)
        assert [case.run(driver), case.run(driver)] == [False, True]
        device.reset()
        assert [case.run(driver), case.run(driver)] == [False, True]


@pytest.mark.parametrize("name", ["model", pytest.param("verilator", marks=pytest.mark.full)])
def test_later_inferences_read_less(device, name):
    """The digits network on `small`: all weights stay."""
    digits = load_digits()
    image = accel.compile_model(digits_model(), "small")
    result = accel.run(image, digits.x[:4], device=device(name, PRESETS["small"]))
    expected = digits.y_tflm[:4]
    np.testing.assert_array_equal(result.outputs[0].reshape(expected.shape), expected)
    later = result.report["resident"]
    assert later["inferences"] == 3
    assert later["cycles"] <= result.cycles
    assert later["bytes_read"] == result.report["bytes_read"] - later["weight_bytes"]


@pytest.fixture(scope="module")
def split():
    """Return a device with a weight memory of 1,536 words, and parity."""
    with ProbingDevice(SPLIT, memory_bytes=MEMORY, stalls="sometimes", seed=1) as device:
        yield device


def test_a_weight_memory_that_is_no_power_of_two(split):
    driver = Driver(split)
    for seed in (2, 9):
        case = Case(seed, SPLIT)
        driver.load_image(case.image)
        assert [case.run(driver) for _ in range(3)] == [False, True, True]
    assert max(b.word + b.rows * b.words for b in case.image.resident.blocks) > 1024


def test_a_flipped_bit_of_a_resident_weight_is_found_and_mended(split):
    driver, case = Driver(split), Case(2, SPLIT)
    driver.load_image(case.image)
    for part, word in ((0, 3), (1, 9)):
        assert [case.run(driver), case.run(driver)] == [False, True]
        split.flip(f"weights.memory.part_{part}.memory", word, 2)
        with pytest.raises(
            FaultError, match=rf"PARITY in .* \(weights word {1024 * part + word:#x}"
        ):
            case.run(driver)


LOAD = {"memory_address": READ[0], "rows": 1, "planes": 1, "space": Space.WEIGHTS}
TILE = {f"count_{level}": 1 for level in ("col", "row", "k0", "k1", "k2")} | {
    "groups": 1, "input_height": 1, "input_width": 1,
}  # fmt: skip
SLICE = {"operation": Operation.ACC, "slices": 1, "count_col": 1, "count_row": 1,
         "window_col": 1, "window_row": 1}  # fmt: skip


THREE = {"operation": Operation.SUM, "slices": 3}  # the third one has parameters of its own


@pytest.mark.parametrize(
    ("engine", "fields", "good"),
    [
        (Engine.LOAD, {**LOAD, "words": 2, "chip_address": WORDS - 2}, True),
        (Engine.LOAD, {**LOAD, "words": 2, "chip_address": WORDS - 1}, False),
        (Engine.LOAD, {**LOAD, "words": 1, "chip_address": WORDS}, False),
        (Engine.MATMUL, {**TILE, "weight_address": WORDS - 4}, True),
        (Engine.MATMUL, {**TILE, "weight_address": WORDS - 3}, False),
        (Engine.MATMUL, {**TILE, "weight_address": WORDS - 4, "count_k0": 2}, False),
        (Engine.VECTOR, {**SLICE, "param_address": WORDS - 9}, True),
        (Engine.VECTOR, {**SLICE, "param_address": WORDS - 8}, False),
        (Engine.VECTOR, {**SLICE, "param_address": WORDS - 9, **THREE}, False),
    ],
)
def test_addresses_past_the_end(split, engine, fields, good):
    outcome = WildBench(split).run(command_program(engine, fields))
    if good:
        assert outcome == Outcome(Cause.NONE)
    else:
        assert outcome is not None
        assert outcome.cause in (Cause.CHIP_ADDRESS, Cause.ILLEGAL_COMMAND)
        assert (outcome.engine, outcome.address & Rule.WEIGHTS) == (engine, Rule.WEIGHTS)
