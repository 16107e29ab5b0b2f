"""The data side of the load engine: beats from the bus become on-chip words."""

from collections.abc import Mapping

from amaranth.hdl import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.rows import ChipRow
from accel.isa import Space

__all__ = ["BeatUnpacker", "Unpacked"]


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
                "address": unsigned(chip_width),
                "last": unsigned(1),
                "post": unsigned(4),
                "stamp": unsigned(1),
            }
        )


class BeatUnpacker(wiring.Component):
    """Cuts beats into words where slots are narrow, joins beats to words where they are wide.

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
    rows : In(stream.Signature(ChipRow))
        The rows whose beats arrive, in order. `place`: where in its first beat a row starts, in
        units of four bytes.
    beats : In(stream.Signature(8 * bus_bytes))
    words : Out(Unpacked(chip_width, largest slot))
        A register.
    valid : Out(4)
        Bit s: the word is for Space s. One hot or zero.
    ready : In(4)
        Bit s: the memory of Space s takes a word.

    Latency
    -------
    One cycle from a word's last beat to the word; no cycle is lost between words or rows. One
    beat per cycle where slots are as wide as the bus or wider, else one word per cycle.
    """

    def __init__(self, *, bus_bytes: int, chip_width: int, slots: Mapping[Space, int]) -> None:
        self._bus_bytes = bus_bytes
        self._slots = dict(slots)
        self._word_bytes = max(slots.values())
        self.row_layout = ChipRow(chip_width, (bus_bytes // 4 - 1).bit_length())
        super().__init__(
            {
                "rows": In(stream.Signature(self.row_layout)),
                "beats": In(stream.Signature(8 * bus_bytes)),
                "words": Out(Unpacked(chip_width, self._word_bytes)),
                "valid": Out(4),
                "ready": In(4),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self._bus_bytes
        parts = max(1, self._word_bytes // bus)

        row_valid = Signal()
        row = Signal(self.row_layout)  # the words of it that are to come
        part = Signal(range(parts))
        space = Signal(4)  # one hot

        take = Signal()
        word_done = Signal()
        beat_done = Signal()
        row_done = Signal()
        next_place = Signal(len(row.place) + 1)
        m.d.comb += [
            take.eq(row_valid & self.beats.valid & (~self.valid | self.ready).all()),
            next_place.eq(row.place + self._per_space(space, lambda slot: min(slot, bus) // 4)),
            word_done.eq(part == self._per_space(space, lambda slot: max(1, slot // bus) - 1)),
            row_done.eq(word_done & row.single),
            beat_done.eq(next_place[-1] | row_done),
            self.beats.ready.eq(take & beat_done),
            self.rows.ready.eq(~row_valid | (take & row_done)),
        ]

        with m.If((~self.valid | self.ready).all()):
            m.d.sync += self.valid.eq(Mux(take & word_done, space, 0))
        with m.If(take):
            self._load_word(m, row.place, part)
            m.d.sync += [
                row.place.eq(next_place),
                part.eq(Mux(word_done, 0, part + 1)),
                self.words.address.eq(row.chip),
                self.words.last.eq(row.last & row.single),
                self.words.post.eq(row.post),
                self.words.stamp.eq(row.stamp),
            ]
            with m.If(word_done):
                m.d.sync += [
                    row.chip.eq(row.chip + 1),
                    row.more.eq(row.more - 1),
                    row.single.eq(row.more == 1),
                ]
        with m.If(self.rows.ready):
            m.d.sync += [
                row_valid.eq(self.rows.valid),
                row.eq(self.rows.payload),
                space.eq(Const(1) << self.rows.payload.space),
            ]
        return m

    def _per_space(self, space, value):
        """OR of the constants `value(slot)`, each behind its space's select bit."""
        result = Const(0)
        for s, slot in self._slots.items():
            constant = value(slot)
            result = result | (space[s].replicate(max(1, constant.bit_length())) & constant)
        return result

    def _load_word(self, m: Module, place: Signal, part: Signal) -> None:
        bus = self._bus_bytes
        beat = self.beats.payload
        for unit in range(self._word_bytes // 4):
            lane = self.words.data.word_select(unit, 32)
            own_part, own_unit = divmod(unit, bus // 4)
            # The places where a word with this unit can start: only narrow slots move.
            starts = {0}
            for slot in self._slots.values():
                if 4 * unit < slot < bus:
                    starts |= set(range(0, bus // 4, slot // 4))
            source = _select({s: beat.word_select(own_unit + s, 32) for s in starts}, place)
            with m.If(part == own_part):
                m.d.sync += lane.eq(source)


def _select(cases, index):
    """Entry of `cases` whose key is `index`; anything for other indices."""
    keys = sorted(cases)
    if len(keys) == 1:
        return cases[keys[0]]
    bit = max(k.bit_length() for k in keys) - 1
    low = {k: v for k, v in cases.items() if not k >> bit & 1}
    high = {k & ~(1 << bit): v for k, v in cases.items() if k >> bit & 1}
    return Mux(index[bit], _select(high, index), _select(low, index))
