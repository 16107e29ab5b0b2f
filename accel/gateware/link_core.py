"""What the host link does with a packet: check it, carry it out, answer it."""

from dataclasses import astuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.link_bus import WordAccess
from accel.gateware.link_framing import PacketWord
from accel.protocol import (
    HEADER_WORDS,
    MAX_WORDS,
    RESPONSE,
    Command,
    Greeting,
    LinkStatus,
)

__all__ = ["LinkCore"]

_COMMANDS = sum(1 << command for command in Command)

_FIRST = HEADER_WORDS
"""Where the payload begins; it goes around in the buffer."""


class _Request(data.Struct):
    """The first word of a request."""

    sequence: 8
    command: data.StructLayout({"read": 1, "write": 1, "registers": 1, "others": 5})
    words_less_one: 8
    strobes: 8


class LinkCore(wiring.Component):
    """Carries out the requests of docs/link.md, one after the other.

    A request is looked at when it is complete and its CRC right, and only then; a write whose
    sequence number is that of the request before is not done again, but answered as before.

    Parameters
    ----------
    greeting : Greeting
        What HELLO answers.
    patience_bits : int
        WAIT, and an access, take 2**patience_bits cycles at most.

    Members
    -------
    word, end : In
        From Deframer.
    busy : Out(1)
        A request is being done or answered: what is received meanwhile is lost.
    heard : In(1)
        A byte arrived: it ends a WAIT.
    answer : Out(stream.Signature(PacketWord))
    access : Out(WordAccess())
    irq : In(1)

    Latency
    -------
    Four cycles from `end` to the first access, three cycles between two of them.
    """

    def __init__(self, *, greeting: Greeting, patience_bits: int) -> None:
        self._greeting = greeting
        self._patience_bits = patience_bits
        super().__init__(
            {
                "word": In(data.StructLayout({"valid": 1, "data": 32})),
                "end": In(data.StructLayout({"valid": 1, "good": 1})),
                "busy": Out(1),
                "heard": In(1),
                "answer": Out(stream.Signature(PacketWord)),
                "access": Out(WordAccess()),
                "irq": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Memory(
            shape=32, depth=MAX_WORDS, init=[], attrs={"no_rw_check": 1}
        )
        write, read = buffer.write_port(), buffer.read_port()
        self._request = Signal(_Request, reset_less=True)
        self._address = Signal(32, reset_less=True)
        # Counts words as they come, as they are done, and as they leave.
        self._position = Signal(range(2 * MAX_WORDS))
        self._final = Signal()
        self._status = Signal(LinkStatus)
        self._last_status = Signal(LinkStatus)
        self._repeated = Signal()
        self._timer = Signal(self._patience_bits)
        self._expired = Signal()
        self._written = Signal()
        # Registers on both sides of the buffer, which is where there is room on a full part: the
        # line is slow, and nothing is read within two cycles of its writing.
        self._write = Signal()
        self._read_data = Signal(32, reset_less=True)
        m.d.comb += [
            self._final.eq(self._position == self._request.words_less_one + _FIRST),
            self._expired.eq(self._timer.all()),
            read.addr.eq(self._position),
            self.busy.eq(1),
            self.answer.payload.data.eq(self._read_data),
            *self._describe_access(),
        ]
        m.d.sync += [
            self._timer.eq(self._timer + 1),
            self._read_data.eq(read.data),
            write.en.eq(self._write),
            write.addr.eq(self._position),
            write.data.eq(Mux(self.busy, self.access.result, self.word.data)),
        ]
        with m.FSM():
            with m.State("receive"):
                m.d.comb += self.busy.eq(0)
                self._receive(m)
            with m.State("check"):
                self._check(m)
            with m.State("wait"):
                self._wait(m)
            with m.State("fetch"):
                # The buffer answers two cycles after its address.
                m.next = "fetched"
            with m.State("fetched"):
                m.next = "access"
            with m.State("access"):
                self._access(m)
            with m.State("header"):
                self._send_header(m)
            with m.State("address"):
                self._send_address(m)
            with m.State("payload"):
                self._send_payload(m)
            with m.State("gap"):
                m.next = "filled"
            with m.State("filled"):
                m.next = "payload"
        return m

    def _describe_access(self) -> list:
        """Return what every access is like; only its `valid` depends on the state."""
        request, command, access = self._request, self._request.command, self.access
        all_bytes = Const(0b1111, 4)
        first = Mux(self._position == _FIRST, request.strobes[:4], all_bytes)
        return [
            access.registers.eq(command.registers),
            access.write.eq(command.write & ~self._written),
            access.address.eq(self._address | (self._written << 2)),
            access.data.eq(self._read_data),
            access.strobe.eq(first & Mux(self._final, request.strobes[4:], all_bytes)),
            access.give_up.eq(self._expired),
        ]

    def _receive(self, m: Module) -> None:
        """Keep a packet's words; the CRC, one more than the buffer holds, stays out of it."""
        position = self._position
        with m.If(self.word.valid):
            m.d.comb += self._write.eq(position < _FIRST + MAX_WORDS)
            with m.If(~position.all()):
                m.d.sync += position.eq(position + 1)
            with m.If(position == 0):
                m.d.sync += self._request.eq(self.word.data)
            with m.If(position == 1):
                m.d.sync += self._address.eq(self.word.data)
        with m.If(self.end.valid):
            m.d.sync += position.eq(0)
            with m.If(self.end.good):
                m.d.sync += position.eq(position)
                m.next = "check"

    def _check(self, m: Module) -> None:
        """Decide what becomes of a good packet."""
        request, command = self._request, self._request.command
        number = Cat(command.read, command.write, command.registers, command.others)
        session = Signal()
        last = Signal.like(request.sequence, name="last_sequence")
        length = Mux(command.write, request.words_less_one + (_FIRST + 2), _FIRST + 1)
        known = Const(_COMMANDS, 16).bit_select(number[:4], 1) & (number[4:] == 0)
        m.d.sync += [
            self._position.eq(_FIRST),
            self._status.eq(LinkStatus.OK),
            self._repeated.eq(0),
            self._timer.eq(0),
        ]
        with m.If(~known | (self._position != length)):
            m.d.sync += self._status.eq(LinkStatus.MALFORMED)
            m.next = "header"
        with m.Elif(~session & (number != Command.HELLO)):
            m.d.sync += self._status.eq(LinkStatus.NO_SESSION)
            m.next = "header"
        with m.Else():
            m.d.sync += last.eq(request.sequence)
            m.next = "fetch"
            with m.If(number == Command.HELLO):
                m.d.sync += [
                    session.eq(1),
                    request.words_less_one.eq(len(astuple(self._greeting)) - 1),
                ]
                m.next = "header"
            with m.Elif(number == Command.WAIT):
                m.next = "wait"
            with m.Elif(command.write & ~command.read & (request.sequence == last)):
                m.d.sync += [self._status.eq(self._last_status), self._repeated.eq(1)]
                m.next = "header"

    def _wait(self, m: Module) -> None:
        with m.If(self.irq):
            m.next = "header"
        with m.Elif(self.heard | self._expired):
            m.d.sync += self._status.eq(LinkStatus.PENDING)
            m.next = "header"

    def _access(self, m: Module) -> None:
        """Do one word, in one access or (READ_INDEXED) two."""
        command, access, position = self._request.command, self.access, self._position
        indexed, written = command.read & command.write, self._written
        m.d.comb += access.valid.eq(1)
        with m.If(access.done):
            m.d.sync += [self._timer.eq(0), written.eq(0), self._status.eq(access.status)]
            with m.If(access.status != LinkStatus.OK):
                m.next = "header"
            with m.Elif(indexed & ~written):
                m.d.sync += written.eq(1)
            with m.Else():
                m.d.comb += self._write.eq(command.read)
                m.d.sync += position.eq(position + 1)
                with m.If(~indexed):
                    m.d.sync += self._address.eq(self._address + 4)
                m.next = "fetch"
                with m.If(self._final):
                    m.next = "header"

    def _send_header(self, m: Module) -> None:
        request, answer = self._request, self.answer
        command = request.command.as_value() | RESPONSE
        status = Cat(self._status, Const(0, 4), self._repeated)
        m.d.comb += [
            answer.valid.eq(1),
            answer.payload.data.eq(Cat(request.sequence, command, request.words_less_one, status)),
        ]
        m.d.sync += [self._last_status.eq(self._status), self._position.eq(_FIRST)]
        with m.If(answer.ready):
            m.next = "address"

    def _send_address(self, m: Module) -> None:
        request, answer = self._request, self.answer
        command = request.command
        payload = (self._status == LinkStatus.OK) & (command.read | self._greets())
        m.d.comb += [
            answer.valid.eq(1),
            answer.payload.data.eq(self._address),
            answer.payload.last.eq(~payload),
        ]
        with m.If(answer.ready):
            m.next = "gap"
            with m.If(~payload):
                m.d.sync += self._position.eq(0)
                m.next = "receive"

    def _send_payload(self, m: Module) -> None:
        answer, position = self.answer, self._position
        m.d.comb += [
            answer.valid.eq(1),
            answer.payload.last.eq(self._final),
        ]
        with m.If(self._greets()), m.Switch(position[:3]):
            for number, value in enumerate(astuple(self._greeting), _FIRST):
                with m.Case(number):
                    m.d.comb += answer.payload.data.eq(value)
        with m.If(answer.ready):
            m.d.sync += position.eq(position + 1)
            m.next = "gap"
            with m.If(self._final):
                m.d.sync += position.eq(0)
                m.next = "receive"

    def _greets(self) -> Value:
        return ~self._request.command.as_value().any()
