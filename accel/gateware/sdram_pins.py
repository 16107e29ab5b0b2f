"""What passes between an SDRAM controller and the pins of its part."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.sdram_parts import SdramPart

__all__ = ["Command", "DqCapture", "SdramPins"]


class Command(enum.Enum, shape=3):
    """Levels of RAS#, CAS# and WE#, from bit 0 on, with CS# low (JEDEC 21-C, 3.11.5)."""

    MODE = 0b000
    REFRESH = 0b100
    PRECHARGE = 0b010
    ACTIVE = 0b110
    WRITE = 0b001
    READ = 0b101
    NOP = 0b111


def SdramPins(part: SdramPart) -> wiring.Signature:  # noqa: N802
    """Signature of the pins of a part, seen from the controller; all outputs are registers.

    Members
    -------
    cke, cs_n, ras_n, cas_n, we_n : Out(1)
        High after reset: no command.
    ba : Out(2)
    a : Out(13)
        At least 11 bits, A10 among them, and as many as there are row bits.
    dqm : Out(data_bits // 8)
        High until the initialisation is over.
    dq_o : Out(data_bits)
    dq_oe : Out(1)
        Drive `dq_o`.
    dq_i : In(data_bits)
    """
    width = part.data_bits
    control = ("cke", "cs_n", "ras_n", "cas_n", "we_n")
    return wiring.Signature(
        {name: Out(1, init=1) for name in control}
        | {
            "ba": Out(2),
            "a": Out(max(part.row_bits, 11)),
            "dqm": Out(width // 8, init=(1 << width // 8) - 1),
            "dq_o": Out(width),
            "dq_oe": Out(1),
            "dq_i": In(width),
        }
    )


class DqCapture(wiring.Component):
    """Registers what a part sends, at a rising or a falling edge of the clock.

    Parameters
    ----------
    width : int
        Data pins.
    falling : bool
        Sample in the middle of the cycle, half a cycle later than otherwise.

    Members
    -------
    pins : In(width)
    data : Out(width)

    Latency
    -------
    One cycle; two with `falling`.
    """

    def __init__(self, *, width: int, falling: bool) -> None:
        self._falling = falling
        super().__init__({"pins": In(width), "data": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        data = Signal.like(self.pins, reset_less=True)
        source = self.pins
        if self._falling:
            m.domains.middle = ClockDomain(reset_less=True, clk_edge="neg", local=True)
            m.d.comb += ClockSignal("middle").eq(ClockSignal())
            source = Signal.like(self.pins, reset_less=True)
            m.d.middle += source.eq(self.pins)
        m.d.sync += data.eq(source)
        m.d.comb += self.data.eq(data)
        return m
