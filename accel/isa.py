"""The instruction set: tensor instructions, engine commands and their exact meaning.

One definition gives the encoder, the decoder, the hardware payload and docs/isa.md. Encodings
never change with the configuration; a value that a configuration cannot do is an error there.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

__all__ = [
    "CHIP_BITS",
    "COMMANDS",
    "CUSTOM_0",
    "ISA_VERSION",
    "PARAM_WORDS",
    "TABLE_WORDS",
    "TOKEN_LIMIT",
    "WINDOW_BASE",
    "Command",
    "Engine",
    "Field",
    "Funct3",
    "Operation",
    "Space",
    "StatusWord",
    "chip_address_bits",
]

ISA_VERSION = 4
"""Carried by every image; the driver refuses another one."""

CUSTOM_0 = 0b0001011
"""Major opcode of all tensor instructions (R-type)."""

CHIP_BITS = 20
"""Bits of an on-chip address, and of its steps, in every command."""

PARAM_WORDS = 9
"""Weight words of one channel group's parameters: bias 4, multiplier 4, shift 1."""

TABLE_WORDS = 512
"""Entries of the vector engine's function table: operand A 0..255, operand B 256..511."""

TOKEN_LIMIT = 255
"""Tokens that one (producer, consumer) counter holds."""

WINDOW_BASE = 1 << 30
"""Byte address at which the controller's loads and stores find the scratchpad, a slot per word."""


class Engine(enum.IntEnum):
    """The engines; the number is the bit in every engine or token mask."""

    LOAD = 0
    MATMUL = 1
    VECTOR = 2
    STORE = 3


class Funct3(enum.IntEnum):
    """Tensor instructions. `engine = funct7[6:5]`, `pair = funct7[4:0]`; unused fields are 0."""

    TSET = 0
    """register[2*pair] = rs1; register[2*pair + 1] = rs2, through the engine's queue."""
    TADD = 1
    """register[2*pair] += rs1; register[2*pair + 1] += rs2 (modulo 2**32), through the queue."""
    TPUSH = 2
    """Start the command that the registers hold, through the queue. funct7[0]: stamp; rs1 field
    bits 3:0: wait mask; rs2 field bits 3:0: post mask."""
    TWAIT = 3
    """Stop issuing until every engine in the mask (rs1 field bits 3:0) has an empty queue and
    has completed all its commands."""
    TREAD = 4
    """rd = status word number (rs1 field), see StatusWord."""
    TDONE = 5
    """End the program: status done, exit code = register rs1, interrupt."""


class StatusWord(enum.IntEnum):
    """What TREAD returns."""

    CYCLES = 0
    """Cycles since start, low 32 bits."""
    IDLE = 1
    """Mask of the engines that TWAIT would not wait for."""


class Space(enum.IntEnum):
    """On-chip memories that the load engine writes; the unit of a chip address is one word."""

    SCRATCHPAD = 0
    """rows bytes a word, in memory a slot of the next power of two."""
    WEIGHTS = 1
    """cols bytes a word, in memory a slot of the next power of two."""
    TABLE = 2
    """One int32 entry of the vector engine's function table, the same in every lane."""
    PROGRAM = 3
    """One 32-bit word of program memory."""


class Operation(enum.IntEnum):
    """What the vector engine feeds to its requantiser."""

    ACC = 0
    """x = accumulator[a + pixel][column]."""
    ADD = 1
    """x = table[A + 128] + table[256 + B + 128]; A and B are scratchpad bytes (int8)."""
    SUM = 2
    """x = sum of the A bytes in the window."""
    MAX = 3
    """x = largest A byte in the window."""
    TABLE = 4
    """x = table[A + 128]."""
    MUL = 5
    """x = table[A + 128] * table[256 + B + 128], both from -256 to 255."""
    MIN = 6
    """x = smallest A byte in the window."""


@dataclass(frozen=True)
class Field:
    """One field of an engine's register file.

    Parameters
    ----------
    name : str
    register : int
        32-bit register that holds it.
    lsb, width : int
        Place in the register.
    signed : bool
    doc : str
        One line for docs/isa.md.
    """

    name: str
    register: int
    lsb: int
    width: int
    signed: bool
    doc: str

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << (self.width - self.signed)) - 1


@dataclass(frozen=True)
class Command:
    """The command of one engine: a file of 32-bit registers with fields in them.

    Address steps are modulo 2**width: a negative step is written as its residue.
    """

    engine: Engine
    fields: tuple[Field, ...]

    @property
    def pairs(self) -> int:
        """Register pairs that TSET and TADD reach."""
        return (max(f.register for f in self.fields) + 2) // 2

    @property
    def registers(self) -> int:
        """Number of 32-bit registers, even."""
        return 2 * self.pairs

    @property
    def layout(self) -> data.FlexibleLayout:
        """The register file as one hardware payload."""
        return data.FlexibleLayout(
            32 * self.registers,
            {
                f.name: data.Field(
                    signed(f.width) if f.signed else unsigned(f.width), 32 * f.register + f.lsb
                )
                for f in self.fields
            },
        )

    def encode(self, values: Mapping[str, int]) -> list[int]:
        """Return the registers for `values`; fields not named are 0.

        Raises
        ------
        ValueError
            For an unknown field or a value outside its range. Unsigned fields whose name holds
            `address`, `step` or `plane` also take negative values, modulo 2**width.
        """
        registers = [0] * self.registers
        by_name = {f.name: f for f in self.fields}
        for name, value in values.items():
            if name not in by_name:
                raise ValueError(f"{self.engine.name} command has no field {name}")
            field = by_name[name]
            wraps = not field.signed and any(w in name for w in ("address", "step", "plane"))
            low = -(1 << (field.width - 1)) if wraps else field.low
            if not low <= value <= field.high:
                raise ValueError(
                    f"{self.engine.name}.{name} must be from {low} to {field.high}, not {value}"
                )
            registers[field.register] |= (value & ((1 << field.width) - 1)) << field.lsb
        return registers

    def decode(self, registers: list[int]) -> dict[str, int]:
        """Return every field's value from the registers."""
        values = {}
        for f in self.fields:
            raw = (registers[f.register] >> f.lsb) & ((1 << f.width) - 1)
            values[f.name] = raw - (1 << f.width) if f.signed and raw > f.high else raw
        return values


def _u(name: str, register: int, width: int, doc: str, lsb: int = 0) -> Field:
    return Field(name, register, lsb, width, False, doc)


def _s(name: str, register: int, width: int, doc: str, lsb: int = 0) -> Field:
    return Field(name, register, lsb, width, True, doc)


_LEVELS = ("col", "row", "k0", "k1", "k2")

MATMUL = Command(
    Engine.MATMUL,
    (
        _u("input_address", 0, 20, "scratchpad word of the first input element"),
        _s("input_y", 1, 16, "image row of the first input element; may be outside"),
        _s("input_x", 1, 16, "image column of the first input element; may be outside", lsb=16),
        _u("weight_address", 2, 20, "weight word of the first tile; tiles follow one another"),
        _u("acc_address", 3, 16, "accumulator entry of the first output pixel"),
        _u("groups", 3, 2, "words read at once for each position; 0 is 1", lsb=16),
        _u("taps", 3, 5, "0: matrix; else depthwise: array rows from group to group", lsb=18),
        _u("accumulate", 3, 1, "1: the first tile adds to the entries, 0: it replaces", lsb=31),
        _u("count_col", 4, 16, "positions in a row (innermost loop)"),
        _u("count_row", 4, 16, "output rows", lsb=16),
        _u("count_k0", 5, 16, "reduction tiles, inner loop"),
        _u("count_k1", 5, 16, "reduction tiles, middle loop", lsb=16),
        _u("count_k2", 6, 16, "reduction tiles, outer loop"),
        _s("pad_value", 6, 8, "byte read in place of elements outside the image", lsb=16),
        _u("skip", 6, 8, "positions of each row before its first output pixel", lsb=24),
        _u("input_height", 7, 16, "image rows: 0 <= y < height is inside"),
        _u("input_width", 7, 16, "image columns: 0 <= x < width is inside", lsb=16),
        _u("group_step", 18, 20, "address step from a group's word to the next group's"),
        _u("gap", 18, 8, "positions without an output pixel between two with one", lsb=24),
        _s("group_step_y", 19, 16, "y step from a group's word to the next group's"),
        *(
            field
            for i, level in enumerate(_LEVELS)
            for field in (
                _u(f"step_{level}", 8 + 2 * i, 20, f"address step when loop {level} advances"),
                _s(f"step_{level}_y", 9 + 2 * i, 16, f"y step when loop {level} advances"),
                _s(f"step_{level}_x", 9 + 2 * i, 16, f"x step when loop {level} advances", lsb=16),
            )
        ),
    ),
)

VECTOR = Command(
    Engine.VECTOR,
    (
        _u("a_address", 0, 20, "first accumulator entry (ACC) or scratchpad word of operand A"),
        _u("b_address", 1, 20, "first scratchpad word of operand B (ADD, MUL)"),
        _u("dst_address", 2, 20, "first scratchpad word of the result"),
        _u("slices", 3, 12, "slices of `lanes` channels (outermost loop)"),
        _u("a_slot", 3, 6, "first slice's place in the accumulator columns or in A's word", lsb=12),
        _u("b_slot", 3, 6, "first slice's place in B's word", lsb=18),
        _u("dst_slot", 3, 6, "first slice's place in the result's word", lsb=24),
        _u("count_col", 4, 16, "results in a row"),
        _u("count_row", 4, 16, "rows of results", lsb=16),
        _u("window_col", 5, 16, "window columns (SUM, MAX, MIN; 1 otherwise; innermost loop)"),
        _u("window_row", 5, 16, "window rows (SUM, MAX, MIN; 1 otherwise)", lsb=16),
        _u("operation", 6, 4, "see Operation"),
        _u("uniform", 6, 1, "1: bias, multiplier and shift below serve every channel", lsb=4),
        _u("upper", 6, 1, "1: a slice's upper half of the lanes gives both halves", lsb=5),
        _s("output_zero", 6, 8, "added after requantisation", lsb=8),
        _s("clamp_min", 6, 8, "smallest result", lsb=16),
        _s("clamp_max", 6, 8, "largest result", lsb=24),
        _u("param_address", 7, 20, "weight word of the parameters of the first channel group"),
        _u("multiplier", 8, 31, "uniform multiplier"),
        _s("bias", 9, 32, "uniform bias, added before requantisation"),
        _s("shift", 10, 8, "uniform shift, -31 (right) .. 30 (left)"),
        _u("a_plane", 11, 20, "A's address step when its slot wraps to the next word"),
        _u("b_plane", 12, 20, "B's address step when its slot wraps to the next word"),
        _u("dst_plane", 13, 20, "result's address step when its slot wraps to the next word"),
        _u("a_step_wcol", 14, 20, "A's address step when the window column advances"),
        _u("a_step_wrow", 15, 20, "A's address step when the window row advances"),
        _u("a_step_col", 16, 20, "A's address step when the result column advances"),
        _u("a_step_row", 17, 20, "A's address step when the result row advances"),
        _u("b_step_col", 18, 20, "B's address step when the result column advances"),
        _u("b_step_row", 19, 20, "B's address step when the result row advances"),
        _u("dst_step_col", 20, 20, "result's address step when the result column advances"),
        _u("dst_step_row", 21, 20, "result's address step when the result row advances"),
    ),
)

_DMA_FIELDS = (
    _u(
        "memory_address",
        0,
        32,
        "byte offset from MEMORY_BASE, a multiple of the slot (packing: any)",
    ),
    _u("chip_address", 1, 20, "on-chip word of the first element"),
    _u("words", 2, 16, "consecutive words in a row"),
    _u("space", 2, 4, "see Space (the store engine: 0 only)", lsb=16),
    _u("rows", 3, 16, "rows in a plane"),
    _u("planes", 3, 16, "planes", lsb=16),
    _u("memory_step_row", 4, 32, "bytes from one row's start to the next row's"),
    _u("chip_step_row", 5, 20, "words from one row's start to the next row's"),
    _u("memory_step_plane", 6, 32, "bytes from a plane's last row's start to the next plane's"),
    _u("chip_step_plane", 7, 20, "words from a plane's last row's start to the next plane's"),
)

_PACK_FIELDS = (
    _u("pack_bytes", 8, 16, "packing: bytes of a row in memory, at least 1"),
    _u("pack_lead", 8, 6, "packing: pad bytes in front of them", lsb=16),
    _s("pack_value", 8, 8, "packing: the pad byte", lsb=24),
    _u("pack_step", 9, 6, "packing: bytes from one word's first byte to the next one's; 0: none"),
    _u("pack_tail", 9, 6, "packing: pad bytes behind the row's", lsb=8),
)

COMMANDS: dict[Engine, Command] = {
    Engine.LOAD: Command(Engine.LOAD, (*_DMA_FIELDS, *_PACK_FIELDS)),
    Engine.MATMUL: MATMUL,
    Engine.VECTOR: VECTOR,
    Engine.STORE: Command(Engine.STORE, _DMA_FIELDS),
}


def chip_address_bits(
    command: Command,
    *,
    scratchpad_words: int,
    weight_words: int,
    program_words: int,
    entries: int,
) -> dict[str, int]:
    """Return k for each field that is an on-chip address or step, whose memory has 2**k words.

    Each is alone in its register, which holds -2**k .. 2**k - 1 as a number of CHIP_BITS bits: a
    larger step leaves the memory wherever it starts. A matmul's input address and steps, which may
    lead far outside where it reads padding, are not among them. A write that does not fit, of TSET or of TADD
    (whose operand may have one bit more), makes the engine's next command illegal.
    """
    chip = max(scratchpad_words, weight_words, program_words, TABLE_WORDS)
    bits = {}
    for field in command.fields:
        name = field.name
        alone = sum(f.register == field.register for f in command.fields) == 1
        if not alone or field.width != CHIP_BITS or "memory" in name:
            continue
        if command.engine == Engine.MATMUL and not name.startswith(("weight", "acc")):
            continue
        words = scratchpad_words
        if name.startswith("chip") and command.engine == Engine.LOAD:
            words = chip
        elif name in ("weight_address", "param_address"):
            words = weight_words
        elif name == "a_address":
            words = max(scratchpad_words, entries)
        bits[name] = (words - 1).bit_length()
    return bits
