# amaranth: UnusedElaboratable=no
"""Faults, stops and the cycle counts that the controller's contract states."""

import pytest

from accel import asm, riscv
from accel.gateware.controller import Controller
from accel.isa import COMMANDS, CUSTOM_0, WINDOW_BASE, Engine, Funct3, StatusWord
from accel.regmap import Cause
from accel.riscv import INSTRUCTIONS, Csr
from tests.gateware.corebench import PROGRAM_BYTES, WINDOW_BYTES, bench, emit, finish


def tensor_word(funct3: int, funct7: int = 0, rs1: int = 0, rs2: int = 0, rd: int = 0) -> int:
    return funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | CUSTOM_0


ILLEGAL = {
    "zeros": 0,
    "ones": 0xFFFFFFFF,
    "compressed": asm.nop() & ~1,
    "opcode": 0x0000007F,
    "funct7 of add": asm.add(1, 2, 3) | 1 << 31,
    "funct7 of xor": asm.xor(1, 2, 3) | 1 << 30,
    "funct7 of slli": asm.slli(1, 2, 3) | 1 << 25,
    "funct7 of srai": asm.srai(1, 2, 3) | 1 << 25,
    "funct3 of a branch": asm.beq(1, 2, 8) | 2 << 12,
    "funct3 of a load": asm.lb(1, 2, 3) | 3 << 12,
    "funct3 of a store": asm.sb(1, 2, 3) | 3 << 12,
    "funct3 of jalr": asm.jalr(1, 2, 3) | 1 << 12,
    "funct3 of fence": asm.fence() | 2 << 12,
    "ecall with rd": asm.ecall() | 1 << 7,
    "csr that is not there": asm.csrrs(1, 0x7C0, 0),
    "csr that is read-only": asm.csrrwi(0, Csr.MHARTID, 0),
    "funct3 4 of system": asm.csrrs(1, Csr.MEPC, 0) ^ 6 << 12,
    "mret with rd": asm.mret() | 1 << 7,
    "wfi with rs1": asm.wfi() | 1 << 15,
    "sret": 0x10200073,
    "funct3 6": tensor_word(6),
    "funct3 7": tensor_word(7),
    **{f"tset with {f}": tensor_word(Funct3.TSET, **{f: 1}) for f in ["rd"]},
    **{
        f"{f3.name} of {e.name} pair {pair}": tensor_word(f3, e << 5 | pair)
        for e in Engine
        for f3 in (Funct3.TSET, Funct3.TADD)
        for pair in {COMMANDS[e].pairs, 31}
    },
    **{
        f"post of {e.name} names itself": tensor_word(Funct3.TPUSH, e << 5, rs2=1 << e)
        for e in Engine
    },
    **{f"tpush flag {b}": tensor_word(Funct3.TPUSH, 1 << b) for b in range(1, 5)},
    "tpush wait bit 4": tensor_word(Funct3.TPUSH, rs1=16),
    "tpush post bit 4": tensor_word(Funct3.TPUSH, rs2=16),
    "tpush rd": tensor_word(Funct3.TPUSH, rd=1),
    "twait bit 4": tensor_word(Funct3.TWAIT, rs1=16),
    "twait rs2": tensor_word(Funct3.TWAIT, rs2=1),
    "twait rd": tensor_word(Funct3.TWAIT, rd=1),
    "twait funct7": tensor_word(Funct3.TWAIT, 1),
    "tread word": tensor_word(Funct3.TREAD, rs1=len(StatusWord)),
    "tread word 16": tensor_word(Funct3.TREAD, rs1=16),
    "tread rs2": tensor_word(Funct3.TREAD, rs2=1),
    "tread funct7": tensor_word(Funct3.TREAD, 64),
    "tdone rd": tensor_word(Funct3.TDONE, rd=1),
    "tdone rs2": tensor_word(Funct3.TDONE, rs2=1),
    "tdone funct7": tensor_word(Funct3.TDONE, 1),
}
CAUSES = {
    "ecall": (asm.ecall(), Cause.ENVIRONMENT_CALL),
    "ebreak": (asm.ebreak(), Cause.BREAKPOINT),
    **{name: (word, Cause.ILLEGAL_INSTRUCTION) for name, word in ILLEGAL.items()},
}


@pytest.mark.parametrize("name", CAUSES)
def test_instruction_stops_the_program(name: str) -> None:
    word, cause = CAUSES[name]
    program = asm.Program()
    emit(program, 0, 0)
    program.emit(word)
    emit(program, 0, 0)
    run = bench().run(finish(program))
    assert run.fault == (cause, 4, 4)
    assert len(run.operations) == 1
    assert run.retired == 1
    assert run.exit_code is None


def test_multiply_is_illegal_without_m() -> None:
    for name, instruction in INSTRUCTIONS.items():
        if instruction.extension == "m":
            run = bench(multiply=False).run([instruction.encode(1, 2, 3), asm.tdone(0)])
            assert run.fault == (Cause.ILLEGAL_INSTRUCTION, 0, 0), name
    program = asm.Program()
    program.emit(asm.li(1, 0x12345678) + [asm.srai(2, 1, 3), asm.tread(3, 0)])
    emit(program, 1, 2)
    assert bench(multiply=False).run(finish(program)).values == [0x12345678, 0x12345678 >> 3]


@pytest.mark.parametrize(
    ("name", "address", "cause"),
    [
        *((n, 1025, Cause.MISALIGNED) for n in ("lh", "lhu", "lw", "sh", "sw")),
        *((n, 1026, Cause.MISALIGNED) for n in ("lw", "sw")),
        *((n, PROGRAM_BYTES, Cause.LOAD_FAULT) for n in ("lb", "lbu", "lh", "lhu", "lw")),
        *((n, PROGRAM_BYTES, Cause.STORE_FAULT) for n in ("sb", "sh", "sw")),
        ("lw", 0xFFFFFFFC, Cause.LOAD_FAULT),
        ("sw", 0x80000000, Cause.STORE_FAULT),
        ("sw", 0x80000001, Cause.MISALIGNED),
        ("lw", 0x80000000 + WINDOW_BASE, Cause.LOAD_FAULT),
        ("sb", WINDOW_BASE - 1, Cause.STORE_FAULT),
        ("lb", 2 * WINDOW_BASE, Cause.LOAD_FAULT),
        ("lh", WINDOW_BASE + 1, Cause.MISALIGNED),
        ("sw", WINDOW_BASE + 2, Cause.MISALIGNED),
        ("lw", WINDOW_BASE + WINDOW_BYTES + 1, Cause.MISALIGNED),
        *(
            (n, WINDOW_BASE + outside, Cause.STORE_FAULT if n[0] == "s" else Cause.LOAD_FAULT)
            for n in ("lb", "lw", "sh", "sw")
            for outside in (WINDOW_BYTES, WINDOW_BASE // 2)
        ),
    ],
)
def test_bad_memory_access(name: str, address: int, cause: Cause) -> None:
    """Neither the register nor memory changes."""
    program = asm.Program()
    program.emit(asm.li(1, address) + asm.li(2, 0x55AA55AA))
    here = program.address
    program.emit(INSTRUCTIONS[name].encode(2, 1, 0))
    emit(program, 2, 1)
    words = finish(program)
    words += [0] * (260 - len(words))
    run = bench().run(words)
    assert run.fault == (cause, address, here)
    assert not run.operations
    assert not run.accesses
    # Registers and memory outlive the run: code that looks at them replaces the program.
    program = asm.Program()
    program.emit(asm.lw(3, 0, 1024))
    emit(program, 2, 3)
    assert bench().run(finish(program)).values == [0x55AA55AA, 0]


@pytest.mark.parametrize(
    ("word", "target", "cause"),
    [
        (asm.jal(2, 10), 14, Cause.MISALIGNED),
        (asm.jal(2, -2), 2, Cause.MISALIGNED),
        (asm.beq(0, 0, 6), 10, Cause.MISALIGNED),
        (asm.beq(0, 0, -2), 2, Cause.MISALIGNED),
        (asm.jalr(2, 0, 2), 2, Cause.MISALIGNED),
        (asm.jalr(2, 0, 7), 6, Cause.MISALIGNED),
        (asm.jal(2, -8), 0xFFFFFFFC, Cause.FETCH_FAULT),
        (asm.jal(2, PROGRAM_BYTES - 4), PROGRAM_BYTES, Cause.FETCH_FAULT),
        (asm.jal(2, 0xFFFFC), 0x100000, Cause.FETCH_FAULT),
        (asm.jal(2, -0x100000), 0xFFF00004, Cause.FETCH_FAULT),
        (asm.beq(0, 0, -12), 0xFFFFFFF8, Cause.FETCH_FAULT),
        (asm.beq(0, 0, 4092), PROGRAM_BYTES, Cause.FETCH_FAULT),
        (asm.jalr(2, 0, -4), 0xFFFFFFFC, Cause.FETCH_FAULT),
        (asm.jalr(2, 31, 0), WINDOW_BASE, Cause.FETCH_FAULT),
    ],
)
def test_bad_jump(word: int, target: int, cause: Cause) -> None:
    bench().run([*asm.li(31, WINDOW_BASE), asm.tdone(0)])
    run = bench().run([asm.addi(2, 0, 77), word, asm.tdone(0)])
    assert run.fault == (cause, target, 4 if cause == Cause.MISALIGNED else target)
    # A jump to where there is no memory is complete when the fetch there traps.
    is_done = cause == Cause.FETCH_FAULT and word & 0x7F != riscv.BRANCH
    assert bench().run([asm.tset(0, 0, 2, 0), asm.tdone(0)]).values == [8 if is_done else 77, 0]


def test_branch_with_a_bad_target_may_stay_untaken() -> None:
    run = bench().run([asm.bne(0, 0, -8), asm.bne(0, 0, -2), asm.bne(0, 0, 2), asm.tdone(0)])
    assert run.exit_code == 0


def test_running_past_the_end_of_memory() -> None:
    words = [asm.nop()] * (PROGRAM_BYTES // 4)
    words[0] = asm.jal(0, PROGRAM_BYTES - 8)
    run = bench().run(words)
    assert run.fault == (Cause.FETCH_FAULT, PROGRAM_BYTES, PROGRAM_BYTES)
    assert run.retired == 3


def test_last_word_can_be_the_last_instruction() -> None:
    words = [asm.nop()] * (PROGRAM_BYTES // 4)
    words[0] = asm.jal(0, PROGRAM_BYTES - 4)
    words[-1] = asm.tdone(0)
    assert bench().run(words).exit_code == 0


@pytest.mark.parametrize("halt_at", range(0, 12))
def test_halt_and_start_again(halt_at: int) -> None:
    """A stop at any moment leaves nothing behind, be it in a division or a stalled operation."""
    program = asm.Program()
    program.emit(asm.li(1, 7))
    program.label("loop")
    program.emit([asm.div(2, 1, 1), asm.tset(0, 0, 1, 1), asm.sw(1, 0, 1024)])
    program.jump("loop")
    run = bench().run(program.words(), halt_at=4 * halt_at, ready=0.05, seed=halt_at)
    assert run.fault is None and run.exit_code is None
    program = asm.Program()
    program.emit(asm.li(1, 100) + asm.li(2, 7) + [asm.div(3, 1, 2), asm.rem(4, 1, 2)])
    emit(program, 3, 4)
    assert bench().run(finish(program)).values == [14, 2]


@pytest.mark.parametrize("halt_at", range(2, 14))
@pytest.mark.parametrize("store", [False, True])
def test_halt_in_a_window_access(store: bool, halt_at: int) -> None:
    """The answer that a stopped program does not see is nobody else's."""
    access = asm.sw(2, 1, 0) if store else asm.lw(2, 1, 0)
    run = bench().run(
        [*asm.li(1, WINDOW_BASE), access, asm.jal(0, -4)], halt_at=halt_at, window_cycles=(1500, 5)
    )
    assert run.fault is None and run.exit_code is None
    window = bytearray(WINDOW_BYTES)
    window[64:68] = b"0123"
    program = asm.Program()
    program.emit([*asm.li(1, WINDOW_BASE), asm.lw(3, 1, 64)])
    run = bench().run(finish(program, 3), window=window)
    assert run.exit_code == int.from_bytes(b"0123", "little")
    assert run.accesses == [(0, 16, run.accesses[0][2])]


def cycles_between_marks(code: list[int]) -> int:
    """Return the cycles that `code` takes between two TSETs, beyond one for the first."""
    program = asm.Program()
    program.emit(asm.li(1, 1024) + asm.li(2, 3) + asm.li(4, WINDOW_BASE))
    emit(program)
    program.emit(code)
    emit(program)
    first, last = bench().run(finish(program)).operations
    return last[0] - first[0] - 1


@pytest.mark.parametrize(
    ("word", "cycles"),
    [
        (asm.add(3, 1, 2), 1),
        (asm.lui(3, 1), 1),
        (asm.auipc(3, 1), 1),
        (asm.slt(3, 1, 2), 1),
        (asm.beq(1, 2, 8), 1),
        (asm.beq(1, 1, 4), 4),
        (asm.fence(), 1),
        (asm.fence_i(), 4),
        (asm.jal(3, 4), 2),
        (asm.lw(3, 1, 0), 3),
        (asm.sw(3, 1, 0), 2),
        (asm.lw(3, 4, 0), 3 + 5),
        (asm.sw(3, 4, 0), 3 + 5),
        (asm.sll(3, 1, 3), 3),
        (asm.slli(3, 1, 0), 3),
        (asm.srai(3, 1, 31), 3),
        (asm.mul(3, 1, 2), 8),
        (asm.div(3, 1, 2), 37),
    ],
)
def test_cycles(word: int, cycles: int) -> None:
    """The figures of the controller's docstring."""
    assert cycles_between_marks([word]) == cycles
    assert cycles_between_marks([asm.nop(), word, asm.nop(), asm.nop()]) == cycles + 3


def test_cycles_of_tread() -> None:
    # It waits until `idle` has seen the mark.
    assert cycles_between_marks([asm.nop()] * 4 + [asm.tread(3, StatusWord.IDLE)]) == 4 + 2


def test_cycles_of_jalr() -> None:
    # The marks stand behind three LI, of three words together.
    assert cycles_between_marks([asm.jalr(3, 0, 20)]) == 5


def test_cycles_of_branches_in_a_loop() -> None:
    """A backward branch: two cycles when taken, four when not."""
    count = 10
    loop = [asm.addi(3, 0, count), asm.addi(3, 3, -1), asm.bne(3, 0, -4)]
    assert cycles_between_marks(loop) == 1 + count * 1 + (count - 1) * 2 + 4


@pytest.mark.parametrize("length", [4, 5, 8])
def test_issue_loop_runs_at_1_3_cycles_per_instruction(length: int) -> None:
    """With an engine that always takes what comes."""
    count = 40
    program = asm.Program()
    program.emit(asm.li(6, count))
    program.label("loop")
    program.emit([asm.tadd(Engine.LOAD, 0, 1, 2)] * (length - 3))
    program.emit(asm.tpush(Engine.LOAD))
    program.emit(asm.addi(6, 6, -1))
    program.branch("bne", 6, 0, "loop")
    run = bench().run(finish(program))
    assert len(run.operations) == count * (length - 2)
    assert run.retired == count * length + 2
    assert run.cycles / run.retired <= 1.3


@pytest.mark.parametrize("size", [0, 512, 3000, 1 << 21])
def test_impossible_program_memory(size: int) -> None:
    with pytest.raises(ValueError, match="Program bytes must be a power of two"):
        Controller(program_bytes=size, window_bytes=2048, multiply=True)


@pytest.mark.parametrize("base", [4, 1 << 21, WINDOW_BASE, 1 << 32, -(1 << 22)])
def test_impossible_base(base: int) -> None:
    with pytest.raises(ValueError, match="Base must be a multiple of 0x400000"):
        Controller(program_bytes=1024, window_bytes=2048, multiply=True, base=base)


@pytest.mark.parametrize("size", [0, 1024, 3000, 1 << 23])
def test_impossible_window(size: int) -> None:
    with pytest.raises(ValueError, match="Window bytes must be a power of two"):
        Controller(program_bytes=1024, window_bytes=size, multiply=True)
