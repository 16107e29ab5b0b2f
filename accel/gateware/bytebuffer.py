"""A ring of bytes that is written by the beat and read at any byte."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["ByteBuffer"]

_FINE_BITS = 2
"""Bits of the rotation that the second stage does: a multiplexer of four is two LUTs."""


class ByteBuffer(wiring.Component):
    """Distributed RAM in banks of one byte, and a rotator: `word_bytes` bytes from any place.

    Byte number p of the ring lies in bank `p % banks`, where `banks` is the larger of the beat and
    the word; so a beat fills neighbours, and a word needs each bank once.

    Parameters
    ----------
    beat_bytes : int
        Bytes written at once, a power of two.
    word_bytes : int
        Bytes read at once, a power of two.
    beats : int
        Beats that the ring holds at least; a power of two.

    Members
    -------
    write : In(1)
        Put `data` into beat number `beat` of the ring, modulo its size.
    beat : In(beat_width)
    data : In(8 * beat_bytes)
    move : In(1)
        Both register stages of the reading side advance.
    place : In(place_width)
        Byte number of the word to be read, modulo the ring's size.
    word : Out(8 * word_bytes)
        A register; byte `place` lowest.
    capacity : int
        Bytes of the ring.

    Latency
    -------
    A byte can be read in the cycle after its write; two cycles with `move` from `place` to `word`.
    """

    def __init__(self, *, beat_bytes: int, word_bytes: int, beats: int = 8) -> None:
        for name, value in (("Beat", beat_bytes), ("Word", word_bytes)):
            if value < 4 or value & (value - 1):
                raise ValueError(f"{name} bytes must be a power of two from 4, not {value}")
        self._beat_bytes = beat_bytes
        self._word_bytes = word_bytes
        self._banks = max(beat_bytes, word_bytes)
        self._lines = max(4, beats * beat_bytes // self._banks)
        self.capacity = self._banks * self._lines
        super().__init__(
            {
                "write": In(1),
                "beat": In(ceil_log2(self.capacity // beat_bytes)),
                "data": In(8 * beat_bytes),
                "move": In(1),
                "place": In(ceil_log2(self.capacity)),
                "word": Out(8 * word_bytes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = ceil_log2(self._banks)
        split = min(_FINE_BITS, bits)
        turn, line = self.place[:bits], self.place[bits:]
        next_line = Signal.like(line)
        m.d.comb += next_line.eq(line + 1)

        parts = self._banks // self._beat_bytes
        part_bits = ceil_log2(parts)
        found = []
        for b in range(self._banks):
            memory = Memory(shape=8, depth=self._lines, init=[])
            m.submodules[f"bank_{b}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            part, lane = divmod(b, self._beat_bytes)
            m.d.comb += [
                write.en.eq(self.write & (self.beat[:part_bits] == part if parts > 1 else 1)),
                write.addr.eq(self.beat[part_bits:]),
                write.data.eq(self.data.word_select(lane, 8)),
                read.addr.eq(Mux(turn > b, next_line, line)),
            ]
            found.append(read.data)

        # First by multiples of four bytes, then by the rest.
        fine = Signal(split)
        needed = min(self._banks, self._word_bytes + (1 << split) - 1)
        coarse = Signal(8 * needed, reset_less=True)
        word = Signal.like(self.word, reset_less=True)
        with m.If(self.move):
            m.d.sync += [
                fine.eq(turn[:split]),
                coarse.eq(_rotate(found, turn[split:], 1 << split, needed)),
                word.eq(
                    _rotate(
                        [coarse.word_select(i, 8) for i in range(needed)],
                        fine,
                        1,
                        self._word_bytes,
                    )
                ),
            ]
        m.d.comb += self.word.eq(word)
        return m


def _rotate(items, turn, unit, count):
    """Return items `turn * unit ..`, `count` of them; those past the end start over.

    A stage per bit of `turn`, largest first: one LUT a bit, where a wide multiplexer takes more.
    """
    for i in reversed(range(len(turn))):
        left = min(len(items), count + unit * ((1 << i) - 1))
        step = unit << i
        items = [Mux(turn[i], items[(k + step) % len(items)], items[k]) for k in range(left)]
    return Cat(*items[:count])
