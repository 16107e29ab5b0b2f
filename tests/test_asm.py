"""The assembler against known encodings, and against its own disassembler."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import asm
from accel.isa import COMMANDS, CUSTOM_0, Engine, StatusWord
from accel.riscv import INSTRUCTIONS, Instruction, decode

# The RISC-V words agree with llvm-mc 14.0.6 -arch=riscv32 -mattr=+m -show-encoding.
KNOWN = {
    "lui x5, 0xfffff": (asm.lui(5, 0xFFFFF), 0xFFFFF2B7),
    "auipc x6, 0x12345": (asm.auipc(6, 0x12345), 0x12345317),
    "jal x1, 0x900": (asm.jal(1, 0x800), 0x001000EF),
    "jal x0, 0xfc": (asm.jal(0, -4), 0xFFDFF06F),
    "jalr x1, x2, -1": (asm.jalr(1, 2, -1), 0xFFF100E7),
    "beq x1, x2, 0xf8": (asm.beq(1, 2, -8), 0xFE208CE3),
    "bgeu x31, x30, 0x10fe": (asm.bgeu(31, 30, 4094), 0x7FEFFFE3),
    "lb x3, -2048(x4)": (asm.lb(3, 4, -2048), 0x80020183),
    "lhu x3, 2(x4)": (asm.lhu(3, 4, 2), 0x00225183),
    "sw x7, 2047(x8)": (asm.sw(7, 8, 2047), 0x7E742FA3),
    "sb x7, -1(x8)": (asm.sb(7, 8, -1), 0xFE740FA3),
    "addi x0, x0, 0": (asm.nop(), 0x00000013),
    "srai x9, x10, 31": (asm.srai(9, 10, 31), 0x41F55493),
    "sub x1, x2, x3": (asm.sub(1, 2, 3), 0x403100B3),
    "and x1, x2, x3": (asm.and_(1, 2, 3), 0x003170B3),
    "mulhsu x1, x2, x3": (asm.mulhsu(1, 2, 3), 0x023120B3),
    "remu x1, x2, x3": (asm.remu(1, 2, 3), 0x023170B3),
    "fence 15, 15, 0": (asm.fence(), 0x0FF0000F),
    "fence.i": (asm.fence_i(), 0x0000100F),
    "ecall": (asm.ecall(), 0x00000073),
    "ebreak": (asm.ebreak(), 0x00100073),
    # accel/isa.py, by hand.
    "tset vector[10], x1, x2": (asm.tset(Engine.VECTOR, 10, 1, 2), 0x9420800B),
    "tadd load[3], x31, x0": (asm.tadd(Engine.LOAD, 3, 31, 0), 0x060F900B),
    "tpush store wait=vector+store post=load stamp": (
        asm.tpush(Engine.STORE, wait=0b1100, post=0b0001, stamp=True),
        0xC216200B,
    ),
    "twait load+matmul+vector+store": (asm.twait(15), 0x0007B00B),
    "tread x4, idle": (asm.tread(4, StatusWord.IDLE), 0x0000C20B),
    "tdone x9": (asm.tdone(9), 0x0004D00B),
}


@pytest.mark.parametrize("text", KNOWN)
def test_known_encodings(text: str) -> None:
    word, expected = KNOWN[text]
    assert f"{word:08x}" == f"{expected:08x}"
    assert asm.disassemble(word, pc=0x100) == text


def operands(instruction: Instruction) -> st.SearchStrategy[list[int]]:
    """Strategy of legal operand values."""

    def legal(values: list[int]) -> bool:
        named = dict(zip((o.name for o in instruction.operands), values, strict=True))
        engine = Engine(named.get("engine", 0))
        pair_exists = named.get("pair", 0) < COMMANDS[engine].pairs
        return pair_exists and not named.get("post", 0) >> engine & 1

    parts = [
        st.integers(o.low // o.multiple, o.high // o.multiple).map(lambda n, m=o.multiple: n * m)
        for o in instruction.operands
    ]
    return st.tuples(*parts).map(list).filter(legal)


@settings(max_examples=25)
@given(st.data())
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_round_trip(name: str, data: st.DataObject) -> None:
    instruction = INSTRUCTIONS[name]
    values = data.draw(operands(instruction))
    word = instruction.encode(*values)
    assert decode(word) == (
        instruction,
        dict(zip((o.name for o in instruction.operands), values, strict=True)),
    )
    assert asm.disassemble(word).split()[0] == name
    encoder = getattr(asm, name.replace(".", "_"), None) or getattr(asm, f"{name}_")
    assert encoder(*values) == word


@given(st.integers(0, 0xFFFFFFFF), st.sampled_from(list(INSTRUCTIONS.values())))
def test_words_decode_to_what_encodes_them(noise: int, instruction: Instruction) -> None:
    word = (noise & ~instruction.mask) | instruction.match
    found = decode(word)
    if found is None:
        assert instruction.extension == "tensor"
        assert asm.disassemble(word) == f".word {word:#010x}"
    else:
        assert found[0].encode(*found[1].values()) == word & ~found[0].ignored


@given(st.integers(0, 0xFFFFFFFF))
def test_any_word_disassembles(word: int) -> None:
    found = decode(word)
    assert (found is None) == asm.disassemble(word).startswith(".word")


def test_no_two_instructions_overlap() -> None:
    table = list(INSTRUCTIONS.values())
    for i, one in enumerate(table):
        assert not one.match & ~one.mask
        for other in table[i + 1 :]:
            assert (one.match ^ other.match) & one.mask & other.mask, (one.name, other.name)
    assert {i.match & 0x7F for i in table if i.extension == "tensor"} == {CUSTOM_0}


@pytest.mark.parametrize(
    ("function", "values", "message"),
    [
        (asm.addi, (1, 2, 2048), "addi: imm must be from -2048 to 2047, not 2048"),
        (asm.addi, (32, 2, 0), "addi: rd must be from 0 to 31, not 32"),
        (asm.add, (1, -1, 0), "add: rs1 must be from 0 to 31, not -1"),
        (asm.slli, (1, 1, 32), "slli: shamt must be from 0 to 31, not 32"),
        (asm.lui, (1, 1 << 20), "lui: imm must be from 0 to 1048575, not 1048576"),
        (asm.beq, (1, 2, 3), "beq: offset must be a multiple of 2 from -4096 to 4094, not 3"),
        (asm.jal, (1, 1 << 20), "jal: offset must be a multiple of 2 from -1048576 to 1048574"),
        (asm.sw, (1, 2, -2049), "sw: imm must be from -2048 to 2047, not -2049"),
        (asm.add, (1, 2), "add takes rd, rs1, rs2, not 2 values"),
        (asm.ecall, (1,), "ecall takes no operands, not 1 values"),
        (asm.tset, (4, 0, 0, 0), "tset: engine must be from 0 to 3, not 4"),
        (asm.tset, (Engine.VECTOR, 11, 0, 0), "tset: pair of VECTOR must be from 0 to 10, not 11"),
        (asm.tadd, (Engine.LOAD, 5, 0, 0), "tadd: pair of LOAD must be from 0 to 4, not 5"),
        (asm.tpush, (Engine.LOAD, 16), "tpush: wait must be from 0 to 15, not 16"),
        (asm.tpush, (Engine.STORE, 0, 8), "tpush: post mask of STORE must not name itself"),
        (asm.twait, (16,), "twait: mask must be from 0 to 15, not 16"),
        (asm.tread, (1, 2), "tread: word must be from 0 to 1, not 2"),
        (asm.li, (1, 1 << 32), "li: value must be from -2147483648 to 4294967295, not 4294967296"),
    ],
)
def test_range_checks(function: asm.Encoder, values: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        function(*values)


@given(st.integers(-(1 << 31), (1 << 32) - 1))
def test_li(value: int) -> None:
    result = 0
    words = asm.li(7, value)
    assert len(words) <= 2
    for word in words:
        instruction, fields = decode(word) or pytest.fail("illegal")
        assert fields["rd"] == 7
        if instruction.name == "lui":
            result = fields["imm"] << 12
        else:
            assert fields["rs1"] == (7 if len(words) == 2 else 0)
            result += fields["imm"]
    assert result & 0xFFFFFFFF == value & 0xFFFFFFFF


@pytest.mark.parametrize(("value", "words"), [(0, 1), (-2048, 1), (2048, 2), (1 << 31, 1)])
def test_li_is_short(value: int, words: int) -> None:
    assert len(asm.li(1, value)) == words


def test_labels() -> None:
    program = asm.Program()
    program.jump("end")
    program.label("loop")
    program.emit(asm.addi(1, 1, -1))
    program.branch("bne", 1, 0, "loop")
    program.label("end")
    program.jump("loop", rd=1)
    assert program.address == 16
    assert program.labels() == {"loop": 4, "end": 12}
    texts = [asm.disassemble(word, 4 * i) for i, word in enumerate(program.words())]
    assert texts == ["jal x0, 0xc", "addi x1, x1, -1", "bne x1, x0, 0x4", "jal x1, 0x4"]


def test_label_errors() -> None:
    program = asm.Program()
    program.label("here")
    with pytest.raises(ValueError, match="Label here is placed twice"):
        program.label("here")
    program.jump("nowhere")
    with pytest.raises(ValueError, match="Label nowhere is never placed"):
        program.words()
    program = asm.Program()
    program.branch("beq", 0, 0, "far")
    program.emit([asm.nop()] * 1024)
    program.label("far")
    with pytest.raises(ValueError, match="beq: offset must be a multiple of 2 from -4096 to 4094"):
        program.words()
    with pytest.raises(ValueError, match="A word must be from 0 to 4294967295, not -1"):
        program.emit(-1)
