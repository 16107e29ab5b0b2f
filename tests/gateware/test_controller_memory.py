"""Loads, stores, fences and code that is stored, on the simulated hardware of the controller."""

import random

import pytest

from accel import asm
from accel.isa import WINDOW_BASE
from accel.riscv import INSTRUCTIONS
from tests.gateware.corebench import WINDOW_BYTES, bench, emit, finish

MASK = 0xFFFFFFFF
SEED = 2024
LOADS = {"lb": (1, True), "lbu": (1, False), "lh": (2, True), "lhu": (2, False), "lw": (4, False)}
STORES = {"sb": 1, "sh": 2, "sw": 4}


@pytest.mark.parametrize("name", LOADS)
def test_load(name: str) -> None:
    width, is_signed = LOADS[name]
    base = 1024
    content = bytes([0x81, 0x7F, 0xFE, 0x02, 0x00, 0xC3, 0x34, 0x92])
    program, expected = asm.Program(), []
    program.emit(asm.li(1, base + 4))
    encode = INSTRUCTIONS[name].encode
    for offset in range(-4, 4, width):
        program.emit(encode(2, 1, offset))
        emit(program, 2)
        place = offset + 4
        value = int.from_bytes(content[place : place + width], "little", signed=is_signed)
        expected += [value & MASK, 0]
    program.emit(encode(0, 1, 0))
    program.emit(encode(1, 1, 0))  # the base is the destination
    emit(program, 1, 0)
    expected += [int.from_bytes(content[4 : 4 + width], "little", signed=is_signed) & MASK, 0]
    words = finish(program)
    words += [0] * (base // 4 - len(words))
    words += [int.from_bytes(content[i : i + 4], "little") for i in (0, 4)]
    assert bench().run(words).values == expected


@pytest.mark.parametrize("load_writes", [0.0, 0.7])
@pytest.mark.parametrize("name", STORES)
def test_store(name: str, load_writes: float) -> None:
    """Every offset; the bytes around keep their value, also while the load engine writes."""
    width = STORES[name]
    base = 1024
    memory = bytearray(range(0x10, 0x18))
    program, expected = asm.Program(), []
    program.emit(asm.li(1, base + 4))
    for n, offset in enumerate(range(-4, 4, width)):
        value = 0xA1B2C3D4 + n * 0x11111111 & MASK
        program.emit(asm.li(2, value))
        program.emit(INSTRUCTIONS[name].encode(2, 1, offset))
        program.emit(asm.lw(3, 1, -4))
        program.emit(asm.lw(4, 1, 0))
        emit(program, 3, 4)
        memory[offset + 4 : offset + 4 + width] = value.to_bytes(4, "little")[:width]
        expected += [int.from_bytes(memory[i : i + 4], "little") for i in (0, 4)]
    words = finish(program)
    words += [0] * (base // 4 - len(words))
    words += [0x13121110, 0x17161514]
    assert bench().run(words, load_writes=load_writes, seed=SEED).values == expected


@pytest.mark.parametrize("window_cycles", [(1,), (5, 6, 9, 40)])
@pytest.mark.parametrize("name", [*LOADS, *STORES])
def test_window_access(name: str, window_cycles: tuple[int, ...]) -> None:
    """Every offset, at both ends of the window; stores change the bytes they name."""
    rng = random.Random(name)
    window = bytearray(rng.randbytes(WINDOW_BYTES))
    content = bytearray(window)
    program, expected, accesses = asm.Program(), [], []
    for base in (0, WINDOW_BYTES - 8):
        program.emit(asm.li(1, WINDOW_BASE + base))
        for offset in range(0, 8, STORES.get(name) or LOADS[name][0]):
            value = rng.getrandbits(32)
            program.emit(asm.li(2, value))
            program.emit(INSTRUCTIONS[name].encode(2, 1, offset))
            place = base + offset
            if name in LOADS:
                width, is_signed = LOADS[name]
                value = int.from_bytes(window[place : place + width], "little", signed=is_signed)
            else:
                width = STORES[name]
                content[place : place + width] = value.to_bytes(4, "little")[:width]
            accesses.append((name in STORES, place // 4))
            emit(program, 2, 1)
            expected += [value & MASK, WINDOW_BASE + base]
    # A store's neighbour, and the load of what a load addressed.
    program.emit(asm.li(1, WINDOW_BASE) + asm.li(2, 0x11223344))
    program.emit([asm.sw(2, 1, 16), asm.lw(3, 1, 16), asm.lb(0, 1, 0), asm.add(3, 3, 2)])
    content[16:20] = (0x11223344).to_bytes(4, "little")
    accesses += [(1, 4), (0, 4), (0, 0)]
    run = bench().run(finish(program, 3), window=window, window_cycles=window_cycles)
    assert run.values == expected
    assert run.exit_code == 0x22446688
    assert [access[:2] for access in run.accesses] == accesses
    assert window == content


@pytest.mark.parametrize(
    "words", [[asm.fence()], [asm.fence(0, 0, 8)], [0x00F0_8F8F], [asm.fence_i()], [0xFFF0_9F8F]]
)
def test_fences_do_nothing(words: list[int]) -> None:
    program = asm.Program()
    program.emit(asm.li(1, 5) + asm.li(31, 6))
    program.emit(words)
    emit(program, 1, 31)
    run = bench().run(finish(program))
    assert run.values == [5, 6]
    assert run.retired == 5


@pytest.mark.parametrize("barrier", ["jal", "back", "jalr", "fence.i"])
@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_code_can_be_stored(barrier: str, padding: int) -> None:
    """What a store wrote is executed after a taken jump or FENCE.I, however near it is."""
    program = asm.Program()
    program.jump("begin")
    program.label("patched")
    program.emit(asm.addi(3, 0, 1))
    emit(program, 3)
    program.emit(asm.tdone(0))
    program.label("begin")
    program.emit(asm.li(2, asm.addi(3, 0, 2)) + asm.li(4, 4))
    place = 4
    if barrier == "fence.i":
        place = program.address + 4 * (padding + 2)
    if barrier == "jal":
        place = program.address + 4 * (padding + 3)
    program.emit(asm.sw(2, 0, place))
    program.emit([asm.nop()] * padding)
    if barrier == "fence.i":
        program.emit([asm.fence_i(), asm.addi(3, 0, 1)])
        emit(program, 3)
        program.emit(asm.tdone(0))
    elif barrier == "jal":
        program.emit([asm.jal(0, 8), asm.ebreak(), asm.addi(3, 0, 1)])
        emit(program, 3)
        program.emit(asm.tdone(0))
    elif barrier == "back":
        program.branch("bne", 4, 0, "patched")
    else:
        program.emit(asm.jalr(0, 4, 0))
    assert bench().run(program.words()).values == [2, 0]
