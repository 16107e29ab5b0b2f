"""Real networks on every device: the bytes of TensorFlow Lite Micro, whatever the memory does."""

from functools import cache

import numpy as np
import pytest

import accel
from accel.config import PRESETS
from accel.data import digits_model, load_digits

# (model, set, configuration, device, inputs); None: every input of the set.
CASES = [
    ("resnet8_cifar10", "cfu10", "base", "verilator", None),
    ("resnet8_cifar10", "cfu10", "small", "verilator", 2),
    ("resnet8_cifar10", "cfu10", "test", "verilator", 2),
    ("mnist_resnet_add", "mnist500", "base", "verilator", 20),
    ("mnist_conv_mean", "mnist500", "base", "verilator", 20),
    ("micro_kws_m_maxpool", "mlonmcu3", "base", "verilator", None),
    ("hello_world_sine", "all256", "base", "verilator", 16),
    ("ad_toycar_fc", "cfu6", "base", "verilator", None),
    ("ad_toycar_fc", "cfu6", "test", "verilator", 1),
    ("resnet8_cifar10", "cfu10", "base", "model", None),
    ("resnet8_cifar10", "mlonmcu10", "base", "model", None),
    ("resnet8_cifar10", "random16", "base", "model", None),
    ("mnist_resnet_add", "mnist500", "base", "model", None),
    ("mnist_resnet_add", "random16", "base", "model", None),
    ("ad_toycar_fc", "random16", "small", "model", None),
    ("micro_kws_m_maxpool", "random16", "test", "model", 4),
]


@cache
def compiled(path, config):
    """Return the image; the cases share it."""
    return accel.compile_model(path, config)


@pytest.mark.parametrize(("model", "data", "config", "device_name", "count"), CASES)
def test_third_party_network(models, device, model, data, config, device_name, count):
    arrays = np.load(models / "data" / f"{model}__{data}.npz")
    image = compiled(models / "models" / f"{model}.tflite", PRESETS[config])
    with device(device_name, PRESETS[config]) as opened:
        result = accel.run(image, arrays["x"][:count], device=opened)
    expected = arrays["y_tflm_0"][:count]
    np.testing.assert_array_equal(result.outputs[0].reshape(expected.shape), expected)


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
