"""Random networks, compiled for many configurations, on the golden machine."""

import dataclasses

import numpy as np
import pytest

from accel.compiler.backend import build_image
from accel.compiler.layers import ControllerLayer, FeatureMap, Network, Port
from accel.compiler.reference import evaluate
from accel.config import PRESETS, Config
from accel.errors import ModelError
from accel.host.driver import Driver
from sim.devices import open_device
from tests.random_networks import random_network

CONFIGS = {
    "test": PRESETS["test"],
    "small": PRESETS["small"],
    "wide": Config(rows=8, cols=16, scratchpad_bytes=4096, weight_bytes=4096, acc_depth=16),
    "tall": Config(rows=16, cols=8, scratchpad_bytes=4096, weight_bytes=4096, acc_depth=64),
    "twelve": Config(rows=12, cols=12, scratchpad_bytes=4096, weight_bytes=8192, acc_depth=32),
    "odd": Config(rows=12, cols=8, scratchpad_bytes=4096, weight_bytes=4096, acc_depth=32),
    "shallow": dataclasses.replace(PRESETS["test"], scratchpad_bytes=2048, weight_bytes=1024),
    "bus128": dataclasses.replace(PRESETS["test"], bus_bits=128, program_bytes=2048),
}


def run_on_model(network, config, inputs):
    """Return the device's output on the golden machine, which also checks all ordering."""
    image = build_image(network, config)
    with open_device("model", config, memory_bytes=1 << 20) as device:
        driver = Driver(device)
        driver.load_image(image)
        return np.stack([driver.run([x])[0][0] for x in inputs])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(8))
def test_random_network_equals_the_reference(name, seed):
    network = random_network(seed)
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-128, 128, (2, *network.inputs[0].shape), np.int8)
    expected = evaluate(network, [inputs])[0]
    result = run_on_model(network, CONFIGS[name], inputs)
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize("seed", range(4))
def test_channels_that_fit_the_memories_only_in_parts(seed):
    network = random_network(seed, size=7, channels=150)
    inputs = np.random.default_rng(seed).integers(-128, 128, (1, *network.inputs[0].shape), np.int8)
    expected = evaluate(network, [inputs])[0]
    result = run_on_model(network, CONFIGS["shallow"], inputs)
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


def test_a_large_program_runs_as_overlays():
    config = dataclasses.replace(PRESETS["test"], program_bytes=2048)
    network = random_network(3, size=16, channels=40)
    image = build_image(network, config)
    assert image.program_words <= config.program_words // 2
    inputs = np.random.default_rng(0).integers(-128, 128, (3, *network.inputs[0].shape), np.int8)
    expected = evaluate(network, [inputs])[0]
    result = run_on_model(network, config, inputs)
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


def test_what_does_not_fit_is_refused_by_name():
    source = FeatureMap(0, "x", 1, 1, 3000)
    layer = ControllerLayer(
        index=0, name="y", op="SOFTMAX", sources=(source,), kernel="softmax", arguments=(3000,),
        output=dataclasses.replace(source, storage=1), pixelwise=True,
    )  # fmt: skip
    port = Port("x", (1, 3000), source)
    network = Network("n", (layer,), (port,), (dataclasses.replace(port, map=layer.output),))
    with pytest.raises(ModelError, match=r"operator 0 SOFTMAX \(y\) does not fit .* test"):
        build_image(network, PRESETS["test"])


def test_the_same_network_gives_the_same_bytes():
    images = [build_image(random_network(5), PRESETS["test"]).to_bytes() for _ in range(2)]
    assert images[0] == images[1]
