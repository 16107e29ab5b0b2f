"""The data side of the store engine: on-chip words become beats for the bus."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.config import slot_bytes
from accel.gateware.fifo import Fifo
from accel.gateware.ports import ReadPort
from accel.gateware.rows import ChipRow
from accel.gateware.skid import SkidBuffer

__all__ = ["BeatPacker", "WordReader"]

_WORDS_AHEAD = 16
"""Words on their way from the scratchpad or waiting: more than the round trip of a request."""


class WordPlace(data.StructLayout):
    """Where a word goes.

    Parameters
    ----------
    place_width : int

    Fields
    ------
    place : unsigned(place_width)
        Slot in the beat, where several fit.
    beat_end, burst_end : unsigned(1)
        The word ends its beat or burst.
    """

    def __init__(self, place_width: int) -> None:
        super().__init__(
            {
                "place": unsigned(place_width),
                "beat_end": unsigned(1),
                "burst_end": unsigned(1),
            }
        )


class WordReader(wiring.Component):
    """Reads rows of words from the scratchpad, each with its place in the burst.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat: 4, 8 or 16.
    rows : int
        Bytes of a word.
    chip_width : int
        Bits of a scratchpad address.

    Members
    -------
    rows : In(stream.Signature(ChipRow))
        `place` counts slots from the last multiple of 256 beats; `space` and on do not matter.
    scratchpad : Out(ReadPort(chip_width, 8 * rows))
        Any fixed latency up to about ten cycles keeps one word per cycle.
    words : Out(stream.Signature({data, where}))

    Latency
    -------
    Three cycles from a row to its first request and one from a response to the word; one word per
    cycle, also from row to row.
    """

    def __init__(self, *, bus_bytes: int, rows: int, chip_width: int) -> None:
        slot = slot_bytes(rows)
        self._bus_bytes = bus_bytes
        self._slot = slot
        self.row_layout = ChipRow(chip_width, (256 * bus_bytes // slot - 1).bit_length())
        self.where = WordPlace((bus_bytes // slot - 1).bit_length() if bus_bytes > slot else 0)
        word = data.StructLayout({"data": unsigned(8 * rows), "where": self.where})
        super().__init__(
            {
                "rows": In(stream.Signature(self.row_layout)),
                "scratchpad": Out(ReadPort(chip_width, unsigned(8 * rows))),
                "words": Out(stream.Signature(word)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        row_valid = Signal()
        row = Signal(self.row_layout)  # the words of it that are to come
        free = Signal(range(_WORDS_AHEAD + 1), init=_WORDS_AHEAD)
        room = Signal(init=1)  # some are free
        # Cuts the scratchpad's ready, which hangs on all its readers, from the counters.
        m.submodules.requests = requests = SkidBuffer(shape=len(self.scratchpad.request.payload))
        wiring.connect(m, requests.output, wiring.flipped(self.scratchpad.request))
        request = requests.input
        response = self.scratchpad.response

        accepted = Signal()
        m.d.comb += [
            request.valid.eq(row_valid & room),
            request.payload.eq(row.chip),
            accepted.eq(request.valid & request.ready),
            self.rows.ready.eq(~row_valid | (accepted & row.single)),
        ]
        with m.If(accepted):
            m.d.sync += [
                row.chip.eq(row.chip + 1),
                row.place.eq(row.place + 1),
                row.more.eq(row.more - 1),
                row.single.eq(row.more == 1),
            ]
        with m.If(self.rows.ready):
            m.d.sync += [row_valid.eq(self.rows.valid), row.eq(self.rows.payload)]

        m.submodules.places = places = Fifo(shape=self.where, depth=_WORDS_AHEAD)
        m.submodules.data = words = Fifo(shape=len(self.words.payload.data), depth=_WORDS_AHEAD)
        where = places.input.payload
        place_in_beat = row.place[: len(where.place)]
        taken = Signal()
        m.d.comb += [
            where.place.eq(place_in_beat),
            where.beat_end.eq(row.single | place_in_beat.all()),
            where.burst_end.eq(row.single | row.place.all()),
            places.input.valid.eq(accepted),
            words.input.payload.eq(response.data),
            words.input.valid.eq(response.valid),
            self.words.valid.eq(words.output.valid),
            self.words.payload.data.eq(words.output.payload),
            self.words.payload.where.eq(places.output.payload),
            taken.eq(self.words.valid & self.words.ready),
            words.output.ready.eq(taken),
            places.output.ready.eq(taken),
        ]
        with m.If(accepted & ~taken):
            m.d.sync += [free.eq(free - 1), room.eq(free != 1)]
        with m.Elif(~accepted & taken):
            m.d.sync += [free.eq(free + 1), room.eq(1)]
        return m


class BeatPacker(wiring.Component):
    """Joins narrow words to beats, or cuts wide words into beats.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat: 4, 8 or 16.
    rows : int
        Bytes of a word. A slot's bytes past it are written as zeros.
    where : WordPlace
        The reader's layout of a word's place.

    Members
    -------
    words : In(stream.Signature({data, where}))
    beats : Out(stream.Signature({data, strobe, last}))
        A register. `last`: the last beat of its burst.
    open : In(1)
        The burst of the next beat has been announced; beats wait for it.
    burst_end : Out(1)
        A burst's last beat enters the register.

    Latency
    -------
    One cycle; one beat or one word per cycle.
    """

    def __init__(self, *, bus_bytes: int, rows: int, where: WordPlace) -> None:
        self._bus_bytes = bus_bytes
        self._slot = slot_bytes(rows)
        word = data.StructLayout({"data": unsigned(8 * rows), "where": where})
        beat = data.StructLayout(
            {"data": unsigned(8 * bus_bytes), "strobe": unsigned(bus_bytes), "last": unsigned(1)}
        )
        super().__init__(
            {
                "words": In(stream.Signature(word)),
                "beats": Out(stream.Signature(beat)),
                "open": In(1),
                "burst_end": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = self.words.payload
        slot = Signal(8 * self._slot)
        parts = max(1, self._slot // self._bus_bytes)
        part = Signal(range(parts))
        take = Signal()
        word_done = Signal()
        beat_done = Signal()
        register_free = Signal()
        m.d.comb += [
            slot.eq(word.data),
            register_free.eq(~self.beats.valid | self.beats.ready),
            take.eq(self.words.valid & self.open & register_free),
            word_done.eq(part == parts - 1),
            beat_done.eq(take & word.where.beat_end),
            self.words.ready.eq(take & word_done),
            self.burst_end.eq(take & word.where.burst_end & word_done),
        ]
        with m.If(register_free):
            m.d.sync += self.beats.valid.eq(beat_done)
        with m.If(take):
            m.d.sync += [
                part.eq(Mux(word_done, 0, part + 1)),
                self.beats.payload.last.eq(word.where.burst_end & word_done),
            ]
        if self._slot < self._bus_bytes:
            self._join(m, slot, take, beat_done)
        else:
            m.d.comb += self.beats.payload.strobe.eq(~0)
            with m.If(take):
                m.d.sync += self.beats.payload.data.eq(slot.word_select(part, 8 * self._bus_bytes))
        return m

    def _join(self, m: Module, slot: Signal, take: Signal, beat_done: Signal) -> None:
        place = self.words.payload.where.place
        fresh = Signal(init=1)  # the next word is the first of its beat
        strobes = Signal(self._bus_bytes // self._slot)
        with m.If(take):
            m.d.sync += fresh.eq(beat_done)
            for i in range(len(strobes)):
                with m.If(place == i):
                    m.d.sync += [
                        self.beats.payload.data.word_select(i, 8 * self._slot).eq(slot),
                        strobes[i].eq(1),
                    ]
                with m.Elif(fresh):
                    m.d.sync += strobes[i].eq(0)
        m.d.comb += self.beats.payload.strobe.eq(Cat(s.replicate(self._slot) for s in strobes))
