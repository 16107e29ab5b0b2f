"""Weights that stay on-chip: what stays, where, and that later inferences are right."""

from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.backend import build_image
from accel.compiler.convtiling import PARAM_SLOTS
from accel.compiler.reference import evaluate
from accel.config import PRESETS
from accel.host.driver import Driver
from accel.image import Image
from accel.isa import PARAM_WORDS
from sim.devices.model import ModelDevice
from sim.errors import ProgramError
from tests.random_networks import random_network

TEST = PRESETS["test"]
SLOW = replace(TEST, memory_rate=1)
CONFIGS = {
    "test": TEST,
    "slow": SLOW,
    "three-parts": replace(TEST, weight_bytes=7 * 2048, memory_rate=2),
    "12-columns": replace(TEST, rows=12, cols=12, weight_bytes=3 * 8192, lanes=4, memory_rate=2),
}
SEEDS = (0, 2, 3, 5, 7, 9, 12)


def draw(seed, network, count=3):
    return np.random.default_rng(seed).integers(
        -128, 128, (count, *network.inputs[0].shape), np.int8
    )


def words(image: Image) -> list[int]:
    """Return every resident weight word."""
    blocks = image.resident.blocks if image.resident else ()
    return sorted(w for b in blocks for w in range(b.word, b.word + b.rows * b.words))


@pytest.mark.parametrize(("name", "size"), [*((name, 4) for name in CONFIGS), ("slow", 8)])
def test_every_inference_equals_the_reference(name, size):
    config = CONFIGS[name]
    shares = set()
    with ModelDevice(config, memory_bytes=1 << 20) as device:
        driver = Driver(device)
        for seed in SEEDS:
            network = random_network(seed, size=size, channels=2 * size + config.cols)
            image = build_image(network, config)
            x = draw(seed, network)
            (expected,) = evaluate(network, [x])
            driver.load_image(image)
            found = [driver.run([one]) for one in x]
            for (outputs, _), wanted in zip(found, expected, strict=True):
                np.testing.assert_array_equal(outputs[0].reshape(wanted.shape), wanted, f"{seed}")
            beats = [stats.read_beats for _, stats in found]
            kept = words(image)
            assert len(kept) == len(set(kept))
            assert all(w < config.weight_words - PARAM_SLOTS * PARAM_WORDS for w in kept)
            assert [stats.resident for _, stats in found] == [False, bool(kept), bool(kept)]
            saved = len(kept) * config.weight_slot // config.bus_bytes
            assert beats[0] - saved == beats[1] == beats[2]
            shares.add(bool(kept))
    assert True in shares
    assert False in shares or name != "test"


def test_all_weights_stay_where_they_fit():
    network = random_network(10, size=4, channels=8)
    image = build_image(network, TEST)
    assert words(image) == list(range(len(words(image))))
    assert len(words(image)) == 450
    assert build_image(network, replace(TEST, weight_bytes=1024)).resident is None


def test_a_part_stays_where_memory_is_slow():
    network = random_network(3, size=8, channels=20)
    assert build_image(network, TEST).resident is None
    image = build_image(network, SLOW)
    assert image.resident is not None
    x = draw(3, network)
    with ModelDevice(SLOW, memory_bytes=1 << 20) as device:
        driver = Driver(device)
        driver.load_image(image)
        cycles = [driver.run([one])[1].cycles for one in x]
        plain = Driver(device)
        plain.load_image(build_image(network, TEST))
        without = plain.run([x[0]])[1].cycles
    assert cycles[1] == cycles[2] < 0.9 * without
    assert cycles[0] < 1.1 * without


def test_weights_that_are_not_there_are_an_error():
    network = random_network(4, size=4, channels=8)
    image = build_image(network, TEST)
    (x, *_) = draw(4, network)
    with ModelDevice(TEST, memory_bytes=1 << 20) as device:
        driver = Driver(device)
        driver.load_image(image)
        driver.run([x])
        device.machine.spaces.weights[words(image)[-1], 1] ^= 4
        message = f"weight word {words(image)[-1]} is to be there from an earlier run, and is not"
        with pytest.raises(ProgramError, match=message):
            driver.run([x])
        driver.run([x])  # after an error they are loaded again
        device.expect_weights = lambda blocks: None
        with pytest.raises(ProgramError, match="reads weight word .*, which was never written"):
            driver.run([x])


def test_an_image_file_keeps_what_stays():
    image = build_image(random_network(4, size=4, channels=8), TEST)
    assert image.resident is not None
    assert Image.from_bytes(image.to_bytes()) == image
