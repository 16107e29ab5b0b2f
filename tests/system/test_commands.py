"""Random legal commands on the whole machine: what the golden machine makes of them."""

import random

import numpy as np
import pytest

from accel.config import PRESETS
from accel.host.device import Device
from accel.regmap import Control, Status, address
from sim.errors import ProgramError
from tests.random_commands import CONTENT, CommandProgram

CONFIG = PRESETS["test"]
MEMORY_BYTES = 1 << 16
BASES = (0, 0x5A5A0000, 0xFFFF0000)
COUNTS = ("STATUS", "CAUSE", "CAUSE_ADDRESS", "EXIT_CODE", "INSTRUCTIONS", "STAMP_COUNT")
BEATS = ("READ_BEATS", "WRITE_BEATS")


def run(device: Device, words: list[int], content: bytes) -> tuple[list[int], bytes]:
    """Run a program; return registers and all of memory."""
    base = device.memory_base
    device.write_memory(base, np.zeros(MEMORY_BYTES, np.uint8))
    device.write_memory(base + CONTENT, content)
    device.write_memory(base, np.array(words, "<u4"))
    for name, value in (
        ("CONTROL", Control.CLEAR),
        ("IRQ_ENABLE", 1),
        ("MEMORY_BASE", base),
        ("PROGRAM_WORDS", len(words)),
        ("WATCHDOG", 1 << 16),
        ("READ_BASE", base),
        ("WRITE_BASE", base + 0xA000),
        ("READ_LIMIT", base + MEMORY_BYTES - 1),
        ("WRITE_LIMIT", base + MEMORY_BYTES - 1),
    ):
        device.write_register(address(name), value)
    for control in (Control.LOAD, Control.CLEAR, Control.START):
        device.write_register(address("CONTROL"), control)
        if control != Control.CLEAR:
            device.wait(1 << 18)
    seen = [device.read_register(address(name)) for name in (*COUNTS, *BEATS)]
    return seen, device.read_memory(base, MEMORY_BYTES)


@pytest.mark.parametrize("base", BASES, ids=hex)
@pytest.mark.parametrize("number", [8, pytest.param(200, marks=pytest.mark.full)])
def test_random_programs_of_commands(device, base, number):
    options = {"memory_bytes": MEMORY_BYTES, "memory_base": base}
    golden = device("model", CONFIG, **options)
    rtl = device("verilator", CONFIG, stalls=("never", "sometimes")[base > 0], seed=9, **options)
    ended = 0
    for seed in range(number):
        r = random.Random(f"{base} {seed}")
        tokens, parameters, products = (seed >> bit & 1 > 0 for bit in range(3))
        program = CommandProgram(CONFIG, r, 16, tokens, parameters, products)
        words, content = program.words(), program.content()
        try:
            expected, memory = run(golden, words, content)
        except ProgramError:
            # It has no defined result: a command reads what it writes.
            continue
        registers, found = run(rtl, words, content)
        if expected[0] & Status.ERROR:
            # Where the machine is when an engine stops it is for the hardware to say.
            assert registers[:3] == expected[:3], seed
            continue
        assert registers == expected, seed
        differing = np.flatnonzero(np.frombuffer(memory, "u1") != np.frombuffer(found, "u1"))
        assert not len(differing), (seed, len(differing), hex(differing[0]))
        ended += 1
    assert ended > 0.8 * number
