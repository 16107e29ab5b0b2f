"""Assembler of the serial machine's microcode: one microinstruction a line.

    label:  A+bias  >x  rd  dec  if cnz label      # comment

Each part is optional. Cycles, for an instruction fetched in cycle 0: its register is read and its
jump decided in cycle 1, the rest happens in cycle 2; an instruction is fetched in every cycle. So a
jump sees what instructions before the last one did, and a register written by the last one is read
as it was before; the assembler puts an empty instruction between where it is needed.

* `A=s`, `A+s`, `A-s`, `A&s`, `A|s`, `A^s`: the accumulator; `A*s` some steps of a multiplication,
  `A!` its rounding, `A>s` add and shift right, `A/` shift right with a zero, `A~s` add halves apart. The same without
  `A` (`=s`, `+s`, `-s`) only shows its result to a memory or a flag.
* sources: a register, `hi(r)` its upper half, `%n` a constant, `@w` `@x` `@b` the word, the
  instruction's part of it, or the signed byte that was read by the instruction before, `#i` the
  immediate, `$a` `$q` `$r` `$w` `$h` `$c`, see Source.
* `>r` writes what the accumulator becomes, or would, to a register: that of the operand, if that is
  one.
* an `Action`.
* `dec`: the counter less one. `if c L`, `ifn c L`, `goto L`, `call L`, `if c call L`, `ret`, and jumps to
  L + opcode (`opcode L`), + funct3 (`funct3 L`), + accumulator (`choose L`); at most one.
"""

import enum
import re
from dataclasses import dataclass, field
from itertools import pairwise

from amaranth.hdl import unsigned
from amaranth.lib import data

__all__ = [
    "ADDRESS_BITS",
    "Action",
    "Condition",
    "MUL_STEPS",
    "Mode",
    "Operation",
    "REGISTERS",
    "Source",
    "Word",
    "assemble",
]

ADDRESS_BITS = 10
MUL_STEPS = 4
REGISTERS = 512
_FIRST_CONSTANT = 384


class Operation(enum.IntEnum):
    """What the accumulator becomes."""

    LOAD = 0
    ADD = 1
    SUB = 2
    AND = 3
    OR = 4
    XOR = 5
    MUL = 6
    """(accumulator + (operand if the multiplier's lowest bit)) / 2, with the lowest bit moved into
    the multiplier register from above; MUL_STEPS times."""
    SHIFT = 7
    """(accumulator + operand) / 2, signed, in 33 bits."""
    SHIFT_ZERO = 8
    """accumulator / 2, unsigned."""
    PAIR = 9
    """Add; no carry from bit 15 to bit 16."""
    ROUND = 10
    """Add the multiplier's highest bit."""


_OPERATIONS = {
    "=": Operation.LOAD,
    "+": Operation.ADD,
    "-": Operation.SUB,
    "&": Operation.AND,
    "|": Operation.OR,
    "^": Operation.XOR,
    "*": Operation.MUL,
    ">": Operation.SHIFT,
    "/": Operation.SHIFT_ZERO,
    "~": Operation.PAIR,
    "!": Operation.ROUND,
}


class Source(enum.IntEnum):
    """The operand."""

    REGISTER = 0
    HIGH = 1
    """A register's upper half."""
    IMMEDIATE = 2
    """Of the RISC-V instruction."""
    WORD = 3
    """The word that the last instruction read from memory."""
    PART = 4
    """Of that word, what the RISC-V load takes."""
    BYTE = 5
    """Of that word, the addressed byte, signed."""
    ACCUMULATOR = 6
    MULTIPLIER = 7
    READ_DATA = 8
    """Of the external memory."""
    HOST_DATA = 9
    """That the host writes."""
    HOST_ADDRESS = 10
    """Of the host's register in bits 11:0, entries of the position table in bits 23:16."""
    CYCLES = 11
    LOW = 12
    """A register's lower half."""


_SOURCES = {
    "@w": Source.WORD,
    "@x": Source.PART,
    "@b": Source.BYTE,
    "#i": Source.IMMEDIATE,
    "$a": Source.ACCUMULATOR,
    "$q": Source.MULTIPLIER,
    "$r": Source.READ_DATA,
    "$w": Source.HOST_DATA,
    "$h": Source.HOST_ADDRESS,
    "$c": Source.CYCLES,
}


class Mode(enum.IntEnum):
    """Registers that the running RISC-V instruction, or the host, names."""

    RS1 = 0
    RS2 = 1
    RD = 2
    EVEN = 3
    """The engine's register 2 * pair."""
    ODD = 4
    HOST = 5
    """The host's, 64 + its word."""
    MASK = 6
    """320 + its word."""
    ENGINE = 7
    """The engine's, whose number stands in the register's upper bits."""


_MODES = {
    "rs1": Mode.RS1,
    "rs2": Mode.RS2,
    "rd": Mode.RD,
    "even": Mode.EVEN,
    "odd": Mode.ODD,
    "host": Mode.HOST,
    "mask": Mode.MASK,
}


class Action(enum.IntEnum):
    """What else an instruction does. Addresses are the adder's result."""

    NONE = 0
    RD = 1
    """Read memory by its plain address."""
    RDP = 2
    """Read program memory."""
    RDX = 3
    """Read where a RISC-V load does."""
    RDS = 4
    """Read the scratchpad: notes an address outside."""
    WR = 5
    """Write the accumulator to a word."""
    WRX = 6
    """Write what a RISC-V store does where it does."""
    WRB = 7
    """Write a byte."""
    WRS = 8
    """Write a byte of the scratchpad."""
    IR = 9
    """The result becomes the RISC-V instruction."""
    LDC = 10
    """The result becomes the counter."""
    LDQ = 11
    """The result becomes the multiplier."""
    AR = 12
    """Offer a read burst at the accumulator's address, of counter + 1 beats."""
    AW = 13
    """Offer a write burst."""
    W = 14
    """Offer the accumulator as a beat; the last one where the counter is 0."""
    POP = 15
    """Take a beat, or a write response."""
    STATE = 16
    """The status outputs become the accumulator."""
    HREAD = 17
    """Answer the host's read with the accumulator."""
    HWRITE = 18
    """Answer the host's write."""
    IRQ = 19
    """The interrupt output becomes the accumulator's lowest bit."""
    RUN = 20
    """Cycles become 1 and are counted."""
    STOP = 21
    """They are counted no more."""
    CLEAN = 22
    """Forget noted errors; the position table is empty."""
    PTA = 23
    """The accumulator becomes a position's address."""
    PTYX = 24
    """It becomes its y and x; the table has an entry more."""
    TILE = 25
    """The accumulator is the first position's address."""
    PAD = 26
    """The result is the pad byte."""
    SIZE = 27
    """The accumulator is image height and width."""
    SUMS = 28
    """It is the first entry of the sums, and, in bit 31, whether they are added to."""
    GO = 29
    """It is the first position's y and x: run the tile."""
    LOW = 30
    """Weights of array rows 0 and 1: the multiplier and the word read."""
    HIGH = 31
    """Weights of array rows 2 and 3."""


class Condition(enum.IntEnum):
    """What a jump looks at."""

    ALWAYS = 0
    Z = 1
    """The accumulator is 0."""
    N = 2
    """It is negative."""
    GE = 3
    """The last subtraction was from no less, unsigned."""
    LT = 4
    """It was from less, signed."""
    CNZ = 5
    """The counter is not 0."""
    TAKEN = 6
    """The branch is taken, by the last subtraction."""
    BAD = 7
    """There was no memory at the last RDP, RDX or WRX."""
    MISALIGNED = 8
    """The last RDX's or WRX's address was not for an access of that size."""
    CALLED = 9
    """The host wants something, or the watchdog's step is over."""
    RVALID = 10
    OFFERED = 11
    """An address or beat is not yet taken."""
    BVALID = 12
    HREAD = 13
    HWRITE = 14
    BUSY = 15
    """A tile is under way."""
    A1 = 16
    """The accumulator's bit 1."""
    ERROR = 17
    """A response was an error, noted."""
    ANSWER = 18
    """The host has not taken the answer."""
    ILLEGAL = 19
    CHIP = 20
    """A scratchpad address was outside, noted."""
    A0 = 21
    """The accumulator's bit 0."""
    STEP = 22
    """The watchdog's step is over; asking ends it."""
    KNOWN = 23
    """There is a register at the host's address."""
    BIT31 = 24
    """Of the RISC-V instruction; so the following."""
    BIT30 = 25
    BIT25 = 26
    BIT15 = 27
    RETURN = 28
    """Not looked at: go back behind the last call."""
    OPCODE = 29
    """Go to the target plus the RISC-V instruction's opcode; so its funct3; so the accumulator."""
    FUNCT3 = 30
    CHOOSE = 31


class Word(data.Struct):
    """A microinstruction."""

    operation: unsigned(4)
    keep: unsigned(1)
    source: unsigned(4)
    register: unsigned(9)
    named: unsigned(1)  # register is a Mode
    write: unsigned(1)
    action: unsigned(5)
    decrement: unsigned(1)
    call: unsigned(1)
    condition: unsigned(5)
    negate: unsigned(1)
    target: unsigned(ADDRESS_BITS)


@dataclass(frozen=True)
class _Line:
    """A parsed instruction; `target` is still a name."""

    fields: dict[str, int] = field(default_factory=dict)
    target: str = ""
    text: str = ""

    def get(self, name: str) -> int:
        return self.fields.get(name, 0)

    @property
    def reads(self) -> bool:
        halves = (Source.REGISTER, Source.HIGH, Source.LOW)
        return self.get("source") in halves and bool(self.get("uses"))

    @property
    def place(self) -> tuple[int, int]:
        return self.get("named"), self.get("register")

    @property
    def falls(self) -> bool:
        """The next instruction may come behind it."""
        return not self.get("jumps")

    @property
    def takes(self) -> bool:
        """It needs the word of a read right in front of it."""
        words = (Source.WORD, Source.PART, Source.BYTE)
        return self.get("source") in words or self.get("action") in (Action.LOW, Action.HIGH)

    @property
    def changes(self) -> bool:
        """It changes the accumulator."""
        return bool(self.get("uses")) and not self.get("keep")

    @property
    def compares(self) -> bool:
        """It is a subtraction."""
        return bool(self.get("uses")) and self.get("operation") == Operation.SUB


_READS = (Action.RD, Action.RDP, Action.RDX, Action.RDS)
_BY_VALUE = (
    Condition.Z,
    Condition.N,
    Condition.TAKEN,
    Condition.A1,
    Condition.A0,
    Condition.CHOOSE,
)
_BY_FLAGS = (Condition.GE, Condition.LT, Condition.TAKEN)
_BY_ACTION = {
    Action.LDC: {Condition.CNZ},
    Action.RDP: {Condition.BAD},
    Action.RDX: {Condition.BAD, Condition.MISALIGNED},
    Action.WRX: {Condition.BAD, Condition.MISALIGNED},
    Action.IR: {
        Condition.TAKEN,
        Condition.ILLEGAL,
        Condition.BIT31,
        Condition.BIT30,
        Condition.BIT25,
        Condition.BIT15,
        Condition.OPCODE,
        Condition.FUNCT3,
    },
    Action.POP: {Condition.RVALID, Condition.BVALID, Condition.ERROR},
    Action.AR: {Condition.OFFERED, Condition.RVALID},
    Action.AW: {Condition.OFFERED},
    Action.W: {Condition.OFFERED, Condition.BVALID},
    Action.HREAD: {Condition.ANSWER, Condition.HREAD, Condition.CALLED},
    Action.HWRITE: {Condition.ANSWER, Condition.HWRITE, Condition.CALLED},
    Action.GO: {Condition.BUSY},
    Action.CLEAN: {Condition.ERROR, Condition.CHIP},
    Action.RDS: {Condition.CHIP},
    Action.WRS: {Condition.CHIP},
}


_RANGES = {
    Mode.RS1: range(32),
    Mode.RS2: range(32),
    Mode.RD: range(32),
    Mode.EVEN: range(128, 256),
    Mode.ODD: range(128, 256),
    Mode.HOST: range(64, 128),
    Mode.MASK: range(320, 384),
    Mode.ENGINE: range(128, 256),
}


def _meet(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two registers may be the same."""
    ranges = []
    for named, register in (first, second):
        ranges.append(_RANGES[Mode(register % 8)] if named else range(register, register + 1))
    return ranges[0].start < ranges[1].stop and ranges[1].start < ranges[0].stop


def _conflicts(first: _Line, second: _Line) -> bool:
    """Whether `second` must not follow `first` at once."""
    if first.get("write") and second.reads and _meet(first.place, second.place):
        return True
    condition = second.get("condition")
    if condition in _BY_VALUE and first.changes:
        return True
    if condition in _BY_FLAGS and first.compares:
        return True
    if condition in _BY_ACTION.get(Action(first.get("action")), ()):
        return True
    return bool(second.get("named") and first.get("action") == Action.IR)


class _Assembler:
    def __init__(self, registers: dict[str, int], symbols: dict[str, int]) -> None:
        self.registers = registers
        self.symbols = symbols
        self.constants: dict[int, int] = {}
        self.lines: list[_Line] = []
        self.labels: dict[str, int] = {}

    def constant(self, text: str) -> int:
        value = eval(text, {"__builtins__": {}}, self.symbols) & 0xFFFFFFFF  # noqa: S307
        if value not in self.constants:
            self.constants[value] = _FIRST_CONSTANT + len(self.constants)
            if self.constants[value] >= REGISTERS:
                raise ValueError("The microcode has too many constants")
        return self.constants[value]

    def operand(self, text: str) -> dict[str, int]:
        if text in _SOURCES:
            return {"source": _SOURCES[text]}
        for name, source in (("hi", Source.HIGH), ("lo", Source.LOW)):
            if match := re.fullmatch(rf"{name}\((.*)\)", text):
                return {**self.operand(match[1]), "source": source}
        return {"source": Source.REGISTER, **self.register(text)}

    def register(self, text: str) -> dict[str, int]:
        if text in _MODES:
            return {"named": 1, "register": _MODES[text]}
        if match := re.fullmatch(r"e(\d+)", text):
            return {"named": 1, "register": Mode.ENGINE | int(match[1]) << 3}
        if text.startswith("%"):
            return {"register": self.constant(text[1:])}
        if text not in self.registers:
            raise ValueError(f"The microcode has no register {text}")
        return {"register": self.registers[text]}

    def parse(self, text: str) -> _Line:
        fields: dict[str, int] = {"keep": 1}
        target = ""
        parts = text.split()
        while parts:
            part = parts.pop(0)
            if part in ("if", "ifn"):
                fields |= {"condition": Condition[parts.pop(0).upper()], "negate": part == "ifn"}
                if parts[0] != "call":
                    target = parts.pop(0)
            elif part == "goto":
                target = parts.pop(0)
                fields["condition"] = Condition.ALWAYS
                fields["jumps"] = 1
            elif part == "call":
                fields |= {"condition": fields.get("condition", Condition.ALWAYS), "call": 1}
                target = parts.pop(0)
            elif part in ("opcode", "funct3", "choose"):
                fields |= {"condition": Condition[part.upper()], "jumps": 1}
                target = parts.pop(0)
            elif part == "ret":
                fields |= {"condition": Condition.RETURN, "jumps": 1}
            elif part == "nop":
                pass
            elif part == "dec":
                fields["decrement"] = 1
            elif part.startswith(">"):
                self.merge(fields, self.register(part[1:]), part)
                fields["write"] = 1
            elif match := re.fullmatch(r"(A?)([=+\-&|^*>/~!])(.*)", part):
                fields["keep"] = int(not match[1])
                fields["operation"] = _OPERATIONS[match[2]]
                fields["uses"] = 1
                if match[3]:
                    self.merge(fields, self.operand(match[3]), part)
            elif part.upper() in Action.__members__:
                fields["action"] = Action[part.upper()]
            else:
                raise ValueError(f"The microcode's {part} in {text!r} is nothing")
        if fields.get("write") and not fields.get("uses"):
            fields |= {"source": Source.ACCUMULATOR}
        return _Line(fields, target, text)

    def merge(self, fields: dict[str, int], more: dict[str, int], part: str) -> None:
        if any(fields.get(name, more[name]) != more[name] for name in more if name != "source"):
            raise ValueError(f"The microcode uses two registers at {part}")
        fields |= more

    def add(self, line: _Line) -> None:
        if self.lines and self.lines[-1].falls and _conflicts(self.lines[-1], line):
            self.lines.append(self.parse(""))
        self.lines.append(line)

    def read(self, text: str) -> None:
        labels: list[str] = []
        for raw in text.splitlines():
            code = re.split(r"(?:^|\s)#\s", raw)[0].strip()
            if code.startswith(".align"):
                while len(self.lines) % int(code.split()[1]):
                    self.lines.append(self.parse("nop"))
                continue
            if match := re.match(r"(\w+):\s*", code):
                labels.append(match[1])
                code = code[match.end() :]
            if not code:
                continue
            self.add(self.parse(code))
            for label in labels:
                if label in self.labels:
                    raise ValueError(f"The microcode has label {label} twice")
                self.labels[label] = len(self.lines) - 1
            labels.clear()

    def check(self) -> None:
        """Refuse jumps to what must not follow them at once, and other things."""
        wrong = []
        sizes = {Condition.OPCODE: 32, Condition.FUNCT3: 8, Condition.CHOOSE: 8}
        for line in self.lines:
            if line.target and line.get("condition") not in sizes:
                if line.target not in self.labels:
                    raise ValueError(f"The microcode has no label {line.target}")
                there = self.lines[self.labels[line.target]]
                if _conflicts(line, there):
                    wrong.append(f"jumps too early: {line.text} -> {there.text}")
        behind = [b for a, b in pairwise(self.lines) if a.get("call")]
        for line in self.lines:
            if line.get("condition") == Condition.RETURN and any(
                _conflicts(line, other) for other in behind
            ):
                wrong.append(f"returns too early: {line.text}")
            size = sizes.get(Condition(line.get("condition")))
            if size and self.labels[line.target] % size:
                wrong.append(f"table {line.target} is not aligned")
        for place, line in enumerate(self.lines):
            if line.takes and any(b.get("action") not in _READS for b in self.before(place)):
                wrong.append(f"reads no word for {line.text}")
        if wrong:
            raise ValueError("The microcode " + "; ".join(wrong))

    def before(self, place: int) -> list[_Line]:
        """Return the instructions that may come right before one; not those that return."""
        found = [line for line in self.lines if line.target and self.labels[line.target] == place]
        previous = self.lines[place - 1]
        return [*found, previous] if previous.falls else found

    def encode(self, line: _Line) -> int:
        values = {
            name: int(value) for name, value in line.fields.items() if name not in ("uses", "jumps")
        }
        values["target"] = self.labels[line.target] if line.target else 0
        if "condition" not in values:
            # Never: the next instruction.
            values["negate"] = 1
        return int(Word.const(values).as_bits())


def assemble(
    text: str, registers: dict[str, int], symbols: dict[str, int]
) -> tuple[list[int], dict[int, int]]:
    """Return the microinstructions, and the constants by the register that must hold them.

    Raises
    ------
    ValueError
        When the text cannot be assembled.
    """
    assembler = _Assembler(registers, symbols)
    assembler.read(text)
    assembler.check()
    if len(assembler.lines) > 1 << ADDRESS_BITS:
        raise ValueError(f"The microcode has {len(assembler.lines)} instructions")
    words = [assembler.encode(line) for line in assembler.lines]
    return words, {place: value for value, place in assembler.constants.items()}
