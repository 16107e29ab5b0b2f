"""One lane of requantisation: int32 sums to int8, fully pipelined."""

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.multiplier import Multiplier

__all__ = ["LaneParameters", "OutputRange", "Requantizer"]


class LaneParameters(data.Struct):
    """What one channel is requantised with."""

    bias: signed(32)
    multiplier: unsigned(31)
    shift: signed(8)
    """-31 (right) .. 30 (left)."""


class OutputRange(data.Struct):
    """What all channels of a command have in common."""

    output_zero: signed(8)
    clamp_min: signed(8)
    clamp_max: signed(8)


class Requantizer(wiring.Component):
    """Add a bias, multiply by a fixed-point number, round, add the zero point and clamp.

    `y = min(max(output_zero + m(x + bias), clamp_min), clamp_max)`, where `x + bias` is modulo
    2**32 and m is `accel.numerics.multiply_by_quantized_multiplier(., multiplier, shift)`, equal
    to the bit for every int32 and every parameter in range; clamp_min <= clamp_max.

    Parameters may change from one element to the next without draining the pipeline: they are
    given from staging registers outside, and `first` travels with an element through the stages.
    At the edge at which that element enters a stage, the stage copies what it needs from staging
    to its own active register. So with `first` in cycle t, staging must hold `bias` in cycle t,
    `multiplier` until t + MULTIPLIER_HOLD, and all the rest until t + LATENCY - 1; it may be
    rewritten after that, while elements are still on their way.

    Members
    -------
    x : In(signed(32))
        One element a cycle; there is no valid and no stall.
    first : In(1)
        The element of the *next* cycle is the first one with the parameters in staging.
    lane : In(LaneParameters)
        Staging.
    bounds : In(OutputRange)
        Staging.
    y : Out(signed(8))

    Latency
    -------
    LATENCY cycles from `x` to `y`; one element per cycle.

    Notes
    -----
    For a multiplier >= 0 the saturating rounding doubling high multiply is (a*b + 2**30) >> 31:
    truncating after a nudge of 1 - 2**30 is flooring after one of 2**30. The multiplication is
    four products of at most 17 x 17 bits, registered on both sides, as a DSP block wants it.
    The shift right drops bits that become one rounding bit and one sticky bit, and keeps ten
    bits: beyond them no zero point brings the result back into int8.
    """

    LATENCY = 10
    MULTIPLIER_HOLD = 3

    def __init__(self, *, target: str = "generic") -> None:
        self._target = target
        super().__init__(
            {
                "x": In(signed(32)),
                "first": In(1),
                "lane": In(LaneParameters),
                "bounds": In(OutputRange),
                "y": Out(signed(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first = Signal(self.LATENCY)  # bit k: high when the element is about to enter stage k
        delayed = Signal(self.LATENCY - 1)
        m.d.comb += first.eq(Cat(self.first, delayed))
        m.d.sync += delayed.eq(first)

        def active(stage: int, value: Value, name: str) -> Signal:
            register = Signal(value.shape(), name=f"{name}_q", reset_less=True)
            with m.If(first[stage]):
                m.d.sync += register.eq(value)
            return register

        bias = active(0, self.lane.bias, "bias")
        biased = _register(m, self.x + bias, signed(32), "biased")

        shift = self.lane.shift
        left = Mux(shift < 0, 0, shift[:5])
        right = Mux(shift < 0, (-shift)[:5], 0)
        left_bytes = active(1, left[3:], "left_bytes")
        aligned = _register(m, biased << (left_bytes << 3), signed(32), "aligned")
        left_bits = active(2, left[:3], "left_bits")
        shifted = Signal(signed(32))
        m.d.comb += shifted.eq(aligned << left_bits)

        high = self._multiply_high(m, shifted, self.lane.multiplier, first[3])

        right_bytes = active(6, right[3:], "right_bytes")
        right_bits = active(7, right[:3], "right_bits")
        narrow, increment = self._shift_right(m, high, right_bytes, right_bits)

        output_zero = active(8, self.bounds.output_zero, "output_zero")
        moved = _register(m, narrow + output_zero + increment, signed(11), "moved")

        clamp_min = active(9, self.bounds.clamp_min, "clamp_min")
        clamp_max = active(9, self.bounds.clamp_max, "clamp_max")
        with m.If(moved < clamp_min):
            m.d.sync += self.y.eq(clamp_min)
        with m.Elif(moved > clamp_max):
            m.d.sync += self.y.eq(clamp_max)
        with m.Else():
            m.d.sync += self.y.eq(moved)
        return m

    def _multiply_high(self, m: Module, a: Signal, b: Value, b_enable: Value) -> Signal:
        """Return (a*b + 2**30) >> 31, four stages after `a` (signed 32) and `b` (unsigned 31)."""
        halves_a = {"low": a[:17], "high": a[17:].as_signed()}
        halves_b = {"low": b[:17], "high": b[17:]}
        products = {}
        for a_name, a_half in halves_a.items():
            for b_name, b_half in halves_b.items():
                multiplier = Multiplier(
                    a_bits=18 if a_name == "low" else 15,
                    b_bits=18 if b_name == "low" else 15,
                    target=self._target,
                )
                m.submodules[f"{a_name}_{b_name}"] = multiplier
                m.d.comb += [
                    multiplier.a.eq(a_half),
                    multiplier.b.eq(b_half),
                    multiplier.b_enable.eq(b_enable),
                ]
                products[a_name, b_name] = multiplier.product
        low_low = products["low", "low"][:34]
        low_high, high_low = products["low", "high"][:31], products["high", "low"]
        high_high = products["high", "high"][:29]
        # In units of 2**17 from here: the outer products do not overlap, so that they are one
        # number, and what lies below neither reaches bit 31 nor meets the rounding constant.
        middle = _register(m, low_high + high_low, signed(33), "middle")
        outer = _register(
            m, Cat(low_low[17:], high_high).as_signed() + (1 << 13), signed(46), "outer"
        )
        return _register(m, (middle + outer) >> 14, signed(32), "high")

    def _shift_right(
        self, m: Module, high: Signal, count_bytes: Signal, count_bits: Signal
    ) -> tuple[Value, Signal]:
        """Return `high` shifted right in two stages, saturated to ten bits, and its increment."""
        # By bytes. 17 bits stay: any of them may still become one of the ten.
        guard_byte = [0, *(high[8 * n - 1] for n in (1, 2, 3))]
        sticky_byte = [0, *(high[: 8 * n - 1].any() for n in (1, 2, 3))]
        wide_byte = [_not_sign(high[16:]), _not_sign(high[24:]), 0, 0]
        kept = _register(m, high >> (count_bytes << 3), signed(17), "kept")
        guard = _register(m, _choose(guard_byte, count_bytes), unsigned(1), "guard")
        sticky = _register(m, _choose(sticky_byte, count_bytes), unsigned(1), "sticky")
        wide = _register(m, _choose(wide_byte, count_bytes), unsigned(1), "wide")
        negative = _register(m, high[31], unsigned(1), "negative")

        # By bits. Half away from zero: below zero exactly one half is not rounded up.
        dropped = Cat(guard, kept)
        below = sticky | _choose([0, *(dropped[:n].any() for n in range(1, 8))], count_bits)
        increment = _register(
            m,
            _choose([dropped[n] for n in range(8)], count_bits) & (~negative | below),
            unsigned(1),
            "increment",
        )
        beyond = _choose([_not_sign(kept[9 + n :]) for n in range(8)], count_bits)
        saturate = _register(m, wide | beyond, unsigned(1), "saturate")
        value = _register(m, kept >> count_bits, signed(10), "value")
        sign = _register(m, negative, unsigned(1), "sign")
        limit = Cat((~sign).replicate(9), sign).as_signed()
        return Mux(saturate, limit, value), increment


def _register(m: Module, value: Value, shape: Shape, name: str) -> Signal:
    """Return `value`, one cycle later and cut to `shape`."""
    register = Signal(shape, name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register


def _choose(values: Sequence[object], index: Signal) -> Value:
    return Array(values)[index]


def _not_sign(bits: Value) -> Value:
    """Bits that are not all equal: the number does not fit without the upper ones."""
    return bits.any() & ~bits.all()
