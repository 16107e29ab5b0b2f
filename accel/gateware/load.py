"""The load engine: external memory to on-chip memories."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.config import slot_bytes
from accel.gateware.axi import Response
from accel.gateware.burst import AddressChannel, MemoryWindow, ReadChannels, drive_address
from accel.gateware.faults import report_transfer
from accel.gateware.fifo import Fifo
from accel.gateware.filler import describe_row
from accel.gateware.ports import PC_BITS, CommandLayout, Completion, EngineFault, WritePort
from accel.gateware.rows import RowWalker, copy_row
from accel.gateware.skid import ReadySlice
from accel.gateware.unpack import STEP_BITS, BeatUnpacker
from accel.isa import COMMANDS, TABLE_WORDS, Engine, Space
from accel.regmap import Cause

__all__ = ["BootRequest", "CommandCounter", "LoadEngine"]

ROWS_AHEAD = 16
"""Rows whose bursts may be issued before their data are unpacked: one distributed RAM."""


class BootRequest(data.Struct):
    """Copy `words` words from a byte offset in memory to the start of program memory."""

    memory_address: unsigned(32)  # type: ignore[valid-type]
    words: unsigned(16)  # type: ignore[valid-type]


class CommandCounter(wiring.Component):
    """Tells whether commands are under way.

    Members
    -------
    started, completed : In(1)
        At most 63 commands may be between the two.
    busy : Out(1)

    Latency
    -------
    One cycle.
    """

    started: In(1)
    completed: In(1)
    busy: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(6)
        m.d.comb += self.busy.eq(count != 0)
        with m.If(self.started & ~self.completed):
            m.d.sync += count.eq(count + 1)
        with m.Elif(~self.started & self.completed):
            m.d.sync += count.eq(count - 1)
        return m


class LoadEngine(wiring.Component):
    """Copies rows from external memory to on-chip memories (docs/architecture.md, "Load").

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat: 4, 8 or 16.
    rows, cols : int
        Bytes of a scratchpad word and of a weight word.
    scratchpad_words, weight_words, program_words : int
        Sizes of the memories, powers of two; chip addresses are cut to them.
    reads_in_flight : int
        Bursts that may be outstanding, at least 1.

    Raises
    ------
    ValueError
        For a bus or word width that is none of these, or no reads in flight.

    Members
    -------
    memory_base : In(32)
        Added to every memory address.
    window : In(MemoryWindow)
        What read bursts may touch.
    halt : In(1)
        Issue no more bursts, and take the data of those outstanding for nothing.
    quiet : Out(1)
        No burst is on offer or outstanding.
    command : In(stream.Signature(CommandLayout(COMMANDS[Engine.LOAD])))
        Taken when its last row has been walked. `words`, `rows` and `planes` are at least 1.
    complete : Out(Completion)
    busy : Out(1)
        A command, or a boot request, has been taken or begun and is not complete.
    boot : In(stream.Signature(BootRequest))
        Not while a command is offered or under way, nor the other way round.
    boot_complete : Out(1)
        One cycle: the words are in program memory.
    axi : Out(ReadChannels(bus_bytes))
    scratchpad, weights, table, program : Out(WritePort)
        Whole words: every mask is 1. Program data are 32 bits, table entries too. All but the
        scratchpad take a word at once, whatever their `ready`.
    fault : Out(EngineFault)
        One cycle after a beat with an error response, a burst outside the window or a command that
        breaks a rule. What is possible goes on until `halt`.
    read_beat : Out(1)
        One cycle after each data beat.

    Latency
    -------
    Four cycles from a command to its first address; three from a beat to the word at its memory's
    port, and two from its acceptance to the completion. Commands overlap: addresses of the next
    go out while data of this one arrive.

    Throughput
    ----------
    A beat or a word per cycle, whichever is slower; beats of padding count. A row costs at least
    two cycles of address issue, a command four.
    """

    def __init__(
        self,
        *,
        bus_bytes: int,
        rows: int,
        cols: int,
        scratchpad_words: int,
        weight_words: int,
        program_words: int,
        reads_in_flight: int,
    ) -> None:
        self._bus_bytes = bus_bytes
        slots = {
            Space.SCRATCHPAD: slot_bytes(rows),
            Space.WEIGHTS: slot_bytes(cols),
            Space.TABLE: 4,
            Space.PROGRAM: 4,
        }
        sizes = {
            "scratchpad": (scratchpad_words, 8 * rows),
            "weights": (weight_words, 8 * cols),
            "table": (TABLE_WORDS, 32),
            "program": (program_words, 32),
        }
        chip_width = max((words - 1).bit_length() for words, _bits in sizes.values())
        # Made here and not in elaborate, so that what they cannot do is refused at once.
        self._addresses = AddressChannel(
            bus_bytes=bus_bytes, in_flight=reads_in_flight, tag=unsigned(PC_BITS)
        )
        self._slots = slots
        self._walker = RowWalker(
            engine=Engine.LOAD,
            chip_width=chip_width,
            slots=slots,
            sizes={space: sizes[space.name.lower()][0] for space in Space},
        )
        self._unpacker = BeatUnpacker(bus_bytes=bus_bytes, chip_width=chip_width, slots=slots)
        super().__init__(
            {
                "memory_base": In(32),
                "window": In(MemoryWindow, init={"limit": 0xFFFFFFFF}),
                "halt": In(1),
                "quiet": Out(1),
                "command": In(stream.Signature(CommandLayout(COMMANDS[Engine.LOAD]))),
                "complete": Out(Completion),
                "busy": Out(1),
                "boot": In(stream.Signature(BootRequest)),
                "boot_complete": Out(1),
                "axi": Out(ReadChannels(bus_bytes)),
                "fault": Out(EngineFault),
                "read_beat": Out(1),
            }
            | {
                name: Out(WritePort((words - 1).bit_length(), unsigned(bits)))
                for name, (words, bits) in sizes.items()
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walker = walker = self._walker
        m.submodules.addresses = addresses = self._addresses
        m.submodules.unpacker = unpacker = self._unpacker
        m.submodules.commands = commands = CommandCounter()
        m.d.comb += [self.busy.eq(commands.busy), commands.started.eq(walker.started)]
        m.d.comb += walker.memory_base.eq(self.memory_base)
        self._connect_commands(m, walker)
        self._send_rows(m, walker, addresses, unpacker)
        m.d.comb += [
            *drive_address(self.axi, "ar", addresses, self._bus_bytes),
            unpacker.beats.valid.eq(self.axi.rvalid),
            unpacker.beats.payload.eq(self.axi.rdata),
            self.axi.rready.eq(unpacker.beats.ready | self.halt),
            addresses.window.eq(self.window),
            addresses.halt.eq(self.halt),
            self.quiet.eq(addresses.quiet),
        ]
        self._watch_responses(m, addresses, walker)
        # `ready` of the scratchpad hangs on the vector engine's results, which are far away.
        m.submodules.slice = cut = ReadySlice(shape=unpacker.words.payload.shape())
        wiring.connect(m, unpacker.words, cut.input)
        self._connect_memories(m, unpacker.words, cut.output)
        self._complete(m, cut.output, commands)
        return m

    def _connect_commands(self, m: Module, walker: RowWalker) -> None:
        """Offer a command to the walker, or a boot request in a command's clothes."""
        m.d.comb += [
            walker.command.valid.eq(self.command.valid | self.boot.valid),
            walker.command.payload.eq(self.command.payload),
            # No command is offered while a boot request is.
            self.command.ready.eq(walker.command.ready),
            self.boot.ready.eq(walker.command.ready & self.boot.valid),
        ]
        with m.If(self.boot.valid):
            fields = walker.command.payload.fields
            m.d.comb += [
                fields.memory_address.eq(self.boot.payload.memory_address),
                fields.chip_address.eq(0),
                fields.words.eq(self.boot.payload.words),
                fields.space.eq(Space.PROGRAM),
                fields.pack_step.eq(0),
                fields.pack_lead.eq(0),
                fields.pack_tail.eq(0),
                fields.rows.eq(1),
                fields.planes.eq(1),
                walker.command.payload.pc.eq(0),
            ]

    def _send_rows(
        self, m: Module, walker: RowWalker, addresses: AddressChannel, unpacker: BeatUnpacker
    ) -> None:
        """Hand each row to the bus and, behind FIFOs, to both ends of the stream of bytes."""
        m.submodules.fills = fills = Fifo(shape=unpacker.fills.payload.shape(), depth=ROWS_AHEAD)
        m.submodules.rows = rows = Fifo(shape=unpacker.rows.payload.shape(), depth=ROWS_AHEAD)
        row = walker.rows.payload
        command = walker.command.payload.fields
        room = fills.input.ready & rows.input.ready
        push = walker.rows.valid & addresses.rows.ready & room
        fill, cut = fills.input.payload, rows.input.payload
        slots = Mux(command.space == Space.WEIGHTS, self._slots[Space.WEIGHTS], 4)
        slots = Mux(command.space == Space.SCRATCHPAD, self._slots[Space.SCRATCHPAD], slots)
        step = Signal(STEP_BITS)
        m.d.sync += step.eq(Mux(command.pack_step != 0, command.pack_step, slots))
        m.d.comb += [
            walker.rows.ready.eq(addresses.rows.ready & room),
            addresses.rows.valid.eq(walker.rows.valid & room),
            addresses.rows.payload.address.eq(row.address),
            addresses.rows.payload.span.eq(row.span),
            addresses.rows.payload.tag.eq(walker.command.payload.pc),
            fills.input.valid.eq(push),
            rows.input.valid.eq(push),
            *describe_row(
                fill,
                cut.row.place,
                row.address,
                row.span,
                command.pack_lead,
                command.pack_tail,
                command.pack_value,
            ),
            *copy_row(cut.row, row),
            cut.step.eq(step),
        ]
        wiring.connect(m, fills.output, unpacker.fills)
        wiring.connect(m, rows.output, unpacker.rows)

    def _watch_responses(self, m: Module, addresses: AddressChannel, walker: RowWalker) -> None:
        beat, wrong = Signal(), Signal()
        m.d.comb += beat.eq(self.axi.rvalid & self.axi.rready)
        # A cycle late, together, so that a burst is the oldest while its responses are looked at.
        m.d.sync += [
            self.read_beat.eq(beat),
            addresses.done.eq(beat & self.axi.rlast),
            wrong.eq(self.axi.rvalid & (self.axi.rresp != Response.OKAY)),
        ]
        m.d.comb += report_transfer(
            self.fault,
            response=wrong,
            causes=(Cause.READ_RESPONSE, Cause.READ_WINDOW),
            addresses=addresses,
            pcs=(addresses.oldest.tag, addresses.refused_tag),
            walker=walker,
        )

    def _connect_memories(
        self, m: Module, early: stream.Interface, words: stream.Interface
    ) -> None:
        """Offer words to the scratchpad, and what enters the slice before it to the others."""
        word = words.payload
        ours = words.valid & word.spaces[Space.SCRATCHPAD]
        m.d.comb += words.ready.eq(~word.spaces[Space.SCRATCHPAD] | self.scratchpad.request.ready)
        taken = early.valid & early.ready
        for port, valid, payload in (
            (self.scratchpad, ours, word),
            (self.weights, taken & early.payload.spaces[Space.WEIGHTS], early.payload),
            (self.table, taken & early.payload.spaces[Space.TABLE], early.payload),
            (self.program, taken & early.payload.spaces[Space.PROGRAM], early.payload),
        ):
            # The controller's stores hang on the program's words, and its fetches on those.
            domain = m.d.sync if port is self.program else m.d.comb
            domain += [
                port.request.valid.eq(valid),
                port.request.payload.address.eq(payload.address),
                port.request.payload.data.eq(payload.data),
                port.request.payload.mask.eq(1),
            ]

    def _complete(self, m: Module, words: stream.Interface, commands: CommandCounter) -> None:
        # Two cycles after acceptance a bank's own register stage has written the word.
        written = Signal(Completion)
        written_q = Signal(Completion)
        booting = Signal()
        m.d.sync += [
            written.valid.eq(words.valid & words.ready & words.payload.last),
            written.post.eq(words.payload.post),
            written.stamp.eq(words.payload.stamp),
            written_q.eq(written),
            booting.eq(Mux(self.boot.valid, 1, booting & ~written_q.valid)),
        ]
        m.d.comb += [
            commands.completed.eq(written_q.valid),
            self.complete.eq(written_q),
            self.complete.valid.eq(written_q.valid & ~booting),
            self.boot_complete.eq(written_q.valid & booting),
        ]
