"""A ring of bytes that is written by the beat and read at any byte."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["ByteBuffer"]

_FINE_BITS = 2
"""Bits of the rotation that the second stage does."""


class ByteBuffer(wiring.Component):
    """Distributed RAM in banks of one byte, and rotators: `word_bytes` bytes from any place.

    Byte number p of the ring lies in bank `p % beat_bytes`, so that a beat writes each bank once
    and neighbours that are no more than a beat are in different banks. A word longer than a beat is
    read from copies of the RAM, a beat from each: shallow memories cost what deep ones do, and a
    rotator of a beat costs less than one of a word.

    Parameters
    ----------
    beat_bytes : int
        Bytes written at once, a power of two.
    word_bytes : int
        Bytes read at once, a power of two.

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

    def __init__(self, *, beat_bytes: int, word_bytes: int) -> None:
        for name, value in (("Beat", beat_bytes), ("Word", word_bytes)):
            if value < 4 or value & (value - 1):
                raise ValueError(f"{name} bytes must be a power of two from 4, not {value}")
        self._beat_bytes = beat_bytes
        self._word_bytes = word_bytes
        self._lines = 8 if word_bytes <= 2 * beat_bytes else 16
        self.capacity = beat_bytes * self._lines
        super().__init__(
            {
                "write": In(1),
                "beat": In(ceil_log2(self._lines)),
                "data": In(8 * beat_bytes),
                "move": In(1),
                "place": In(ceil_log2(self.capacity)),
                "word": Out(8 * word_bytes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = ceil_log2(self._beat_bytes)
        turn, line = self.place[:bits], self.place[bits:]
        fine = Signal(min(_FINE_BITS, bits))
        beyond = [Signal(name=f"beyond_{b}") for b in range(self._beat_bytes)]
        m.d.comb += [flag.eq(turn > b) for b, flag in enumerate(beyond)]
        with m.If(self.move):
            m.d.sync += fine.eq(turn)

        copies = max(1, self._word_bytes // self._beat_bytes)
        lines = [Signal.like(line, name=f"line_{i}") for i in range(copies + 1)]
        m.d.comb += [own.eq(line + i) for i, own in enumerate(lines)]
        words = []
        for copy in range(copies):
            found = []
            for b, flag in enumerate(beyond):
                memory = Memory(shape=8, depth=self._lines, init=[])
                m.submodules[f"copy_{copy}_bank_{b}"] = memory
                write, read = memory.write_port(), memory.read_port(domain="comb")
                m.d.comb += [
                    write.en.eq(self.write),
                    write.addr.eq(self.beat),
                    write.data.eq(self.data.word_select(b, 8)),
                    read.addr.eq(Mux(flag, lines[copy + 1], lines[copy])),
                ]
                found.append(read.data)
            words += self._rotated(m, copy, found, turn, fine)
        m.d.comb += self.word.eq(Cat(*words))
        return m

    def _rotated(self, m: Module, copy: int, found: list, turn, fine: Signal) -> list:
        """Return the registered bytes: first turned by multiples of four bytes, then by the rest."""
        count = min(self._beat_bytes, self._word_bytes)
        unit = 1 << len(fine)
        between = []
        for i, value in enumerate(_rotate(found, turn[len(fine) :], unit, count + unit - 1)):
            register = Signal(8, name=f"between_{copy}_{i}", reset_less=True)
            with m.If(self.move):
                m.d.sync += register.eq(value)
            between.append(register)
        result = []
        for i, value in enumerate(_rotate(between, fine, 1, count)):
            register = Signal(8, name=f"byte_{copy}_{i}", reset_less=True)
            with m.If(self.move):
                m.d.sync += register.eq(value)
            result.append(register)
        return result


def _rotate(items: list, turn, unit: int, count: int) -> list:
    """Return items `turn * unit ..`, at most `count` of them; those past the end start over.

    A stage per bit of `turn`, largest first: one LUT a bit, where a wide multiplexer takes more.
    """
    for i in reversed(range(len(turn))):
        left = min(len(items), count + unit * ((1 << i) - 1))
        step = unit << i
        items = [Mux(turn[i], items[(k + step) % len(items)], items[k]) for k in range(left)]
    return items[:count]
