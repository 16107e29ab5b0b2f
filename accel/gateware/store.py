"""The store engine: scratchpad to external memory."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.config import slot_bytes
from accel.gateware.axi import Response
from accel.gateware.burst import AddressChannel, MemoryWindow, WriteChannels, drive_address
from accel.gateware.faults import report_transfer
from accel.gateware.fifo import Fifo
from accel.gateware.load import CommandCounter
from accel.gateware.pack import BeatPacker, WordReader
from accel.gateware.ports import PC_BITS, CommandLayout, Completion, EngineFault, ReadPort
from accel.gateware.rows import RowWalker, copy_row
from accel.isa import COMMANDS, Engine, Space
from accel.regmap import Cause

__all__ = ["StoreEngine"]

_ROWS_AHEAD = 4
"""Rows whose bursts may be announced before their words are read."""


class StoreTag(data.Struct):
    """What a row's last burst tells about its command."""

    last: unsigned(1)  # type: ignore[valid-type]
    post: unsigned(4)  # type: ignore[valid-type]
    stamp: unsigned(1)  # type: ignore[valid-type]
    pc: unsigned(PC_BITS)  # type: ignore[valid-type]


class StoreEngine(wiring.Component):
    """Copies rows from the scratchpad to external memory (docs/architecture.md, "Store").

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat: 4, 8 or 16.
    rows : int
        Bytes of a scratchpad word. The rest of its slot is written as zeros.
    scratchpad_words : int
        A power of two; chip addresses are cut to it.
    writes_in_flight : int
        Bursts whose response may be outstanding, at least 1.

    Raises
    ------
    ValueError
        For a bus or word width that is none of these, or no writes in flight.

    Members
    -------
    memory_base : In(32)
        Added to every memory address.
    window : In(MemoryWindow)
        What write bursts may touch.
    halt : In(1)
        Issue no more bursts; the data of those announced go on.
    quiet : Out(1)
        No burst is on offer or outstanding.
    command : In(stream.Signature(CommandLayout(COMMANDS[Engine.STORE])))
        Taken when its last row has been walked. `words`, `rows` and `planes` are at least 1.
    complete : Out(Completion)
        Two cycles after the last write response.
    busy : Out(1)
        A command has been taken or begun and is not complete.
    axi : Out(WriteChannels(bus_bytes))
        A burst's address is offered before its first beat; data never wait for responses.
    scratchpad : Out(ReadPort)
        Any fixed latency up to about ten cycles.
    fault : Out(EngineFault)
        One cycle after an error response, a burst outside the window or a command that breaks a
        rule. What is possible goes on until `halt`.
    write_beat : Out(1)
        One cycle after each data beat.

    Latency
    -------
    Four cycles from a command to its first address, five to its first scratchpad request; two from
    a response to its beat.

    Throughput
    ----------
    A beat or a word per cycle, whichever is wider. A row costs at least two cycles of address
    issue, a command four.
    """

    def __init__(
        self, *, bus_bytes: int, rows: int, scratchpad_words: int, writes_in_flight: int = 4
    ) -> None:
        self._bus_bytes = bus_bytes
        self._slot = slot = slot_bytes(rows)
        self._writes_in_flight = writes_in_flight
        width = (scratchpad_words - 1).bit_length()
        # Made here and not in elaborate, so that what they cannot do is refused at once.
        self._addresses = AddressChannel(
            bus_bytes=bus_bytes, in_flight=writes_in_flight, tag=StoreTag
        )
        self._walker = RowWalker(
            engine=Engine.STORE,
            chip_width=width,
            slots={Space.SCRATCHPAD: slot},
            sizes={Space.SCRATCHPAD: scratchpad_words},
        )
        self._reader = WordReader(bus_bytes=bus_bytes, rows=rows, chip_width=width)
        self._packer = BeatPacker(bus_bytes=bus_bytes, rows=rows, where=self._reader.where)
        super().__init__(
            {
                "memory_base": In(32),
                "window": In(MemoryWindow, init={"limit": 0xFFFFFFFF}),
                "halt": In(1),
                "quiet": Out(1),
                "command": In(stream.Signature(CommandLayout(COMMANDS[Engine.STORE]))),
                "complete": Out(Completion),
                "busy": Out(1),
                "axi": Out(WriteChannels(bus_bytes)),
                "scratchpad": Out(ReadPort(width, unsigned(8 * rows))),
                "fault": Out(EngineFault),
                "write_beat": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walker = walker = self._walker
        m.submodules.addresses = addresses = self._addresses
        m.submodules.reader = reader = self._reader
        m.submodules.packer = packer = self._packer
        m.submodules.rows = rows = Fifo(shape=reader.row_layout, depth=_ROWS_AHEAD)
        m.submodules.commands = commands = CommandCounter()
        wiring.connect(m, walker.command, wiring.flipped(self.command))
        wiring.connect(m, wiring.flipped(self.scratchpad), reader.scratchpad)
        wiring.connect(m, reader.words, packer.words)
        m.d.comb += [
            walker.memory_base.eq(self.memory_base),
            self.busy.eq(commands.busy),
            commands.started.eq(walker.started),
            commands.completed.eq(self.complete.valid),
        ]

        # A row goes to both sides at once.
        row = walker.rows.payload
        chip_row = rows.input.payload
        m.d.comb += [
            walker.rows.ready.eq(addresses.rows.ready & rows.input.ready),
            addresses.rows.valid.eq(walker.rows.valid & rows.input.ready),
            # A row that is not aligned, which is a fault, still has as many beats as words say.
            addresses.rows.payload.address.eq(row.address & ~(self._slot - 1)),
            addresses.rows.payload.span.eq(row.span),
            addresses.rows.payload.tag.last.eq(row.last),
            addresses.rows.payload.tag.post.eq(row.post),
            addresses.rows.payload.tag.stamp.eq(row.stamp),
            addresses.rows.payload.tag.pc.eq(walker.command.payload.pc),
            addresses.window.eq(self.window),
            addresses.halt.eq(self.halt),
            self.quiet.eq(addresses.quiet),
            rows.input.valid.eq(walker.rows.valid & addresses.rows.ready),
            chip_row.place.eq(row.address[(self._slot - 1).bit_length() :]),
            *copy_row(chip_row, row),
        ]
        wiring.connect(m, rows.output, reader.rows)
        self._connect_bus(m, addresses, packer)
        self._watch_responses(m, addresses, walker)
        return m

    def _connect_bus(self, m: Module, addresses: AddressChannel, packer: BeatPacker) -> None:
        # AXI allows data before their address, but not every memory controller does.
        announced = Signal(range(self._writes_in_flight + 1))
        some, several = Signal(), Signal()  # 1 or more, 2 or more: a long way begins here
        with m.If(addresses.issued & ~packer.burst_end):
            m.d.sync += [announced.eq(announced + 1), some.eq(1), several.eq(some)]
        with m.Elif(~addresses.issued & packer.burst_end):
            m.d.sync += [announced.eq(announced - 1), some.eq(several), several.eq(announced > 2)]
        m.d.comb += [
            *drive_address(self.axi, "aw", addresses, self._bus_bytes),
            # A refused burst has been counted, and must not get its data.
            packer.open.eq(Mux(addresses.refused, several, some)),
            self.axi.wvalid.eq(packer.beats.valid),
            self.axi.wdata.eq(packer.beats.payload.data),
            self.axi.wstrb.eq(packer.beats.payload.strobe),
            self.axi.wlast.eq(packer.beats.payload.last),
            packer.beats.ready.eq(self.axi.wready),
            self.axi.bready.eq(1),
        ]
        m.d.sync += self.write_beat.eq(self.axi.wvalid & self.axi.wready)

    def _watch_responses(self, m: Module, addresses: AddressChannel, walker: RowWalker) -> None:
        burst = addresses.oldest
        wrong = Signal()
        m.d.sync += [
            # A cycle late, together, so that a burst is the oldest while its response is looked at.
            addresses.done.eq(self.axi.bvalid),
            wrong.eq(self.axi.bvalid & (self.axi.bresp != Response.OKAY)),
            self.complete.valid.eq(addresses.done & burst.last & burst.tag.last),
            self.complete.post.eq(burst.tag.post),
            self.complete.stamp.eq(burst.tag.stamp),
        ]
        m.d.comb += report_transfer(
            self.fault,
            response=wrong,
            causes=(Cause.WRITE_RESPONSE, Cause.WRITE_WINDOW),
            addresses=addresses,
            pcs=(burst.tag.pc, addresses.refused_tag.pc),
            walker=walker,
        )
