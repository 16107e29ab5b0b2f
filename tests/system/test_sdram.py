"""A network on the accelerator with an SDRAM gives the golden machine's outputs, nearly as fast."""

from pathlib import Path

import numpy as np
import pytest

import accel
from accel.gateware.sdram_parts import PARTS
from accel.host.inputs import random_inputs
from sim.devices.sdramdevice import SdramDevice

DIGITS = Path(accel.__file__).parent / "data" / "digits.tflite"


@pytest.mark.full
def test_network_behind_an_sdram():
    config = accel.Config.load("test")
    image = accel.compile_model(DIGITS, config)
    (inputs,) = random_inputs(image.inputs, 0, 1)
    with SdramDevice(config, part=PARTS["IS42S16160G-7"], clock_mhz=100.0) as device:
        before = device.use
        result = accel.run(image, inputs, device=device)
        use = device.use
    golden = accel.run(image, inputs, device="model")
    assert all(np.array_equal(a, b) for a, b in zip(result.outputs, golden.outputs, strict=True))
    words = int(use.counts.data_words) - int(before.counts.data_words)
    assert words / (use.busy_cycles - before.busy_cycles) > 0.9
