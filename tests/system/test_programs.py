"""Programs and register accesses on the whole machine: the state that the golden machine has."""

import random

import numpy as np
import pytest

from accel import asm
from accel.config import PRESETS
from accel.host.device import Device
from accel.isa import COMMANDS, WINDOW_BASE, Engine
from accel.regmap import REGISTERS, Cause, Control, Status, address
from accel.riscv import Csr
from sim.errors import ProgramError
from sim.randomcode import RandomProgram

CONFIG = PRESETS["test"]
MEMORY_BYTES = 1 << 16
CONTENT, RESULT = 0x8000, 0xC000
"""Where what the scratchpad holds first is, and where it goes at last."""
WORDS = CONFIG.scratchpad_bytes // 4
WATCHDOG = 1 << 14
POINTER = 31
CSRS = (
    Csr.MIE,
    Csr.MSCRATCH,
    Csr.MEPC,
    Csr.MCAUSE,
    Csr.MTVAL,
    Csr.MTVEC,
    Csr.MSTATUS,
    Csr.MINSTRET,
)
ENDED = ("STATUS", "CAUSE", "CAUSE_ADDRESS", "CAUSE_PC", "EXIT_CODE", "INSTRUCTIONS")


def transfer(engine: Engine, memory: int) -> list[int]:
    """Return what moves the whole scratchpad, and waits for it."""
    fields = {"memory_address": memory, "words": WORDS, "rows": 1, "planes": 1}
    registers = COMMANDS[engine].encode(fields)
    code = []
    for pair in range(len(registers) // 2):
        for number, value in ((1, registers[2 * pair]), (2, registers[2 * pair + 1])):
            code += asm.li(number, value)
        code.append(asm.tset(engine, pair, 1, 2))
    return [*code, asm.tpush(engine), asm.twait(1 << engine)]


def show_state() -> list[int]:
    """Return what puts registers, CSRs and stored data into the scratchpad, and stores it."""
    code = asm.li(POINTER, WINDOW_BASE)
    code += [asm.sw(number, POINTER, 4 * number) for number in range(POINTER)]
    for place, csr in enumerate(CSRS, 32):
        code += [asm.csrrs(1, csr, 0), asm.sw(1, POINTER, 4 * place)]
    first = CONFIG.program_bytes - 1020
    code += asm.li(2, first) + asm.li(3, 240)
    code += [asm.lw(1, 2, 0), asm.sw(1, POINTER, 256), asm.addi(2, 2, 4)]
    code += [asm.addi(POINTER, POINTER, 4), asm.addi(3, 3, -1), asm.bne(3, 0, -20)]
    return [*code, *transfer(Engine.STORE, RESULT), asm.addi(1, 0, 77), asm.tdone(1)]


def outcome(device: Device, program: list[int], content: np.ndarray) -> tuple[list[int], bytes]:
    """Run a program; return registers and what it has stored."""
    device.write_memory(CONTENT, content)
    device.write_memory(0, np.array(program, "<u4"))
    device.write_register(address("IRQ_ENABLE"), 1)
    device.write_register(address("WATCHDOG"), WATCHDOG)
    device.write_register(address("PROGRAM_WORDS"), len(program))
    for control in (Control.LOAD, Control.START):
        device.write_register(address("CONTROL"), Control.CLEAR)
        device.write_register(address("CONTROL"), control)
        device.wait(4 * WATCHDOG)
    seen = [device.read_register(address(name)) for name in ENDED]
    device.write_register(address("CONTROL"), Control.CLEAR)
    return seen, device.read_memory(RESULT, CONFIG.scratchpad_bytes)


@pytest.mark.parametrize("number", [12, pytest.param(300, marks=pytest.mark.full)])
def test_random_programs_leave_the_same_state(device, number):
    rtl, golden = (
        device(name, CONFIG, memory_bytes=MEMORY_BYTES) for name in ("verilator", "model")
    )
    compared = 0
    for seed in range(number):
        rng = random.Random(seed)
        program = RandomProgram(
            rng,
            units=250,
            program_bytes=CONFIG.program_bytes,
            # Its pointer into the window is in the middle: accesses past the end are bad ones.
            window_bytes=2 * (CONFIG.scratchpad_bytes - 1024),
            multiply=CONFIG.multiply,
            tensor=False,
            begin=[*transfer(Engine.LOAD, CONTENT), asm.csrrw(0, Csr.MIE, 1)],
            end=show_state(),
        )
        content = np.frombuffer(rng.randbytes(CONFIG.scratchpad_bytes), np.uint8)
        try:
            expected, shown = outcome(golden, program.words, content)
        except ProgramError:
            golden.write_register(address("CONTROL"), Control.CLEAR)
            continue
        if expected[1] == Cause.WATCHDOG:
            # It jumped into the middle of a loop: that is counted in cycles.
            continue
        compared += expected[0] == Status.DONE | Status.IRQ
        registers, scratchpad = outcome(rtl, program.words, content)
        assert registers == expected, seed
        assert scratchpad == shown, seed
    assert compared > number // 2


def test_registers_hold_what_is_written(device):
    rtl, golden = (
        device(name, CONFIG, memory_bytes=MEMORY_BYTES) for name in ("verilator", "model")
    )
    rng = random.Random(3)
    # Writes of what can only be read do nothing.
    written = [register for register in REGISTERS if register.access != "wo"]
    values = [0, 0xFFFFFFFF, *(rng.getrandbits(32) for _ in range(6))]
    for value in [None, *values]:
        for register in written if value is not None else ():
            for one in (rtl, golden):
                one.write_register(register.offset, value ^ register.offset << 20)
        for register in REGISTERS:
            if register.access != "wo":
                seen, expected = (one.read_register(register.offset) for one in (rtl, golden))
                assert seen == expected, (register.name, value)


@pytest.mark.parametrize("name", ["model", "verilator"])
def test_what_counts_carries_into_its_upper_word(device, name):
    code = asm.li(1, 41)
    for number, low, high in ((3, Csr.MCYCLE, Csr.MCYCLEH), (4, Csr.MINSTRET, Csr.MINSTRETH)):
        code += [asm.csrrw(0, high, 1), asm.addi(2, 0, -3), asm.csrrw(0, low, 2)]
        code += [asm.nop()] * 8 + [asm.csrrs(number, high, 0), asm.csrrs(number + 2, low, 0)]
        # The lower word is a small number by then.
        code += [asm.srli(number + 2, number + 2, 8), asm.add(number, number, number + 2)]
    code += [asm.slli(3, 3, 8), asm.add(3, 3, 4), asm.tdone(3)]
    content = np.zeros(CONFIG.scratchpad_bytes, np.uint8)
    seen, _ = outcome(device(name, CONFIG, memory_bytes=MEMORY_BYTES), code, content)
    assert dict(zip(ENDED, seen, strict=True))["EXIT_CODE"] == 42 << 8 | 42
