"""Byte lanes of the controller's loads and stores."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.bits import only

__all__ = ["Aligner"]


class Aligner(wiring.Component):
    """Place bytes and halfwords in a 32-bit word, little-endian.

    Members
    -------
    offset : In(2)
        Low bits of the address.
    size : In(2)
        0 byte, 1 halfword, 2 word.
    zero_extend : In(1)
        A loaded byte or halfword is unsigned.
    whole : In(1)
        `loaded` is to be `word` as it is.
    word : In(32)
        What memory returned for a load, in the cycle after `offset`, `size`, `zero_extend` and `whole`.
        For 0, `loaded` is 0.
    arriving : In(32).array(2), arrives : In(1).array(2)
        Words of which one becomes `word`, in the cycle before it; the first one late in that cycle.
    loaded : Out(32)
    data : In(32)
        What to store.
    bytes : Out(32), mask : Out(4)
        What to write, and which bytes of it.
    misaligned : Out(1)
        `offset` is not a multiple of the size.

    Latency
    -------
    None, but for what chooses the bytes of `loaded`.
    """

    offset: In(2)
    size: In(2)
    zero_extend: In(1)
    whole: In(1)
    word: In(32)
    arriving: In(32).array(2)
    arrives: In(1).array(2)
    loaded: Out(32)
    data: In(32)
    bytes: Out(32)
    mask: Out(4)
    misaligned: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        is_byte = self.size == 0
        is_word = self.size[1]
        loads = ~self.whole
        # From registers, each for one lookup table a bit: the word comes late and goes far.
        names = ("upper", "odd", "own_byte", "own_half", "of_byte")
        upper, odd, own_byte, own_half, of_byte = (Signal(name=n) for n in names)
        m.d.sync += [
            upper.eq(loads & self.offset[1]),
            odd.eq(loads & self.offset[0]),
            own_byte.eq(self.whole | ~is_byte),
            own_half.eq(self.whole | is_word),
            of_byte.eq(is_byte),
        ]
        half = Mux(upper, self.word[16:], self.word[:16])
        sign, byte_sign = self._sign(m, is_byte, is_word), Signal()
        m.d.comb += [
            byte_sign.eq(of_byte & sign),
            self.loaded.eq(
                Cat(
                    Mux(odd, half[8:], half[:8]),
                    only(own_byte, half[8:]) | byte_sign.replicate(8),
                    only(own_half, self.word[16:]) | sign.replicate(16),
                )
            ),
            self.misaligned.eq(~is_byte & (self.offset[0] | (is_word & self.offset[1]))),
        ]
        with m.Switch(self.size):
            with m.Case(0):
                m.d.comb += self.mask.eq(1 << self.offset)
            with m.Case(1):
                m.d.comb += self.mask.eq(Mux(self.offset[1], 0b1100, 0b0011))
            with m.Default():
                m.d.comb += self.mask.eq(0b1111)
        low = Cat(self.data[:8], Mux(is_byte, self.data[:8], self.data[8:16]))
        m.d.comb += self.bytes.eq(Cat(low, Mux(is_word, self.data[16:], low)))
        return m

    def _sign(self, m: Module, is_byte: Value, is_word: Value) -> Value:
        """Return the bit to extend `word` with, chosen as that arrives.

        The late word meets one lookup table for each half.
        """
        # The place of the highest byte that is loaded.
        place = Cat(self.offset[0] | ~is_byte, self.offset[1])
        extends = ~self.zero_extend & ~is_word
        signs = Signal(3)
        selects = Signal(4, attrs={"keep": 1})
        late, early = self.arriving
        m.d.comb += selects.eq(
            Cat(self.arrives[0] & extends & (place == byte) for byte in range(4))
        )
        tops = [selects[byte] & late[8 * byte + 7] for byte in range(4)]
        m.d.sync += signs.eq(
            Cat(
                tops[0] | tops[1],
                tops[2] | tops[3],
                self.arrives[1] & extends & early.word_select(place, 8)[7],
            )
        )
        return signs.any()
