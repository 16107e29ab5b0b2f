"""The host link's packets (docs/link.md): one table for hardware and host."""

import enum
from dataclasses import dataclass

__all__ = [
    "DEFAULT_BAUD",
    "ESCAPE",
    "ESCAPE_FLIP",
    "FLAG",
    "HEADER_WORDS",
    "MAX_WORDS",
    "PROTOCOL_VERSION",
    "REPEATED",
    "RESPONSE",
    "Command",
    "Greeting",
    "LinkStatus",
]

PROTOCOL_VERSION = 2

DEFAULT_BAUD = 1_000_000
"""A whole number of cycles at 12, 24, 27, 40, 50 and 75 MHz; all boards' bridges can do it."""

FLAG = 0x7E
"""Before and behind every packet (RFC 1662, HDLC-like framing)."""

ESCAPE = 0x7D
"""The next byte was a FLAG or ESCAPE: its bit 5 is flipped."""

ESCAPE_FLIP = 0x20

HEADER_WORDS = 2
"""Sequence number, command, words - 1, strobes or status; address. The CRC is a third one."""

MAX_WORDS = 256
"""Words of a payload."""

RESPONSE = 0x80
"""Bit of the command that marks the answer to it."""


REPEATED = 0x80
"""Bit of the status: the write had been done before and was not done again."""


class Command(enum.IntEnum):
    """What a packet asks for: bits READ, WRITE and REGISTERS, or one of the other two."""

    HELLO = 0
    """Begin a session: answers a Greeting. What was repeated before it is forgotten."""
    READ_MEMORY = 1
    """Answer the words from `address` on."""
    WRITE_MEMORY = 2
    """Write the payload from `address` on; the strobes say which bytes of its ends."""
    READ_REGISTERS = 5
    """Answer the control registers from `address` on."""
    WRITE_REGISTERS = 6
    """Write the payload to the control registers from `address` on."""
    READ_INDEXED = 7
    """For each word of the payload: write it to the register at `address`, and answer the one
    behind that (STAMP_INDEX and STAMP, COUNTER_INDEX and COUNTER). Does no harm twice."""
    WAIT = 8
    """Answer when `irq` is high, at the latest after the greeting's `patience` cycles, or as soon
    as something else comes."""


class LinkStatus(enum.IntEnum):
    """What became of a command."""

    OK = 0
    PENDING = 1
    """WAIT: `irq` is low."""
    SUBORDINATE_ERROR = 2
    """The bus answered SLVERR: no such register, or a memory that cannot. The response's address
    is that of the word; those before it were read or written, those behind it not."""
    DECODE_ERROR = 3
    """The same with DECERR: nothing at that address."""
    MALFORMED = 4
    """No such command, or another length than it says."""
    NO_ANSWER = 5
    """The bus did not answer within `patience` cycles. That port is not used again until reset."""
    NO_SESSION = 6
    """No HELLO since reset."""


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """Payload of the answer to HELLO: a word each, in this order.

    Parameters
    ----------
    version : int
        PROTOCOL_VERSION.
    clock_hz : int
        Of the accelerator.
    memory_base, memory_bytes : int
        External memory.
    patience : int
        Cycles after which WAIT, and a bus that does not answer, are given up.
    bit_cycles : int
        Cycles of a bit on the line: what tells a host how fast the board really is.
    """

    version: int
    clock_hz: int
    memory_base: int
    memory_bytes: int
    patience: int
    bit_cycles: int
