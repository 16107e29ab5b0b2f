"""An asynchronous serial port: 8 data bits, no parity, one stop bit."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["ReceivedByte", "UartReceiver", "UartTransmitter", "bit_cycles"]

MIN_BIT_CYCLES = 8
"""So that the middle of a bit is hit to an eighth of it."""

MAX_RATE_ERROR = 0.02
"""Half of what ten bits bear between two stations, less what sampling takes."""


def bit_cycles(clock_hz: float, baud: int) -> int:
    """Return the whole number of clock cycles that a bit takes.

    Raises
    ------
    ValueError
        When that is fewer than 8, or the rate is missed by more than 2 %.
    """
    cycles = round(clock_hz / baud)
    if cycles < MIN_BIT_CYCLES:
        raise ValueError(
            f"Baud must be at most {clock_hz / MIN_BIT_CYCLES:.0f} at {clock_hz / 1e6:g} MHz, not "
            f"{baud}"
        )
    error = clock_hz / cycles / baud - 1
    if abs(error) > MAX_RATE_ERROR:
        raise ValueError(
            f"Baud {baud} at {clock_hz / 1e6:g} MHz is missed by {error:+.1%}: choose one near "
            f"{clock_hz / cycles:.0f}"
        )
    return cycles


def _check_cycles(cycles: int) -> None:
    if not isinstance(cycles, int) or cycles < MIN_BIT_CYCLES:
        raise ValueError(f"Bit cycles must be at least {MIN_BIT_CYCLES}, not {cycles!r}")


class ReceivedByte(data.Struct):
    """A byte from the line; its stop bit was missing where `error` is set."""

    byte: 8
    error: 1


class UartReceiver(wiring.Component):
    """Takes bytes from a line.

    Parameters
    ----------
    bit_cycles : int
        Clock cycles of a bit, at least 8.

    Members
    -------
    rx : In(1)
        The line, high at rest; of any clock.
    received : Out({valid, payload: ReceivedByte})
        `valid` for one cycle per byte. It cannot be refused.

    Latency
    -------
    From the middle of the stop bit 4 cycles. Every bit is the majority of three samples around its
    middle; a start bit that is no longer low there is none. After a missing stop bit the line must
    go high before the next start bit.

    Raises
    ------
    ValueError
        When bit_cycles is too small.
    """

    def __init__(self, *, bit_cycles: int) -> None:
        _check_cycles(bit_cycles)
        self._bit_cycles = bit_cycles
        received = data.StructLayout({"valid": 1, "payload": ReceivedByte})
        super().__init__({"rx": In(1, init=1), "received": Out(received)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1)
        samples = Signal(2, init=0b11)
        m.d.sync += samples.eq(Cat(line, samples))
        high = Signal()
        m.d.comb += high.eq((line & samples[0]) | (line & samples[1]) | (samples[0] & samples[1]))

        ends = Signal(range(self._bit_cycles))
        # A one goes ahead of the bits: it comes to the end when only the stop bit is missing.
        bits = Signal(10)
        received = self.received
        m.d.sync += received.valid.eq(0)
        with m.FSM():
            with m.State("break"):
                with m.If(line):
                    m.next = "rest"
            with m.State("rest"):
                # A vote is taken a cycle after the middle sample.
                m.d.sync += [ends.eq(self._bit_cycles // 2), bits.eq(1 << 9)]
                with m.If(~line):
                    m.next = "bits"
            with m.State("bits"):
                m.d.sync += ends.eq(ends - 1)
                with m.If(ends == 0):
                    m.d.sync += [ends.eq(self._bit_cycles - 1), bits.eq(Cat(bits[1:], high))]
                    with m.If((bits[:9] == 0) & high):
                        m.next = "rest"
                    with m.Elif(bits[0]):
                        m.d.sync += [
                            received.valid.eq(1),
                            received.payload.byte.eq(bits[2:]),
                            received.payload.error.eq(~high),
                        ]
                        m.next = "rest"
                        with m.If(~high):
                            m.next = "break"
        return m


class UartTransmitter(wiring.Component):
    """Puts bytes on a line.

    Parameters
    ----------
    bit_cycles : int
        Clock cycles of a bit, at least 8.

    Members
    -------
    bytes : In(stream.Signature(8))
    tx : Out(1)
        The line, high at rest; a register.

    Latency
    -------
    One cycle to the start bit; a byte every 10 * bit_cycles + 1 cycles.

    Raises
    ------
    ValueError
        When bit_cycles is too small.
    """

    def __init__(self, *, bit_cycles: int) -> None:
        _check_cycles(bit_cycles)
        self._bit_cycles = bit_cycles
        super().__init__({"bytes": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cycles = Signal(range(self._bit_cycles))
        # Data bits and stop bit still to come: as that is a one, none is left when this is 0.
        bits = Signal(9)
        busy = Signal()
        m.d.comb += self.bytes.ready.eq(~busy)
        with m.If(~busy):
            with m.If(self.bytes.valid):
                m.d.sync += [
                    busy.eq(1),
                    cycles.eq(self._bit_cycles - 1),
                    self.tx.eq(0),
                    bits.eq(Cat(self.bytes.payload, Const(1, 1))),
                ]
        with m.Elif(cycles != 0):
            m.d.sync += cycles.eq(cycles - 1)
        with m.Else():
            m.d.sync += cycles.eq(self._bit_cycles - 1)
            with m.If(bits == 0):
                m.d.sync += busy.eq(0)
            with m.Else():
                m.d.sync += [self.tx.eq(bits[0]), bits.eq(bits >> 1)]
        return m
