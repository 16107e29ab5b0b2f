"""Real networks on every device: the bytes of TensorFlow Lite Micro, whatever the memory does."""

from functools import cache

import numpy as np
import pytest

import accel
from accel.config import PRESETS
from accel.data import digits_model, load_digits

SETS = {
    "resnet8_cifar10": ("cfu10", "mlonmcu10", "random16"),
    "kws_dscnn": ("cfu12", "random16"),
    "vww_mobilenetv1_96": ("cfu4", "mlonmcu10", "random16"),
    "ad_toycar_fc": ("cfu6", "mlonmcu10", "random16"),
    "person_detect": ("tflm2", "random16"),
    "micro_speech": ("mlonmcu3", "random16"),
    "hello_world_sine": ("all256", "random16"),
    "mnist_conv_mean": ("mnist500", "random16"),
    "mnist_dw_mean": ("mnist500", "random16"),
    "mnist_resnet_add": ("mnist500", "random16"),
    "micro_kws_m_maxpool": ("mlonmcu3", "random16"),
}
"""The bundled inputs of every network."""

DEVICES = ("model", "verilator")
QUICK = 2
"""Inputs of a network in `make test`."""
LARGE = ("vww_mobilenetv1_96", "person_detect")
"""Networks of many cycles: in `make test` one input on RTL is enough."""


@cache
def compiled(path, config):
    """Return the image; the cases share it."""
    return accel.compile_model(path, config)


def check(models, device, name, sets, config, device_name, count=None):
    """Run the first `count` inputs of sets, or all, and compare every output with TFLM's."""
    image = compiled(models / "models" / f"{name}.tflite", PRESETS[config])
    with device(device_name, PRESETS[config]) as opened:
        for data in sets:
            arrays = np.load(models / "data" / f"{name}__{data}.npz")
            result = accel.run(image, arrays["x"][:count], device=opened)
            for number, got in enumerate(result.outputs):
                expected = arrays[f"y_tflm_{number}"][:count]
                np.testing.assert_array_equal(got.reshape(expected.shape), expected, data)
            assert f"y_tflm_{len(result.outputs)}" not in arrays


def test_every_network_and_input_is_here(models):
    names = {p.stem for p in (models / "models").glob("*.tflite")}
    data = {p.stem for p in (models / "data").glob("*.npz")}
    assert names == set(SETS)
    assert data == {f"{name}__{one}" for name, sets in SETS.items() for one in sets}


@pytest.mark.parametrize("device_name", DEVICES)
@pytest.mark.parametrize("name", SETS)
def test_third_party_network(models, device, name, device_name):
    count = 1 if name in LARGE and device_name == "verilator" else QUICK
    check(models, device, name, SETS[name][:1], "base", device_name, count)


@pytest.mark.parametrize("config", ["test", "small"])
@pytest.mark.parametrize("name", SETS)
def test_third_party_network_on_smaller_machines(models, device, name, config):
    device_name = "model" if name in LARGE or config == "test" else "verilator"
    check(models, device, name, SETS[name][:1], config, device_name, 1)


@pytest.mark.full
@pytest.mark.parametrize("device_name", DEVICES)
@pytest.mark.parametrize("name", SETS)
def test_every_input_of_a_third_party_network(models, device, name, device_name):
    check(models, device, name, SETS[name], "base", device_name)


@pytest.mark.full
@pytest.mark.parametrize("device_name", DEVICES)
@pytest.mark.parametrize("config", ["test", "small"])
@pytest.mark.parametrize("name", SETS)
def test_more_inputs_on_smaller_machines(models, device, name, config, device_name):
    check(models, device, name, SETS[name][-1:], config, device_name, 6)


@pytest.mark.parametrize("stalls", ["never", "sometimes", "often"])
@pytest.mark.parametrize("device_name", ["model", "verilator", "icarus"])
def test_digits_whatever_the_memory_does(device, device_name, stalls):
    digits = load_digits()
    count = 1 if device_name == "icarus" else 8
    image = compiled(digits_model(), PRESETS["test"])
    latency = {"never": 20, "sometimes": 3, "often": 100}[stalls]
    options = {"latency": latency, "stalls": stalls, "seed": 7}
    with device(device_name, PRESETS["test"], **options) as opened:
        result = accel.run(image, digits.x[:count], device=opened)
    expected = digits.y_tflm[:count]
    np.testing.assert_array_equal(result.outputs[0].reshape(expected.shape), expected)
    assert result.report["layers"][0]["cycles"] > 0
