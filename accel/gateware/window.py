"""The controller's window onto the scratchpad, between the DMA engines' ports and the memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.config import slot_bytes
from accel.gateware.delay import delayed
from accel.gateware.ports import SCRATCHPAD_LATENCY, BankUses, ReadPort, WritePort, meets

__all__ = ["ScratchpadWindow", "WindowPort"]


class WindowPort(wiring.Signature):
    """Access to a byte-addressed memory in groups of four bytes, seen from the controller.

    Parameters
    ----------
    address_width : int
        Bits of a group's number.

    Members
    -------
    request : Out(stream.Signature({write, address, data, mask}))
        A read of a group, or a write of those of its bytes that `mask` names. One at a time.
    response : In({valid, data})
        One cycle: it is done, and what was written can be read. `data` is what was read.
    """

    def __init__(self, address_width: int) -> None:
        request = data.StructLayout(
            {"write": unsigned(1), "address": unsigned(address_width), "data": 32, "mask": 4}
        )
        super().__init__(
            {
                "request": Out(stream.Signature(request)),
                "response": In(data.StructLayout({"valid": unsigned(1), "data": unsigned(32)})),
            }
        )


class ScratchpadWindow(wiring.Component):
    """Scratchpad words as bytes in slots: reads, and writes that read and rewrite the whole word.

    The bytes of a slot past its word read as 0 and cannot be written. A word must not change
    between the read and the write of one access: programs wait for the commands that touch it.

    Parameters
    ----------
    words : int
        Of the scratchpad, a power of two.
    rows : int
        Bytes of a word, a multiple of 4.
    banks : int
        Of the scratchpad, a power of two.
    groups : int
        Of the scratchpad's ports.

    Members
    -------
    access : In(WindowPort)
        From the controller; the group's number counts from the scratchpad's first word.
    store : In(ReadPort), load : In(WritePort)
        From the store and load engines. They wait for a cycle when an access needs their port,
        which it does at most once in five.
    read : Out(ReadPort), write : Out(WritePort)
        To the scratchpad, whose latency is SCRATCHPAD_LATENCY.
    reading, writing : In(BankUses)
        The scratchpad's. They stand for the ready of `read` and `write`, which comes behind the
        choice of an address.

    Latency
    -------
    Five cycles from a request to the response of a read, six to that of a write, and more where
    the scratchpad's ports are not ready. None from the engines to the scratchpad.
    """

    def __init__(self, *, words: int, rows: int, banks: int, groups: int = 1) -> None:
        if words < 2 or words & (words - 1):
            raise ValueError(f"Words must be a power of two, not {words!r}")
        if rows < 4 or rows % 4:
            raise ValueError(f"Rows must be a multiple of 4, not {rows!r}")
        self._rows = rows
        self._bank_bits = ceil_log2(banks)
        self._width = width = ceil_log2(words)
        self._part_bits = ceil_log2(slot_bytes(rows) // 4)
        word = unsigned(8 * rows)
        super().__init__(
            {
                "access": In(WindowPort(width + self._part_bits)),
                "store": In(ReadPort(width, word)),
                "load": In(WritePort(width, word)),
                "read": Out(ReadPort(width, word)),
                "write": Out(WritePort(width, word)),
                "reading": In(BankUses(groups + 1, banks)),
                "writing": In(BankUses(1, banks)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        request = Signal(self.access.request.payload.shape(), reset_less=True)
        word = Signal(8 * self._rows, reset_less=True)
        # Without parts: Verilog has no vectors without bits.
        part = request.address[: self._part_bits] if self._part_bits else Const(0, 1)
        address = request.address[self._part_bits :]
        # Registers of their own, high in the states of these names: the engines hang on them.
        reading, writing = Signal(), Signal()
        reads, writes = Signal(), Signal()  # the scratchpad is ready
        m.d.comb += [
            reads.eq(self._is_free(self.reading, address)),
            writes.eq(self._is_free(self.writing, address)),
        ]
        arrived = delayed(m, reading & reads, SCRATCHPAD_LATENCY, name="arrived")
        response = self.access.response
        m.d.sync += response.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.access.request.ready.eq(1)
                m.d.sync += request.eq(self.access.request.payload)
                with m.If(self.access.request.valid):
                    m.d.sync += reading.eq(1)
                    m.next = "READ"
            with m.State("READ"):
                with m.If(reads):
                    m.d.sync += reading.eq(0)
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += [
                    word.eq(self.read.response.data),
                    response.data.eq(self._select(self.read.response.data, part)),
                ]
                with m.If(arrived):
                    m.d.sync += response.valid.eq(~request.write)
                    with m.If(request.write):
                        m.d.sync += writing.eq(1)
                        m.next = "WRITE"
                    with m.Else():
                        m.next = "IDLE"
            with m.State("WRITE"):
                with m.If(writes):
                    m.d.sync += [writing.eq(0), response.valid.eq(1)]
                    m.next = "IDLE"
        self._share(m, address, reading, writing, arrived, self._merge(word, part, request))
        return m

    def _is_free(self, uses: data.View, address: Value) -> Value:
        """Return whether nobody uses the bank of an address."""
        bank = address[: self._bank_bits] if self._bank_bits else Const(0, 1)
        return ~meets(uses, bank)

    def _select(self, word: Signal, part: Signal) -> Signal:
        """Return the group of the word that the part of its slot names, 0 past the word."""
        group = Const(0, 32)
        for number in range(self._rows // 4):
            group = Mux(part == number, word.word_select(number, 32), group)
        return group

    def _merge(self, word: Signal, part: Signal, request: data.View) -> Cat:
        """Return the word with the written bytes in their places."""
        merged = []
        for byte in range(self._rows):
            chosen = (part == byte // 4) & request.mask[byte % 4]
            merged.append(
                Mux(chosen, request.data.word_select(byte % 4, 8), word.word_select(byte, 8))
            )
        return Cat(merged)

    def _share(
        self,
        m: Module,
        address: Signal,
        reading: Signal,
        writing: Signal,
        arrived: Signal,
        merged: Cat,
    ) -> None:
        """Let accesses go before the engines at both ports."""
        wanted = self.store.request.payload, self.load.request.payload.address
        for port, engine, own, uses, place in (
            (self.read, self.store, reading, self.reading, wanted[0]),
            (self.write, self.load, writing, self.writing, wanted[1]),
        ):
            m.d.comb += [
                port.request.valid.eq(own | engine.request.valid),
                engine.request.ready.eq(self._is_free(uses, place) & ~own),
            ]
        m.d.comb += [
            self.read.request.payload.eq(Mux(reading, address, self.store.request.payload)),
            self.store.response.valid.eq(self.read.response.valid & ~arrived),
            self.store.response.data.eq(self.read.response.data),
            self.write.request.payload.eq(self.load.request.payload),
        ]
        with m.If(writing):
            m.d.comb += [
                self.write.request.payload.address.eq(address),
                self.write.request.payload.data.eq(merged),
                self.write.request.payload.mask.eq(1),
            ]
