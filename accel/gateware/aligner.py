"""Byte lanes of the controller's loads and stores."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Aligner"]


class Aligner(wiring.Component):
    """Combinational: place bytes and halfwords in a 32-bit word, little-endian.

    Members
    -------
    offset : In(2)
        Low bits of the address.
    size : In(2)
        0 byte, 1 halfword, 2 word.
    zero_extend : In(1)
        A loaded byte or halfword is unsigned.
    word : In(32)
        What memory returned for a load. For 0, `loaded` is 0.
    whole : In(1)
        `loaded` is to be `word` as it is.
    loaded : Out(32)
    data : In(32)
        What to store.
    bytes : Out(32), mask : Out(4)
        What to write, and which bytes of it.
    misaligned : Out(1)
        `offset` is not a multiple of the size.
    """

    offset: In(2)
    size: In(2)
    zero_extend: In(1)
    whole: In(1)
    word: In(32)
    loaded: Out(32)
    data: In(32)
    bytes: Out(32)
    mask: Out(4)
    misaligned: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        is_byte = self.size == 0
        is_word = self.size[1]
        part = self.offset & ~self.whole.replicate(2)
        half = Mux(part[1], self.word[16:], self.word[:16])
        low = Mux(part[0], half[8:], half[:8])
        sign = Signal()
        m.d.comb += [
            sign.eq(Mux(is_byte, low[7], half[15]) & ~self.zero_extend),
            self.loaded.eq(
                Cat(
                    low,
                    Mux(is_byte & ~self.whole, sign.replicate(8), half[8:]),
                    Mux(is_word | self.whole, self.word[16:], sign.replicate(16)),
                )
            ),
            self.misaligned.eq(~is_byte & (self.offset[0] | (is_word & self.offset[1]))),
        ]
        with m.Switch(self.size):
            with m.Case(0):
                m.d.comb += [
                    self.bytes.eq(self.data[:8].replicate(4)),
                    self.mask.eq(1 << self.offset),
                ]
            with m.Case(1):
                m.d.comb += [
                    self.bytes.eq(self.data[:16].replicate(2)),
                    self.mask.eq(Mux(self.offset[1], 0b1100, 0b0011)),
                ]
            with m.Default():
                m.d.comb += [self.bytes.eq(self.data), self.mask.eq(0b1111)]
        return m
