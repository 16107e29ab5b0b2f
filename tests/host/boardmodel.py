"""A board's end of the host link in Python, behind a line with faults, in time of its own."""

import struct

from accel.host.serial_packets import PacketReader, frame
from accel.host.serial_transport import Transport
from accel.protocol import (
    PROTOCOL_VERSION,
    REPEATED,
    RESPONSE,
    Command,
    LinkStatus,
)
from accel.regmap import address

__all__ = ["BAUD", "BASE", "MEMORY_BYTES", "BoardModel", "ModelTransport"]

BAUD = 1_000_000
BASE = 0x4000_0000
MEMORY_BYTES = 8192
PATIENCE = 100_000
BIT_CYCLES = 10**6 // BAUD


class BoardModel:
    """Does what docs/link.md says; CONTROL counts its writes in EXIT_CODE."""

    def __init__(self):
        self.memory = bytearray(MEMORY_BYTES)
        self.registers = {}
        self.controls = 0
        self.irq_after = 0
        self.version = PROTOCOL_VERSION
        self.done = []
        self._reader = PacketReader()
        self._last = None

    def feed(self, content):
        """Return what the board says to these bytes."""
        return b"".join(map(self._answer, self._reader.feed(content)))

    def _answer(self, packet):
        sequence, command, less_one, strobes, where = struct.unpack_from("<BBBBI", packet)
        words = less_one + 1
        writes = bool(command & 2)
        if command not in list(Command) or len(packet) != 8 + 4 * words * writes:
            return self._say(sequence, command, less_one, LinkStatus.MALFORMED, where)
        if command == Command.HELLO:
            self._last = (sequence, LinkStatus.OK)
            words = (self.version, 10**6, BASE, MEMORY_BYTES, PATIENCE, BIT_CYCLES)
            greeting = struct.pack("<6I", *words)
            return self._say(sequence, command, 5, LinkStatus.OK, where, greeting)
        if self._last is None:
            return self._say(sequence, command, less_one, LinkStatus.NO_SESSION, where)
        repeated = writes and command != Command.READ_INDEXED and sequence == self._last[0]
        if repeated:
            return self._say(sequence, command, less_one, self._last[1] | REPEATED, where)
        payload, status = b"", LinkStatus.OK
        if command == Command.WAIT:
            self.irq_after -= 1
            status = LinkStatus.PENDING if self.irq_after >= 0 else LinkStatus.OK
        else:
            payload = self._access(Command(command), where, words, strobes, packet[8:])
        self._last = (sequence, status)
        self.done.append((sequence, command))
        return self._say(sequence, command, less_one, status, where, payload)

    def _access(self, command, where, words, strobes, content):
        at = where - BASE
        if command == Command.READ_MEMORY:
            return bytes(self.memory[at : at + 4 * words])
        if command == Command.WRITE_MEMORY:
            masks = [0xF] * words
            masks[0] &= strobes & 0xF
            masks[-1] &= strobes >> 4
            for n, byte in enumerate(content):
                if masks[n // 4] >> n % 4 & 1:
                    self.memory[at + n] = byte
            return b""
        answers = []
        for n, (value,) in enumerate(struct.iter_unpack("<I", content)):
            if command == Command.WRITE_REGISTERS:
                self._write(where + 4 * n, value)
            else:
                answers.append(3 * value + 1 & 0xFFFFFFFF)
        if command == Command.READ_REGISTERS:
            answers = [self.registers.get(where + 4 * n, 0) for n in range(words)]
        return b"".join(struct.pack("<I", value) for value in answers)

    def _write(self, offset, value):
        self.registers[offset] = value
        if offset == address("CONTROL"):
            self.controls += 1
            self.registers[address("EXIT_CODE")] = self.controls

    @staticmethod
    def _say(sequence, command, less_one, status, where, payload=b""):
        header = struct.pack("<BBBBI", sequence, command | RESPONSE, less_one, status, where)
        return frame(header + payload)


class ModelTransport(Transport):
    """A line to a model. Nothing overtakes on it; time passes while one waits."""

    def __init__(self, board, *, to_board=None, from_board=None):
        self.board = board
        self.lines = (to_board, from_board)
        self.time = 0.0
        self.closed = False
        self._going, self._coming = [], []

    def now(self):
        return self.time

    def write(self, content):
        self._schedule(self._going, self.lines[0], content, self.time)

    def read(self, seconds):
        end = self.time + seconds
        while True:
            if self._coming and self._coming[0][0] <= self.time:
                return self._coming.pop(0)[1]
            # Whatever happens next: a piece arrives somewhere, or the wait is over.
            events = [queue[0][0] for queue in (self._going, self._coming) if queue]
            self.time = min([end, *events])
            if self._going and self._going[0][0] <= self.time:
                when, piece = self._going.pop(0)
                if said := self.board.feed(piece):
                    self._schedule(self._coming, self.lines[1], said, when)
            elif self.time >= end and not (self._coming and self._coming[0][0] <= end):
                return b""

    def close(self):
        self.closed = True

    def _schedule(self, queue, line, content, start):
        when = max([start, *(time for time, _ in queue)])
        for late, piece in line(content) if line else [(0.0, content)]:
            when += late + 10 * len(piece) / BAUD
            queue.append((when, piece))
