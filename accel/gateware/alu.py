"""The controller's adder, comparator, bitwise unit and shifter."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.bits import only
from accel.gateware.decoder import Logic

__all__ = ["Alu", "Shifter"]


class Alu(wiring.Component):
    """Combinational adder with compare, and bitwise operations.

    Members
    -------
    a, b : In(32)
        For a subtraction or comparison, b arrives inverted.
    subtract : In(1)
        Carry into the adder.
    unsigned : In(1)
        How `less` compares.
    logic : In(Logic)
    sum : Out(32)
    less : Out(1)
        a < b, of a subtraction.
    equal : Out(1)
        a == b, of a subtraction.
    bits : Out(32)
        Result of `logic`, 0 for NONE.
    """

    a: In(32)
    b: In(32)
    subtract: In(1)
    unsigned: In(1)
    logic: In(Logic)
    sum: Out(32)
    less: Out(1)
    equal: Out(1)
    bits: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The carry is bit 0 of one addition: yosys would build two adders for a + b + carry.
        total = Signal(34)
        a_top = ~self.unsigned & self.a[31]
        b_top = self.unsigned | self.b[31]
        m.d.comb += [
            total.eq(Cat(1, self.a, a_top) + Cat(self.subtract, self.b, b_top)),
            self.sum.eq(total[1:33]),
            self.less.eq(total[33]),
            self.equal.eq((self.a ^ self.b).all()),
        ]
        with m.Switch(self.logic):
            with m.Case(Logic.XOR):
                m.d.comb += self.bits.eq(self.a ^ self.b)
            with m.Case(Logic.OR):
                m.d.comb += self.bits.eq(self.a | self.b)
            with m.Case(Logic.AND):
                m.d.comb += self.bits.eq(self.a & self.b)
        return m


class Shifter(wiring.Component):
    """32-bit barrel shifter around a register of the user's; left shifts go through it reversed.

    Members
    -------
    start : In(1)
        `partial` is of `value`; else it is 0.
    value : In(32), amount : In(5)
    right, arithmetic : In(1)
        Like `value` and `amount`, they stay for two cycles.
    partial : Out(32)
        Shifted by all but the two lowest bits of `amount`, for a left shift reversed.
    word : In(32)
        `partial` of the cycle before.
    result : Out(32)
        In the cycle after `start`, else 0.
    """

    start: In(1)
    value: In(32)
    amount: In(5)
    right: In(1)
    arithmetic: In(1)
    partial: Out(32)
    word: In(32)
    result: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fill = self.arithmetic & self.value[31]
        # A select for each direction: nothing else need tell whether there is a result.
        shifts_right, shifts_left = Signal(), Signal()
        m.d.sync += [
            shifts_right.eq(self.start & self.right),
            shifts_left.eq(self.start & ~self.right),
        ]
        first = Mux(self.right, self.value, self.value[::-1])
        last = self._move(m, self.word, (1, 0), fill)
        m.d.comb += [
            self.partial.eq(only(self.start, self._move(m, first, (4, 3, 2), fill))),
            self.result.eq(only(shifts_right, last) | only(shifts_left, last[::-1])),
        ]
        return m

    def _move(self, m: Module, value: Value, bits: tuple[int, ...], fill: Value) -> Value:
        """Shift by some bits of `amount`."""
        for bit in bits:
            stage = Signal(32, name=f"stage{bit}")
            moved = Cat(value[1 << bit :], fill.replicate(1 << bit))
            m.d.comb += stage.eq(Mux(self.amount[bit], moved, value))
            value = stage
        return value
