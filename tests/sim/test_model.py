"""The golden machine behind the register map."""

import numpy as np
import pytest

from accel import asm
from accel.config import PRESETS
from accel.errors import DeviceError
from accel.host.device import Device
from accel.isa import COMMANDS, ISA_VERSION, Engine, Operation, Space
from accel.regmap import REGISTERS, Cause, Control, Rule, Status, address
from sim.devices.model import ModelDevice
from sim.errors import ProgramError

CONFIG = PRESETS["test"]
BASE = 0x4000
LOAD, MATMUL, VECTOR, STORE = Engine


def push(engine: Engine, fields: dict[str, int], **options: int) -> list[int]:
    words = []
    registers = COMMANDS[engine].encode(fields)
    for pair in range(len(registers) // 2):
        words += asm.li(1, registers[2 * pair]) + asm.li(2, registers[2 * pair + 1])
        words.append(asm.tset(engine, pair, 1, 2))
    return [*words, asm.tpush(engine, **options)]


def read(device: Device, name: str) -> int:
    return device.read_register(address(name))


def write(device: Device, name: str, value: int) -> None:
    device.write_register(address(name), value)


def loaded(words: list[int], **options: int) -> ModelDevice:
    """Return a device that has loaded a program, as a driver does it."""
    device = ModelDevice(CONFIG, memory_bytes=1 << 16, **options)
    device.write_memory(device.memory_base + BASE, np.array(words, "<u4"))
    write(device, "IRQ_ENABLE", 1)
    write(device, "MEMORY_BASE", device.memory_base + BASE)
    write(device, "PROGRAM_WORDS", len(words))
    write(device, "CONTROL", Control.LOAD)
    device.wait(1000)
    assert read(device, "STATUS") == Status.DONE | Status.IRQ
    write(device, "CONTROL", Control.CLEAR)
    assert read(device, "STATUS") == 0
    return device


def started(words: list[int], **options: int) -> ModelDevice:
    device = loaded(words, **options)
    write(device, "CONTROL", Control.START)
    return device


def convolution() -> list[int]:
    """Return a program: six pixels of four channels, kernel 1 x 2, then requantise and store."""
    image = {"memory_address": 4096, "chip_address": 10, "words": 6, "rows": 1, "planes": 1}
    weights = image | {"memory_address": 8192, "chip_address": 0, "words": 8 + 9}
    conv = dict.fromkeys(("count_row", "count_k1", "count_k2", "input_height"), 1)
    # Six results; the second tap of the last one lies outside and reads the padding.
    conv |= {"input_address": 10, "count_col": 6, "count_k0": 2, "input_width": 6, "pad_value": 3}
    conv |= {"step_col": 1, "step_col_x": 1, "step_k0": -4, "step_k0_x": -4, "acc_address": 32}
    requantise = dict.fromkeys(("count_row", "window_col", "window_row"), 1)
    requantise |= {"operation": Operation.ACC, "a_address": 32, "dst_address": 100, "slices": 2}
    requantise |= {"count_col": 6, "dst_step_col": 1, "dst_plane": 6, "param_address": 8}
    requantise |= {"output_zero": -5, "clamp_min": -100, "clamp_max": 100}
    result = image | {"memory_address": 12288, "chip_address": 100}
    return [
        *push(LOAD, image),
        *push(LOAD, weights | {"space": Space.WEIGHTS}, post=1 << MATMUL),
        *push(MATMUL, conv, wait=1 << LOAD, post=1 << VECTOR),
        *push(VECTOR, requantise, wait=1 << MATMUL, post=1 << STORE, stamp=True),
        *push(STORE, result, wait=1 << VECTOR, stamp=True),
        asm.twait(1 << STORE),
        asm.addi(5, 0, 42),
        asm.tdone(5),
    ]


@pytest.mark.parametrize("memory_base", [0, 0x8000_0000])
def test_a_convolution_end_to_end(memory_base: int) -> None:
    device = loaded(convolution(), memory_base=memory_base)
    origin = memory_base + BASE
    rng = np.random.default_rng(1)
    parameters = np.zeros((9, 4), np.uint8)
    bias = rng.integers(-1000, 1000, 4).astype("<i4")
    multiplier = rng.integers(1 << 30, (1 << 31) - 1, 4).astype("<i4")
    shift = rng.integers(-9, -6, 4).astype(np.int8)
    parameters[:4] = bias.view(np.uint8).reshape(4, 4).T
    parameters[4:8] = multiplier.view(np.uint8).reshape(4, 4).T
    parameters[8] = shift.view(np.uint8)
    weights = rng.integers(-128, 128, (2, 4, 4)).astype(np.int8)
    device.write_memory(origin + 8192, weights)
    device.write_memory(origin + 8192 + 32, parameters)
    for _ in range(2):
        pixels = rng.integers(-128, 128, (6, 4)).astype(np.int8)
        device.write_memory(origin + 4096, pixels.tobytes())
        write(device, "CONTROL", Control.START)
        device.wait(5000)
        assert read(device, "STATUS") == Status.DONE | Status.IRQ
        write(device, "CONTROL", Control.CLEAR)

        wide = np.vstack([pixels, np.full((1, 4), 3)]).astype(np.int64)
        sums = wide[:6] @ weights[0].astype(int) + wide[1:] @ weights[1].astype(int) + bias
        # With real numbers: right but for the rounding.
        exact = sums * multiplier.astype(float) * 2.0 ** (shift.astype(float) - 31) - 5
        got = np.frombuffer(device.read_memory(origin + 12288, 24), np.int8).reshape(6, 4)
        assert np.abs(got - np.clip(exact, -100, 100)).max() <= 0.51
        assert len(np.unique(got)) > 8

    assert read(device, "EXIT_CODE") == 42
    assert read(device, "INSTRUCTIONS") == len(convolution())
    assert read(device, "READ_BEATS") == 6 + 17
    assert read(device, "WRITE_BEATS") == 6
    assert read(device, "STAMP_COUNT") == 2
    stamps = []
    for index in (0, 1, 2):
        write(device, "STAMP_INDEX", index)
        stamps.append(read(device, "STAMP"))
    assert 0 < stamps[0] < stamps[1] < read(device, "CYCLES") < 1000
    assert stamps[2] == read(device, "CYCLES_HIGH") == 0


def test_constant_registers() -> None:
    device = ModelDevice(CONFIG)
    assert device.memory_bytes == 64 << 20
    assert read(device, "ID") == int.from_bytes(b"SYST", "little")
    assert read(device, "VERSION") == ISA_VERSION
    assert read(device, "FINGERPRINT") == CONFIG.fingerprint
    assert read(device, "SHAPE") == 0x04020404
    write(device, "ID", 5)
    assert read(device, "ID") == int.from_bytes(b"SYST", "little")
    for register in REGISTERS:
        device.write_register(register.offset, (1 << 32) + 7)
        if register.access == "rw":
            expected = (7 & ~register.fixed) | (register.reset & register.fixed)
            assert device.read_register(register.offset) == expected
    with pytest.raises(DeviceError, match="model: there is no register at 0x3"):
        device.read_register(3)
    with pytest.raises(DeviceError, match="model: there is no register at 0x100"):
        device.write_register(0x100, 0)


def test_a_fault_stops_the_machine_until_clear() -> None:
    device = started([asm.nop(), asm.lw(3, 0, -8)])
    device.wait(10)
    assert read(device, "STATUS") == Status.ERROR | Status.IRQ
    assert read(device, "CAUSE") == Cause.LOAD_FAULT
    assert read(device, "CAUSE_ADDRESS") == 0xFFFFFFF8
    assert read(device, "CAUSE_PC") == 4
    assert read(device, "INSTRUCTIONS") == 1
    write(device, "CONTROL", Control.LOAD)
    assert read(device, "STATUS") == Status.ERROR | Status.IRQ
    write(device, "CONTROL", Control.CLEAR)
    assert [read(device, n) for n in ("STATUS", "CAUSE", "CAUSE_ADDRESS", "CAUSE_PC")] == [0] * 4
    # Load wins where both are asked for.
    write(device, "CONTROL", Control.LOAD | Control.START)
    assert read(device, "STATUS") == Status.DONE | Status.IRQ


@pytest.mark.parametrize(
    ("engine", "cause"), [(LOAD, Cause.READ_RESPONSE), (STORE, Cause.WRITE_RESPONSE)]
)
def test_bus_errors(engine: Engine, cause: Cause) -> None:
    fields = {"memory_address": (1 << 16) - BASE - 8, "words": 3, "rows": 1, "planes": 1}
    device = started(push(engine, fields), memory_base=0x1000)
    device.wait(100)
    assert read(device, "CAUSE") == cause
    assert read(device, "CAUSE_ADDRESS") == 0x1000 + (1 << 16)
    assert read(device, "CAUSE_ENGINE") == engine
    assert read(device, "CAUSE_PC") == 4 * (len(push(engine, fields)) - 1)


def test_a_program_that_is_not_in_memory() -> None:
    device = ModelDevice(CONFIG, memory_bytes=1 << 16)
    write(device, "IRQ_ENABLE", 1)
    write(device, "MEMORY_BASE", 1 << 16)
    write(device, "PROGRAM_WORDS", 1)
    write(device, "CONTROL", Control.LOAD)
    device.wait(1)
    assert (read(device, "CAUSE"), read(device, "CAUSE_ADDRESS")) == (Cause.READ_RESPONSE, 1 << 16)


@pytest.mark.parametrize(
    ("name", "value", "rule", "message"),
    [
        ("PROGRAM_WORDS", 0, Rule.COUNT, "PROGRAM_WORDS must be from 1 to 4096, not 0"),
        ("PROGRAM_WORDS", 4097, Rule.PROGRAM, "PROGRAM_WORDS must be from 1 to 4096, not 4097"),
        ("PROGRAM_ADDRESS", 2, Rule.ALIGNMENT, "PROGRAM_ADDRESS must be a multiple of 4, not 0x2"),
    ],
)
def test_what_cannot_be_loaded(name: str, value: int, rule: Rule, message: str) -> None:
    device = loaded([asm.nop()])
    write(device, name, value)
    write(device, "CONTROL", Control.LOAD)
    device.wait(1000)
    chip = rule == Rule.PROGRAM
    assert read(device, "CAUSE") == (Cause.CHIP_ADDRESS if chip else Cause.ILLEGAL_COMMAND)
    assert (read(device, "CAUSE_ADDRESS"), read(device, "CAUSE_ENGINE")) == (rule, LOAD)
    assert device.explain() == message


def test_violations_come_out_of_wait() -> None:
    device = started([asm.tpush(MATMUL, wait=1)])
    for _ in range(2):
        with pytest.raises(ProgramError, match="pc 0x0, tpush matmul wait=load: matmul command 0"):
            device.wait(1000)
    write(device, "CONTROL", Control.CLEAR)
    with pytest.raises(DeviceError, match="no interrupt within 1000 cycles"):
        device.wait(1000)


def test_waiting_has_a_limit() -> None:
    words = [*asm.li(1, 1000), asm.addi(1, 1, -1), asm.bne(1, 0, -4), asm.tdone(0)]
    device = started(words)
    device.wait(10_000)
    with pytest.raises(DeviceError, match="no interrupt within 1500 cycles"):
        device.wait(1500)
    write(device, "IRQ_ENABLE", 0)
    with pytest.raises(DeviceError, match="no interrupt within 10000 cycles"):
        device.wait(10_000)


def test_memory_has_an_end() -> None:
    with ModelDevice(CONFIG, memory_bytes=4096, memory_base=64) as device:
        device.write_memory(64 + 4092, b"abcd")
        assert device.read_memory(64 + 4090, 6) == b"\0\0abcd"
        with pytest.raises(DeviceError, match="8 bytes at 0x103c are outside the memory 0x40"):
            device.write_memory(64 + 4092, bytes(8))
        with pytest.raises(DeviceError, match="1 bytes at 0x3f are outside"):
            device.read_memory(63, 1)
    with pytest.raises(DeviceError, match="memory size and base must be multiples of 64"):
        ModelDevice(CONFIG, memory_bytes=100)
