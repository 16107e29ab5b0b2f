"""Scratchpad and weight memory: data, latency, priorities and the rules of the ports."""

import random

import pytest
from amaranth.sim import Simulator

from accel.gateware.ports import SCRATCHPAD_LATENCY, WEIGHT_LATENCY
from accel.gateware.scratchpad import Scratchpad
from accel.gateware.weights import WeightMemory


def simulate(dut, *benches):
    """Run test benches to their end."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


async def write(ctx, port, address, value, mask=None):
    """Write one word; return the cycles the request waited."""
    ctx.set(port.request.payload.address, address)
    ctx.set(port.request.payload.data, value)
    if mask is not None:
        ctx.set(port.request.payload.mask, mask)
    ctx.set(port.request.valid, 1)
    waited = 0
    while not ctx.get(port.request.ready):
        waited += 1
        await ctx.tick()
    await ctx.tick()
    ctx.set(port.request.valid, 0)
    return waited


@pytest.mark.parametrize("banks", [1, 2, 4])
@pytest.mark.parametrize(("rows", "lanes"), [(4, 2), (12, 4)])
def test_masked_writes_are_read_back(banks, rows, lanes):
    groups = max(1, banks - 1)
    dut = Scratchpad(words=32, banks=banks, rows=rows, lanes=lanes, groups=groups)
    rng = random.Random(banks)
    granules, bits = rows // lanes, 8 * lanes

    async def bench(ctx):
        words = [0] * 32
        for _ in range(80):
            address, value = rng.randrange(32), rng.randrange(1 << (8 * rows))
            if rng.random() < 0.3:
                await write(ctx, dut.load, address, value)
                words[address] = value
                continue
            mask = rng.randrange(1 << granules)
            await write(ctx, dut.result, address, value, mask)
            for g in range(granules):
                if mask >> g & 1:
                    part = ((1 << bits) - 1) << (g * bits)
                    words[address] = (words[address] & ~part) | (value & part)
        await ctx.tick().repeat(2)
        for port in (*dut.matmul, dut.vector, dut.store):
            for address, word in enumerate(words):
                ctx.set(port.request.payload, address)
                ctx.set(port.request.valid, 1)
                assert ctx.get(port.request.ready)
                await ctx.tick()
                ctx.set(port.request.valid, 0)
                await ctx.tick().repeat(SCRATCHPAD_LATENCY - 1)
                assert ctx.get(port.response.valid)
                assert ctx.get(port.response.data) == word

    simulate(dut, bench)


def test_a_write_is_seen_by_a_read_two_cycles_later():
    dut = Scratchpad(words=32, banks=2, rows=4, lanes=4)

    async def bench(ctx):
        await write(ctx, dut.result, 5, 0x1234, 1)
        await ctx.tick()
        ctx.set(dut.vector.request.payload, 5)
        ctx.set(dut.vector.request.valid, 1)
        await ctx.tick().repeat(SCRATCHPAD_LATENCY)
        assert ctx.get(dut.vector.response.data) == 0x1234

    simulate(dut, bench)


def test_priorities_within_a_bank_and_freedom_between_banks():
    dut = Scratchpad(words=32, banks=2, rows=4, lanes=4)

    async def bench(ctx):
        readers = (*dut.matmul, dut.vector, dut.store)
        for addresses, ready in (
            ((0, 2, 4), (1, 0, 0)),
            ((0, 1, 3), (1, 1, 0)),
            ((0, 3, 2), (1, 1, 0)),
        ):
            for port, address in zip(readers, addresses, strict=True):
                ctx.set(port.request.payload, address)
                ctx.set(port.request.valid, 1)
            assert tuple(ctx.get(port.request.ready) for port in readers) == ready
            await ctx.tick()
        for port, address in ((dut.result, 6), (dut.load, 8)):
            ctx.set(port.request.payload.address, address)
            ctx.set(port.request.valid, 1)
        assert (ctx.get(dut.result.request.ready), ctx.get(dut.load.request.ready)) == (1, 0)
        ctx.set(dut.load.request.payload.address, 9)
        assert ctx.get(dut.load.request.ready) == 1

    simulate(dut, bench)


def test_groups_read_side_by_side_and_before_all_others():
    dut = Scratchpad(words=32, banks=4, rows=4, lanes=4, groups=3)

    async def bench(ctx):
        for address in range(4):
            await write(ctx, dut.load, address, 100 + address)
        await ctx.tick().repeat(2)
        readers = (*dut.matmul, dut.vector, dut.store)
        for port, address in zip(readers, (2, 0, 3, 1, 7), strict=True):
            ctx.set(port.request.payload, address)
            ctx.set(port.request.valid, 1)
        assert [ctx.get(port.request.ready) for port in readers] == [1, 1, 1, 1, 0]
        ctx.set(dut.vector.request.payload, 4)
        assert not ctx.get(dut.vector.request.ready)
        await ctx.tick().repeat(SCRATCHPAD_LATENCY)
        assert [ctx.get(port.response.data) for port in dut.matmul] == [102, 100, 103]

    simulate(dut, bench)


def test_weight_memory_keeps_a_burst_together():
    dut = WeightMemory(words=64, cols=4)

    async def bench(ctx):
        for address in range(64):
            assert await write(ctx, dut.load, address, 1000 + address) == 0
        await ctx.tick().repeat(2)
        # Parameters go first between bursts, and wait during one.
        ctx.set(dut.params.request.payload, 7)
        ctx.set(dut.params.request.valid, 1)
        ctx.set(dut.matmul.request.payload, 30)
        ctx.set(dut.matmul.request.valid, 1)
        assert ctx.get(dut.params.request.ready) and not ctx.get(dut.matmul.request.ready)
        ctx.set(dut.burst, 1)
        assert ctx.get(dut.matmul.request.ready) and not ctx.get(dut.params.request.ready)
        await ctx.tick()
        ctx.set(dut.burst, 0)
        ctx.set(dut.matmul.request.valid, 0)
        await ctx.tick()
        ctx.set(dut.params.request.valid, 0)
        seen = []
        for _ in range(WEIGHT_LATENCY + 2):
            for name in ("matmul", "params"):
                response = getattr(dut, name).response
                if ctx.get(response.valid):
                    seen.append((name, ctx.get(response.data)))
            await ctx.tick()
        assert seen == [("matmul", 1030), ("params", 1007)]

    simulate(dut, bench)
