"""The serial machine's array: a tile of 4 x 4 weights and all positions that it is for."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.serial.mac import MacPair, PlainMacPair

__all__ = ["POSITIONS", "TileRunner"]

POSITIONS = 256
"""Entries of the position table, and of the sums; their upper half is for the zeros."""

_ZERO = 128
_COLS = 4


class TileRunner(wiring.Component):
    """Adds a tile's products at every position of a table to the sums.

    The table holds where positions are, relative to the tile's first one; it is filled once for a
    command. Words outside the image are read as the pad byte.

    Parameters
    ----------
    words : int
        Of the memory that is read: an address from there on is `outside`.
    target : str
        "ice40": SB_MAC16 blocks.

    Members
    -------
    value : In(32)
        What the following take.
    clear, place, coordinates : In(1)
        The table becomes empty; its next entry's address is `value`; its y (lower half) and x are,
        and there is one more.
    entries : Out(8)
    first, sums, size, go : In(1)
        Address of the first position; first sum, and in bit 31 whether what is there counts; height
        (lower half) and width; y and x, and begin.
    pad : In(8), load_pad : In(1)
    weights : In(32), previous : In(32), load : In(2)
        Bytes of columns of an array row and of the row before: rows 0 and 1, 2 and 3.
    busy : Out(1)
    address : Out(14), data : In(32)
        Of the memory; the word is there a cycle later.
    outside : Out(1)
        Such an address was read in the last cycle.
    sum_address : In(9), sum_data : Out(32)
        A sum (column lowest), while not `busy`, a cycle later.

    Latency
    -------
    A position a cycle; `busy` for six more.
    """

    def __init__(self, *, words: int, target: str = "generic") -> None:
        self._width = (words - 1).bit_length()
        self._target = target
        super().__init__(
            {
                "value": In(32),
                "clear": In(1),
                "place": In(1),
                "coordinates": In(1),
                "entries": Out(8),
                "first": In(1),
                "sums": In(1),
                "size": In(1),
                "go": In(1),
                "pad": In(8),
                "load_pad": In(1),
                "weights": In(32),
                "previous": In(32),
                "load": In(2),
                "busy": Out(1),
                "address": Out(14),
                "data": In(32),
                "outside": Out(1),
                "sum_address": In(9),
                "sum_data": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        index = Signal(8)
        active = Signal()
        valid = Signal(6)  # by stage
        m.d.comb += valid[0].eq(active)
        m.d.sync += valid[1:].eq(valid[:-1])
        m.d.comb += self.busy.eq(valid.any())
        with m.If(self.clear):
            m.d.sync += self.entries.eq(0)
        with m.Elif(self.coordinates):
            m.d.sync += self.entries.eq(self.entries + 1)
        with m.If(self.go):
            m.d.sync += [active.eq(1), index.eq(0)]
        with m.Elif(active):
            m.d.sync += index.eq(index + 1)
            with m.If(index + 1 == self.entries):
                m.d.sync += active.eq(0)
        inside = self._walk(m, index, valid)
        sums = self._multiply(m, inside)
        self._add(m, sums, valid)
        return m

    def _walk(self, m: Module, index: Signal, valid: Signal) -> Signal:
        """Name the memory's words; return whether the word that is there now is inside."""
        table = []
        for name, width, enable in (("places", 16, self.place), ("yx", 32, self.coordinates)):
            memory = Memory(shape=width, depth=POSITIONS, init=[], attrs={"no_rw_check": 1})
            m.submodules[name] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.entries),
                write.data.eq(self.value),
                write.en.eq(enable),
                read.addr.eq(index),
            ]
            table.append(read.data)
        first = Signal(16, reset_less=True)
        start, size = Signal(32, reset_less=True), Signal(32, reset_less=True)
        for enable, register in ((self.first, first), (self.go, start), (self.size, size)):
            with m.If(enable):
                m.d.sync += register.eq(self.value)
        place = Signal(16)
        m.d.comb += [place.eq(first + table[0]), self.address.eq(place)]
        holds = []
        for half in range(2):
            at = Signal(16, name=f"coordinate_{half}")
            m.d.comb += at.eq(start.word_select(half, 16) + table[1].word_select(half, 16))
            holds.append(~at[15] & (at < size.word_select(half, 16)))
        inside = Signal()
        m.d.sync += [
            inside.eq(holds[0] & holds[1]),
            self.outside.eq(valid[1] & holds[0] & holds[1] & place[self._width :].any()),
        ]
        return inside

    def _multiply(self, m: Module, inside: Signal) -> list[list[Signal]]:
        """Return two sums of each column."""
        pad = Signal(8, reset_less=True)
        with m.If(self.load_pad):
            m.d.sync += pad.eq(self.pad)
        word = Signal(32)
        m.d.comb += word.eq(Mux(inside, self.data, pad.replicate(4)))
        kind = MacPair if self._target == "ice40" else PlainMacPair
        columns = []
        for c in range(_COLS):
            pairs = [kind(chained=False), kind(chained=True)]
            for k, pair in enumerate(pairs):
                m.submodules[f"mac_{c}_{k}"] = pair
                m.d.comb += [
                    pair.values.eq(word.word_select(k, 16)),
                    pair.weights.eq(
                        Cat(self.previous.word_select(c, 8), self.weights.word_select(c, 8))
                    ),
                    pair.load.eq(self.load[k]),
                ]
            m.d.comb += pairs[1].addends.eq(pairs[0].sums)
            columns.append([pairs[1].sums[:16], pairs[1].sums[16:]])
        return columns

    def _add(self, m: Module, columns: list[list[Signal]], valid: Signal) -> None:
        """Add to the sums: two cycles, so that positions less than two apart must differ."""
        entry, written = Signal(7, reset_less=True), Signal(7, reset_less=True)
        base = Signal(7, reset_less=True)
        replaces = Signal(reset_less=True)
        with m.If(self.sums):
            m.d.sync += [base.eq(self.value), replaces.eq(~self.value[31])]
        with m.If(self.go):
            m.d.sync += entry.eq(base)
        with m.Elif(valid[4]):
            m.d.sync += entry.eq(entry + 1)
        with m.If(valid[5] & ~valid[4]):
            m.d.sync += replaces.eq(0)
        m.d.sync += written.eq(entry)
        column = Signal(2, reset_less=True)
        m.d.sync += column.eq(self.sum_address)
        read_address = Signal(8)
        m.d.comb += read_address.eq(
            Mux(self.busy, Mux(replaces, _ZERO, entry), self.sum_address[2:])
        )
        values = []
        for c, (even, odd) in enumerate(columns):
            # An empty entry is never written: what replaces is added to it.
            memory = Memory(shape=32, depth=POSITIONS, init=[], attrs={"no_rw_check": 1})
            m.submodules[f"sums_{c}"] = memory
            write, read = memory.write_port(), memory.read_port()
            total = Signal(range(-(1 << 17), 1 << 17), name=f"total_{c}")
            m.d.comb += [
                total.eq(_widened(even) + _widened(odd)),
                read.addr.eq(read_address),
                write.addr.eq(written),
                write.data.eq(read.data + total),
                write.en.eq(valid[5]),
            ]
            values.append(read.data)
        m.d.comb += self.sum_data.eq(Cat(values).word_select(column, 32))


def _widened(half: Signal) -> Signal:
    """Return a sum of two products: from -32512 to 32768, whose 16 bits are those of -32768."""
    return Cat(half, half[15] & half[8:15].any()).as_signed()
