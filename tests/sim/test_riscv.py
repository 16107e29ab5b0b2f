"""The interpreter, instruction by instruction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import asm
from accel.isa import WINDOW_BASE, Engine
from accel.regmap import Cause
from accel.riscv import BRANCH, INSTRUCTIONS
from sim.errors import Fault, ProgramError
from sim.riscv import Core

WORDS = 256
WINDOW_BYTES = 2048
values = st.one_of(
    st.integers(0, (1 << 32) - 1),
    st.sampled_from([0, 1, 2, 31, 32, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF]),
)
short = st.integers(-2048, 2047)


class Port:
    """Records the tensor instructions."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.window = bytearray(WINDOW_BYTES)

    def write(self, engine: Engine, pair: int, a: int, b: int, add: bool) -> None:
        self.calls.append(("write", engine, pair, a, b, add))

    def push(self, engine: Engine, wait: int, post: int, stamp: bool) -> None:
        self.calls.append(("push", engine, wait, post, stamp))

    def wait(self, mask: int) -> None:
        self.calls.append(("wait", mask))

    def read(self, word: int) -> int:
        return 1000 + word

    def done(self, exit_code: int) -> None:
        self.calls.append(("done", exit_code))

    def load(self, offset: int, size: int) -> int:
        return int.from_bytes(self.window[offset : offset + size], "little")

    def store(self, offset: int, size: int, value: int) -> None:
        self.window[offset : offset + size] = value.to_bytes(size, "little")


def core(*words: int, multiply: bool = True, **registers: int) -> Core:
    """Return a started core with a program at 0 and registers such as x5=1."""
    program = np.zeros(WORDS, np.uint32)
    program[: len(words)] = words
    made = Core(program, multiply=multiply, port=Port(), window_bytes=WINDOW_BYTES)
    for name, value in registers.items():
        made.x[int(name[1:])] = value
    made.start()
    return made


def ran(*words: int, **registers: int) -> Core:
    """Return the core after so many instructions as there are words."""
    made = core(*words, **registers)
    for _ in words:
        made.step()
    return made


def s(value: int) -> int:
    """Return 32 bits as a signed number."""
    return int(np.uint32(value).astype(np.int32))


def truncated(a: int, b: int) -> int:
    """Return the quotient rounded towards zero, exactly."""
    quotient, rest = divmod(a, b)
    return quotient + (rest != 0 and quotient < 0)


EXPECTED = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "sll": lambda a, b: a << b % 32,
    "slt": lambda a, b: int(s(a) < s(b)),
    "sltu": lambda a, b: int(a < b),
    "xor": lambda a, b: a ^ b,
    "srl": lambda a, b: a >> b % 32,
    "sra": lambda a, b: s(a) >> b % 32,
    "or_": lambda a, b: a | b,
    "and_": lambda a, b: a & b,
    "mul": lambda a, b: s(a) * s(b),
    "mulh": lambda a, b: (s(a) * s(b)) // (1 << 32),
    "mulhsu": lambda a, b: (s(a) * b) // (1 << 32),
    "mulhu": lambda a, b: (a * b) // (1 << 32),
    "div": lambda a, b: truncated(s(a), s(b)) if b else -1,
    "divu": lambda a, b: a // b if b else -1,
    "rem": lambda a, b: s(a) - s(b) * truncated(s(a), s(b)) if b else a,
    "remu": lambda a, b: a % b if b else a,
}
CONDITIONS = {
    "beq": lambda a, b: a == b,
    "bne": lambda a, b: a != b,
    "blt": lambda a, b: s(a) < s(b),
    "bge": lambda a, b: s(a) >= s(b),
    "bltu": lambda a, b: a < b,
    "bgeu": lambda a, b: a >= b,
}


@pytest.mark.parametrize("name", EXPECTED)
@given(a=values, b=values)
def test_register_instructions(name: str, a: int, b: int) -> None:
    made = ran(getattr(asm, name)(3, 1, 2), x1=a, x2=b)
    assert made.x[3] == EXPECTED[name](a, b) % (1 << 32)
    assert (made.x[0], made.x[1], made.x[2], made.pc) == (0, a, b, 4)


@pytest.mark.parametrize("name", ["addi", "slti", "sltiu", "xori", "ori", "andi"])
@given(a=values, b=short)
def test_immediate_instructions(name: str, a: int, b: int) -> None:
    register_form = {"sltiu": "sltu", "ori": "or_", "andi": "and_"}.get(name, name[:-1])
    expected = EXPECTED[register_form](a, b % (1 << 32)) % (1 << 32)
    assert ran(getattr(asm, name)(3, 1, b), x1=a).x[3] == expected


@pytest.mark.parametrize("name", ["slli", "srli", "srai"])
@given(a=values, b=st.integers(0, 31))
def test_shifts_by_a_constant(name: str, a: int, b: int) -> None:
    assert ran(getattr(asm, name)(3, 1, b), x1=a).x[3] == EXPECTED[name[:-1]](a, b) % (1 << 32)


@pytest.mark.parametrize("name", CONDITIONS)
@given(a=values, b=values)
def test_branches(name: str, a: int, b: int) -> None:
    made = ran(getattr(asm, name)(1, 2, 24), x1=a, x2=b)
    assert made.pc == (24 if CONDITIONS[name](a, b) else 4)


def test_constants_and_jumps() -> None:
    assert ran(asm.lui(3, 0x80001)).x[3] == 0x80001000
    assert ran(asm.nop(), asm.auipc(3, 0xFFFFF)).x[3] == 0xFFFFF004
    jumped = ran(asm.jal(3, 40))
    assert (jumped.x[3], jumped.pc) == (4, 40)
    back = core(asm.nop(), asm.jal(0, -4))
    back.step()
    back.step()
    assert back.pc == 0
    # The base is read before the link is written, and bit 0 of the target is dropped.
    indirect = ran(asm.jalr(3, 3, -3), x3=104)
    assert (indirect.x[3], indirect.pc) == (4, 100)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lb", [0x04, 0x03, 0xFFFFFF82, 0xFFFFFFF1]),
        ("lbu", [0x04, 0x03, 0x82, 0xF1]),
        ("lh", [0x0304, None, 0xFFFFF182, None]),
        ("lhu", [0x0304, None, 0xF182, None]),
        ("lw", [0xF1820304, None, None, None]),
    ],
)
def test_loads(name: str, expected: list[int | None]) -> None:
    for offset, value in enumerate(expected):
        made = core(getattr(asm, name)(3, 1, offset - 8), 0xF1820304, x1=12)
        if value is None:
            with pytest.raises(Fault) as caught:
                made.step()
            assert (caught.value.cause, caught.value.address) == (Cause.MISALIGNED, 4 + offset)
        else:
            made.step()
            assert made.x[3] == value


def test_stores() -> None:
    made = ran(
        asm.sw(2, 1, 0),
        asm.sb(2, 1, 5),
        asm.sh(2, 1, 10),
        asm.lw(4, 1, 0),
        asm.lw(5, 1, 4),
        asm.lw(6, 1, 8),
        x1=400,
        x2=0x89ABCDEF,
    )
    assert made.x[4:7] == [0x89ABCDEF, 0x0000EF00, 0xCDEF0000]


@pytest.mark.parametrize("name", ["lb", "lbu", "lh", "lhu", "lw"])
def test_loads_in_the_window(name: str) -> None:
    size = {"b": 1, "h": 2, "w": 4}[name[1]]
    for offset in range(0, 8, size):
        made = core(getattr(asm, name)(3, 1, offset), x1=WINDOW_BASE)
        assert isinstance(made._port, Port)
        made._port.window[:8] = content = bytes.fromhex("80017fff fe02a1b2")
        made.step()
        value = int.from_bytes(content[offset : offset + size], "little", signed=name[-1] != "u")
        assert made.x[3] == value % (1 << 32)
        assert made.cycles == 8


@pytest.mark.parametrize(("name", "size"), [("sb", 1), ("sh", 2), ("sw", 4)])
def test_stores_in_the_window(name: str, size: int) -> None:
    for offset in range(0, 8, size):
        made = ran(getattr(asm, name)(2, 1, offset), x1=WINDOW_BASE + 2040, x2=0x89ABCDEF)
        assert isinstance(made._port, Port)
        stored = (0x89ABCDEF).to_bytes(4, "little")[:size]
        assert made._port.window[2040:] == bytes(offset) + stored + bytes(8 - offset - size)
        assert made.cycles == 9


def test_stores_into_code_are_executed() -> None:
    made = core(asm.addi(3, 3, 1), asm.sw(2, 0, 0), asm.jal(0, -8), x2=asm.addi(3, 3, 100))
    for _ in range(4):
        made.step()
    assert made.x[3] == 101


def test_register_zero_stays_zero() -> None:
    made = ran(asm.addi(0, 0, 5), asm.lui(0, 7), asm.jal(0, 4), asm.tread(0, 0), asm.lw(0, 0, 0))
    assert made.x[0] == 0


def test_fences_do_nothing() -> None:
    assert ran(asm.fence(), asm.fence_i()).pc == 8


def test_every_instruction_is_executed_somewhere() -> None:
    mine = {n.strip("_") for n in EXPECTED} | set(CONDITIONS)
    mine |= {"addi", "slti", "sltiu", "xori", "ori", "andi", "slli", "srli", "srai", "lui", "auipc"}
    mine |= {"jal", "jalr", "lb", "lh", "lw", "lbu", "lhu", "sb", "sh", "sw", "fence", "fence.i"}
    # Machine mode: tests/sim/test_traps.py.
    mine |= {"csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci", "mret", "wfi"}
    mine |= {"ecall", "ebreak", "tset", "tadd", "tpush", "twait", "tread", "tdone"}
    assert mine == set(INSTRUCTIONS)


def test_tensor_instructions() -> None:
    made = core(
        asm.tset(Engine.VECTOR, 3, 1, 2),
        asm.tadd(Engine.LOAD, 1, 2, 1),
        asm.tpush(Engine.STORE, wait=0b0101, post=0b0010, stamp=True),
        asm.twait(0b1001),
        asm.tread(3, 1),
        asm.tdone(2),
        x1=7,
        x2=0xFFFFFFFF,
    )
    made.run(100)
    port = made._port
    assert isinstance(port, Port)
    assert port.calls == [
        ("write", Engine.VECTOR, 3, 7, 0xFFFFFFFF, False),
        ("write", Engine.LOAD, 1, 0xFFFFFFFF, 7, True),
        ("push", Engine.STORE, 0b0101, 0b0010, True),
        ("wait", 0b1001),
        ("done", 0xFFFFFFFF),
    ]
    assert (made.x[3], made.retired, made.running) == (1001, 6, False)


@pytest.mark.parametrize(
    ("word", "cause", "address", "pc"),
    [
        (0, Cause.ILLEGAL_INSTRUCTION, 4, None),
        (0xFFFFFFFF, Cause.ILLEGAL_INSTRUCTION, 4, None),
        (asm.tset(0, 0, 0, 0) | 1 << 7, Cause.ILLEGAL_INSTRUCTION, 4, None),
        (asm.tpush(1) | 1 << 21, Cause.ILLEGAL_INSTRUCTION, 4, None),
        (asm.ebreak(), Cause.BREAKPOINT, 4, None),
        (asm.ecall(), Cause.ENVIRONMENT_CALL, 4, None),
        (asm.lw(3, 1, 1), Cause.MISALIGNED, 0x40000001, None),
        (asm.lh(3, 2, 0), Cause.LOAD_FAULT, 0x40000800, None),
        (asm.lb(3, 2, -1), None, 0, None),
        (asm.lb(3, 1, -1), Cause.LOAD_FAULT, 0x3FFFFFFF, None),
        (asm.lw(3, 4, 0), Cause.LOAD_FAULT, 0xC0000000, None),
        (asm.lh(3, 2, 1), Cause.MISALIGNED, 0x40000801, None),
        (asm.lw(3, 0, -4), Cause.LOAD_FAULT, 0xFFFFFFFC, None),
        (asm.lw(3, 0, 1020), None, 0, None),
        (asm.lw(3, 0, 1024), Cause.LOAD_FAULT, 1024, None),
        (asm.sb(3, 2, 3), Cause.STORE_FAULT, 0x40000803, None),
        (asm.sw(3, 1, 2), Cause.MISALIGNED, 0x40000002, None),
        (asm.jal(3, 6), Cause.MISALIGNED, 10, None),
        (asm.jal(3, -8), Cause.FETCH_FAULT, 0xFFFFFFFC, 0xFFFFFFFC),
        (asm.beq(0, 0, 1020), Cause.FETCH_FAULT, 1024, 1024),
        (asm.jalr(3, 1, 2), Cause.MISALIGNED, 0x40000002, None),
        (asm.jalr(3, 1, 4), Cause.FETCH_FAULT, 0x40000004, 0x40000004),
    ],
)
def test_faults(word: int, cause: Cause | None, address: int, pc: int | None) -> None:
    made = core(asm.nop(), word, x1=0x40000000, x2=0x40000800, x3=77, x4=0xC0000000)
    made.step()
    if cause is None:
        made.step()
        return
    with pytest.raises(Fault) as caught:
        made.step()
    fault = caught.value
    assert (fault.cause, fault.address, fault.pc) == (cause, address, pc)
    # A jump to where there is no memory is complete when the fetch there traps.
    jumped = pc is not None and word & 0x7F != BRANCH
    done = (2, 8) if jumped else (1 + (pc is not None), 77)
    assert (made.pc, made.retired, made.x[3]) == (4, *done)


def test_falling_off_the_end() -> None:
    made = core(*[asm.nop()] * WORDS)
    with pytest.raises(Fault) as caught:
        made.run(1000)
    assert (caught.value.cause, made.pc, made.retired) == (Cause.FETCH_FAULT, 1024, WORDS)


def test_m_is_optional() -> None:
    with pytest.raises(Fault) as caught:
        core(asm.mul(1, 2, 3), multiply=False).step()
    assert caught.value.cause == Cause.ILLEGAL_INSTRUCTION


def test_endless_programs_end() -> None:
    made = core(asm.nop(), asm.jal(0, -4))
    with pytest.raises(ProgramError, match="did not end within 100 instructions"):
        made.run(100)
    assert made.retired == 100


def test_cycles_follow_the_pipeline() -> None:
    program = asm.Program()
    program.emit(asm.li(1, 10))
    program.label("loop")
    program.emit(asm.addi(1, 1, -1))
    program.branch("bne", 1, 0, "loop")
    program.emit(asm.tdone(0))
    made = core(*program.words())
    made.run(100)
    # The backward branch takes 2 cycles when taken, as predicted, and 4 the last time.
    assert (made.retired, made.cycles) == (22, 1 + 10 + 9 * 2 + 4 + 1)


def test_guarded_words_are_refused_until_released() -> None:
    made = core(asm.lw(3, 0, 16), asm.nop())
    made.guard(4, 5, "which somebody writes")
    with pytest.raises(ProgramError, match="uses program word 4, which somebody writes"):
        made.step()
    made.guard(0, 1, "too")
    with pytest.raises(ProgramError, match="uses program word 0, too"):
        made.step()
    made.unguard()
    made.step()
    assert made.pc == 4
