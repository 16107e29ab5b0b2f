"""One cell of the array: a weight, a multiplier, an adder."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.multiplier import Multiplier

__all__ = ["CELL_LATENCY", "Cell", "sum_width"]

CELL_LATENCY = 3
"""Cycles from a cell's activation to the sum it goes into: operand, product and sum registers."""


def sum_width(products: int) -> int:
    """Return the bits of a signed sum of `products` int8 products, the largest 128 * 128 each."""
    return 15 + products.bit_length()


class Cell(wiring.Component):
    """Weight-stationary multiply-accumulate cell with a shadow weight.

    Parameters
    ----------
    row : int
        Array row, counted from 0: the sum it hands down has `row + 1` products in it.
    target, dsp : str, bool
        See Multiplier.
    depthwise : bool
        Whether activations can also come from above.
    shadow : bool
        False: the shadow weight is kept outside. `weight` is the one to swap in, `load` is ignored.

    Members
    -------
    load : In(1)
        Take `weight` into the shadow register.
    weight : In(signed(8))
    activation_in, swap_in : In(signed(8)), In(1)
        From the left. With `swap_in` the shadow weight becomes the active one, for this
        activation and those that follow. A `load` in the same cycle is for the swap after it.
    activation_out, swap_out : Out(signed(8)), Out(1)
        To the right, one cycle later.
    fir_in : In(1)
        Take `above_in` for this cycle's activation, not `activation_in`. Only with `depthwise`.
    above_in : In(signed(8))
    below_out : Out(signed(8))
        To the cell below, two cycles after the activation: half as fast as the sum, so that a
        column is a filter, sum over rows r of weight[r] * (activation r cycles before).
    sum_in : In(signed(sum_width(row)))
        From above, two cycles after the activation it belongs with (ignored in row 0).
    sum_out : Out(signed(sum_width(row + 1)))
        `sum_in + activation * weight`, CELL_LATENCY cycles after the activation.

    Throughput
    ----------
    One product per cycle. Registers of data have no reset: nothing reads them before they are set.
    """

    def __init__(
        self,
        *,
        row: int,
        target: str = "generic",
        dsp: bool = True,
        depthwise: bool = False,
        shadow: bool = True,
    ) -> None:
        if row < 0:
            raise ValueError(f"Row must be 0 or more, not {row}")
        self._row = row
        self._target = target
        self._dsp = dsp
        self._depthwise = depthwise
        self._shadow = shadow
        super().__init__(
            {
                "load": In(1),
                "weight": In(signed(8)),
                "activation_in": In(signed(8)),
                "swap_in": In(1),
                "activation_out": Out(signed(8)),
                "swap_out": Out(1),
                "fir_in": In(1),
                "above_in": In(signed(8)),
                "below_out": Out(signed(8)),
                "sum_in": In(signed(sum_width(row))),
                "sum_out": Out(signed(sum_width(row + 1))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        activation = Signal(signed(8), reset_less=True)
        total = Signal.like(self.sum_out, reset_less=True)
        shadow = self.weight
        if self._shadow:
            shadow = Signal(signed(8), name="shadow", reset_less=True)
            with m.If(self.load):
                m.d.sync += shadow.eq(self.weight)
        operand = Signal(signed(8))
        m.d.comb += operand.eq(self.activation_in)
        if self._depthwise:
            m.d.comb += operand.eq(Mux(self.fir_in, self.above_in, self.activation_in))
            below = Signal(signed(8), reset_less=True)
            m.d.sync += below.eq(activation)
            m.d.comb += self.below_out.eq(below)
        m.submodules.multiplier = multiplier = Multiplier(
            a_bits=8, b_bits=8, target=self._target, dsp=self._dsp
        )
        m.d.comb += [
            multiplier.a.eq(operand),
            multiplier.b.eq(shadow),
            multiplier.b_enable.eq(self.swap_in),
        ]
        product = multiplier.product
        m.d.sync += [
            activation.eq(operand),
            self.swap_out.eq(self.swap_in),
            total.eq(product + self.sum_in if self._row else product),
        ]
        m.d.comb += [self.activation_out.eq(activation), self.sum_out.eq(total)]
        return m
