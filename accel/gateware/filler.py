"""The bus side of the load engine's byte stream: beats of rows, with padding around them."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.burst import SPAN_BITS

__all__ = ["PAD_BITS", "FillRow", "RowFiller", "describe_row"]

PAD_BITS = 6
"""Bits of a number of pad bytes."""


class FillRow(data.StructLayout):
    """A row as the filler sees it: whole beats, some of whose bytes are padding.

    Parameters
    ----------
    bus_bytes : int

    Fields
    ------
    lead, tail : unsigned
        Beats of padding before and behind the row's own.
    beats : unsigned
        The row's own beats less one.
    first : unsigned(log2(bus_bytes))
        Bytes of the row's first beat that are not the row's.
    stop : unsigned(log2(bus_bytes))
        The last byte of its last beat that is.
    value : unsigned(8)
        The pad byte.
    """

    def __init__(self, bus_bytes: int) -> None:
        bits = (bus_bytes - 1).bit_length()
        super().__init__(
            {
                "lead": unsigned(PAD_BITS + 1 - bits),
                "beats": unsigned(SPAN_BITS + 1 - bits),
                "tail": unsigned(PAD_BITS + 1 - bits),
                "first": unsigned(bits),
                "stop": unsigned(bits),
                "value": unsigned(8),
            }
        )


def describe_row(row: data.View, start: Signal, address, span, lead, tail, value) -> list:
    """Return the assignments that make a `FillRow` of a row in memory.

    Parameters
    ----------
    row : View of FillRow
    start : Signal
        Receives the place of the stream's first byte in its first beat, padding included.
    address, span : value
        First byte in memory; bytes less one.
    lead, tail : value
        Pad bytes before and behind.
    value : value
        The pad byte.
    """
    bits = len(row.first)
    last = Signal(SPAN_BITS + 1)
    first = address[:bits]
    return [
        last.eq(first + span),
        row.first.eq(first),
        row.stop.eq(last[:bits]),
        row.beats.eq(last[bits:]),
        row.lead.eq((lead + ~first)[bits:]),
        row.tail.eq((last[:bits] + tail)[bits:]),
        row.value.eq(value),
        start.eq((first - lead)[:bits]),
    ]


class RowFiller(wiring.Component):
    """Turns rows and the bus's beats into the beats of one stream of bytes.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat: 4, 8 or 16.
    beat_bits : int
        Bits of a beat's number, which counts on for ever.

    Members
    -------
    rows : In(stream.Signature(FillRow))
        The rows whose beats arrive, in order.
    beats : In(stream.Signature(8 * bus_bytes))
        `ready` is a register's, but for a gate.
    starts : Out(stream.Signature(beat_bits))
        Per row, the number of its first beat. The row after it begins after this has been taken.
    room : In(1)
        The buffer takes a beat.
    write : Out(1)
    beat : Out(beat_bits)
        The number of the beat that is written next.
    data : Out(8 * bus_bytes)

    Throughput
    ----------
    One beat per cycle, also across rows; a row every two cycles. One cycle from a row to its first
    beat.
    """

    def __init__(self, *, bus_bytes: int, beat_bits: int) -> None:
        self._bus_bytes = bus_bytes
        self.row_layout = FillRow(bus_bytes)
        super().__init__(
            {
                "rows": In(stream.Signature(self.row_layout)),
                "beats": In(stream.Signature(8 * bus_bytes)),
                "starts": Out(stream.Signature(beat_bits)),
                "room": In(1),
                "write": Out(1),
                "beat": Out(beat_bits),
                "data": Out(8 * bus_bytes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        active = Signal()
        row = Signal(self.row_layout)  # what of it is to come
        leading = Signal()
        owning = Signal()  # beats of the row's own are to come, the next one now unless `leading`
        fresh = Signal()  # none of them has come
        final = Signal()  # only one of them is to come
        from_bus = Signal()
        row_end = Signal()  # the next beat is the row's last
        next_beat = Signal.like(self.beat)
        m.d.comb += [
            from_bus.eq(~leading & owning),
            self.write.eq(active & self.room & (self.beats.valid | ~from_bus)),
            self.beats.ready.eq(active & self.room & from_bus),
            row_end.eq(~leading & Mux(owning, final & (row.tail == 0), row.tail == 1)),
            # Not in the cycle in which the last start is taken: that comes from far away.
            self.rows.ready.eq(~self.starts.valid & (~active | (self.write & row_end))),
            next_beat.eq(self.beat + self.write),
        ]
        m.d.sync += self.beat.eq(next_beat)

        taken = self.rows.valid & self.rows.ready
        with m.If(self.write | taken):
            # Behind a row's last beat these are the next row's, or anything.
            with m.If(~active | row_end):
                m.d.sync += [
                    row.eq(self.rows.payload),
                    leading.eq(self.rows.payload.lead != 0),
                    owning.eq(1),
                    fresh.eq(1),
                    final.eq(self.rows.payload.beats == 0),
                ]
            with m.Elif(leading):
                m.d.sync += [row.lead.eq(row.lead - 1), leading.eq(row.lead != 1)]
            with m.Elif(owning):
                m.d.sync += [
                    row.beats.eq(row.beats - 1),
                    owning.eq(~final),
                    fresh.eq(0),
                    final.eq(row.beats == 1),
                ]
            with m.Else():
                m.d.sync += row.tail.eq(row.tail - 1)
        with m.If(taken):
            m.d.sync += [active.eq(1), self.starts.valid.eq(1), self.starts.payload.eq(next_beat)]
        with m.Else():
            with m.If(self.write & row_end):
                m.d.sync += active.eq(0)
            with m.If(self.starts.ready):
                m.d.sync += self.starts.valid.eq(0)

        lanes = []
        for i in range(self._bus_bytes):
            own = Signal(name=f"own_{i}")
            m.d.comb += own.eq(from_bus & ~(fresh & (row.first > i)) & ~(final & (row.stop < i)))
            lanes.append(Mux(own, self.beats.payload.word_select(i, 8), row.value))
        m.d.comb += self.data.eq(Cat(*lanes))
        return m
