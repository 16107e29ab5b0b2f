"""The register map of the AXI4-Lite control port: one table for hardware, driver and docs."""

import enum
from dataclasses import dataclass

__all__ = [
    "CONTROLLER",
    "PARITY_WORD_SHIFT",
    "ID_VALUE",
    "REGISTERS",
    "STAMPS",
    "STAMP_COUNTER",
    "STAMP_COUNTER_SHIFT",
    "WATCHDOG_CYCLES",
    "WATCHDOG_STEP",
    "WINDOW_BYTES",
    "Activity",
    "Cause",
    "Control",
    "Register",
    "Rule",
    "Status",
    "Wait",
    "address",
]

ID_VALUE = int.from_bytes(b"SYST", "little")

STAMPS = 256
"""Stamps that are kept; later ones are only counted."""

STAMP_COUNTER_SHIFT = 8
STAMP_COUNTER = 1 << 11
"""Bits of STAMP_INDEX: STAMP shows the counter of the Activity in bits 10:8, not the time."""

CONTROLLER = 4
"""CAUSE_ENGINE where no engine but the controller stopped the machine."""

PARITY_WORD_SHIFT = 13
"""Bits of CAUSE_ADDRESS of PARITY below the word's address."""

WINDOW_BYTES = 64
"""Memory windows begin and end at multiples of this."""

WATCHDOG_STEP = 1 << 12
"""WATCHDOG is a multiple of it."""

WATCHDOG_CYCLES = 1 << 30
"""WATCHDOG after reset: ten seconds at 100 MHz."""


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
    """The memory answered a read with SLVERR or DECERR; CAUSE_ADDRESS: the burst's."""
    WRITE_RESPONSE = 9
    """The memory answered a write with SLVERR or DECERR; CAUSE_ADDRESS: the burst's."""
    TOKEN_OVERFLOW = 10
    """An engine posted a token to a counter that was full; CAUSE_ADDRESS: mask of consumers."""
    READ_WINDOW = 11
    """A read burst left READ_BASE .. READ_LIMIT and was not issued; CAUSE_ADDRESS: the burst's."""
    WRITE_WINDOW = 12
    """A write burst left WRITE_BASE .. WRITE_LIMIT and was not issued; CAUSE_ADDRESS: the
    burst's."""
    ILLEGAL_COMMAND = 13
    """A command's field is wrong; CAUSE_ADDRESS: which rules it broke, see Rule."""
    CHIP_ADDRESS = 14
    """A command went past the end of an on-chip memory; CAUSE_ADDRESS: which one, see Rule."""
    WATCHDOG = 15
    """The run or load took more than WATCHDOG cycles; WAITS shows what the engines waited for."""
    PARITY = 16
    """A word of an on-chip memory was read and a bit of it had flipped; CAUSE_ADDRESS, bits 12:8:
    the memory, see Rule, bits 31:13: the word. CAUSE_PC: where the controller was."""
    UNFINISHED = 17
    """TDONE while commands were queued or under way: WAITS shows whose; TWAIT must come first."""


class Rule(enum.IntFlag):
    """CAUSE_ADDRESS of ILLEGAL_COMMAND (bits 7:0), CHIP_ADDRESS and PARITY (bits 12:8)."""

    COUNT = 1 << 0
    """A count, or a number of words, is 0."""
    SIZE = 1 << 1
    """A count, a slot or a number of slices is more than the configuration can do."""
    VALUE = 1 << 2
    """A value without a meaning: space, operation, groups and taps, clamp, shift."""
    ALIGNMENT = 1 << 3
    """A memory address is not a multiple of the slot."""
    PACKING = 1 << 4
    """Packing fields where nothing can be packed, or no bytes to pack."""
    BANKS = 1 << 5
    """Two groups read the same bank at once."""
    SCRATCHPAD = 1 << 8
    WEIGHTS = 1 << 9
    TABLE = 1 << 10
    PROGRAM = 1 << 11
    ACCUMULATORS = 1 << 12
    """Also where a matmul command's entries are not all of one half."""


class Wait(enum.IntFlag):
    """One engine's byte of WAITS: 0 is idle, ENGINES is a mask of Engine."""

    ENGINES = 15
    """Its next command waits for tokens of these, or (its own bit) for its earlier commands."""
    BUSY = 1 << 4
    """It has a command under way."""
    MEMORY = 1 << 5
    """It waits for the memory port: a burst is outstanding."""
    QUEUED = 1 << 6
    """Its queue holds register writes or commands."""
    FULL = 1 << 7
    """Its queue is full, and the controller waits for it."""


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
    """One 32-bit register.

    Parameters
    ----------
    name : str
    offset : int
        Of its first byte.
    access : str
        ro, rw or wo.
    doc : str
        One line.
    reset : int
        Value after reset, of an rw register.
    fixed : int
        Its bits that writes do not change.
    """

    name: str
    offset: int
    access: str
    doc: str
    reset: int = 0
    fixed: int = 0


REGISTERS: tuple[Register, ...] = (
    Register("ID", 0x00, "ro", 'the bytes "SYST"'),
    Register("VERSION", 0x04, "ro", "ISA version"),
    Register("FINGERPRINT", 0x08, "ro", "configuration fingerprint"),
    Register("SHAPE", 0x0C, "ro", "rows, cols, lanes, bus bytes: one byte each, rows lowest"),
    Register("CONTROL", 0x10, "wo", "see Control"),
    Register("STATUS", 0x14, "ro", "see Status"),
    Register(
        "IRQ_ENABLE",
        0x18,
        "rw",
        "bit 0: `irq` follows DONE or ERROR; the others are 0",
        fixed=0xFFFFFFFE,
    ),
    Register("CAUSE", 0x1C, "ro", "see Cause; holds the first fault until CLEAR"),
    Register("CAUSE_ADDRESS", 0x20, "ro", "address that faulted, or what Cause says"),
    Register(
        "CAUSE_PC",
        0x24,
        "ro",
        "program counter at the fault; for an engine's, of the TPUSH of its command, 0 for LOAD",
    ),
    Register("EXIT_CODE", 0x28, "ro", "value given to TDONE"),
    Register("CAUSE_ENGINE", 0x2C, "ro", "Engine that stopped the machine; 4: the controller"),
    Register(
        "MEMORY_BASE",
        0x30,
        "rw",
        "byte address that every memory offset is added to; bits 5:0 are 0",
        fixed=WINDOW_BYTES - 1,
    ),
    Register("PROGRAM_ADDRESS", 0x34, "rw", "program's offset from MEMORY_BASE, for LOAD"),
    Register(
        "PROGRAM_WORDS",
        0x38,
        "rw",
        "words that LOAD copies, at least 1; bits 31:16 are 0",
        fixed=0xFFFF0000,
    ),
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
        "what STAMP shows: bits 7:0 the stamp, bit 11 not its time but a counter, bits 10:8 which; "
        "bits 31:12 are 0",
        fixed=0xFFFFF000,
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
        "had a command under way, 12..15 in which it had none and its next one waited for tokens; "
        "bits 31:4 are 0",
        fixed=0xFFFFFFF0,
    ),
    Register(
        "COUNTER",
        0x64,
        "ro",
        "that counter, of the last run or up to some 40 cycles ago; 0 in a configuration without "
        "counters",
    ),
    *(
        Register(
            f"{name}_{end}",
            offset + place,
            "rw",
            doc,
            reset=0xFFFFFFFF * place // 4,
            fixed=WINDOW_BYTES - 1,
        )
        for offset, name in ((0x70, "READ"), (0x78, "WRITE"))
        for place, end, doc in (
            (
                0,
                "BASE",
                f"first byte address that a {name.lower()} burst may touch; bits 5:0 are 0",
            ),
            (4, "LIMIT", "last such byte address; bits 5:0 are 1; 0xffffffff after reset"),
        )
    ),
    Register(
        "WATCHDOG",
        0x80,
        "rw",
        "cycles that a run or load may take, 0: any number; bits 11:0 are 0; "
        f"{WATCHDOG_CYCLES:#x} after reset",
        reset=WATCHDOG_CYCLES,
        fixed=WATCHDOG_STEP - 1,
    ),
    Register(
        "WAITS",
        0x84,
        "ro",
        "what each engine waited for at the fault, or waits for now: a byte per Engine, see Wait",
    ),
    Register(
        "QUEUES", 0x88, "ro", "entries in each engine's queue: a byte per Engine, LOAD lowest"
    ),
)

_BY_NAME = {r.name: r for r in REGISTERS}


def address(name: str) -> int:
    """Return the byte offset of the register called `name`."""
    return _BY_NAME[name].offset
