"""The ring of bytes: every place, words narrower and wider than a beat."""

import random

import pytest
from amaranth.sim import Simulator

from accel.gateware.bytebuffer import ByteBuffer


@pytest.mark.parametrize("word_bytes", [4, 8, 16, 32])
@pytest.mark.parametrize("beat_bytes", [4, 8, 16])
def test_reads_any_place(beat_bytes, word_bytes):
    rng = random.Random(f"{beat_bytes} {word_bytes}")
    dut = ByteBuffer(beat_bytes=beat_bytes, word_bytes=word_bytes)
    ring = rng.randbytes(dut.capacity)

    async def testbench(ctx):
        ctx.set(dut.write, 1)
        for beat in range(dut.capacity // beat_bytes):
            ctx.set(dut.beat, beat)
            content = ring[beat * beat_bytes : (beat + 1) * beat_bytes]
            ctx.set(dut.data, int.from_bytes(content, "little"))
            await ctx.tick()
        ctx.set(dut.write, 0)
        pipeline = []
        for place in rng.sample(range(dut.capacity), k=dut.capacity):
            ctx.set(dut.place, place)
            while rng.random() < 0.3:  # nothing moves
                await ctx.tick()
            ctx.set(dut.move, 1)
            await ctx.tick()
            ctx.set(dut.move, 0)
            pipeline.append((ring + ring)[place : place + word_bytes])
            if len(pipeline) > 1:
                assert ctx.get(dut.word) == int.from_bytes(pipeline.pop(0), "little")

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((8, 12), "Word bytes must be a power of two from 4, not 12"), ((2, 8), "Beat bytes must")],
)
def test_refuses_what_it_cannot_do(sizes, message):
    with pytest.raises(ValueError, match=message):
        ByteBuffer(beat_bytes=sizes[0], word_bytes=sizes[1])
