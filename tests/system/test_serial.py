"""The serial machine, preset `tiny`: what its RTL does against TFLM and the golden machine."""

import dataclasses
import random

import numpy as np
import pytest

import accel
from accel import asm
from accel.config import PRESETS
from accel.data import digits_model, load_digits
from accel.errors import ConfigError, FaultError
from accel.gateware.top import Accelerator
from accel.host.driver import Driver
from accel.regmap import Cause, address
from sim.devices.model import ModelDevice
from sim.devices.verilator import VerilatorDevice
from tests.system.test_random_models import KINDS, draw_case, failure
from tests.wild import (
    WATCHDOG,
    Outcome,
    WildBench,
    random_command,
    random_program,
    same_kind,
    stores,
)

TINY = PRESETS["tiny"]
DIGITS = load_digits()
MEMORY_BYTES = 1 << 16


@pytest.mark.parametrize("stalls", ["never", "sometimes", "often"])
@pytest.mark.parametrize("name", ["model", "verilator"])
def test_digits(device, name, stalls):
    image = accel.compile_model(digits_model(), TINY)
    options = {} if name == "model" else {"stalls": stalls, "seed": 3, "latency": 3}
    opened = device(name, TINY, memory_bytes=MEMORY_BYTES, **options)
    result = accel.run(image, DIGITS.x[:2], device=opened)
    expected = DIGITS.y_tflm[:2]
    np.testing.assert_array_equal(result.outputs[0].reshape(expected.shape), expected)
    if name == "verilator":
        # Every layer has its stamp, the later the larger.
        stamps = result.stats[0].stamps
        assert len(stamps) > 4 and list(stamps) == sorted(stamps)
        assert stamps[-1] < result.stats[0].cycles


@pytest.mark.full
def test_digits_in_icarus(device):
    image = accel.compile_model(digits_model(), TINY)
    opened = device("icarus", TINY, memory_bytes=MEMORY_BYTES)
    result = accel.run(image, DIGITS.x, device=opened, limit=1)
    np.testing.assert_array_equal(result.outputs[0].ravel(), DIGITS.y_tflm[0].ravel())


@pytest.mark.parametrize(
    "seeds",
    [pytest.param([1], id="sample"), pytest.param(range(2, 30), id="more", marks=pytest.mark.full)],
)
def test_every_operator(device, seeds):
    dut = device("verilator", TINY, stalls="sometimes", seed=1, latency=3)
    failures = []
    for seed in seeds:
        for name in sorted(KINDS):
            case = draw_case(seed, operator=name, length=1 if seed % 2 else 3)
            one = dataclasses.replace(
                case,
                inputs=tuple(x[:1] for x in case.inputs),
                expected=tuple(y[:1] for y in case.expected),
            )
            failures += failure(seed, one, dut)
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def rtl():
    with VerilatorDevice(TINY, memory_bytes=MEMORY_BYTES, latency=3) as device:
        yield WildBench(device)


@pytest.fixture(scope="module")
def golden():
    with ModelDevice(TINY, memory_bytes=MEMORY_BYTES) as device:
        yield WildBench(device)


@pytest.mark.parametrize(
    "number",
    [pytest.param(40, id="sample"), pytest.param(2_000, id="all", marks=pytest.mark.full)],
)
def test_random_instructions(rtl: WildBench, golden: WildBench, number: int):
    rng = random.Random(7)
    for index in range(number):
        words = random_program(rng, 32)
        outcome, expected = rtl.run(words), golden.run(words)
        assert outcome is not None
        if expected is None:
            for bench in (rtl, golden):
                # To fill program memory takes longer than a program may.
                bench.write("WATCHDOG", 0)
                bench.forget()
                bench.write("WATCHDOG", WATCHDOG)
        elif not stores(words):
            assert same_kind(expected, outcome), (index, expected, outcome)
    assert rtl.run(rtl.transfer()) == Outcome(Cause.NONE)


@pytest.mark.parametrize(
    ("number", "compared"),
    [
        pytest.param(60, 10, id="sample"),
        pytest.param(2_000, 300, id="all", marks=pytest.mark.full),
    ],
)
def test_random_commands_end(rtl: WildBench, golden: WildBench, number: int, compared: int):
    """What is legal is done, what leaves memory's windows stops; other faults may not be seen."""
    rng = random.Random(6)
    causes = set()
    for index in range(number):
        words = random_command(rng, TINY)
        outcome = rtl.run(words)
        expected = golden.run(words) if index < compared else None
        assert outcome is not None
        causes.add(outcome.cause)
        unseen = (Cause.ILLEGAL_COMMAND, Cause.CHIP_ADDRESS)
        if expected is not None and expected.cause not in unseen:
            slow = outcome.cause == Cause.WATCHDOG
            assert slow or same_kind(expected, outcome), (index, expected, outcome)
    assert {Cause.NONE, Cause.ILLEGAL_COMMAND, Cause.CHIP_ADDRESS} <= causes
    assert rtl.run(rtl.transfer()) == Outcome(Cause.NONE)


def test_a_loop_without_end(rtl: WildBench):
    assert rtl.run([asm.jal(0, 0)]).cause == Cause.WATCHDOG
    assert rtl.run(rtl.transfer()) == Outcome(Cause.NONE)


def test_the_host_reads_registers_while_a_program_runs(device):
    """Accesses are served between instructions, and within commands."""
    image = accel.compile_model(digits_model(), TINY)
    dut = device("verilator", TINY, memory_bytes=MEMORY_BYTES, latency=3)
    driver = Driver(dut)
    driver.load_image(image)
    tensor = image.inputs[0]
    dut.write_memory(tensor.address, tensor.pack(DIGITS.x[0]))
    dut.write_register(address("CONTROL"), 1)
    cycles = 0
    while dut.read_register(address("STATUS")) & 1:
        now = dut.read_register(address("CYCLES"))
        assert now > cycles
        cycles = now
    assert cycles > 100_000 and dut.read_register(address("STATUS")) == 2 | 8
    (output,) = image.outputs
    found = output.unpack(dut.read_memory(output.address, output.memory_bytes))
    np.testing.assert_array_equal(found.ravel(), DIGITS.y_tflm[0].ravel())


@pytest.mark.parametrize(("direction", "cause"), [("read", 8), ("write", 9)])
def test_an_error_response(device, direction, cause):
    image = accel.compile_model(digits_model(), TINY)
    dut = device("verilator", TINY, memory_bytes=MEMORY_BYTES, latency=3)
    driver = Driver(dut)
    driver.load_image(image)
    dut.inject_error(direction, 1)
    with pytest.raises(FaultError, match=Cause(cause).name):
        driver.run([DIGITS.x[0]])
    (result,), _ = driver.run([DIGITS.x[0]])
    np.testing.assert_array_equal(result.ravel(), DIGITS.y_tflm[0].ravel())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 8, "cols": 8}, "rows must be 4 where serial is true, not 8"),
        ({"lanes": 2}, "lanes must be 1 where serial is true, not 2"),
        ({"multiply": True}, "multiply must be False where serial is true, not True"),
        ({"scratchpad_bytes": 65536}, "scratchpad_bytes must be at most 32768 where serial"),
        ({"target": "ecp5"}, "target must be generic or ice40 where serial is true, not ecp5"),
    ],
)
def test_what_it_is_not_made_for_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **changes)


def test_it_has_no_retirement_port():
    with pytest.raises(ConfigError, match="tiny: the serial machine has no retirement port"):
        Accelerator(TINY, rvfi=True)
