"""Delays of whole words through distributed RAM, where registers would be many."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["DelayRing", "Skew"]


class Skew(wiring.Component):
    """Byte c of a word comes out c cycles after byte 0, which is not delayed.

    A triangle of registers would take 4 * width**2 flip-flops; here bytes from the third on lie in
    a ring of distributed RAM each, written and read at addresses that move along with them.

    Parameters
    ----------
    width : int
        Bytes of a word.

    Members
    -------
    word, skewed : In(ArrayLayout(signed(8), width)), Out(ArrayLayout(signed(8), width))
    """

    def __init__(self, *, width: int) -> None:
        self._width = width
        word = data.ArrayLayout(signed(8), width)
        super().__init__({"word": In(word), "skewed": Out(word)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = 1 << ceil_log2(max(self._width - 1, 2))
        write = Signal(range(depth))
        m.d.sync += write.eq(write + 1)
        # The place written c - 1 cycles ago, followed by an output register: c cycles in all.
        for c in range(self._width):
            if c == 0:
                m.d.comb += self.skewed[0].eq(self.word[0])
                continue
            byte = Signal(signed(8), name=f"byte_{c}", reset_less=True)
            m.d.comb += self.skewed[c].eq(byte)
            if c == 1:
                m.d.sync += byte.eq(self.word[1])
                continue
            m.submodules[f"ring_{c}"] = ring = Memory(shape=signed(8), depth=depth, init=[])
            port, read = ring.write_port(), ring.read_port(domain="comb")
            place = Signal(range(depth), name=f"place_{c}", init=-(c - 1) % depth)
            m.d.sync += [place.eq(place + 1), byte.eq(read.data)]
            m.d.comb += [
                port.addr.eq(write),
                port.data.eq(self.word[c]),
                port.en.eq(1),
                read.addr.eq(place),
            ]
        return m


class DelayRing(wiring.Component):
    """A word some cycles later, one of two numbers of cycles.

    Parameters
    ----------
    width : int
        Bytes of a word.
    cycles : sequence of int
        The delay for each `choice`, one or two, from 2 to 16.

    Members
    -------
    word, delayed : In(ArrayLayout(signed(8), width)), Out(ArrayLayout(signed(8), width))
    choice : In(1)
    """

    def __init__(self, *, width: int, cycles: Sequence[int]) -> None:
        if not 1 <= len(cycles) <= 2 or not all(2 <= c <= 16 for c in cycles):
            raise ValueError(f"Cycles must be one or two numbers from 2 to 16, not {cycles}")
        self._width = width
        self._cycles = list(cycles)
        word = data.ArrayLayout(signed(8), width)
        super().__init__({"word": In(word), "delayed": Out(word), "choice": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = 1 << ceil_log2(max(self._cycles))
        m.submodules.ring = ring = Memory(shape=unsigned(8 * self._width), depth=depth, init=[])
        port, read = ring.write_port(), ring.read_port(domain="comb")
        write = Signal(range(depth))
        place = Signal(range(depth), reset_less=True)
        back = [c - 2 for c in self._cycles]
        m.d.sync += [
            write.eq(write + 1),
            place.eq(write - (Mux(self.choice, back[1], back[0]) if len(back) > 1 else back[0])),
            self.delayed.as_value().eq(read.data),
        ]
        m.d.comb += [
            port.addr.eq(write),
            port.data.eq(self.word),
            port.en.eq(1),
            read.addr.eq(place),
        ]
        return m
