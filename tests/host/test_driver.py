"""The driver against a scripted device: the sequence, and everything that can be wrong."""

import dataclasses

import numpy as np
import pytest

from accel.config import PRESETS
from accel.errors import DeviceError, FaultError, ImageError
from accel.host.device import Device
from accel.host.driver import Driver
from accel.image import Image, Resident, Segment, Tensor, WeightBlock
from accel.isa import ISA_VERSION, Engine
from accel.regmap import ID_VALUE, REGISTERS, Cause, Control, Rule, Status, address

CONFIG = PRESETS["test"]
NAMES = {register.offset: register.name for register in REGISTERS}


class ScriptedDevice(Device):
    """Doubles every byte of its input at START, and keeps a log of register writes."""

    name = "scripted"
    memory_base = 0x1000

    def __init__(self, **registers):
        super().__init__(CONFIG)
        self.memory_bytes = 1024
        self.memory = bytearray(1024)
        self.log = []
        self.outcome = Status.DONE
        self.registers = {
            "ID": ID_VALUE,
            "VERSION": ISA_VERSION,
            "FINGERPRINT": CONFIG.fingerprint,
            "CYCLES": 5,
            "CYCLES_HIGH": 1,
            "STAMP_COUNT": 2,
            "READ_BEATS": 7,
            "WRITE_BEATS": 8,
            "INSTRUCTIONS": 9,
            **registers,
        }

    def read_memory(self, address, length):
        start = self.check_range(address, length)
        return bytes(self.memory[start : start + length])

    def write_memory(self, address, data):
        start = self.check_range(address, len(data))
        self.memory[start : start + len(data)] = data

    def read_register(self, offset):
        if NAMES[offset] == "STAMP":
            return 100 + self.registers["STAMP_INDEX"]
        if NAMES[offset] == "COUNTER":
            return 50 + self.registers["COUNTER_INDEX"]
        return int(self.registers.get(NAMES[offset], 0))

    def write_register(self, offset, value):
        self.log.append((NAMES[offset], value))
        self.registers[NAMES[offset]] = value
        if offset == address("CONTROL"):
            self.registers["STATUS"] = self.outcome if value & 3 else 0
            if value & Control.START:
                values = np.frombuffer(self.memory, np.int8)[64:72] * 2
                self.memory[128:136] = values.astype(np.int8).tobytes()

    def wait(self, timeout_cycles):
        if not self.registers["STATUS"]:
            raise self.timeout_error(timeout_cycles)


def make_image(**changes):
    shape = {"dtype": "int8", "height": 1, "width": 1, "channels": 8, "rows": 4, "slot": 4}
    values = {
        "config": CONFIG,
        "model": "twice",
        "program_address": 0,
        "program_words": 4,
        "memory_bytes": 256,
        "segments": (Segment(address=0, data=b"0123456789abcdef"),),
        "inputs": (Tensor(name="x", shape=(1, 8), address=64, **shape),),
        "outputs": (Tensor(name="y", shape=(1, 8), address=128, **shape),),
    }
    return Image(**{**values, **changes})


def test_loading_follows_the_sequence():
    device = ScriptedDevice()
    Driver(device).load_image(make_image())
    assert device.log == [
        ("CONTROL", Control.CLEAR),
        ("IRQ_ENABLE", 1),
        ("MEMORY_BASE", 0x1000),
        ("PROGRAM_ADDRESS", 0),
        ("PROGRAM_WORDS", 4),
        ("READ_BASE", 0x1000),
        ("READ_LIMIT", 0x10FF),
        ("WRITE_BASE", 0x1000),
        ("WRITE_LIMIT", 0x10FF),
        ("WATCHDOG", 200_003_584),
        ("CONTROL", Control.LOAD),
        ("CONTROL", Control.CLEAR),
    ]
    assert device.memory[:16] == b"0123456789abcdef"


def test_running_returns_outputs_and_counters():
    device = ScriptedDevice()
    driver = Driver(device)
    driver.load_image(make_image())
    x = np.arange(8, dtype=np.int8).reshape(1, 8)
    outputs, stats = driver.run([x])
    assert np.array_equal(outputs[0], 2 * x)
    assert stats.cycles == (1 << 32) + 5
    assert stats.stamps == (100, 101)
    assert (stats.read_beats, stats.write_beats, stats.instructions) == (7, 8, 9)
    assert stats.activities == tuple(range(50, 58))
    shown = [100 + 2048 + 256 * activity for activity in range(8)]
    assert stats.stamp_activities == (tuple(shown), tuple(x + 1 for x in shown))
    assert stats.engine_busy == (58, 59, 60, 61)
    assert stats.engine_waiting == (62, 63, 64, 65)


def test_counters_that_are_not_there_are_not_read():
    config = dataclasses.replace(CONFIG, counters=False)
    device = ScriptedDevice(FINGERPRINT=config.fingerprint)
    device.config = config
    driver = Driver(device)
    driver.load_image(make_image(config=config))
    _, stats = driver.run([np.zeros((1, 8), np.int8)])
    assert (stats.activities, stats.stamp_activities) == ((), ())
    assert (stats.engine_busy, stats.engine_waiting) == ((), ())
    assert "COUNTER_INDEX" not in [name for name, _ in device.log]


def test_an_image_for_another_configuration_is_refused():
    image = make_image(config=dataclasses.replace(CONFIG, name="mine", queue_depth=8))
    device = ScriptedDevice()
    with pytest.raises(ImageError, match="made for configuration mine .* the device has"):
        Driver(device).load_image(image)
    assert device.log == [] and not any(device.memory)


def test_another_isa_version_is_refused():
    with pytest.raises(ImageError, match="ISA version 99"):
        Driver(ScriptedDevice()).load_image(make_image(isa_version=99))
    with pytest.raises(ImageError, match="the device has 99"):
        Driver(ScriptedDevice(VERSION=99)).load_image(make_image())


def test_something_else_than_an_accelerator_is_refused():
    with pytest.raises(DeviceError, match="ID reads 0xdeadbeef: no accelerator there"):
        Driver(ScriptedDevice(ID=0xDEADBEEF)).load_image(make_image())


def test_a_memory_that_is_too_small_is_refused():
    with pytest.raises(DeviceError, match="needs 4096 bytes of memory, the device has 1024"):
        Driver(ScriptedDevice()).load_image(make_image(memory_bytes=4096))


def test_running_without_an_image_is_refused():
    with pytest.raises(DeviceError, match="no image is loaded"):
        Driver(ScriptedDevice()).run([])


@pytest.mark.parametrize("cause", [Cause.READ_RESPONSE, Cause.ILLEGAL_INSTRUCTION])
def test_a_fault_is_named_and_cleared(cause):
    device = ScriptedDevice(CAUSE=cause, CAUSE_ADDRESS=0x40, CAUSE_PC=0x10, CAUSE_ENGINE=3)
    driver = Driver(device)
    driver.load_image(make_image())
    device.outcome = Status.ERROR
    message = f"twice: stopped with {cause.name} in store at address 0x40, pc 0x10: "
    with pytest.raises(FaultError, match=message) as caught:
        driver.run([np.zeros((1, 8), np.int8)])
    assert (caught.value.cause, caught.value.engine) == (cause, Engine.STORE)
    assert (caught.value.address, caught.value.pc) == (0x40, 0x10)
    assert device.log[-1] == ("CONTROL", Control.CLEAR)
    device.outcome = Status.DONE
    device.log.clear()
    driver.run([np.zeros((1, 8), np.int8)])
    assert device.log.count(("CONTROL", Control.LOAD)) == 1, "on-chip memories may be damaged"


def test_constants_behind_the_tensors_cannot_be_written():
    device = ScriptedDevice()
    Driver(device).load_image(make_image(segments=(Segment(address=192, data=b"const"),)))
    assert ("WRITE_LIMIT", 0x10BF) in device.log
    assert ("READ_LIMIT", 0x10FF) in device.log


@pytest.mark.parametrize(
    ("cause", "address", "text"),
    [
        (Cause.ILLEGAL_COMMAND, Rule.COUNT | Rule.VALUE, r"in store \(count, value\), pc 0x10"),
        (Cause.CHIP_ADDRESS, Rule.WEIGHTS, r"in store \(weights\)"),
        (Cause.TOKEN_OVERFLOW, 5, r"in store \(towards load and vector\)"),
        (Cause.WATCHDOG, 0, "load idle, matmul waits for load with 2 queued, vector busy, store"),
    ],
)
def test_a_fault_says_what_it_means(cause, address, text):
    device = ScriptedDevice(CAUSE=cause, CAUSE_ADDRESS=address, CAUSE_PC=0x10, CAUSE_ENGINE=3)
    device.registers |= {"WAITS": 0x00104100, "QUEUES": 0x0200}
    driver = Driver(device)
    driver.load_image(make_image())
    device.outcome = Status.ERROR
    with pytest.raises(FaultError, match=text):
        driver.run([np.zeros((1, 8), np.int8)])


def test_an_unknown_cause_is_shown_as_a_number():
    device = ScriptedDevice(CAUSE=77)
    device.outcome = Status.ERROR
    with pytest.raises(FaultError, match="loading the program: stopped with cause 77"):
        Driver(device).load_image(make_image())


def test_a_device_that_never_ends_is_a_timeout():
    device = ScriptedDevice()
    driver = Driver(device, timeout_cycles=1234)
    driver.load_image(make_image())
    device.outcome = Status(0)
    with pytest.raises(DeviceError, match="no interrupt within 101234 cycles"):
        driver.run([np.zeros((1, 8), np.int8)])


FIRST, LATER = (0, 4), (16, 2)
BLOCK = WeightBlock(address=32, word=1, words=2)


class ResidentDevice(ScriptedDevice):
    """Notes the program and the expected weights of each inference."""

    def __init__(self):
        super().__init__()
        self.runs = []
        self._expected = ()

    def expect_weights(self, blocks):
        self._expected = tuple(blocks)

    def write_register(self, offset, value):
        if offset == address("CONTROL") and value & Control.START:
            program = self.registers["PROGRAM_ADDRESS"], self.registers["PROGRAM_WORDS"]
            self.runs.append((program, self._expected))
        super().write_register(offset, value)


@pytest.fixture
def resident():
    """Return a device, a driver and what runs one inference and returns its program."""
    device = ResidentDevice()
    driver = Driver(device)
    resident = Resident(program_address=LATER[0], program_words=LATER[1], blocks=(BLOCK,))
    driver.load_image(make_image(resident=resident))

    def run():
        _, stats = driver.run([np.ones((1, 8), np.int8)])
        program, expected = device.runs[-1]
        assert expected == ((BLOCK,) if program == LATER else ())
        assert stats.resident == (program == LATER)
        return program

    return device, driver, run


def test_later_inferences_expect_the_weights_of_the_first(resident):
    device, driver, run = resident
    assert [run() for _ in range(3)] == [FIRST, LATER, LATER]
    loads = [value for name, value in device.log if name == "CONTROL"].count(Control.LOAD)
    assert loads == 2
    driver.load_image(make_image())  # nothing stays of this one
    driver.run([np.ones((1, 8), np.int8)])
    _, stats = driver.run([np.ones((1, 8), np.int8)])
    assert device.runs[-1] == (FIRST, ()) and not stats.resident


def test_another_image_loads_its_own_weights(resident):
    _, driver, run = resident
    assert [run(), run()] == [FIRST, LATER]
    driver.load_image(driver._image)
    assert [run(), run()] == [FIRST, LATER]


def test_another_driver_in_between_is_noticed(resident):
    device, driver, run = resident
    assert [run(), run()] == [FIRST, LATER]
    other = Driver(device)
    other.load_image(driver._image)  # its registers are the same
    other.run([np.ones((1, 8), np.int8)])
    other.run([np.ones((1, 8), np.int8)])
    device.memory[:4] = b"????"
    assert [run(), run()] == [FIRST, LATER]
    assert device.memory[:4] == b"0123"  # constants may have been another image's


@pytest.mark.parametrize("name", ["MEMORY_BASE", "PROGRAM_ADDRESS", "PROGRAM_WORDS"])
def test_a_reset_in_between_is_noticed(resident, name):
    device, _, run = resident
    assert [run(), run()] == [FIRST, LATER]
    device.registers[name] = 0
    assert [run(), run()] == [FIRST, LATER]


def test_a_fault_makes_the_next_inference_a_first_one(resident):
    device, _, run = resident
    assert [run(), run()] == [FIRST, LATER]
    device.outcome = Status.ERROR
    device.registers["CAUSE"] = Cause.PARITY
    with pytest.raises(FaultError, match="PARITY"):
        run()
    device.outcome = Status.DONE
    assert [run(), run()] == [FIRST, LATER]


def test_an_inference_that_does_not_end_makes_the_next_one_a_first_one(resident):
    device, _, run = resident
    assert [run(), run()] == [FIRST, LATER]
    device.outcome = 0
    with pytest.raises(DeviceError, match="no interrupt"):
        run()
    device.outcome = Status.DONE
    assert [run(), run()] == [FIRST, LATER]
