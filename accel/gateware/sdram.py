"""An SDR SDRAM controller behind an AXI4 port."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from accel.gateware.axi import AXI4Signature, Response
from accel.gateware.fifo import Fifo
from accel.gateware.sdram_banks import BankState, RowOpener, RunQueue
from accel.gateware.sdram_data import ReadAssembler, ReadBeat, WriteBeat, WriteSerialiser
from accel.gateware.sdram_parts import BANKS, SdramPart, SdramTiming
from accel.gateware.sdram_pins import Command, DqCapture, SdramPins
from accel.gateware.sdram_runs import RunArbiter, RunLayout, RunSplitter
from accel.gateware.sdram_sequencer import SdramSequencer, check_postpone

__all__ = ["SdramController"]

_DEPTH = 32
"""Beats of the FIFOs of read and of write data: four runs."""

_RESPONSES = 8
"""Write bursts between their address and their response."""


class SdramController(wiring.Component):
    """Serves bursts from an SDR SDRAM (docs/memory.md).

    One column command moves one beat, so commands leave the command pins free in between, and the
    next rows are opened there. Rows stay open until another one of their bank, or a refresh, is
    needed. Reads are answered in their order and writes in theirs; nothing is said of a read and
    a write under way at the same time. The data of a write whose response has come are read.

    Parameters
    ----------
    part : SdramPart
    timing : SdramTiming
        The part's, at the frequency of domain `sync`.
    data_bits : int
        Of the port: 32, 64 or 128, and at most 8 words of the part.
    id_bits : int
    capture_delay : int
        Half cycles by which a board's wires and the phase of its memory clock make read data late:
        they are sampled `timing.cas` cycles and so much more after the edge of `sync` that follows
        their command in `pins`. Less than 0 where the memory's clock is early: inverted.
    postpone : int
        See SdramSequencer.

    Members
    -------
    s_axi : In(AXI4Signature)
        Bursts are INCR and of the port's whole width; an address above the part wraps.
    pins : Out(SdramPins(part))
    ready : Out(1)
        The initialisation is over. Bursts are accepted before that and wait.

    Latency
    -------
    From an accepted address to its first beat, all else idle: 9 cycles, plus CAS latency, the
    words of a beat, and the capture delay; tRCD more when a row is to be opened, and tRP when one
    is to be closed first.

    Throughput
    ----------
    A word of the part per cycle while bursts of one direction follow one another and rows change
    from bank to bank. A change from reads to writes costs `timing.cas + 1` cycles,
    and one from writes to reads `timing.cas`.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    """

    def __init__(
        self,
        *,
        part: SdramPart,
        timing: SdramTiming,
        data_bits: int,
        id_bits: int = 1,
        capture_delay: int = 0,
        postpone: int = 4,
    ) -> None:
        words = data_bits // part.data_bits
        if words not in (1, 2, 4, 8):
            raise ValueError(
                f"Data bits must be 1, 2, 4 or 8 words of {part.data_bits} bits, not {data_bits}"
            )
        if not -2 <= capture_delay <= 8:
            raise ValueError(f"Capture delay must be from -2 to 8 half cycles, not {capture_delay}")
        self._part = part
        self._timing = timing
        self._words = words
        self._capture_delay = capture_delay
        self._layout = RunLayout(part=part, beat_words=words, id_bits=id_bits)
        self._postpone = check_postpone(postpone)
        axi = AXI4Signature(address_bits=32, data_bits=data_bits, id_bits=id_bits)
        super().__init__({"s_axi": In(axi), "pins": Out(SdramPins(part)), "ready": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.arbiter = arbiter = RunArbiter(layout=self._layout, depth=_DEPTH)
        m.submodules.opener = opener = RowOpener(timing=self._timing, layout=self._layout)
        m.submodules.queue = queue = RunQueue(layout=self._layout)
        m.submodules.sequencer = sequencer = SdramSequencer(
            timing=self._timing, postpone=self._postpone
        )
        connect(m, arbiter.runs, opener.input)
        connect(m, opener.output, queue.input)
        read, write, accessible = Signal(), Signal(), Signal()
        m.d.comb += [
            self.ready.eq(sequencer.ready),
            sequencer.idle.eq(queue.empty & ~arbiter.runs.valid),
            opener.hold.eq(sequencer.hold),
            opener.in_use.eq(queue.in_use),
            opener.slot.eq(~read & ~write),
            queue.step.eq(read | write),
        ]
        self._take_addresses(m, arbiter)
        self._keep_banks(m, opener, queue, sequencer, read, write, accessible)
        stored = self._write_data(m, arbiter, sequencer, write)
        self._read_data(m, arbiter, queue, read)
        self._pace_columns(m, queue, accessible, stored, read, write)
        self._send_commands(m, opener, queue, sequencer, read, write)
        return m

    def _take_addresses(self, m: Module, arbiter: RunArbiter) -> None:
        """Cut bursts into runs."""
        axi = self.s_axi
        beat_bits = (len(axi.wstrb) - 1).bit_length()
        for prefix, runs in (("ar", arbiter.reads), ("aw", arbiter.writes)):
            splitter = RunSplitter(layout=self._layout, write=prefix == "aw")
            m.submodules[f"{prefix}_splitter"] = splitter
            connect(m, splitter.runs, runs)
            burst = splitter.bursts
            m.d.comb += [
                burst.valid.eq(getattr(axi, f"{prefix}valid")),
                burst.payload.beat.eq(getattr(axi, f"{prefix}addr")[beat_bits:]),
                burst.payload.length.eq(getattr(axi, f"{prefix}len")),
                burst.payload.id.eq(getattr(axi, f"{prefix}id")),
                getattr(axi, f"{prefix}ready").eq(burst.ready),
            ]
        # As many writes as responses can be kept for.
        room = Signal(range(_RESPONSES + 1), init=_RESPONSES)
        has_room = room != 0
        with m.If(~has_room):
            m.d.comb += [splitter.bursts.valid.eq(0), axi.awready.eq(0)]
        accepted = axi.awvalid & axi.awready
        answered = axi.bvalid & axi.bready
        m.d.sync += room.eq(room - accepted + answered)

    def _keep_banks(
        self,
        m: Module,
        opener: RowOpener,
        queue: RunQueue,
        sequencer: SdramSequencer,
        read: Signal,
        write: Signal,
        accessible: Signal,
    ) -> None:
        """Follow the banks' rows; `accessible` tells that the head's is open."""
        at_rest = Signal(BANKS)
        closes_all = sequencer.all_banks
        read_q, write_q, bank_q = Signal(), Signal(), Signal.like(queue.head.bank)
        m.d.sync += [read_q.eq(read), write_q.eq(write), bank_q.eq(queue.head.bank)]
        for i in range(BANKS):
            bank = BankState(timing=self._timing, row_bits=self._part.row_bits, burst=self._words)
            m.submodules[f"bank_{i}"] = bank
            opens_this = opener.input.payload.bank == i
            m.d.comb += [
                bank.row_in.eq(opener.input.payload.row),
                bank.activate.eq(opener.activate & opens_this),
                bank.precharge.eq((opener.precharge & opens_this) | closes_all),
                bank.read.eq(read_q & (bank_q == i)),
                bank.write.eq(write_q & (bank_q == i)),
                opener.open[i].eq(bank.open),
                opener.hit[i].eq(bank.row == opener.input.payload.row),
                opener.can_precharge[i].eq(bank.can_precharge),
                at_rest[i].eq(bank.can_precharge),
            ]
            with m.If(queue.head.bank == i):
                m.d.comb += accessible.eq(bank.can_access)
        m.d.comb += sequencer.at_rest.eq(queue.empty & at_rest.all())

    def _pace_columns(
        self,
        m: Module,
        queue: RunQueue,
        accessible: Signal,
        stored: Signal,
        read: Signal,
        write: Signal,
    ) -> None:
        """Decide column commands: one every `words` cycles, writes behind the last word read."""
        after_read = self._timing.cas + self._words
        until_read = Signal(range(self._words))
        until_write = Signal(range(after_read + 1))
        for counter in (until_read, until_write):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)
        possible = queue.valid & accessible
        m.d.comb += [
            read.eq(possible & ~queue.head.write & (until_read == 0)),
            write.eq(possible & queue.head.write & (until_write == 0) & stored),
        ]
        with m.If(read):
            # One cycle lies between the part's last word and ours.
            m.d.sync += [until_read.eq(self._words - 1), until_write.eq(after_read)]
        with m.If(write):
            m.d.sync += [until_read.eq(self._words - 1), until_write.eq(self._words - 1)]

    def _send_commands(
        self,
        m: Module,
        opener: RowOpener,
        queue: RunQueue,
        sequencer: SdramSequencer,
        read: Signal,
        write: Signal,
    ) -> None:
        """Put what was decided on the pins: two registers, so that the last can be at the pad."""
        pins = self.pins
        command = Signal(Command, init=Command.NOP)
        bank = Signal.like(pins.ba)
        address = Signal.like(pins.a)
        word = (self._words - 1).bit_length()
        mode = word | self._timing.cas << 4  # bursts of `words`, sequential, also of writes

        m.d.sync += [command.eq(sequencer.command), bank.eq(0), address.eq(mode)]
        with m.If(sequencer.all_banks):
            m.d.sync += address.eq(1 << 10)
        with m.If(opener.activate | opener.precharge):
            m.d.sync += [
                command.eq(Command.PRECHARGE),
                bank.eq(opener.input.payload.bank),
                address.eq(0),
            ]
            with m.If(opener.activate):
                m.d.sync += [
                    command.eq(Command.ACTIVE),
                    address.eq(opener.input.payload.row),
                ]
        with m.If(read | write):
            m.d.sync += [
                command.eq(Command.READ),
                bank.eq(queue.head.bank),
                address.eq(queue.head.column << word),
            ]
            with m.If(write):
                m.d.sync += command.eq(Command.WRITE)
        m.d.sync += [
            pins.cke.eq(1),
            pins.cs_n.eq(0),
            Cat(pins.ras_n, pins.cas_n, pins.we_n).eq(command),
            pins.ba.eq(bank),
            pins.a.eq(address),
        ]

    def _write_data(
        self, m: Module, arbiter: RunArbiter, sequencer: SdramSequencer, write: Signal
    ) -> Signal:
        """Keep data until their command; return whether there are some."""
        axi, pins = self.s_axi, self.pins
        shape = WriteBeat(len(axi.wdata))
        m.submodules.write_fifo = fifo = Fifo(shape=shape, depth=_DEPTH)
        m.submodules.serialiser = serialiser = WriteSerialiser(
            words=self._words, word_bits=self._part.data_bits
        )
        m.d.comb += [
            fifo.input.valid.eq(axi.wvalid),
            fifo.input.payload.data.eq(axi.wdata),
            fifo.input.payload.strobe.eq(axi.wstrb),
            axi.wready.eq(fifo.input.ready),
            arbiter.stored.eq(axi.wvalid & axi.wready),
            fifo.output.ready.eq(write),
            serialiser.start.eq(write),
            serialiser.beat.eq(fifo.output.payload),
            serialiser.mute.eq(~sequencer.ready),
            pins.dq_o.eq(serialiser.data),
            pins.dqm.eq(serialiser.mask),
            pins.dq_oe.eq(serialiser.drive),
        ]
        return fifo.output.valid

    def _read_data(self, m: Module, arbiter: RunArbiter, queue: RunQueue, read: Signal) -> None:
        """Take the words of each read from the pins, and keep the beats."""
        axi, part = self.s_axi, self._part
        falling = self._capture_delay % 2 == 1
        m.submodules.capture = capture = DqCapture(width=part.data_bits, falling=falling)
        m.submodules.assembler = assembler = ReadAssembler(
            words=self._words,
            word_bits=part.data_bits,
            id_bits=len(axi.rid),
            # Two registers before the pins, and the edges of the command and of the data.
            delay=3 + self._timing.cas + (self._capture_delay + 1) // 2,
        )
        shape = ReadBeat(len(axi.rdata), len(axi.rid))
        m.submodules.read_fifo = fifo = Fifo(shape=shape, depth=_DEPTH)
        beat = fifo.output.payload
        m.d.comb += [
            capture.pins.eq(self.pins.dq_i),
            assembler.data.eq(capture.data),
            assembler.start.eq(read),
            assembler.last.eq(queue.head.last & (queue.head.beats == 0)),
            assembler.id.eq(queue.head.id),
            fifo.input.valid.eq(assembler.beats.valid),
            fifo.input.payload.eq(assembler.beats.payload),
            axi.rvalid.eq(fifo.output.valid),
            fifo.output.ready.eq(axi.rready),
            Cat(axi.rdata, axi.rlast, axi.rid).eq(Cat(beat.data, beat.last, beat.id)),
            axi.rresp.eq(Response.OKAY),
            arbiter.taken.eq(axi.rvalid & axi.rready),
        ]
        self._respond(m, queue)

    def _respond(self, m: Module, queue: RunQueue) -> None:
        """Answer a write burst behind its last column command: no read can overtake that."""
        axi = self.s_axi
        m.submodules.responses = responses = Fifo(shape=len(axi.bid), depth=_RESPONSES)
        head = queue.head
        # The FIFO has room for all: it need not be asked.
        m.d.sync += [
            responses.input.valid.eq(queue.step & head.write & head.last & (head.beats == 0)),
            responses.input.payload.eq(head.id),
        ]
        m.d.comb += [
            axi.bvalid.eq(responses.output.valid),
            axi.bid.eq(responses.output.payload),
            axi.bresp.eq(Response.OKAY),
            responses.output.ready.eq(axi.bready),
        ]
