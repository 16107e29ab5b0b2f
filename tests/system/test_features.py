"""Every optional feature on and off: the same bytes, with every behaviour of the memory."""

from dataclasses import replace

import numpy as np
import pytest

import accel
from accel.compiler.backend import build_image
from accel.compiler.reference import evaluate
from accel.config import PRESETS, Config
from accel.data import digits_model, load_digits
from accel.host.driver import Driver
from tests.random_networks import random_network
from tests.system.test_array_sizes import BARE

TEST = PRESETS["test"]
EIGHT = Config(
    name="8x8", rows=8, cols=8, scratchpad_bytes=8192, weight_bytes=8192, acc_depth=64,
    program_bytes=16384,
)  # fmt: skip
LEAST = replace(
    TEST, name="least", counters=False, scratchpad_banks=1, lanes=1, queue_depth=4,
    reads_in_flight=1,
)  # fmt: skip
CONFIGS = [
    # Of 4 x 4 cells; all of them with the simulator in `make test-full`.
    LEAST,
    replace(TEST, name="multiply", multiply=True),
    replace(TEST, name="lut-cells", target="ecp5", dsp_cells=5, lanes=4),
    replace(TEST, name="wide-port", bus_bits=128, reads_in_flight=16, queue_depth=64),
    # Two image rows at once, and none, with the depthwise mode; without it.
    EIGHT,
    replace(EIGHT, name="two-banks", scratchpad_banks=2, counters=False),
    replace(EIGHT, name="no-depthwise", cols=4, multiply=False),
    # The one that `make test` simulates, too: another test has built it.
    BARE,
]
CASES = [
    pytest.param(device, config, marks=[pytest.mark.full] * simulated, id=f"{device}-{config.name}")
    for config in CONFIGS
    for device, simulated in (("model", False), ("verilator", config is not BARE))
]
SEEDS = (3, 5, 8, 12)
STALLS = ("never", "sometimes", "often")


def test_the_cases_have_each_feature_on_and_off():
    for field in ("multiply", "counters", "target", "depthwise", "groups", "lanes", "bus_bits"):
        assert len({getattr(config, field) for config in CONFIGS}) > 1, field
    assert {config.groups for config in PRESETS.values()} == {1, 2, 3}


@pytest.mark.parametrize(("name", "config"), CASES)
def test_digits(device, name, config):
    digits = load_digits()
    image = accel.compile_model(digits_model(), config)
    for stalls in STALLS if name != "model" else STALLS[:1]:
        options = {"latency": {"never": 20, "sometimes": 3, "often": 100}[stalls]}
        opened = device(name, config, stalls=stalls, seed=5, **options)
        result = accel.run(image, digits.x[:2], device=opened)
        expected = digits.y_tflm[:2]
        np.testing.assert_array_equal(result.outputs[0].reshape(expected.shape), expected, stalls)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_networks_with_a_layer_of_every_form(device, name, config):
    opened = device(name, config, stalls="sometimes", seed=2)
    driver = Driver(opened)
    for seed in SEEDS:
        network = random_network(seed, size=8, channels=20)
        x = np.random.default_rng(seed).integers(-128, 128, network.inputs[0].shape, np.int8)
        driver.load_image(build_image(network, config))
        (expected,) = evaluate(network, [x[None]])
        (result,), _ = driver.run([x])
        np.testing.assert_array_equal(result.reshape(expected[0].shape), expected[0], f"{seed}")


@pytest.mark.parametrize(("name", "config"), CASES)
@pytest.mark.parametrize("model", ["mnist_dw_mean", "mnist_resnet_add"])
def test_third_party_networks(models, device, name, config, model):
    arrays = np.load(models / "data" / f"{model}__random16.npz")
    image = accel.compile_model(models / "models" / f"{model}.tflite", config)
    result = accel.run(image, arrays["x"][:2], device=device(name, config))
    expected = arrays["y_tflm_0"][:2]
    np.testing.assert_array_equal(result.outputs[0].reshape(expected.shape), expected)
