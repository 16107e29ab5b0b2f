"""The register map of the AXI4-Lite control port: one table for hardware, driver and docs."""

import enum
from dataclasses import dataclass

__all__ = [
    "ID_VALUE",
    "REGISTERS",
    "STAMPS",
    "STAMP_COUNTER",
    "STAMP_COUNTER_SHIFT",
    "Activity",
    "Cause",
    "Control",
    "Register",
    "Status",
    "address",
]

ID_VALUE = int.from_bytes(b"SYST", "little")

STAMPS = 256
"""Stamps that are kept; later ones are only counted."""

STAMP_COUNTER_SHIFT = 8
STAMP_COUNTER = 1 << 11
"""Bits of STAMP_INDEX: STAMP shows the counter of the Activity in bits 10:8, not the time."""


class Control(enum.IntFlag):
    """Bits of CONTROL (write only)."""

    START = 1
    """Run the program from address 0; ignored while busy."""
    LOAD = 2
    """Copy PROGRAM_WORDS words from MEMORY_BASE + PROGRAM_ADDRESS to program memory."""
    CLEAR = 4
    """Clear DONE, ERROR and CAUSE, and lower the interrupt; after an error also reset the
    controller and the engines."""


class Status(enum.IntFlag):
    """Bits of STATUS (read only)."""

    BUSY = 1
    """A program runs or is being loaded."""
    DONE = 2
    """The last start or load ended well."""
    ERROR = 4
    """Stopped by a fault; CAUSE names it."""
    IRQ = 8
    """The interrupt output."""


class Cause(enum.IntEnum):
    """Values of CAUSE."""

    NONE = 0
    ILLEGAL_INSTRUCTION = 1
    FETCH_FAULT = 2
    LOAD_FAULT = 3
    STORE_FAULT = 4
    MISALIGNED = 5
    BREAKPOINT = 6
    ENVIRONMENT_CALL = 7
    READ_RESPONSE = 8
    WRITE_RESPONSE = 9
    TOKEN_OVERFLOW = 10


class Activity(enum.IntEnum):
    """Values of COUNTER_INDEX, and of STAMP_INDEX bits 10:8: what a cycle of a run is charged to.

    Exactly one; the first that applies in the order of accel/gateware/activity.py.
    """

    CONTROLLER = 0
    """No engine works: the controller has issued nothing that could run."""
    CONTROLLER_VECTOR = 1
    """The same for the array, whose next command is not issued; the vector engine works."""
    MATMUL = 2
    """The array takes an input word; the vector engine does nothing."""
    MATMUL_VECTOR = 3
    """The array takes an input word, and the vector engine works."""
    WEIGHTS = 4
    """The array waits for its next tile of weights."""
    TOKENS = 5
    """Between two commands, or a command's latency: nothing else can run."""
    MEMORY = 6
    """The array's next command waits for a load or store, or only these work."""
    VECTOR = 7
    """The array's next command waits for the vector engine, or only this works."""


@dataclass(frozen=True)
class Register:
    """One 32-bit register: name, byte offset, access (ro, rw, wo) and one line of documentation."""

    name: str
    offset: int
    access: str
    doc: str


REGISTERS: tuple[Register, ...] = (
    Register("ID", 0x00, "ro", 'the bytes "SYST"'),
    Register("VERSION", 0x04, "ro", "ISA version"),
    Register("FINGERPRINT", 0x08, "ro", "configuration fingerprint"),
    Register("SHAPE", 0x0C, "ro", "rows, cols, lanes, bus bytes: one byte each, rows lowest"),
    Register("CONTROL", 0x10, "wo", "see Control"),
    Register("STATUS", 0x14, "ro", "see Status"),
    Register("IRQ_ENABLE", 0x18, "rw", "bit 0: `irq` follows DONE or ERROR"),
    Register("CAUSE", 0x1C, "ro", "see Cause; holds the first fault until CLEAR"),
    Register("CAUSE_ADDRESS", 0x20, "ro", "address that faulted"),
    Register("CAUSE_PC", 0x24, "ro", "program counter at the fault"),
    Register("EXIT_CODE", 0x28, "ro", "value given to TDONE"),
    Register("MEMORY_BASE", 0x30, "rw", "byte address that every memory offset is added to"),
    Register("PROGRAM_ADDRESS", 0x34, "rw", "program's offset from MEMORY_BASE, for LOAD"),
    Register("PROGRAM_WORDS", 0x38, "rw", "words that LOAD copies, at least 1"),
    Register("CYCLES", 0x40, "ro", "clock cycles of the last or current run, bits 31:0"),
    Register("CYCLES_HIGH", 0x44, "ro", "bits 63:32"),
    Register("READ_BEATS", 0x48, "ro", "data beats read from memory in the run"),
    Register("WRITE_BEATS", 0x4C, "ro", "data beats written to memory in the run"),
    Register("INSTRUCTIONS", 0x50, "ro", "instructions the controller retired in the run"),
    Register("STAMP_COUNT", 0x54, "ro", "commands with the stamp flag completed in the run"),
    Register(
        "STAMP_INDEX",
        0x58,
        "rw",
        "what STAMP shows: bits 7:0 the stamp, bit 11 not its time but a counter, bits 10:8 which",
    ),
    Register(
        "STAMP",
        0x5C,
        "ro",
        "value of CYCLES when that command completed, or cycles of an Activity until then; "
        "with counters, stamps within 18 cycles of the one before are taken late",
    ),
    Register(
        "COUNTER_INDEX",
        0x60,
        "rw",
        "counter that COUNTER shows: 0..7 cycles of an Activity, 8..11 cycles in which an engine "
        "had a command under way, 12..15 in which it had none and its next one waited for tokens",
    ),
    Register(
        "COUNTER",
        0x64,
        "ro",
        "that counter, of the last run or up to some 40 cycles ago; 0 in a configuration without "
        "counters",
    ),
)

_BY_NAME = {r.name: r for r in REGISTERS}


def address(name: str) -> int:
    """Return the byte offset of the register called `name`."""
    return _BY_NAME[name].offset
