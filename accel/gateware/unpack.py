"""The data side of the load engine: beats from the bus become on-chip words."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.bytebuffer import ByteBuffer
from accel.gateware.filler import FillRow, RowFiller
from accel.gateware.rows import ChipRow
from accel.isa import Space

__all__ = ["STEP_BITS", "BeatUnpacker", "CutRow", "Unpacked"]

STEP_BITS = 6
"""Bits of the distance between two words' first bytes."""


class Unpacked(data.StructLayout):
    """A word on its way into on-chip memory.

    Parameters
    ----------
    chip_width : int
        Bits of an on-chip address.
    word_bytes : int

    Fields
    ------
    data : unsigned(8 * word_bytes)
        First byte lowest; bytes past the space's word hold anything.
    spaces : unsigned(4)
        Bit s: the word is for Space s. One hot, or zero where there is none.
    address : unsigned(chip_width)
    last : unsigned(1)
        The last word of its command.
    post, stamp : unsigned(4), unsigned(1)
        The command's.
    """

    def __init__(self, chip_width: int, word_bytes: int) -> None:
        super().__init__(
            {
                "data": unsigned(8 * word_bytes),
                "spaces": unsigned(4),
                "address": unsigned(chip_width),
                "last": unsigned(1),
                "post": unsigned(4),
                "stamp": unsigned(1),
            }
        )


class CutRow(data.StructLayout):
    """How a row's stream of bytes, padding included, is cut into words.

    Parameters
    ----------
    chip_width : int
        Bits of an on-chip address.
    bus_bytes : int

    Fields
    ------
    row : ChipRow
        `place`: where in its first beat the stream begins.
    step : unsigned(STEP_BITS)
        Bytes from one word's first byte to the next one's.
    """

    def __init__(self, chip_width: int, bus_bytes: int) -> None:
        place = ChipRow(chip_width, ceil_log2(bus_bytes))
        super().__init__({"row": place, "step": unsigned(STEP_BITS)})


class BeatUnpacker(wiring.Component):
    """Cuts rows of bytes into words, which may overlap.

    All of a row's beats, padding included, go through one ring of bytes; a word is as many bytes of
    it as its space's slot, from any byte on. So unaligned rows, slots narrower and wider than the
    bus, and the windows of a convolution are the same to it.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat: 4, 8 or 16.
    chip_width : int
        Bits of an on-chip address.
    slots : mapping of Space to int
        Bytes that a word of each space takes in memory, powers of two from 4 to 32.

    Members
    -------
    fills : In(stream.Signature(FillRow))
        The rows whose beats arrive, in order.
    rows : In(stream.Signature(CutRow))
        The same rows. Their stream holds the last word's slot to its end.
    beats : In(stream.Signature(8 * bus_bytes))
    words : Out(stream.Signature(Unpacked(chip_width, largest slot)))
        All of it registers.

    Latency
    -------
    Three cycles from a word's last beat to the word; no cycle is lost between words or rows. One
    beat per cycle where words step by a beat or more, else one word per cycle.
    """

    def __init__(self, *, bus_bytes: int, chip_width: int, slots: Mapping[Space, int]) -> None:
        self._bus_bytes = bus_bytes
        self._slots = dict(slots)
        self._word_bytes = max(slots.values())
        self.row_layout = CutRow(chip_width, bus_bytes)
        super().__init__(
            {
                "fills": In(stream.Signature(FillRow(bus_bytes))),
                "rows": In(stream.Signature(self.row_layout)),
                "beats": In(stream.Signature(8 * bus_bytes)),
                "words": Out(stream.Signature(Unpacked(chip_width, self._word_bytes))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus_bits = ceil_log2(self._bus_bytes)
        m.submodules.buffer = buffer = ByteBuffer(
            beat_bytes=self._bus_bytes, word_bytes=self._word_bytes
        )
        # Places in the stream count on for ever; their differences need a sign.
        place_bits = 2 + max(STEP_BITS, ceil_log2(buffer.capacity))
        m.submodules.filler = filler = RowFiller(
            bus_bytes=self._bus_bytes, beat_bits=place_bits - bus_bits
        )
        wiring.connect(m, wiring.flipped(self.fills), filler.rows)
        wiring.connect(m, wiring.flipped(self.beats), filler.beats)

        row_valid = Signal()
        cut = Signal(self.row_layout)  # the words of it that are to come
        row = cut.row
        space = Signal(4)  # one hot
        place = Signal(ceil_log2(buffer.capacity))  # the next word's first byte
        end = Signal(place_bits)  # the byte behind its slot
        more = Signal(signed(place_bits))  # bytes from there to what comes next
        move = Signal()
        take = Signal()
        row_done = Signal()
        m.d.comb += [
            more.eq(Cat(Const(0, bus_bits), filler.beat) - end),
            move.eq(self.words.ready),
            take.eq(row_valid & (more >= 0) & move),
            row_done.eq(take & row.single),
            buffer.write.eq(filler.write),
            buffer.beat.eq(filler.beat),
            buffer.data.eq(filler.data),
            buffer.move.eq(move),
            buffer.place.eq(place),
        ]
        # A cycle late, in which a beat more may come, and the word's first beat counts whole.
        most = buffer.capacity - 3 * self._bus_bytes - self._word_bytes
        m.d.sync += filler.room.eq(~row_valid | (more <= most))

        begin = Signal()
        m.d.comb += [
            begin.eq(self.rows.valid & filler.starts.valid & (~row_valid | row_done)),
            self.rows.ready.eq(begin),
            filler.starts.ready.eq(begin),
        ]
        with m.If(take | begin):
            # Behind a row's last word these are the next row's, or anything.
            with m.If(~row_valid | row.single):
                first = Cat(self.rows.payload.row.place, filler.starts.payload)
                m.d.sync += [
                    cut.eq(self.rows.payload),
                    space.eq(Const(1) << self.rows.payload.row.space),
                    place.eq(first),
                    end.eq(first + self._slot(self.rows.payload.row.space)),
                ]
            with m.Else():
                m.d.sync += [
                    place.eq(place + cut.step),
                    end.eq(end + cut.step),
                    row.chip.eq(row.chip + 1),
                    row.more.eq(row.more - 1),
                    row.single.eq(row.more == 1),
                ]
        with m.If(begin):
            m.d.sync += row_valid.eq(1)
        with m.Elif(row_done):
            m.d.sync += row_valid.eq(0)
        self._deliver(m, take, move, row, space)
        m.d.comb += self.words.payload.data.eq(buffer.word)
        return m

    def _slot(self, space):
        """Return the bytes of a word of this space."""
        slot = Const(0)
        for number, size in self._slots.items():
            slot = slot | Mux(space == int(number), size, 0)
        return slot

    def _deliver(self, m: Module, take: Signal, move: Signal, row: data.View, space) -> None:
        """Let a word's address and space follow its bytes through the buffer's two stages."""
        word = self.words.payload
        coming_valid = Signal()
        values = {
            "spaces": Mux(take, space, 0),
            "address": row.chip,
            "last": row.last & row.single,
            "post": row.post,
            "stamp": row.stamp,
        }
        with m.If(move):
            m.d.sync += [coming_valid.eq(take), self.words.valid.eq(coming_valid)]
            for name, value in values.items():
                coming = Signal.like(word[name], name=f"coming_{name}")
                m.d.sync += [coming.eq(value), word[name].eq(coming)]
