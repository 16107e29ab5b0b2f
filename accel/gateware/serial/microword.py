"""The serial machine's microinstruction: its fields, and what they mean."""

import enum

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
]

ADDRESS_BITS = 10
"""Of a microinstruction."""

MUL_STEPS = 2
"""Of a multiplication, in one instruction."""

REGISTERS = 512


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


class Action(enum.IntEnum):
    """What else an instruction does. Addresses are the adder's result."""

    NONE = 0
    RD = 1
    """Read memory by its plain address."""
    RDP = 2
    """Read program memory."""
    RDX = 3
    """Read where a RISC-V load does, at the accumulator's address; so WRX."""
    RDS = 4
    """Read the scratchpad: notes an address outside."""
    WR = 5
    """Write the accumulator to a word."""
    WRX = 6
    """Write what a RISC-V store does, of the multiplier register."""
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
    """The branch is taken, by the last subtraction: the accumulator as it was a cycle earlier."""
    BAD = 7
    """There was no memory at the last RDX's or WRX's address."""
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
    CHIP = 20
    """A scratchpad address was outside, noted."""
    A0 = 21
    """The accumulator's bit 0."""
    STEP = 22
    """The watchdog's step is over; asking ends it."""
    OUTSIDE = 23
    """There is no program memory at the accumulator's address."""
    BIT31 = 24
    """Of the RISC-V instruction; so the following."""
    BIT30 = 25
    BIT25 = 26
    BIT15 = 27
    RETURN = 28
    """Not looked at: go back behind the last call."""
    OPCODE = 29
    """Go to the target plus the RISC-V instruction's opcode, or 31 where it is illegal."""
    FUNCT3 = 30
    """Go to the target plus its funct3; so the accumulator."""
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
