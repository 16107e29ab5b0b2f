"""AXI bursts become runs, pieces of one SDRAM row, and runs come into an order."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from accel.gateware.sdram_parts import SdramPart
from accel.gateware.skid import SkidBuffer

__all__ = ["RUN_BEATS", "RunArbiter", "RunLayout", "RunSplitter"]

RUN_BEATS = 8
"""Most beats of a run; it never crosses a boundary of so many beats, and so never a row's end."""

_BITS = (RUN_BEATS - 1).bit_length()


class RunLayout(data.StructLayout):
    """Beats that follow one another in one row.

    From low to high a byte address has the byte of a beat, the column, the bank, the row: rows that
    follow one another lie in different banks, so that one can be opened while another is read.

    Parameters
    ----------
    part : SdramPart
    beat_words : int
        Words of the part in a beat.
    id_bits : int
        Width of AXI's identifiers.

    Members
    -------
    column : unsigned
        In beats.
    bank : 2
    row : unsigned(part.row_bits)
    beats : unsigned(3)
        Beats less one.
    write : 1
    last : 1
        The burst's last run.
    id : unsigned(id_bits)
    """

    def __init__(self, *, part: SdramPart, beat_words: int, id_bits: int) -> None:
        column_bits = part.column_bits - (beat_words - 1).bit_length()
        super().__init__(
            {
                "column": unsigned(column_bits),
                "bank": unsigned(2),
                "row": unsigned(part.row_bits),
                "beats": unsigned(_BITS),
                "write": unsigned(1),
                "last": unsigned(1),
                "id": unsigned(id_bits),
            }
        )
        self.place_bits = column_bits + 2 + part.row_bits


class RunSplitter(wiring.Component):
    """Cuts bursts into runs.

    Parameters
    ----------
    layout : RunLayout
    write : bool
        Their `write`.

    Members
    -------
    bursts : In(stream.Signature({beat, length, id}))
        Address in beats, beats less one.
    runs : Out(stream.Signature(layout))
        A register.

    Latency
    -------
    Two cycles. A run per cycle, but a burst takes one cycle more than it has runs.
    """

    def __init__(self, *, layout: RunLayout, write: bool) -> None:
        self._layout = layout
        self._write = write
        burst = data.StructLayout(
            {
                "beat": unsigned(layout.place_bits),
                "length": unsigned(8),
                "id": layout.members["id"],
            }
        )
        super().__init__(
            {"bursts": In(stream.Signature(burst)), "runs": Out(stream.Signature(layout))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = Signal(self._layout.place_bits)
        left = Signal(8)  # beats less one
        burst_id = Signal.like(self.bursts.payload.id)
        busy = Signal()
        room = Signal(_BITS)  # beats less one up to the boundary
        final = Signal()
        m.d.comb += [
            self.bursts.ready.eq(~busy),
            room.eq(~place[:_BITS]),
            final.eq((left[_BITS:] == 0) & (left[:_BITS] <= room)),
        ]
        run = self.runs.payload
        with m.If(~self.runs.valid | self.runs.ready):
            m.d.sync += [
                self.runs.valid.eq(busy),
                Cat(run.column, run.bank, run.row).eq(place),
                run.beats.eq(Mux(final, left, room)),
                run.write.eq(self._write),
                run.last.eq(final),
                run.id.eq(burst_id),
                place.eq(Cat(place[:_BITS] & 0, place[_BITS:] + 1)),
                left.eq(left - room - 1),
            ]
            with m.If(final):
                m.d.sync += busy.eq(0)
        with m.If(~busy):
            m.d.sync += [
                busy.eq(self.bursts.valid),
                place.eq(self.bursts.payload.beat),
                left.eq(self.bursts.payload.length),
                burst_id.eq(self.bursts.payload.id),
            ]
        return m


class RunArbiter(wiring.Component):
    """Puts read and write runs into one order, and starts none that could stop on its way.

    A read run goes when there is room for all its data, a write run when all its data are there.
    The direction stays while it has runs: turning the data pins around costs cycles. When the other
    direction waits too, it has its turn after `read_turn` runs of reads or `write_turn` of writes.

    Parameters
    ----------
    layout : RunLayout
    depth : int
        Beats that the FIFO of read data, and that of write data, hold: at least 2 * RUN_BEATS.
    read_turn, write_turn : int
        Runs, at least 1.

    Members
    -------
    reads, writes : In(stream.Signature(layout))
    runs : Out(stream.Signature(layout))
        Both ways a register.
    taken : In(1)
        A beat has left the FIFO of read data.
    stored : In(1)
        A beat has entered the FIFO of write data.

    Latency
    -------
    Two cycles; a run every two cycles.

    Raises
    ------
    ValueError
        When a depth or a turn is too small.
    """

    def __init__(
        self, *, layout: RunLayout, depth: int, read_turn: int = 8, write_turn: int = 4
    ) -> None:
        if depth < 2 * RUN_BEATS:
            raise ValueError(f"Depth must be at least {2 * RUN_BEATS} beats, not {depth}")
        if read_turn < 1 or write_turn < 1:
            raise ValueError(f"Turns must be at least 1, not {read_turn} and {write_turn}")
        self._depth = depth
        self._turns = (read_turn, write_turn)
        super().__init__(
            {
                "reads": In(stream.Signature(layout)),
                "writes": In(stream.Signature(layout)),
                "runs": Out(stream.Signature(layout)),
                "taken": In(1),
                "stored": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        room = Signal(range(self._depth + 1), init=self._depth)
        waiting = Signal(range(self._depth + 1))
        writing = Signal()  # direction of the last run
        turn = Signal(range(max(self._turns)))  # runs of that direction that may still follow

        m.submodules.buffer = buffer = SkidBuffer(shape=self.runs.payload.shape())
        connect(m, buffer.output, wiring.flipped(self.runs))
        # Chosen in one cycle and sent in the next: neither FIFO's level is then out of date.
        chosen, choice, starts = Signal(), Signal(), Signal()
        can_read = self.reads.valid & (room >= RUN_BEATS)
        can_write = self.writes.valid & (waiting > self.writes.payload.beats)
        wants_write = Mux(writing, turn != 0, turn == 0)
        m.d.sync += [
            chosen.eq((can_read | can_write) & ~starts),
            choice.eq(can_write & (~can_read | wants_write)),
        ]
        m.d.comb += [
            buffer.input.valid.eq(chosen),
            buffer.input.payload.as_value().eq(
                Mux(choice, self.writes.payload.as_value(), self.reads.payload.as_value())
            ),
            starts.eq(chosen & buffer.input.ready),
            self.reads.ready.eq(starts & ~choice),
            self.writes.ready.eq(starts & choice),
        ]
        with m.If(starts):
            m.d.sync += writing.eq(choice)
            with m.If(choice != writing):
                m.d.sync += turn.eq(Mux(choice, self._turns[1] - 1, self._turns[0] - 1))
            with m.Elif(turn != 0):
                m.d.sync += turn.eq(turn - 1)

        read_beats = Mux(self.reads.ready, self.reads.payload.beats + 1, 0)
        write_beats = Mux(self.writes.ready, self.writes.payload.beats + 1, 0)
        m.d.sync += [
            room.eq(room + self.taken - read_beats),
            waiting.eq(waiting + self.stored - write_beats),
        ]
        return m
