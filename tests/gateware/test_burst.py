"""Rows become bursts that cover them exactly and keep AXI's rules."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from accel.gateware.burst import AddressChannel
from sim.benches.bursts import BurstMonitor

STALLS = {"never": 0.0, "sometimes": 0.25, "often": 0.75}


def rows_at(rng, bus_bytes, count):
    """Rows with every alignment to beats, to blocks of 256 beats and to 4 KiB."""
    rows = []
    for i in range(count):
        near = rng.choice([4096, 256 * bus_bytes]) * rng.randrange(1, 1 << 19)
        start = near + 4 * rng.randint(-12, 12)
        length = 4 * rng.choice([1, 2, rng.randint(1, 30), rng.randint(1, 3000)])
        rows.append((start % (1 << 32), length, i))
    return rows


@pytest.mark.parametrize("stalls", list(STALLS))
@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_bursts_cover_rows(bus_bytes, stalls):
    rng = random.Random(f"{bus_bytes} {stalls}")
    dut = AddressChannel(bus_bytes=bus_bytes, in_flight=3, tag=8)
    monitor = BurstMonitor("rows", bus_bytes, 3)
    rows = rows_at(rng, bus_bytes, 40)
    bursts, finished = [], []

    async def offer(ctx):
        for start, length, tag in rows:
            payload = dut.rows.payload
            ctx.set(payload, {"address": start, "span": length - 1, "tag": tag})
            ctx.set(dut.rows.valid, 1)
            await ctx.tick().until(dut.rows.ready)
            ctx.set(dut.rows.valid, 0)
        while len(finished) < len(rows):
            await ctx.tick()

    async def take(ctx):
        size = (bus_bytes - 1).bit_length()
        outstanding = deque()
        while True:
            ctx.set(dut.bursts.ready, rng.random() >= STALLS[stalls])
            ctx.set(dut.done, bool(outstanding) and rng.random() >= STALLS[stalls])
            _, _, valid, ready, burst, done, oldest = await ctx.tick().sample(
                dut.bursts.valid, dut.bursts.ready, dut.bursts.payload, dut.done, dut.oldest
            )
            if done:
                assert oldest.address == outstanding.popleft()
                monitor.done()
                if oldest.last:
                    finished.append(oldest.tag)
            if valid and ready:
                monitor.address(burst.address, burst.length, size, 1)
                bursts.append((burst.address, burst.length + 1))
                outstanding.append(burst.address)

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(offer)
    sim.add_testbench(take, background=True)
    sim.run()

    beats = [(address + i * bus_bytes) % (1 << 32) for address, n in bursts for i in range(n)]
    wanted = [
        beat % (1 << 32)
        for start, length, _ in rows
        for beat in range(start // bus_bytes * bus_bytes, start + length, bus_bytes)
    ]
    assert beats == wanted
    assert finished == [tag for *_, tag in rows]
