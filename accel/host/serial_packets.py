"""Packets of the host link as bytes: header, CRC and framing (docs/link.md)."""

import struct
import zlib
from dataclasses import dataclass

from accel.protocol import ESCAPE, ESCAPE_FLIP, FLAG, REPEATED, RESPONSE, Command

__all__ = ["Answer", "PacketReader", "Request", "frame"]

_HEADER = struct.Struct("<BBBBI")
_CRC = struct.Struct("<I")

_FLAG, _ESCAPE = bytes([FLAG]), bytes([ESCAPE])
_ESCAPED = {byte: bytes([ESCAPE, byte ^ ESCAPE_FLIP]) for byte in (ESCAPE, FLAG)}

_LONGEST = 4 * 1024
"""Bytes that a packet may have before the rest of it is thrown away: twice what any has."""


def frame(packet: bytes) -> bytes:
    """Return what goes on the line for a packet: its CRC behind it, escaped, between flags."""
    packet += _CRC.pack(zlib.crc32(packet))
    for byte, escaped in _ESCAPED.items():
        packet = packet.replace(bytes([byte]), escaped)
    return _FLAG + packet + _FLAG


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the host asks for.

    Parameters
    ----------
    sequence : int
        0 .. 255; another one for each request, the same when it is sent again.
    command : Command
    address : int
        In bytes, a multiple of 4; of HELLO any number, which comes back.
    words : int
        1 .. 256.
    payload : bytes
        Of commands that write: 4 * words bytes.
    strobes : int
        Of WRITE_MEMORY: bits 3:0, bytes of the first word that are written; 7:4, of the last.
    """

    sequence: int
    command: Command
    address: int = 0
    words: int = 1
    payload: bytes = b""
    strobes: int = 0xFF

    def to_bytes(self) -> bytes:
        """Return what goes on the line."""
        header = _HEADER.pack(
            self.sequence, self.command, self.words - 1, self.strobes, self.address
        )
        return frame(header + self.payload)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What comes back.

    Parameters
    ----------
    sequence, command : int
        Of the request.
    status : int
        A LinkStatus.
    repeated : bool
        The request was a write that had been done before.
    address : int
        The request's, moved on by what was done.
    payload : bytes
    """

    sequence: int
    command: int
    status: int
    repeated: bool
    address: int
    payload: bytes

    @classmethod
    def from_packet(cls, packet: bytes) -> "Answer | None":
        """Return the answer in a packet without its CRC; None when it is none."""
        if len(packet) < _HEADER.size or len(packet) % 4:
            return None
        sequence, command, _, status, address = _HEADER.unpack_from(packet)
        if not command & RESPONSE:
            return None
        return cls(
            sequence=sequence,
            command=command & ~RESPONSE,
            status=status & ~REPEATED,
            repeated=bool(status & REPEATED),
            address=address,
            payload=packet[_HEADER.size :],
        )


class PacketReader:
    """Finds packets in what comes from the line, whatever else is in it."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, received: bytes) -> list[bytes]:
        """Return the good packets that end in `received`, without their CRCs."""
        self._rest += received
        *framed, rest = self._rest.split(_FLAG)
        # Without a flag for so long it is no packet: what follows is found at the next flag.
        self._rest = rest[-_LONGEST:]
        return [packet for packet in map(_unframe, framed) if packet is not None]

    def clear(self) -> None:
        """Forget what has come since the last packet."""
        self._rest.clear()


def _unframe(framed: bytes | bytearray) -> bytes | None:
    """Return the packet between two flags, or None when it is damaged."""
    head, *others = bytes(framed).split(_ESCAPE)
    # An escape at the end, or two in a row, leave nothing to flip.
    if not all(others):
        return None
    packet = head + b"".join(bytes([part[0] ^ ESCAPE_FLIP]) + part[1:] for part in others)
    body, crc = packet[: -_CRC.size], packet[-_CRC.size :]
    if len(packet) < _CRC.size or _CRC.pack(zlib.crc32(body)) != crc:
        return None
    return body
