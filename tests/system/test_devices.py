"""One body over every device: the same image gives TensorFlow Lite Micro's bytes on each."""

import dataclasses

import numpy as np
import pytest

import accel
from accel.config import PRESETS
from accel.data import digits_model, load_digits
from accel.errors import DeviceError, ImageError
from accel.host.driver import Driver
from accel.regmap import Cause, Control, Status, address

DIGITS = load_digits()
CONFIG = PRESETS["test"]
DEVICES = ("model", "verilator", "icarus")
SAMPLES = {"model": 40, "verilator": 40, "icarus": 1}
SMALL_MEMORY = 1 << 16


@pytest.fixture(scope="module")
def image():
    return accel.compile_model(digits_model(), CONFIG)


@pytest.mark.parametrize("stalls", ["never", "sometimes", "often"])
@pytest.mark.parametrize("name", DEVICES)
def test_the_bundled_network_is_exact(device, image, name, stalls):
    number = SAMPLES[name]
    dut = device(name, CONFIG, stalls=stalls, seed=3, memory_bytes=SMALL_MEMORY)
    result = accel.run(image, DIGITS.x, device=dut, limit=number)
    assert np.array_equal(result.outputs[0], DIGITS.y_tflm[:number])
    stamped = sum(layer.stamp is not None for layer in image.layers)
    assert all(len(s.stamps) == stamped for s in result.stats)


def test_rtl_takes_the_same_cycles_in_both_simulators(device, image):
    stats = []
    for name in ("verilator", "icarus"):
        dut = device(name, CONFIG, memory_bytes=SMALL_MEMORY)
        stats += accel.run(image, DIGITS.x, device=dut, limit=1).stats
    assert stats[0] == stats[1]


@pytest.mark.parametrize("name", ["model", "verilator"])
def test_an_image_for_another_configuration_is_refused(device, name):
    other = dataclasses.replace(CONFIG, name="other", reads_in_flight=2)
    with pytest.raises(ImageError, match="made for configuration other"):
        Driver(device(name, CONFIG)).load_image(accel.compile_model(digits_model(), other))


@pytest.mark.parametrize("name", DEVICES)
def test_a_program_outside_the_memory_stops_with_its_cause(device, name):
    dut = device(name, CONFIG, memory_bytes=SMALL_MEMORY)
    dut.write_register(address("IRQ_ENABLE"), 1)
    dut.write_register(address("PROGRAM_ADDRESS"), SMALL_MEMORY)
    dut.write_register(address("PROGRAM_WORDS"), 16)
    dut.write_register(address("CONTROL"), Control.LOAD)
    dut.wait(10_000)
    assert Status(dut.read_register(address("STATUS"))) & Status.ERROR
    assert dut.read_register(address("CAUSE")) == Cause.READ_RESPONSE
    dut.write_register(address("CONTROL"), Control.CLEAR)
    assert dut.read_register(address("STATUS")) == 0
    assert dut.read_register(address("CAUSE")) == Cause.NONE


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_works_again_after_a_fault(device, image, name):
    dut = device(name, CONFIG, memory_bytes=SMALL_MEMORY)
    bad = dataclasses.replace(image, program_address=SMALL_MEMORY)
    with pytest.raises(DeviceError, match="loading the program: stopped with READ_RESPONSE"):
        Driver(dut).load_image(bad)
    result = accel.run(image, DIGITS.x[0], device=dut)
    assert np.array_equal(result.outputs[0], DIGITS.y_tflm[:1])


@pytest.mark.parametrize("name", ["model", "verilator"])
def test_the_base_address_does_not_matter(device, image, name):
    dut = device(name, CONFIG, memory_bytes=SMALL_MEMORY, memory_base=0x4000_0000)
    result = accel.run(image, DIGITS.x, device=dut, limit=2)
    assert np.array_equal(result.outputs[0], DIGITS.y_tflm[:2])
