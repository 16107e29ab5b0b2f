"""Command queue, dispatcher and token counters."""

import random

import pytest
from amaranth.sim import Simulator

from accel.gateware.dispatch import Dispatcher, TokenCounters
from accel.gateware.queue import CommandQueue
from accel.isa import COMMANDS, TOKEN_LIMIT, Engine, Funct3

MATMUL = COMMANDS[Engine.MATMUL]


def simulate(dut, *benches):
    """Run test benches to their end; all but the first run in the background."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for number, bench in enumerate(benches):
        simulator.add_testbench(bench, background=number > 0)
    simulator.run()


async def put(ctx, entries, **fields):
    """Put one entry into a queue."""
    for name, value in fields.items():
        ctx.set(entries.payload[name], value)
    for name in {"push", "add", "pair", "a", "b"} - set(fields):
        ctx.set(entries.payload[name], 0)
    ctx.set(entries.valid, 1)
    await ctx.tick().until(entries.ready)
    ctx.set(entries.valid, 0)


@pytest.mark.parametrize("stalls", [0.0, 0.5, 0.9], ids=["never", "sometimes", "often"])
def test_registers_follow_sets_and_adds(stalls):
    dut = CommandQueue(command=MATMUL, depth=4)
    rng = random.Random(3)
    expected = []

    async def feed(ctx):
        registers = [0] * MATMUL.registers
        for pair in range(MATMUL.pairs):
            await put(ctx, dut.entries, pair=pair)
        for number in range(40):
            for _ in range(rng.randrange(4)):
                pair, add = rng.randrange(MATMUL.pairs), rng.random() < 0.6
                a, b = rng.randrange(1 << 32), rng.randrange(1 << 32)
                await put(ctx, dut.entries, pair=pair, add=add, a=a, b=b)
                for i, value in ((2 * pair, a), (2 * pair + 1, b)):
                    registers[i] = (registers[i] * add + value) & 0xFFFFFFFF
            expected.append((MATMUL.decode(registers), number & 15, number & 1))
            await put(ctx, dut.entries, push=1, b=(number & 15) << 4 | (number & 1) << 8)
        while not ctx.get(dut.empty):
            await ctx.tick()
        assert not expected

    async def take(ctx):
        while True:
            ctx.set(dut.command.ready, rng.random() >= stalls)
            if ctx.get(dut.command.valid) and ctx.get(dut.command.ready):
                fields, post, stamp = expected.pop(0)
                payload = dut.command.payload
                for name, value in fields.items():
                    assert ctx.get(payload.fields[name]) == value, name
                assert (ctx.get(payload.post), ctx.get(payload.stamp)) == (post, stamp)
            await ctx.tick()

    simulate(dut, feed, take)


def test_a_command_waits_for_all_its_tokens_and_takes_one_each():
    dut = CommandQueue(command=MATMUL, depth=4)

    async def bench(ctx):
        await put(ctx, dut.entries, push=1, b=0b0101)
        for available in (0b0000, 0b0001, 0b0100, 0b1010):
            ctx.set(dut.available, available)
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.command.valid)
            assert ctx.get(dut.take) == 0
        ctx.set(dut.available, 0b0101)
        await ctx.tick()
        assert not ctx.get(dut.command.valid) and ctx.get(dut.take) == 0
        await ctx.tick()
        assert ctx.get(dut.command.valid)
        assert ctx.get(dut.take) == 0b0101
        await ctx.tick()
        assert ctx.get(dut.take) == 0
        assert not ctx.get(dut.empty)

    simulate(dut, bench)


def test_the_own_bit_waits_for_the_engine():
    dut = CommandQueue(command=MATMUL, depth=4)

    async def bench(ctx):
        ctx.set(dut.engine_busy, 1)
        await put(ctx, dut.entries, push=1, b=1 << Engine.MATMUL)
        await ctx.tick().repeat(4)
        assert not ctx.get(dut.command.valid)
        ctx.set(dut.engine_busy, 0)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.command.valid)

    simulate(dut, bench)


def test_a_push_behind_a_push_needs_tokens_of_its_own():
    dut = CommandQueue(command=MATMUL, depth=4)

    async def bench(ctx):
        ctx.set(dut.command.ready, 1)
        for _ in range(3):
            await put(ctx, dut.entries, push=1, b=0b0001)
        tokens, taken = 2, []
        for cycle in range(12):
            ctx.set(dut.available, int(tokens > 0))
            if ctx.get(dut.take):
                taken.append(cycle)
                tokens -= 1
            await ctx.tick()
        assert tokens == 0 and taken[1] - taken[0] == 3

    simulate(dut, bench)


@pytest.mark.parametrize(
    ("writes", "fits"),
    [
        ([(0, 63)], True),
        ([(0, -64)], True),
        ([(0, (1 << 20) - 64)], True),
        ([(0, 64)], False),
        ([(0, 128)], False),
        ([(0, 1 << 19)], False),
        ([(0, -65)], False),
        ([(0, 0), (1, 63)], True),
        ([(0, -64), (1, 127)], True),
        ([(0, 63), (1, -127)], True),
        ([(0, 60), (1, 4)], False),
        ([(0, -60), (1, -5)], False),
        ([(0, -64), (1, 128)], False),
        ([(0, 64), (0, 0)], False),
    ],
)
def test_an_address_that_no_memory_holds_makes_the_command_illegal(writes, fits):
    dut = CommandQueue(command=MATMUL, depth=4, address_bits={"input_address": 6})

    async def bench(ctx):
        ctx.set(dut.command.ready, 1)
        for add, value in writes:
            await put(ctx, dut.entries, push=0, add=add, pair=0, a=value & 0xFFFFFFFF, b=0)
        await put(ctx, dut.entries, push=1, a=4 * 77, b=0)
        offered = 0
        for _ in range(6):
            offered += ctx.get(dut.command.valid)
            await ctx.tick()
        assert offered == fits and ctx.get(dut.illegal) == (not fits)
        assert ctx.get(dut.command.payload.pc) == 77
        await put(ctx, dut.entries, push=1, a=4 * 78, b=0)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.command.payload.pc) == (78 if fits else 77), "nothing comes behind it"

    simulate(dut, bench)


def test_a_halted_queue_offers_and_begins_nothing():
    dut = CommandQueue(command=MATMUL, depth=4)

    async def bench(ctx):
        await put(ctx, dut.entries, push=1, a=4, b=0)
        await put(ctx, dut.entries, push=1, a=8, b=0b0001)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.command.valid)
        ctx.set(dut.halt, 1)
        ctx.set(dut.available, 0b1111)
        await ctx.tick()
        ctx.set(dut.command.ready, 1)
        for _ in range(5):
            assert not ctx.get(dut.command.valid) and not ctx.get(dut.take)
            assert not ctx.get(dut.empty) and ctx.get(dut.command.payload.pc) == 1
            await ctx.tick()
        ctx.set(dut.halt, 0)
        taken = []
        for _ in range(8):
            if ctx.get(dut.command.valid):
                taken.append(ctx.get(dut.command.payload.pc))
            await ctx.tick()
        assert taken == [1, 2] and ctx.get(dut.empty)

    simulate(dut, bench)


def test_operations_reach_their_engine():
    dut = Dispatcher()

    async def bench(ctx):
        for engine in Engine:
            for funct3 in (Funct3.TSET, Funct3.TADD, Funct3.TPUSH):
                operation = dut.operation
                ctx.set(
                    operation.payload,
                    {
                        "funct3": int(funct3),
                        "funct7": engine << 5 | 1,
                        "rs1_field": 0b1010,
                        "rs2_field": 0b0110,
                        "a": 111,
                        "b": 222,
                    },
                )
                ctx.set(operation.valid, 1)
                await ctx.tick().until(operation.ready)
                ctx.set(operation.valid, 0)
                valid = [ctx.get(dut.entries[e].valid) for e in Engine]
                assert valid == [e == engine for e in Engine]
                assert ctx.get(dut.pending) == 1 << engine
                entry = dut.entries[engine]
                pushed = funct3 == Funct3.TPUSH
                assert ctx.get(entry.payload.push) == pushed
                assert ctx.get(entry.payload.add) == (funct3 == Funct3.TADD)
                assert ctx.get(entry.payload.pair) == 1
                assert ctx.get(entry.payload.a) == 111
                assert ctx.get(entry.payload.b) == (0b1_0110_1010 if pushed else 222)
                # Held until the queue has room.
                await ctx.tick().repeat(2)
                assert ctx.get(entry.valid) and not ctx.get(operation.ready)
                ctx.set(entry.ready, 1)
                await ctx.tick()
                ctx.set(entry.ready, 0)
                assert ctx.get(dut.pending) == 0

    simulate(dut, bench)


@pytest.mark.parametrize("depth", [2, 4])
def test_operations_to_queues_of_all_levels(depth):
    """All arrive, and in order."""
    dut = Dispatcher()
    rng = random.Random(depth)
    sent = {e: [] for e in Engine}
    levels = dict.fromkeys(Engine, 0)

    async def queues(ctx):
        while True:
            for e in Engine:
                ctx.set(dut.entries[e].ready, levels[e] < depth)
                ctx.set(dut.room[e], levels[e] < depth - 1)
            arrived = [e for e in Engine if ctx.get(dut.entries[e].valid) and levels[e] < depth]
            values = [ctx.get(dut.entries[e].payload.a) for e in arrived]
            await ctx.tick()
            leaving = [e for e in Engine if levels[e] and rng.random() < rng.choice((0.1, 0.9))]
            for e, value in zip(arrived, values, strict=True):
                assert value == sent[e].pop(0)
                levels[e] += 1
            for e in leaving:
                levels[e] -= 1

    async def bench(ctx):
        operation = dut.operation
        await ctx.tick()
        for number in range(2000):
            engine = rng.choice(list(Engine)) if number > 20 else Engine(number % 4)
            ctx.set(operation.payload, {"funct3": int(Funct3.TSET), "funct7": engine << 5})
            ctx.set(operation.payload.a, number)
            ctx.set(operation.valid, 1)
            sent[engine].append(number)
            await ctx.tick().until(operation.ready)
            ctx.set(operation.valid, 0)
            if rng.random() < 0.2:
                await ctx.tick().repeat(rng.randrange(1, 4))
        await ctx.tick().repeat(200)
        assert not any(sent.values())

    simulate(dut, bench, queues)


def test_counters_count_and_say_when_they_overflow():
    dut = TokenCounters()
    rng = random.Random(5)

    async def bench(ctx):
        counts = {(p, c): 0 for p in Engine for c in Engine if p != c}
        for _ in range(300):
            posts = [rng.randrange(16) & ~(1 << p) if rng.random() < 0.5 else 0 for p in Engine]
            takes = [0] * 4
            for (p, c), count in counts.items():
                if count and rng.random() < 0.5:
                    takes[c] |= 1 << p
            for e in Engine:
                ctx.set(dut.completions[e].valid, 1)
                ctx.set(dut.completions[e].post, posts[e])
                ctx.set(dut.take[e], takes[e])
            await ctx.tick()
            for p, c in counts:
                counts[p, c] += (posts[p] >> c & 1) - (takes[c] >> p & 1)
                assert ctx.get(dut.available[c]) >> p & 1 == (counts[p, c] > 0)
        for e in Engine:
            ctx.set(dut.completions[e].valid, 0)
            ctx.set(dut.take[e], 0)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert all(ctx.get(dut.available[e]) == 0 for e in Engine)
        ctx.set(dut.completions[Engine.LOAD].valid, 1)
        ctx.set(dut.completions[Engine.LOAD].post, 1 << Engine.STORE)
        await ctx.tick().repeat(TOKEN_LIMIT)
        assert not ctx.get(dut.overflow) and not ctx.get(dut.overflowed)
        await ctx.tick()
        assert ctx.get(dut.overflow) == 1 << Engine.LOAD
        assert ctx.get(dut.overflowed) == 1 << Engine.STORE

    simulate(dut, bench)
