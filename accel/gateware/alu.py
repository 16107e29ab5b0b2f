"""The controller's adder, comparator, bitwise unit and shifter."""

from amaranth.hdl import Cat, Module, Mux, Signal
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
    """Combinational 32-bit barrel shifter; left shifts go through it reversed.

    Members
    -------
    value : In(32), amount : In(5)
    right : In(1)
    enable : In(1)
        Else the result is 0.
    arithmetic : In(1)
    result : Out(32)
    """

    value: In(32)
    amount: In(5)
    right: In(1)
    enable: In(1)
    arithmetic: In(1)
    result: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fill = self.arithmetic & self.value[31]
        shifted = Mux(self.right, self.value, self.value[::-1])
        for bit in reversed(range(5)):
            stage = Signal(32, name=f"stage{bit}")
            moved = Cat(shifted[1 << bit :], fill.replicate(1 << bit))
            m.d.comb += stage.eq(Mux(self.amount[bit], moved, shifted))
            shifted = stage
        # `enable` is late.
        m.d.comb += self.result.eq(
            only(self.enable & self.right, shifted) | only(self.enable & ~self.right, shifted[::-1])
        )
        return m
