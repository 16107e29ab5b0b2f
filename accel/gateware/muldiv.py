"""The controller's M extension: one 17 x 17 bit multiplier used four times, a serial divider."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.multiplier import Multiplier

__all__ = ["MultiplyDivide"]


class MultiplyDivide(wiring.Component):
    """Multiply, divide and remainder of RV32M.

    Parameters
    ----------
    target : str
        See Multiplier.

    Members
    -------
    start : In(1)
        Begin; `a`, `b` and `funct3` must hold until `done`.
    a, b : In(32)
    funct3 : In(3)
        The instruction's: mul, mulh, mulhsu, mulhu, div, divu, rem, remu.
    cancel : In(1)
        Forget what is in progress.
    done : Out(1)
        One cycle, with `result`.
    result : Out(32)

    Latency
    -------
    From `start` to `done`: multiplications 6 cycles, divisions and remainders 35.
    """

    def __init__(self, *, target: str = "generic") -> None:
        self._target = target
        super().__init__(
            {
                "start": In(1),
                "a": In(32),
                "b": In(32),
                "funct3": In(3),
                "cancel": In(1),
                "done": Out(1),
                "result": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product_done, product = self._multiplier(m)
        quotient_done, quotient = self._divider(m)
        m.d.comb += [
            self.done.eq(product_done | quotient_done),
            self.result.eq(Mux(self.funct3[2], quotient, product)),
        ]
        return m

    def _multiplier(self, m: Module) -> tuple[Signal, Signal]:
        """Sum the four partial products, lowest first; two registers around the multiplier."""
        a_sign = self.a[31] & (self.funct3 != 3)
        b_sign = self.b[31] & ~self.funct3[1]
        # One-hot position of the partial product that enters the operand registers.
        step = Signal(6)
        m.submodules.multiplier = multiplier = Multiplier(a_bits=17, b_bits=17, target=self._target)
        product = multiplier.product
        total = Signal(signed(35))
        low = Signal(32)
        m.d.sync += [
            step.eq(Cat(self.start & ~self.funct3[2], step[:-1])),
        ]
        m.d.comb += [
            multiplier.a.eq(Mux(step[1] | step[2], Cat(self.a[16:], a_sign), self.a[:16])),
            multiplier.b.eq(Mux(step[0] | step[2], Cat(self.b[16:], b_sign), self.b[:16])),
            multiplier.b_enable.eq(1),
        ]
        # step[1]: low * low is in `product`; [2], [3]: the mixed ones; [4]: high * high.
        shift = step[2] | step[4]
        with m.If(step[1]):
            m.d.sync += total.eq(product)
        with m.Elif(step[2] | step[3] | step[4]):
            m.d.sync += total.eq(Mux(shift, total >> 16, total) + product)
        with m.If(shift):
            m.d.sync += low.eq(Cat(low[16:], total[:16]))
        with m.If(self.cancel):
            m.d.sync += step.eq(0)
        return step[5], Mux(self.funct3 == 0, low, total[:32])

    def _divider(self, m: Module) -> tuple[Signal, Signal]:
        """Restoring division of the absolute values, one bit per cycle."""
        is_signed = ~self.funct3[0]
        wants_remainder = self.funct3[1]
        remainder = Signal(32)
        quotient = Signal(32)
        divisor = Signal(32)
        step = Signal(range(33))
        prepare = Signal()
        finish = Signal()
        done = Signal()
        negate_result = Signal()
        # One conditional negation serves both operands and the result.
        value = Signal(32)
        negate = Signal()
        negated = Signal(32)
        m.d.comb += negated.eq((value ^ negate.replicate(32)) + negate)
        with m.If(finish):
            m.d.comb += value.eq(Mux(wants_remainder, remainder, quotient))
            m.d.comb += negate.eq(negate_result)
        with m.Elif(prepare):
            m.d.comb += [value.eq(self.b), negate.eq(is_signed & self.b[31])]
        with m.Else():
            m.d.comb += [value.eq(self.a), negate.eq(is_signed & self.a[31])]

        difference = Signal(33)
        shifted = Cat(quotient[31], remainder)
        m.d.comb += difference.eq(shifted - divisor)
        m.d.sync += [
            prepare.eq(self.start & self.funct3[2]),
            finish.eq(step == 1),
            done.eq(finish),
            # A quotient by zero is -1 whatever the signs.
            negate_result.eq(
                is_signed
                & Mux(wants_remainder, self.a[31], (self.a[31] ^ self.b[31]) & divisor.any())
            ),
        ]
        with m.If(prepare):
            m.d.sync += [divisor.eq(negated), remainder.eq(0), step.eq(32)]
        with m.Elif(step.any()):
            m.d.sync += [
                step.eq(step - 1),
                remainder.eq(Mux(difference[32], shifted[:32], difference[:32])),
                quotient.eq(Cat(~difference[32], quotient[:31])),
            ]
        with m.If(self.start | finish):
            m.d.sync += quotient.eq(negated)
        with m.If(self.cancel):
            m.d.sync += [prepare.eq(0), finish.eq(0), done.eq(0), step.eq(0)]
        return done, quotient
