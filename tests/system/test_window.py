"""A program that looks at the scratchpad and changes it, on every device."""

import numpy as np
import pytest

from accel import asm
from accel.config import PRESETS
from accel.isa import COMMANDS, WINDOW_BASE, Engine
from accel.regmap import Cause, Control, Status, address

CONFIG = PRESETS["test"]
LOAD, VECTOR, STORE = Engine.LOAD, Engine.VECTOR, Engine.STORE
SMALL_MEMORY = 1 << 16
MAP, NEGATED, SUMS, OTHERS = 10, 100, 200, 400
"""Scratchpad words; each holds four bytes."""
WORDS = 16
MORE = 200
"""Words that the engines move while the controller is at work."""


def transfer(engine, memory, chip, words, **options):
    """Return a load or store of consecutive words."""
    fields = {"memory_address": memory, "chip_address": chip, "words": words}
    registers = COMMANDS[engine].encode(fields | {"rows": 1, "planes": 1})
    code = []
    for pair in range(len(registers) // 2):
        code += asm.li(1, registers[2 * pair]) + asm.li(2, registers[2 * pair + 1])
        code.append(asm.tset(engine, pair, 1, 2))
    return [*code, asm.tpush(engine, **options)]


def place(word):
    return WINDOW_BASE + CONFIG.word_slot * word


def program():
    """Negate a map byte by byte; add to it word by word, while both DMA engines are busy."""
    made = asm.Program()
    made.emit(transfer(LOAD, 4096, MAP, WORDS))
    made.emit([asm.twait(1 << LOAD)])
    made.emit(transfer(LOAD, 8192, OTHERS, MORE))
    made.emit(transfer(STORE, 12288, MAP, WORDS))
    made.emit(asm.li(1, place(MAP)) + asm.li(2, place(NEGATED)) + asm.li(3, 4 * WORDS))
    made.label("bytes")
    made.emit([asm.lb(4, 1, 0), asm.xori(4, 4, -1), asm.sb(4, 2, 0)])
    made.emit([asm.addi(1, 1, 1), asm.addi(2, 2, 1), asm.addi(3, 3, -1)])
    made.branch("bne", 3, 0, "bytes")
    made.emit(asm.li(1, place(MAP)) + asm.li(2, place(SUMS)) + asm.li(3, WORDS))
    made.label("words")
    made.emit([asm.lw(4, 1, 0), asm.lhu(5, 1, 2), asm.add(4, 4, 5)])
    made.emit([asm.sw(4, 2, 0), asm.lhu(6, 2, 0), asm.sh(6, 2, 2)])
    made.emit([asm.addi(1, 1, 4), asm.addi(2, 2, 4), asm.addi(3, 3, -1)])
    made.branch("bne", 3, 0, "words")
    # What is pushed now is behind all that.
    made.emit(transfer(STORE, 12544, NEGATED, WORDS))
    made.emit(transfer(STORE, 12800, SUMS, WORDS))
    made.emit([asm.twait(1 << LOAD)])
    made.emit(transfer(STORE, 13312, OTHERS, MORE))
    made.emit([asm.twait(1 << STORE), *asm.li(1, place(MAP + WORDS)), asm.lbu(4, 1, -1)])
    made.emit([asm.tdone(4)])
    return made.words()


def started(device, words):
    device.write_memory(0, np.array(words, "<u4"))
    device.write_register(address("IRQ_ENABLE"), 1)
    device.write_register(address("PROGRAM_WORDS"), len(words))
    for control in (Control.LOAD, Control.CLEAR, Control.START):
        device.write_register(address("CONTROL"), control)
        if control != Control.CLEAR:
            device.wait(100_000)
    return device


def read(device, first, count):
    return np.frombuffer(device.read_memory(first, count), np.uint8)


@pytest.mark.parametrize("stalls", ["never", "sometimes", "often"])
@pytest.mark.parametrize("name", ["model", "verilator", "icarus"])
def test_the_controller_works_on_a_map(device, name, stalls):
    rng = np.random.default_rng(5)
    dut = device(name, CONFIG, stalls=stalls, seed=4, memory_bytes=SMALL_MEMORY)
    pixels = rng.integers(0, 256, 4 * WORDS, np.uint8)
    others = rng.integers(0, 256, 4 * MORE, np.uint8)
    dut.write_memory(4096, pixels)
    dut.write_memory(8192, others)
    started(dut, program())
    assert Status(dut.read_register(address("STATUS"))) & Status.DONE
    np.testing.assert_array_equal(read(dut, 12288, 4 * WORDS), pixels)
    np.testing.assert_array_equal(read(dut, 12544, 4 * WORDS), ~pixels)
    sums = pixels.view("<u4") + pixels.view("<u2")[1::2]
    low = sums & 0xFFFF
    np.testing.assert_array_equal(read(dut, 12800, 4 * WORDS).view("<u4"), low << 16 | low)
    np.testing.assert_array_equal(read(dut, 13312, 4 * MORE), others)
    assert dut.read_register(address("EXIT_CODE")) == pixels[-1]


@pytest.mark.parametrize("name", ["model", "verilator"])
@pytest.mark.parametrize(
    ("word", "cause"),
    [
        (asm.lw(3, 1, 0), Cause.LOAD_FAULT),
        (asm.sb(3, 1, 1), Cause.STORE_FAULT),
        (asm.sh(3, 1, -1), Cause.MISALIGNED),
    ],
)
def test_the_window_ends_with_the_scratchpad(device, name, word, cause):
    end = WINDOW_BASE + CONFIG.scratchpad_bytes
    dut = device(name, CONFIG, memory_bytes=SMALL_MEMORY)
    started(dut, [*asm.li(1, end), asm.sw(0, 1, -4), asm.lw(2, 1, -4), word, asm.tdone(2)])
    assert Status(dut.read_register(address("STATUS"))) & Status.ERROR
    offset = {Cause.LOAD_FAULT: 0, Cause.STORE_FAULT: 1, Cause.MISALIGNED: -1}[cause]
    names = ("CAUSE", "CAUSE_ADDRESS", "CAUSE_PC", "INSTRUCTIONS")
    pc = 4 * (len(asm.li(1, end)) + 2)
    seen = [dut.read_register(address(n)) for n in names]
    assert seen == [cause, end + offset, pc, pc // 4]
