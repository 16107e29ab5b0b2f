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

import re
from dataclasses import dataclass, field
from itertools import pairwise

from accel.gateware.serial.microword import (
    ADDRESS_BITS,
    REGISTERS,
    Action,
    Condition,
    Mode,
    Operation,
    Source,
    Word,
)

__all__ = ["assemble"]

_FIRST_CONSTANT = 384


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


_MODES = {
    "rs1": Mode.RS1,
    "rs2": Mode.RS2,
    "rd": Mode.RD,
    "even": Mode.EVEN,
    "odd": Mode.ODD,
    "host": Mode.HOST,
    "mask": Mode.MASK,
}


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
_WRITES = (Action.WR, Action.WRB, Action.WRX, Action.WRS)
_BY_RESULT = (*_READS, *_WRITES, Action.LDC)
# What does not go through the adder.
_LOADED = (
    Source.HIGH,
    Source.LOW,
    Source.WORD,
    Source.PART,
    Source.BYTE,
    Source.READ_DATA,
    Source.HOST_DATA,
    Source.HOST_ADDRESS,
    Source.CYCLES,
)
_BY_VALUE = (
    Condition.OUTSIDE,
    Condition.Z,
    Condition.N,
    Condition.A1,
    Condition.A0,
    Condition.CHOOSE,
)
_BY_FLAGS = (Condition.GE, Condition.LT)
_BY_ACTION = {
    Action.LDC: {Condition.CNZ},
    Action.RDX: {Condition.BAD, Condition.MISALIGNED},
    Action.WRX: {Condition.BAD, Condition.MISALIGNED},
    Action.IR: {
        Condition.TAKEN,
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
    decodes = second.get("named") or second.get("source") == Source.IMMEDIATE
    return bool(decodes and first.get("action") == Action.IR)


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
            if line.get("source") in _LOADED and (
                line.get("operation") != Operation.LOAD or line.get("action") in _BY_RESULT
            ):
                wrong.append(f"computes with what can only be loaded: {line.text}")
            last = [self.lines[b] for b in self.before(place)]
            # What is known a cycle later than the rest.
            lately = [self.lines[c] for b in self.before(place) for c in self.before(b)]
            if line.get("condition") == Condition.OPCODE and any(
                b.get("action") == Action.IR for b in lately
            ):
                wrong.append(f"dispatches too early: {line.text}")
            if line.get("condition") == Condition.TAKEN and any(
                b.compares for b in (*last, *lately)
            ):
                wrong.append(f"branches too early: {line.text}")
            if line.takes and any(b.get("action") not in _READS for b in last):
                wrong.append(f"reads no word for {line.text}")
        if wrong:
            raise ValueError("The microcode " + "; ".join(wrong))

    def before(self, place: int) -> list[int]:
        """Return what may come right before an instruction; not those that return to it."""
        found = [i for i, a in enumerate(self.lines) if a.target and self.labels[a.target] == place]
        return [*found, place - 1] if place and self.lines[place - 1].falls else found

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
