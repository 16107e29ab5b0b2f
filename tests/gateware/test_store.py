"""The store engine against a memory model: every width, stalls, faults, and cycles."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from accel.config import slot_bytes
from accel.gateware.axi import Response
from accel.gateware.ports import SCRATCHPAD_LATENCY
from accel.gateware.store import StoreEngine
from accel.isa import COMMANDS, Engine
from accel.regmap import Cause
from sim.benches.bursts import BurstMonitor
from sim.benches.transfers import Transfer, random_transfer

STALLS = {"never": 0.0, "sometimes": 0.25, "often": 0.75}
MEMORY_BYTES = 1 << 15
MEMORY_BASE = 0x8000_0040
CHIP_WORDS = 1024


class Harness:
    """A store engine between a scratchpad and a memory with latency."""

    def __init__(self, *, bus_bytes=8, rows=8, in_flight=4, stalls="never", latency=3):
        self.dut = StoreEngine(
            bus_bytes=bus_bytes,
            rows=rows,
            scratchpad_words=CHIP_WORDS,
            writes_in_flight=in_flight,
        )
        self.rng = random.Random(f"store {bus_bytes} {rows} {stalls}")
        self.slot = slot_bytes(rows)
        self.chip = [self.rng.getrandbits(8 * rows) for _ in range(CHIP_WORDS)]
        self.memory = bytearray(self.rng.randbytes(MEMORY_BYTES))
        self.monitor = BurstMonitor("write", bus_bytes, in_flight)
        self.complete = []  # (cycle, post, stamp)
        self.responses = []  # cycles
        self.faults = []  # (cause, address)
        self.bad_bursts = ()
        self.counted_beats = 0
        self.address_cycles = []
        self.data_cycles = []
        self.offer_cycle = None
        self.cycle = 0
        self._bus_bytes = bus_bytes
        self._probability = STALLS[stalls]
        self._latency = latency

    def stall(self):
        return self.rng.random() < self._probability

    def transfer(self, **fields):
        zero = {f.name: 0 for f in COMMANDS[Engine.STORE].fields}
        return Transfer({**zero, "rows": 1, "planes": 1, **fields}, self.slot)

    def random_transfers(self, count):
        sizes = {"slot": self.slot, "chip_words": CHIP_WORDS, "memory_bytes": MEMORY_BYTES}
        return [random_transfer(self.rng, **sizes) for _ in range(count)]

    def expected(self, transfers):
        memory = bytearray(self.memory)
        for transfer in transfers:
            for at, chip in transfer.moves:
                memory[at : at + self.slot] = self.chip[chip].to_bytes(self.slot, "little")
        return memory

    async def serve_scratchpad(self, ctx):
        port = self.dut.scratchpad
        pipeline = deque([None] * (SCRATCHPAD_LATENCY - 1))
        while True:
            response = pipeline.popleft()
            ctx.set(port.response.valid, response is not None)
            ctx.set(port.response.data, response or 0)
            ctx.set(port.request.ready, not self.stall())
            _, _, valid, ready, address = await ctx.tick().sample(
                port.request.valid, port.request.ready, port.request.payload
            )
            pipeline.append(self.chip[address] if valid and ready else None)

    async def serve_memory(self, ctx):
        axi = self.dut.axi
        names = ("awaddr", "awlen", "awsize", "awburst", "wdata", "wstrb", "wlast")
        names += tuple(f"{c}{s}" for c in ("aw", "w", "b") for s in ("valid", "ready"))
        addresses, data = deque(), deque()
        responses = deque()  # (cycle from which on, response)
        held, number = False, 0
        previous = {}
        while True:
            ctx.set(axi.awready, not self.stall())
            ctx.set(axi.wready, not self.stall())
            if not held:
                held = bool(responses) and responses[0][0] <= self.cycle and not self.stall()
            ctx.set(axi.bvalid, held)
            ctx.set(axi.bresp, responses[0][1] if held else Response.OKAY)
            _, _, complete, fault, beat, *values = await ctx.tick().sample(
                self.dut.complete,
                self.dut.fault,
                self.dut.write_beat,
                *(getattr(axi, n) for n in names),
            )
            v = dict(zip(names, values, strict=True))
            for channel in ("aw", "w"):
                payload = [v[n] for n in names[:7] if n.startswith(channel)]
                if channel in previous:
                    assert v[f"{channel}valid"] and payload == previous[channel], "changed offer"
                previous.pop(channel, None)
                if v[f"{channel}valid"] and not v[f"{channel}ready"]:
                    previous[channel] = payload
            if v["awvalid"] and v["awready"]:
                self.address_cycles.append(self.cycle)
                self.monitor.address(*values[:4])
                addresses.extend(v["awaddr"] + i * self._bus_bytes for i in range(v["awlen"] + 1))
            if v["wvalid"]:
                offered = len(addresses) + (v["awvalid"] and not v["awready"]) * 256
                assert offered > len(data), "data before their address"
            if v["wvalid"] and v["wready"]:
                self.data_cycles.append(self.cycle)
                self.monitor.beat(bool(v["wlast"]))
                data.append((v["wdata"], v["wstrb"], v["wlast"]))
            while addresses and data:
                at = addresses.popleft() - MEMORY_BASE
                word, strobe, last = data.popleft()
                for i in range(self._bus_bytes):
                    if strobe >> i & 1:
                        self.memory[at + i] = word >> (8 * i) & 0xFF
                if last:
                    bad = number in self.bad_bursts
                    code = Response.SLVERR if bad else Response.OKAY
                    responses.append((self.cycle + self._latency, code))
                    number += 1
            if v["bvalid"] and v["bready"]:
                responses.popleft()
                self.responses.append(self.cycle)
                self.monitor.done()
                held = False
            if complete.valid:
                self.complete.append((self.cycle, complete.post, complete.stamp))
            if fault.valid:
                self.faults.append((fault.cause, fault.address))
            self.counted_beats += beat
            self.cycle += 1
            assert self.cycle < 20000, "does not finish"

    async def push(self, ctx, transfer, post, stamp):
        command = self.dut.command
        registers = COMMANDS[Engine.STORE].encode(transfer.fields)
        raw = sum(r << (32 * i) for i, r in enumerate(registers))
        ctx.set(command.payload.fields.as_value(), raw)
        ctx.set(command.payload.post, post)
        ctx.set(command.payload.stamp, stamp)
        ctx.set(command.valid, 1)
        self.offer_cycle = self.cycle
        await ctx.tick().until(command.ready)
        ctx.set(command.valid, 0)
        assert ctx.get(self.dut.busy), "not busy in the cycle after a command was taken"

    def run_transfers(self, transfers):
        tags = [(self.rng.randrange(16), self.rng.randrange(2)) for _ in transfers]
        expected = self.expected(transfers)

        async def testbench(ctx):
            ctx.set(self.dut.memory_base, MEMORY_BASE)
            for transfer, tag in zip(transfers, tags, strict=True):
                await self.push(ctx, transfer, *tag)
            while ctx.get(self.dut.busy):
                await ctx.tick()
            await ctx.tick().repeat(2)

        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        sim.add_testbench(self.serve_scratchpad, background=True)
        sim.add_testbench(self.serve_memory, background=True)
        sim.add_testbench(testbench)
        sim.run()
        assert self.memory == expected
        assert [c[1:] for c in self.complete] == tags
        assert self.monitor.idle()
        assert self.counted_beats == self.monitor.beats


@pytest.mark.parametrize("rows", [4, 8, 12, 16, 32])
@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_every_width(bus_bytes, rows):
    harness = Harness(bus_bytes=bus_bytes, rows=rows, stalls="sometimes")
    harness.run_transfers(harness.random_transfers(6))
    assert harness.faults == []


@pytest.mark.parametrize("in_flight", [1, 5])
@pytest.mark.parametrize("stalls", list(STALLS))
def test_stalls_and_writes_in_flight(stalls, in_flight):
    harness = Harness(rows=4, in_flight=in_flight, stalls=stalls)
    harness.run_transfers(harness.random_transfers(6))


@pytest.mark.parametrize(
    ("bus_bytes", "rows", "words", "count"),
    [(8, 8, 600, 1), (4, 16, 100, 1), (16, 4, 400, 1), (8, 8, 16, 12), (16, 8, 9, 12)],
)
def test_throughput(bus_bytes, rows, words, count):
    """Long rows, and short ones with a stride, keep the bus or the scratchpad busy."""
    harness = Harness(bus_bytes=bus_bytes, rows=rows)
    stride = (words + 3) * harness.slot
    transfer = harness.transfer(words=words, rows=count, memory_step_row=stride)
    harness.run_transfers([transfer])
    least = max(transfer.beats(bus_bytes), words * count)
    spent = harness.data_cycles[-1] - harness.data_cycles[0] + 1
    # The first beat is there when its last word is.
    words_before = max(1, bus_bytes // harness.slot) - 1
    assert least - words_before <= spent <= least


def test_first_address_comes_four_cycles_after_its_command():
    harness = Harness()
    harness.run_transfers([harness.transfer(words=4)])
    assert harness.address_cycles[0] - harness.offer_cycle == 4


def test_data_do_not_wait_for_responses():
    harness = Harness(latency=200)
    harness.run_transfers([harness.transfer(words=8, rows=4, memory_step_row=4096)])
    assert harness.data_cycles[-1] < harness.responses[0]


def test_completion_follows_the_last_response():
    harness = Harness(latency=50)
    harness.run_transfers([harness.transfer(words=8, rows=3, memory_step_row=4096)])
    assert harness.complete[0][0] == harness.responses[-1] + 2


def test_bytes_past_a_word_are_zero():
    harness = Harness(rows=12)
    harness.run_transfers([harness.transfer(words=5, memory_address=64)])
    assert all(
        bytes(harness.memory[64 + 16 * i + 12 : 64 + 16 * i + 16]) == bytes(4) for i in range(5)
    )


def test_error_response_is_reported_and_the_engine_goes_on():
    harness = Harness()
    harness.bad_bursts = {1}
    start = 0x1FE8 - MEMORY_BASE % 4096
    transfers = [
        harness.transfer(words=6, memory_address=start),
        harness.transfer(words=3, memory_address=0x100),
    ]
    harness.run_transfers(transfers)
    second_burst = (MEMORY_BASE & ~0xFFF) + 0x2000
    assert harness.faults == [(Cause.WRITE_RESPONSE, second_burst)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bus_bytes": 2}, "Bus bytes must be one of 4, 8, 16, not 2"),
        ({"rows": 64}, "SCRATCHPAD slot must be one of 4, 8, 16, 32, not 64"),
        ({"in_flight": 0}, "Bursts in flight must be at least 1, not 0"),
    ],
)
def test_refuses_what_it_cannot_do(parameters, message):
    with pytest.raises(ValueError, match=message):
        Harness(**parameters)
