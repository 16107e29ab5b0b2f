"""The controller's adder, comparator, bitwise unit and shifter."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

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
    """Serial shifter: eight bits or one in a cycle.

    Members
    -------
    start : In(1)
        Take the operands; not again before `done`.
    value : In(32), amount : In(5)
    right, arithmetic : In(1)
        Must hold until `done`.
    done : Out(1)
        `result` is valid; high until the next `start`.
    result : Out(32)

    Latency
    -------
    From `start` to `done`: 1 + amount // 8 + amount % 8 cycles.
    """

    start: In(1)
    value: In(32)
    amount: In(5)
    right: In(1)
    arithmetic: In(1)
    done: Out(1)
    result: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        value, bits, bytes_ = self.result, Signal(3), Signal(2)
        fill, large = self.arithmetic & value[31], bytes_.any()
        to_right, to_left = Signal(), Signal()
        right, left = Signal(32), Signal(32)
        m.d.comb += [
            self.done.eq(~large & ~bits.any()),
            to_right.eq(self.right & ~self.start),
            to_left.eq(~self.right & ~self.start),
            right.eq(
                Mux(large, Cat(value[8:], fill.replicate(8)), Cat(value[1:], fill))
                & to_right.replicate(32)
            ),
            left.eq(
                Mux(large, Cat(C(0, 8), value[:24]), Cat(C(0, 1), value[:31]))
                & to_left.replicate(32)
            ),
        ]
        with m.If(self.start | ~self.done):
            m.d.sync += value.eq(right | left | (self.value & self.start.replicate(32)))
        with m.If(self.start):
            m.d.sync += Cat(bits, bytes_).eq(self.amount)
        with m.Elif(large):
            m.d.sync += bytes_.eq(bytes_ - 1)
        with m.Elif(~self.done):
            m.d.sync += bits.eq(bits - 1)
        return m
