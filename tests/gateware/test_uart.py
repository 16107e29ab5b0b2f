"""The serial port: bytes both ways at rates that are a little off, glitches, missing stop bits."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from accel.gateware.uart import UartReceiver, UartTransmitter, bit_cycles

CONTENT = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *random.Random(1).randbytes(4)]


def simulate(dut, *benches):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


def levels(byte, cycles, stop=1):
    """Return the line's levels for a byte whose bits take `cycles` clock cycles, not all whole."""
    bits = [0, *((byte >> n) & 1 for n in range(8)), stop]
    return [bits[int(n / cycles)] for n in range(round(10 * cycles))]


def receive(line, cycles):
    """Return what comes out for the levels of the line: (byte, error)."""
    dut = UartReceiver(bit_cycles=cycles)
    found = []

    async def bench(ctx):
        for level in [1] * 5 + line + [1] * 2 * cycles:
            ctx.set(dut.rx, level)
            await ctx.tick()
            if ctx.get(dut.received.valid):
                byte = dut.received.payload
                found.append((ctx.get(byte.byte), ctx.get(byte.error)))

    simulate(dut, bench)
    return found


@pytest.mark.parametrize(("cycles", "error"), [(8, -0.02), (8, 0.02), (25, -0.03), (25, 0.03)])
def test_receiver(cycles, error):
    line = []
    for number, byte in enumerate(CONTENT):
        line += levels(byte, cycles * (1 + error)) + [1] * (number % 3)
    assert receive(line, cycles) == [(byte, 0) for byte in CONTENT]


def test_receiver_is_ready_soon():
    # Four clock edges, that of the middle of the stop bit the first of them.
    cycles = 25
    dut = UartReceiver(bit_cycles=cycles)
    seen = []

    async def bench(ctx):
        for number, level in enumerate([*levels(0x5A, cycles), 1, 1]):
            ctx.set(dut.rx, level)
            await ctx.tick()
            if ctx.get(dut.received.valid):
                seen.append(number)

    simulate(dut, bench)
    assert seen == [9 * cycles + cycles // 2 + 3]


def test_glitches():
    cycles = 12
    # Short lows begin no byte, and one cycle in the middle of a bit changes none.
    line = [0] * 4 + [1] * 20 + levels(0xC3, cycles)
    for bit in range(10):
        line[24 + bit * cycles + cycles // 2] ^= 1
    assert receive(line, cycles) == [(0xC3, 0)]


def test_missing_stop_bits():
    cycles = 10
    line = levels(0x12, cycles, stop=0) + [0] * 300 + [1] * 20 + levels(0x34, cycles)
    assert receive(line, cycles) == [(0x12, 1), (0x34, 0)]


class Loop(wiring.Component):
    """A transmitter into a receiver."""

    def __init__(self, cycles):
        self.transmitter = UartTransmitter(bit_cycles=cycles)
        self.receiver = UartReceiver(bit_cycles=cycles)
        super().__init__({"bytes": self.transmitter.signature.members["bytes"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter, m.submodules.receiver = self.transmitter, self.receiver
        connect(m, wiring.flipped(self.bytes), self.transmitter.bytes)
        m.d.comb += self.receiver.rx.eq(self.transmitter.tx)
        return m


@pytest.mark.parametrize("cycles", [8, 25])
def test_transmitter(cycles):
    dut = Loop(cycles)
    found = []

    async def send(ctx):
        for byte in CONTENT:
            ctx.set(dut.bytes.valid, 1)
            ctx.set(dut.bytes.payload, byte)
            await ctx.tick().until(dut.bytes.ready)
        ctx.set(dut.bytes.valid, 0)

    async def take(ctx):
        last = 0
        for number in range((10 * cycles + 1) * len(CONTENT) + 10):
            await ctx.tick()
            if ctx.get(dut.receiver.received.valid):
                byte = dut.receiver.received.payload
                found.append((ctx.get(byte.byte), ctx.get(byte.error)))
                assert last == 0 or number - last == 10 * cycles + 1
                last = number

    simulate(dut, send, take)
    assert found == [(byte, 0) for byte in CONTENT]


def test_bit_cycles():
    assert bit_cycles(75e6, 3_000_000) == 25
    assert bit_cycles(24e6, 3_000_000) == 8
    assert bit_cycles(27e6, 921_600) == 29
    with pytest.raises(ValueError, match="Baud must be at most 1500000 at 12 MHz, not 3000000"):
        bit_cycles(12e6, 3_000_000)
    message = r"Baud 3000000 at 40 MHz is missed by \+2.6%: choose one near 3076923"
    with pytest.raises(ValueError, match=message):
        bit_cycles(40e6, 3_000_000)
    for unit in (UartReceiver, UartTransmitter):
        with pytest.raises(ValueError, match="Bit cycles must be at least 8, not 7"):
            unit(bit_cycles=7)
