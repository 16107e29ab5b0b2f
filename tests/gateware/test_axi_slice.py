"""The AXI4 register slice: every channel's transfers arrive in order, none changed or lost."""

import random

import pytest
from amaranth.sim import Simulator

from accel.gateware.axi_slice import Axi4RegisterSlice
from tests.gateware.test_axi_arbiter import Channel, Sink

CYCLES = 400
ADDRESS = ("id", "addr", "len", "size", "burst", "lock", "cache", "prot", "qos")
CHANNELS = {
    "aw": ADDRESS,
    "ar": ADDRESS,
    "w": ("data", "strb", "last"),
    "b": ("id", "resp"),
    "r": ("id", "data", "resp", "last"),
}


@pytest.mark.parametrize("chance", [1.0, 0.7, 0.3], ids=["never", "sometimes", "often"])
def test_traffic(chance):
    dut = Axi4RegisterSlice(data_bits=32, id_bits=2)
    rng = random.Random(f"slice {chance}")
    sides = {"b": (dut.m_axi, dut.s_axi), "r": (dut.m_axi, dut.s_axi)}
    pairs = []
    for channel, names in CHANNELS.items():
        source, target = sides.get(channel, (dut.s_axi, dut.m_axi))
        pairs.append(
            (
                Channel(rng, chance, source, channel, names),
                Sink(rng, chance, target, channel, names),
            )
        )

    async def bench(ctx):
        sent = [[] for _ in pairs]
        got = [[] for _ in pairs]
        for _cycle in range(CYCLES):
            for number, (source, target) in enumerate(pairs):
                source.queue.append(tuple(rng.getrandbits(len(s)) for s in source.signals))
                source.drive(ctx)
                target.drive(ctx)
                for side, seen in ((source, sent), (target, got)):
                    transfer = side.sample(ctx)
                    if transfer is not None:
                        seen[number].append(transfer)
            await ctx.tick()
        for number, transfers in enumerate(sent):
            waiting = len(transfers) - len(got[number])
            assert 0 <= waiting <= 2
            assert got[number] == transfers[: len(got[number])]
            if chance == 1.0:
                assert len(got[number]) == CYCLES - 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
