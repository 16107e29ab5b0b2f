"""A directed test of every instruction of the controller, on the simulated hardware."""

import itertools
import random
from collections.abc import Callable

import pytest

from accel import asm
from accel.isa import Engine, Funct3, StatusWord
from accel.riscv import INSTRUCTIONS
from tests.gateware.corebench import STALLS, bench, emit, finish
from tests.gateware.test_controller_memory import LOADS, STORES

MASK = 0xFFFFFFFF
EDGES = (0, 1, 31, 32, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFE1, 0x12345678, 0xDEADBEEF)
SEED = 2024


def signed(value: int) -> int:
    return value - (1 << 32) if value & 0x80000000 else value


def truncated_quotient(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


# From "The RISC-V Instruction Set Manual, Volume I", chapters 2.4 and 7.
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "sll": lambda a, b: a << (b & 31),
    "slt": lambda a, b: signed(a) < signed(b),
    "sltu": lambda a, b: a < b,
    "xor": lambda a, b: a ^ b,
    "srl": lambda a, b: a >> (b & 31),
    "sra": lambda a, b: signed(a) >> (b & 31),
    "or": lambda a, b: a | b,
    "and": lambda a, b: a & b,
    "mul": lambda a, b: a * b,
    "mulh": lambda a, b: signed(a) * signed(b) >> 32,
    "mulhsu": lambda a, b: signed(a) * b >> 32,
    "mulhu": lambda a, b: a * b >> 32,
    "div": lambda a, b: truncated_quotient(signed(a), signed(b)) if b else -1,
    "divu": lambda a, b: a // b if b else -1,
    "rem": lambda a, b: (
        signed(a) - signed(b) * truncated_quotient(signed(a), signed(b)) if b else a
    ),
    "remu": lambda a, b: a % b if b else a,
}
IMMEDIATES = {f"{name}i": name for name in ("add", "slt", "xor", "or", "and")} | {"sltiu": "sltu"}
SHIFTS = {"slli": "sll", "srli": "srl", "srai": "sra"}
BRANCHES: dict[str, Callable[[int, int], bool]] = {
    "beq": lambda a, b: a == b,
    "bne": lambda a, b: a != b,
    "blt": lambda a, b: signed(a) < signed(b),
    "bge": lambda a, b: signed(a) >= signed(b),
    "bltu": lambda a, b: a < b,
    "bgeu": lambda a, b: a >= b,
}


def test_every_instruction_has_a_test() -> None:
    tested = {*OPERATIONS, *IMMEDIATES, *SHIFTS, *BRANCHES, *LOADS, *STORES}
    tested |= {"lui", "auipc", "jal", "jalr", "fence", "fence.i"}
    # ecall and ebreak end a program: test_controller_faults.py.
    tested |= {"ecall", "ebreak", "tset", "tadd", "tpush", "twait", "tread", "tdone"}
    # Machine mode: tests/sim/test_traps.py.
    tested |= {"csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci", "mret", "wfi"}
    assert tested == set(INSTRUCTIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_register_register(name: str) -> None:
    rng = random.Random(name)
    pairs = [(a, b) for a in EDGES[::2] for b in EDGES] + [
        (b, a) for a, b in itertools.pairwise(EDGES)
    ]
    pairs = rng.sample(pairs, 14) + [
        (0x80000000, MASK),
        (7, 0),
        (0xFFFFFFF9, 0),
        (0xFFFFFFF9, 2),
        (2, 0xFFFFFFFD),
    ]
    program, expected = asm.Program(), []
    encode = INSTRUCTIONS[name].encode
    for a, b in pairs:
        result = OPERATIONS[name](a, b) & MASK
        program.emit(asm.li(1, a) + asm.li(2, b))
        program.emit(encode(3, 1, 2))
        emit(program, 3, 1)  # forwarded
        emit(program, 3, 2)  # from the register file
        expected += [result, a, result, b]
    # The destination is a source; x0 stays zero.
    program.emit(asm.li(5, pairs[0][0]))
    program.emit(encode(5, 5, 5))
    program.emit(encode(0, 1, 2))
    emit(program, 5, 0)
    expected += [OPERATIONS[name](pairs[0][0], pairs[0][0]) & MASK, 0]
    run = bench().run(finish(program))
    assert run.values == expected


@pytest.mark.parametrize("name", [*IMMEDIATES, *SHIFTS])
def test_register_immediate(name: str) -> None:
    immediates = (0, 1, 31, 13) if name in SHIFTS else (0, 1, -1, 2047, -2048, 0x555)
    operation = OPERATIONS[SHIFTS.get(name) or IMMEDIATES[name]]
    program, expected = asm.Program(), []
    encode = INSTRUCTIONS[name].encode
    for a, immediate in itertools.product(EDGES[::2] + EDGES[-1:], immediates):
        program.emit(asm.li(1, a))
        program.emit(encode(3, 1, immediate))
        program.emit(encode(0, 1, immediate))
        emit(program, 3, 0)
        expected += [operation(a, immediate & MASK) & MASK, 0]
    assert bench().run(finish(program)).values == expected


@pytest.mark.parametrize("name", ["lui", "auipc"])
def test_upper_immediate(name: str) -> None:
    program, expected = asm.Program(), []
    for immediate in (0, 1, 0x7FFFF, 0x80000, 0xFFFFF):
        base = program.address if name == "auipc" else 0
        program.emit(INSTRUCTIONS[name].encode(3, immediate))
        program.emit(INSTRUCTIONS[name].encode(0, immediate))
        emit(program, 3, 0)
        expected += [(base + (immediate << 12)) & MASK, 0]
    assert bench().run(finish(program)).values == expected


@pytest.mark.parametrize("name", BRANCHES)
def test_branch(name: str) -> None:
    program, expected = asm.Program(), []
    for n, (a, b) in enumerate(itertools.product(EDGES[1::2], EDGES[3::2])):
        taken = BRANCHES[name](a, b)
        program.emit(asm.li(1, a) + asm.li(2, b) + asm.li(3, 7))
        program.branch(name, 1, 2, f"forward{n}")
        program.emit(asm.addi(3, 3, 1))
        program.label(f"forward{n}")
        emit(program, 3)
        expected += [7 + (not taken), 0]
        # Backward, where fetch predicts it taken: x4 counts the way through `target`.
        program.emit(asm.li(4, 0))
        program.jump(f"over{n}")
        program.label(f"target{n}")
        program.emit(asm.addi(4, 4, 1))
        program.jump(f"end{n}")
        program.label(f"over{n}")
        program.branch(name, 1, 2, f"target{n}")
        program.emit(asm.addi(4, 4, 2))
        program.label(f"end{n}")
        emit(program, 4)
        expected += [1 if taken else 2, 0]
    assert bench().run(finish(program)).values == expected


def test_jal() -> None:
    program = asm.Program()
    program.jump("ahead", rd=1)
    back = program.address
    program.label("back")
    emit(program, 2, 1)
    program.jump("end")
    program.label("ahead")
    program.jump("back", rd=2)
    link = program.address
    program.label("end")
    program.jump("last", rd=0)
    emit(program)
    program.label("last")
    emit(program, 0)
    assert bench().run(finish(program)).values == [link, back, 0, 0]


@pytest.mark.parametrize("low", [0, 1])
@pytest.mark.parametrize("offset", [0, 1, 2047, -2048, -3])
def test_jalr(offset: int, low: int) -> None:
    """Bit 0 of the target is cleared, the link register may be the base."""
    target = 64
    program = asm.Program()
    program.emit(asm.li(1, target + low - offset))
    program.emit(asm.jalr(1, 1, offset))
    link = program.address
    emit(program)
    program.emit([asm.nop()] * ((target - program.address) // 4))
    emit(program, 1)
    program.emit(asm.jalr(0, 0, program.address + 8))
    emit(program)
    run = bench().run(finish(program, 1))
    assert run.values == [link, 0]
    assert run.exit_code == link


@pytest.mark.parametrize("stalls", STALLS)
def test_tensor_operations(stalls: str) -> None:
    """Fields and values arrive once, in order and unchanged, whatever the queues do."""
    program, expected = asm.Program(), []
    values = [0, 0x80000001, 0x7FFFFFFE, 0xCAFEF00D]
    for register, value in enumerate(values, 10):
        program.emit(asm.li(register, value))
    for engine in Engine:
        for pair in (0, 3):
            for write, funct3 in ((asm.tset, Funct3.TSET), (asm.tadd, Funct3.TADD)):
                program.emit(write(engine, pair, 10 + pair, 11))
                expected.append(
                    (funct3, engine << 5 | pair, 10 + pair, 11, values[pair], values[1])
                )
        post = 0b1111 & ~(1 << engine)
        program.emit(asm.tpush(engine, wait=0b1010, post=post, stamp=engine == Engine.STORE))
        expected.append((Funct3.TPUSH, engine << 5 | (engine == Engine.STORE), 0b1010, post))
    run = bench().run(finish(program, 13), ready=1 - STALLS[stalls], seed=SEED)
    seen = [operation[1:] for operation in run.operations]
    assert [s[: len(e)] for s, e in zip(seen, expected, strict=True)] == expected
    assert run.exit_code == 0xCAFEF00D
    assert run.retired == len(finish(program)) - 1


def test_tread() -> None:
    program = asm.Program()
    program.emit([asm.tread(1, StatusWord.CYCLES), asm.nop(), asm.tread(2, StatusWord.CYCLES)])
    program.emit(asm.tread(3, StatusWord.IDLE))
    emit(program, 1, 2)
    emit(program, 3, 0)
    program.emit(asm.tread(4, StatusWord.IDLE))
    emit(program, 4, 0)
    first, second, idle, _, busy, _ = bench().run(finish(program), busy_for=20).values
    assert 8 <= second - first <= 16
    assert (idle, busy) == (0b1111, 0b0101)


@pytest.mark.parametrize("idle_delay", [0, 1, 2])
@pytest.mark.parametrize("busy_for", [1, 9])
def test_twait_right_after_an_operation(idle_delay: int, busy_for: int) -> None:
    """TWAIT sees the operation before it, though `idle` falls as late as it may."""
    program = asm.Program()
    program.emit(asm.tpush(Engine.MATMUL))
    program.emit(asm.twait(0b0010))
    emit(program)
    program.emit(asm.twait(0b0101))  # these are idle
    emit(program)
    run = bench().run(finish(program), idle_delay=idle_delay, busy_for=busy_for)
    push, after, free = (operation[0] for operation in run.operations)
    assert after > push + idle_delay + busy_for
    assert after <= push + idle_delay + busy_for + 5
    assert free - after <= 5


def test_random_programs_agree_with_the_specification() -> None:
    """Dependent instructions, shifts, loads, stores and skips, with stalls: hazards."""
    rng = random.Random(SEED)
    names = [*OPERATIONS, *OPERATIONS, *"sw lw lbu sb skip skip".split()]
    for case in range(6):
        program, expected = asm.Program(), []
        registers = [0] * 4 + [rng.getrandbits(32) for _ in range(4)]
        memory = bytearray(64)
        program.emit(asm.sw(0, 0, 1024 + 4 * i) for i in range(16))
        for number in range(4, 8):
            program.emit(asm.li(number, registers[number]))
        program.emit([asm.addi(n, 0, 0) for n in range(1, 4)])
        skip = False
        for step in range(60):
            name = rng.choice(
                [n for n in names if rng.random() < 0.3 or n[:3] not in ("div", "rem")]
            )
            rd, rs1, rs2 = (rng.randrange(8) for _ in range(3))
            offset = rng.randrange(64)
            value: int | None = None
            if name == "skip":
                branch = rng.choice(list(BRANCHES))
                program.branch(branch, rs1, rs2, f"skip{step}")
                program.emit(asm.addi(rd, rs1, 5))
                program.label(f"skip{step}")
                skip = BRANCHES[branch](registers[rs1], registers[rs2])
                value = registers[rd] if skip else registers[rs1] + 5
            elif name in ("sw", "sb"):
                width = STORES[name]
                offset -= offset % width
                program.emit(INSTRUCTIONS[name].encode(rs2, 0, 1024 + offset))
                memory[offset : offset + width] = registers[rs2].to_bytes(4, "little")[:width]
            elif name in ("lw", "lbu"):
                width = LOADS[name][0]
                offset -= offset % width
                program.emit(INSTRUCTIONS[name].encode(rd, 0, 1024 + offset))
                value = int.from_bytes(memory[offset : offset + width], "little")
            else:
                program.emit(INSTRUCTIONS[name].encode(rd, rs1, rs2))
                value = OPERATIONS[name](registers[rs1], registers[rs2])
            if value is not None and rd:
                registers[rd] = value & MASK
            if rng.random() < 0.3:
                emit(program, rd, rs2)
                expected += [registers[rd], registers[rs2]]
        for number in range(8):
            emit(program, number)
            expected += [registers[number], 0]
        run = bench().run(finish(program), ready=(1.0, 0.4)[case % 2], load_writes=0.3, seed=case)
        assert run.values == expected, f"case {case} of seed {SEED}"
