"""What every device has in common beside its results: faults, recovery, addresses, cycles."""

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
SMALL_MEMORY = 1 << 16


@pytest.fixture(scope="module")
def image():
    return dataclasses.replace(accel.compile_model(digits_model(), CONFIG), model="digits")


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
    with pytest.raises(DeviceError, match="loading the program: stopped with READ_WINDOW in load"):
        Driver(dut).load_image(bad)
    result = accel.run(image, DIGITS.x[0], device=dut)
    assert np.array_equal(result.outputs[0], DIGITS.y_tflm[:1])


@pytest.mark.parametrize("name", ["model", "verilator"])
def test_the_base_address_does_not_matter(device, image, name):
    dut = device(name, CONFIG, memory_bytes=SMALL_MEMORY, memory_base=0x4000_0000)
    result = accel.run(image, DIGITS.x, device=dut, limit=2)
    assert np.array_equal(result.outputs[0], DIGITS.y_tflm[:2])


@pytest.mark.parametrize("stalls", ["never", "often"])
@pytest.mark.parametrize("name", ["model", "verilator"])
def test_a_run_on_missing_memory_stops_and_the_next_one_is_exact(device, image, name, stalls):
    dut = device(name, CONFIG, stalls=stalls, seed=2, memory_bytes=SMALL_MEMORY)
    driver = Driver(dut)
    driver.load_image(image)
    for _ in range(3):
        dut.write_register(address("MEMORY_BASE"), 1 << 24)
        with pytest.raises(
            DeviceError, match="digits: stopped with READ_WINDOW in load at address 0x1"
        ):
            driver.run([DIGITS.x[:1]])
        dut.write_register(address("MEMORY_BASE"), 0)
        outputs, _ = driver.run([DIGITS.x[:1]])
        assert np.array_equal(outputs[0], DIGITS.y_tflm[:1])
