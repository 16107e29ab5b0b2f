"""The controller's instruction table: RV32I, M, Zicsr, MRET and WFI, and the tensor instructions.

Every encoder, decoder and disassembler - and the hardware's decoder - is driven by this table.
Encodings: "The RISC-V Instruction Set Manual, Volume I", version 20191213, chapter 24, and accel/privileged.py;
the tensor instructions: accel/isa.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from accel.isa import COMMANDS, CUSTOM_0, Engine, Funct3, StatusWord
from accel.privileged import (
    ALL_BITS,
    CAUSES,
    CSRS,
    INTERRUPT,
    MEI_BIT,
    MIE_BIT,
    MPIE_BIT,
    Csr,
    CsrEntry,
    Trap,
)

__all__ = [
    "ALL_BITS",
    "CAUSES",
    "CSRS",
    "INSTRUCTIONS",
    "INTERRUPT",
    "MEI_BIT",
    "MIE_BIT",
    "MPIE_BIT",
    "Csr",
    "CsrEntry",
    "Instruction",
    "Operand",
    "Trap",
    "decode",
]


@dataclass(frozen=True)
class Operand:
    """One operand of an instruction and where its bits sit in the word.

    Parameters
    ----------
    name : str
    pieces : tuple of (word bit, value bit, width)
    width : int
        Bits of the value.
    signed : bool
    multiple : int
        The value is a multiple of this.
    limit : int, optional
        Smallest value that is too large, when less than the width allows.
    """

    name: str
    pieces: tuple[tuple[int, int, int], ...]
    width: int
    signed: bool = False
    multiple: int = 1
    limit: int | None = None

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value."""
        largest = (1 << (self.width - self.signed)) - self.multiple
        return largest if self.limit is None else self.limit - 1

    @property
    def mask(self) -> int:
        """Bits of the word that hold the operand."""
        return sum(((1 << width) - 1) << word for word, _, width in self.pieces)

    def insert(self, value: int) -> int:
        """Return the word's bits for `value`, which must be in range."""
        return sum(
            ((value >> bit) & ((1 << width) - 1)) << word for word, bit, width in self.pieces
        )

    def extract(self, word: int) -> int:
        """Return the value that the word holds."""
        value = sum(
            ((word >> place) & ((1 << width) - 1)) << bit for place, bit, width in self.pieces
        )
        return value - (1 << self.width) if self.signed and value > self.high else value


@dataclass(frozen=True)
class Instruction:
    """One instruction: its fixed bits and its operands, in assembly order.

    Parameters
    ----------
    name : str
        Mnemonic.
    match : int
        Fixed bits of the word.
    operands : tuple of Operand
    ignored : int
        Bits that the instruction set reserves but lets an implementation ignore; encoded as 0.
    extension : str
        "i", "m", "zicsr" (with MRET and WFI) or "tensor".
    """

    name: str
    match: int
    operands: tuple[Operand, ...]
    ignored: int = 0
    extension: str = "i"

    @cached_property
    def mask(self) -> int:
        """Bits that must equal `match`: all that neither an operand nor `ignored` takes."""
        mask = 0xFFFFFFFF & ~self.ignored
        for operand in self.operands:
            mask &= ~operand.mask
        return mask

    @property
    def pattern(self) -> str:
        """32 characters, highest bit first: 0, 1, or - where the bit varies."""
        return "".join(
            str(self.match >> bit & 1) if self.mask >> bit & 1 else "-" for bit in range(31, -1, -1)
        )

    def encode(self, *values: int) -> int:
        """Return the word for operand values in assembly order.

        Raises
        ------
        ValueError
            When a value is missing, or outside its operand's range.
        """
        names = ", ".join(o.name for o in self.operands)
        if len(values) != len(self.operands):
            raise ValueError(
                f"{self.name} takes {names or 'no operands'}, not {len(values)} values"
            )
        word = self.match
        for operand, value in zip(self.operands, values, strict=True):
            if not operand.low <= value <= operand.high or value % operand.multiple:
                multiple = f"a multiple of {operand.multiple} " if operand.multiple > 1 else ""
                raise ValueError(
                    f"{self.name}: {operand.name} must be {multiple}from {operand.low} to "
                    f"{operand.high}, not {value}"
                )
            word |= operand.insert(int(value))
        self._check(dict(zip((o.name for o in self.operands), values, strict=True)))
        return word

    def decode(self, word: int) -> dict[str, int]:
        """Return the operand values that a word of this instruction holds.

        Raises
        ------
        ValueError
            When the word is not a legal one of this instruction.
        """
        if word & self.mask != self.match:
            raise ValueError(f"{word:#010x} is not {self.name}")
        values = {o.name: o.extract(word) for o in self.operands}
        for operand in self.operands:
            if not operand.low <= values[operand.name] <= operand.high:
                raise ValueError(f"{self.name}: no {operand.name} {values[operand.name]}")
        self._check(values)
        return values

    def _check(self, values: Mapping[str, int]) -> None:
        """Refuse what no single operand's range excludes."""
        if "pair" in values:
            engine = Engine(values["engine"])
            pairs = COMMANDS[engine].pairs
            if values["pair"] >= pairs:
                raise ValueError(
                    f"{self.name}: pair of {engine.name} must be from 0 to {pairs - 1}, "
                    f"not {values['pair']}"
                )
        if "post" in values and values["post"] >> values["engine"] & 1:
            engine = Engine(values["engine"])
            raise ValueError(f"{self.name}: post mask of {engine.name} must not name itself")


RD = Operand("rd", ((7, 0, 5),), 5)
RS1 = Operand("rs1", ((15, 0, 5),), 5)
RS2 = Operand("rs2", ((20, 0, 5),), 5)
IMM_I = Operand("imm", ((20, 0, 12),), 12, signed=True)
IMM_S = Operand("imm", ((7, 0, 5), (25, 5, 7)), 12, signed=True)
IMM_U = Operand("imm", ((12, 0, 20),), 20)
OFFSET_B = Operand(
    "offset", ((8, 1, 4), (25, 5, 6), (7, 11, 1), (31, 12, 1)), 13, signed=True, multiple=2
)
OFFSET_J = Operand(
    "offset", ((21, 1, 10), (20, 11, 1), (12, 12, 8), (31, 20, 1)), 21, signed=True, multiple=2
)
SHAMT = Operand("shamt", ((20, 0, 5),), 5)
PRED = Operand("pred", ((24, 0, 4),), 4)
SUCC = Operand("succ", ((20, 0, 4),), 4)
FM = Operand("fm", ((28, 0, 4),), 4)
CSR = Operand("csr", ((20, 0, 12),), 12)
ZIMM = Operand("zimm", ((15, 0, 5),), 5)
ENGINE = Operand("engine", ((30, 0, 2),), 2)
PAIR = Operand("pair", ((25, 0, 5),), 5)
WAIT = Operand("wait", ((15, 0, 4),), 4)
POST = Operand("post", ((20, 0, 4),), 4)
STAMP = Operand("stamp", ((25, 0, 1),), 1)
MASK = Operand("mask", ((15, 0, 4),), 4)
WORD = Operand("word", ((15, 0, 5),), 5, limit=len(StatusWord))

LUI, AUIPC, JAL, JALR = 0x37, 0x17, 0x6F, 0x67
BRANCH, LOAD, STORE, OP_IMM, OP, MISC_MEM, SYSTEM = 0x63, 0x03, 0x23, 0x13, 0x33, 0x0F, 0x73


def _code(opcode: int, funct3: int = 0, funct7: int = 0) -> int:
    return funct7 << 25 | funct3 << 12 | opcode


def _group(
    names: Mapping[str, int], opcode: int, *operands: Operand, funct7: int = 0, extension: str = "i"
) -> list[Instruction]:
    return [
        Instruction(name, _code(opcode, funct3, funct7), operands, extension=extension)
        for name, funct3 in names.items()
    ]


_ARITHMETIC = {"add": 0, "sll": 1, "slt": 2, "sltu": 3, "xor": 4, "srl": 5, "or": 6, "and": 7}
_IMMEDIATE = {"addi": 0, "slti": 2, "sltiu": 3, "xori": 4, "ori": 6, "andi": 7}
_MULTIPLY = {
    name: funct3 for funct3, name in enumerate("mul mulh mulhsu mulhu div divu rem remu".split())
}
_BRANCHES = {"beq": 0, "bne": 1, "blt": 4, "bge": 5, "bltu": 6, "bgeu": 7}

INSTRUCTIONS: dict[str, Instruction] = {
    i.name: i
    for i in (
        Instruction("lui", LUI, (RD, IMM_U)),
        Instruction("auipc", AUIPC, (RD, IMM_U)),
        Instruction("jal", JAL, (RD, OFFSET_J)),
        Instruction("jalr", JALR, (RD, RS1, IMM_I)),
        *_group(_BRANCHES, BRANCH, RS1, RS2, OFFSET_B),
        *_group({"lb": 0, "lh": 1, "lw": 2, "lbu": 4, "lhu": 5}, LOAD, RD, RS1, IMM_I),
        *_group({"sb": 0, "sh": 1, "sw": 2}, STORE, RS2, RS1, IMM_S),
        *_group(_IMMEDIATE, OP_IMM, RD, RS1, IMM_I),
        *_group({"slli": 1, "srli": 5}, OP_IMM, RD, RS1, SHAMT),
        *_group({"srai": 5}, OP_IMM, RD, RS1, SHAMT, funct7=0x20),
        *_group(_ARITHMETIC, OP, RD, RS1, RS2),
        *_group({"sub": 0, "sra": 5}, OP, RD, RS1, RS2, funct7=0x20),
        Instruction("fence", MISC_MEM, (PRED, SUCC, FM), ignored=RD.mask | RS1.mask),
        Instruction("fence.i", _code(MISC_MEM, 1), (), ignored=RD.mask | RS1.mask | IMM_I.mask),
        Instruction("ecall", SYSTEM, ()),
        Instruction("ebreak", SYSTEM | 1 << 20, ()),
        *_group({"csrrw": 1, "csrrs": 2, "csrrc": 3}, SYSTEM, RD, CSR, RS1, extension="zicsr"),
        *_group({"csrrwi": 5, "csrrsi": 6, "csrrci": 7}, SYSTEM, RD, CSR, ZIMM, extension="zicsr"),
        Instruction("mret", SYSTEM | 0x302 << 20, (), extension="zicsr"),
        Instruction("wfi", SYSTEM | 0x105 << 20, (), extension="zicsr"),
        *_group(_MULTIPLY, OP, RD, RS1, RS2, funct7=1, extension="m"),
        *(
            Instruction(name, _code(CUSTOM_0, funct3), operands, extension="tensor")
            for name, funct3, operands in (
                ("tset", Funct3.TSET, (ENGINE, PAIR, RS1, RS2)),
                ("tadd", Funct3.TADD, (ENGINE, PAIR, RS1, RS2)),
                ("tpush", Funct3.TPUSH, (ENGINE, WAIT, POST, STAMP)),
                ("twait", Funct3.TWAIT, (MASK,)),
                ("tread", Funct3.TREAD, (RD, WORD)),
                ("tdone", Funct3.TDONE, (RS1,)),
            )
        ),
    )
}
"""Every instruction of the controller by mnemonic."""


def decode(word: int) -> tuple[Instruction, dict[str, int]] | None:
    """Return the instruction a word is, with its operand values; None when it is illegal."""
    for instruction in _BY_OPCODE.get(word & 0x7F, ()):
        if word & instruction.mask == instruction.match:
            try:
                return instruction, instruction.decode(word)
            except ValueError:
                return None
    return None


_BY_OPCODE: dict[int, list[Instruction]] = {}
for _instruction in INSTRUCTIONS.values():
    _BY_OPCODE.setdefault(_instruction.match & 0x7F, []).append(_instruction)
