"""Assembler and disassembler of the controller's instructions.

Each mnemonic of `accel.riscv.INSTRUCTIONS` is a function here that returns a 32-bit word. Operands
stand in the order of assembly language: destination first, then sources, then the immediate
(loads and stores: data register, base register, offset). A value outside its field's range raises
ValueError, naming instruction and field.

>>> program = Program()
>>> program.emit(li(1, 10))
>>> program.label("loop")
>>> program.emit(addi(1, 1, -1))
>>> program.branch("bne", 1, 0, "loop")
>>> program.emit(tdone(0))
>>> [disassemble(word, 4 * i) for i, word in enumerate(program.words())][2]
'bne x1, x0, 0x4'
"""

from collections.abc import Callable, Iterable

from accel.isa import Engine, StatusWord
from accel.riscv import INSTRUCTIONS, Csr, decode

Encoder = Callable[..., int]


def _encoder(name: str) -> Encoder:
    return INSTRUCTIONS[name].encode


# rd, imm (bits 31:12 of the value, 0 .. 0xFFFFF)
lui, auipc = _encoder("lui"), _encoder("auipc")
# rd, offset in bytes
jal = _encoder("jal")
# rd, rs1, imm
jalr = _encoder("jalr")
# rs1, rs2, offset in bytes
beq, bne, blt = _encoder("beq"), _encoder("bne"), _encoder("blt")
bge, bltu, bgeu = _encoder("bge"), _encoder("bltu"), _encoder("bgeu")
# rd, rs1 (base), imm
lb, lh, lw, lbu, lhu = (_encoder(n) for n in ("lb", "lh", "lw", "lbu", "lhu"))
# rs2 (data), rs1 (base), imm
sb, sh, sw = (_encoder(n) for n in ("sb", "sh", "sw"))
# rd, rs1, imm
addi, slti, sltiu = _encoder("addi"), _encoder("slti"), _encoder("sltiu")
xori, ori, andi = _encoder("xori"), _encoder("ori"), _encoder("andi")
# rd, rs1, shamt
slli, srli, srai = _encoder("slli"), _encoder("srli"), _encoder("srai")
# rd, rs1, rs2
add, sub, sll, slt, sltu = (_encoder(n) for n in ("add", "sub", "sll", "slt", "sltu"))
xor, srl, sra, or_, and_ = (_encoder(n) for n in ("xor", "srl", "sra", "or", "and"))
mul, mulh, mulhsu, mulhu = (_encoder(n) for n in ("mul", "mulh", "mulhsu", "mulhu"))
div, divu, rem, remu = (_encoder(n) for n in ("div", "divu", "rem", "remu"))
# no operands
fence_i, ecall, ebreak = _encoder("fence.i"), _encoder("ecall"), _encoder("ebreak")
mret, wfi = _encoder("mret"), _encoder("wfi")
# rd, csr, rs1
csrrw, csrrs, csrrc = (_encoder(n) for n in ("csrrw", "csrrs", "csrrc"))
# rd, csr, zimm
csrrwi, csrrsi, csrrci = (_encoder(n) for n in ("csrrwi", "csrrsi", "csrrci"))


def fence(pred: int = 15, succ: int = 15, fm: int = 0) -> int:
    """Return FENCE, by default of everything against everything."""
    return INSTRUCTIONS["fence"].encode(pred, succ, fm)


def tset(engine: int, pair: int, rs1: int, rs2: int) -> int:
    """Return TSET: registers 2*pair and 2*pair + 1 of the engine become rs1 and rs2."""
    return INSTRUCTIONS["tset"].encode(engine, pair, rs1, rs2)


def tadd(engine: int, pair: int, rs1: int, rs2: int) -> int:
    """Return TADD: registers 2*pair and 2*pair + 1 of the engine grow by rs1 and rs2."""
    return INSTRUCTIONS["tadd"].encode(engine, pair, rs1, rs2)


def tpush(engine: int, wait: int = 0, post: int = 0, stamp: bool = False) -> int:
    """Return TPUSH with its wait mask, post mask and stamp flag."""
    return INSTRUCTIONS["tpush"].encode(engine, wait, post, int(stamp))


def twait(mask: int) -> int:
    """Return TWAIT for the engines in the mask."""
    return INSTRUCTIONS["twait"].encode(mask)


def tread(rd: int, word: int) -> int:
    """Return TREAD of a StatusWord."""
    return INSTRUCTIONS["tread"].encode(rd, word)


def tdone(rs1: int) -> int:
    """Return TDONE with the exit code in register rs1."""
    return INSTRUCTIONS["tdone"].encode(rs1)


def nop() -> int:
    """Return ADDI x0, x0, 0."""
    return addi(0, 0, 0)


def li(rd: int, value: int) -> list[int]:
    """Return the one or two instructions that put a constant into a register.

    Parameters
    ----------
    rd : int
    value : int
        Signed or unsigned 32 bits.

    Raises
    ------
    ValueError
        When the value does not fit 32 bits.
    """
    if not -(1 << 31) <= value < 1 << 32:
        raise ValueError(f"li: value must be from {-(1 << 31)} to {(1 << 32) - 1}, not {value}")
    low = (value & 0xFFF) - ((value & 0x800) << 1)
    high = ((value - low) >> 12) & 0xFFFFF
    if not high:
        return [addi(rd, 0, low)]
    upper = lui(rd, high)
    return [upper, addi(rd, rd, low)] if low else [upper]


class Program:
    """Instructions at consecutive addresses, with labels.

    Labels may be used before they are placed; `words` resolves them.
    """

    def __init__(self) -> None:
        self._words: list[int] = []
        self._labels: dict[str, int] = {}
        self._uses: list[tuple[int, str, Callable[[int], int]]] = []

    @property
    def address(self) -> int:
        """Byte address of the next instruction."""
        return 4 * len(self._words)

    def emit(self, code: int | Iterable[int]) -> None:
        """Append a word, or several."""
        words = [code] if isinstance(code, int) else list(code)
        for word in words:
            if not 0 <= word < 1 << 32:
                raise ValueError(f"A word must be from 0 to {(1 << 32) - 1}, not {word}")
        self._words += words

    def label(self, name: str) -> None:
        """Place a label at the next instruction.

        Raises
        ------
        ValueError
            When the label is placed already.
        """
        if name in self._labels:
            raise ValueError(f"Label {name} is placed twice")
        self._labels[name] = self.address

    def branch(self, mnemonic: str, rs1: int, rs2: int, target: str) -> None:
        """Append a conditional branch (beq, bne, blt, bge, bltu, bgeu) to a label."""
        instruction = INSTRUCTIONS[mnemonic]
        self._emit_use(target, lambda offset: instruction.encode(rs1, rs2, offset))

    def jump(self, target: str, rd: int = 0) -> None:
        """Append JAL to a label; rd receives the return address."""
        self._emit_use(target, lambda offset: jal(rd, offset))

    def labels(self) -> dict[str, int]:
        """Return the byte address of every label placed so far."""
        return dict(self._labels)

    def words(self) -> list[int]:
        """Return the program with all labels resolved.

        Raises
        ------
        ValueError
            When a label is not placed, or too far from a branch to it.
        """
        words = list(self._words)
        for index, target, encode in self._uses:
            if target not in self._labels:
                raise ValueError(f"Label {target} is never placed")
            words[index] = encode(self._labels[target] - 4 * index)
        return words

    def _emit_use(self, target: str, encode: Callable[[int], int]) -> None:
        self._uses.append((len(self._words), target, encode))
        self._words.append(0)


def _engines(mask: int) -> str:
    return "+".join(e.name.lower() for e in Engine if mask >> e & 1) or "none"


def disassemble(word: int, pc: int = 0) -> str:
    """Return the text of one instruction; `.word` for what is none.

    Parameters
    ----------
    word : int
    pc : int
        The instruction's address; branch and jump targets are shown as addresses.
    """
    found = decode(word)
    if found is None:
        return f".word {word:#010x}"
    instruction, v = found
    name = instruction.name
    operands = [o.name for o in instruction.operands]
    match operands:
        case ["engine", "pair", "rs1", "rs2"]:
            engine = Engine(v["engine"]).name.lower()
            return f"{name} {engine}[{v['pair']}], x{v['rs1']}, x{v['rs2']}"
        case ["engine", "wait", "post", "stamp"]:
            text = f"{name} {Engine(v['engine']).name.lower()}"
            text += f" wait={_engines(v['wait'])}" if v["wait"] else ""
            text += f" post={_engines(v['post'])}" if v["post"] else ""
            return text + (" stamp" if v["stamp"] else "")
        case ["mask"]:
            return f"{name} {_engines(v['mask'])}"
        case ["rd", "word"]:
            return f"{name} x{v['rd']}, {StatusWord(v['word']).name.lower()}"
        case [("rd" | "rs2") as data, "rs1", "imm"] if instruction.match & 0x5F == 0x03:
            return f"{name} x{v[data]}, {v['imm']}(x{v['rs1']})"
    parts = []
    for operand in operands:
        value = v[operand]
        if operand in ("rd", "rs1", "rs2"):
            parts.append(f"x{value}")
        elif operand == "csr":
            named = value in Csr.__members__.values()
            parts.append(Csr(value).name.lower() if named else f"{value:#x}")
        elif operand == "offset":
            parts.append(f"{(pc + value) & 0xFFFFFFFF:#x}")
        elif name in ("lui", "auipc"):
            parts.append(f"{value:#x}")
        else:
            parts.append(str(value))
    return f"{name} {', '.join(parts)}" if parts else name
