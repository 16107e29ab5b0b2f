"""The load engine against a memory model: every width, stalls, faults, and cycles."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from accel.config import slot_bytes
from accel.gateware.axi import Response
from accel.gateware.load import LoadEngine
from accel.isa import COMMANDS, Engine, Space
from accel.regmap import Cause
from sim.benches.bursts import BurstMonitor
from sim.benches.transfers import Transfer, random_packing, random_transfer

STALLS = {"never": 0.0, "sometimes": 0.25, "often": 0.75}
MEMORY_BYTES = 1 << 15
MEMORY_BASE = 0x8000_0040
CHIP_WORDS = 1024
PORTS = ("scratchpad", "weights", "table", "program")


class Harness:
    """A load engine between a memory with latency and four on-chip memories."""

    def __init__(self, *, bus_bytes=8, rows=8, cols=8, in_flight=4, stalls="never", latency=3):
        self.dut = LoadEngine(
            bus_bytes=bus_bytes,
            rows=rows,
            cols=cols,
            scratchpad_words=CHIP_WORDS,
            weight_words=CHIP_WORDS,
            program_words=CHIP_WORDS,
            reads_in_flight=in_flight,
        )
        self.rng = random.Random(f"load {bus_bytes} {rows} {cols} {stalls}")
        self.slots = (slot_bytes(rows), slot_bytes(cols), 4, 4)
        self.widths = (rows, cols, 4, 4)
        self.memory = self.rng.randbytes(MEMORY_BYTES)
        self.monitor = BurstMonitor("read", bus_bytes, in_flight)
        self.written = []  # (cycle, space, address, data)
        self.complete = []  # (cycle, post, stamp)
        self.faults = []  # (cause, address)
        self.offer_cycle = None
        self.address_cycles = []
        self.first_beat = None
        self.bad_beats = ()
        self.cycle = 0
        self._bus_bytes = bus_bytes
        self._probability = STALLS[stalls]
        self._latency = latency

    def stall(self):
        return self.rng.random() < self._probability

    def transfer(self, space, **fields):
        zero = {f.name: 0 for f in COMMANDS[Engine.LOAD].fields}
        return Transfer(
            {**zero, "rows": 1, "planes": 1, "space": int(space), **fields}, self.slots[space]
        )

    def random_transfers(self, count, packings=0):
        """Return random commands, of which `packings` more pack."""
        spaces = [*Space, *self.rng.choices(list(Space), k=count)][:count]
        sizes = {"chip_words": 512, "memory_bytes": MEMORY_BYTES}
        transfers = [
            random_transfer(self.rng, slot=self.slots[s], space=s, **sizes) for s in spaces
        ]
        slot = self.slots[Space.SCRATCHPAD]
        transfers += [random_packing(self.rng, slot=slot, **sizes) for _ in range(packings)]
        self.rng.shuffle(transfers)
        return transfers

    def expected(self, transfers):
        return [
            (space, *word)
            for t in transfers
            for space in [t.fields["space"]]
            for word in t.loaded(lambda at, n: self.memory[at : at + n], self.widths[space])
        ]

    async def serve(self, ctx):
        axi = self.dut.axi
        ports = [getattr(self.dut, p).request for p in PORTS]
        beats = deque()  # (cycle from which on, data, last, response)
        held = False
        previous = None
        while True:
            ctx.set(axi.arready, not self.stall())
            if not held:
                held = bool(beats) and beats[0][0] <= self.cycle and not self.stall()
            ctx.set(axi.rvalid, held)
            if held:
                _, data, last, response = beats[0]
                ctx.set(axi.rdata, data)
                ctx.set(axi.rlast, last)
                ctx.set(axi.rresp, response)
            for port in ports:
                # The others are always ready.
                stall = port is self.dut.scratchpad.request and self.stall()
                ctx.set(port.ready, not stall)
            address = (axi.araddr, axi.arlen, axi.arsize, axi.arburst)
            sampled = await ctx.tick().sample(
                axi.arvalid,
                axi.arready,
                axi.rvalid,
                axi.rready,
                self.dut.complete,
                self.dut.fault,
                *address,
                *(s for p in ports for s in (p.valid, p.ready, p.payload)),
            )
            arvalid, arready, rvalid, rready, complete, fault = sampled[2:8]
            address, writes = sampled[8:12], sampled[12:]
            if previous is not None:
                assert arvalid and previous == address, "an offered address changed"
            previous = address if arvalid and not arready else None
            if arvalid and arready:
                self.address_cycles.append(self.cycle)
                self.monitor.address(*address)
                for i in range(address[1] + 1):
                    at = (address[0] + i * self._bus_bytes - MEMORY_BASE) % (1 << 32)
                    number = len(self.bad_beats) and self.monitor.beats + len(beats)
                    bad = self.bad_beats and number in self.bad_beats
                    beats.append(
                        (
                            self.cycle + self._latency,
                            int.from_bytes(self.memory[at : at + self._bus_bytes], "little"),
                            i == address[1],
                            Response.SLVERR if bad else Response.OKAY,
                        )
                    )
            if rvalid and rready:
                self.first_beat = self.cycle if self.first_beat is None else self.first_beat
                last = beats.popleft()[2]
                self.monitor.beat(last)
                if last:
                    self.monitor.done()
                held = False
            for space in range(4):
                valid, ready, word = writes[3 * space : 3 * space + 3]
                if valid and ready:
                    assert word.mask == 1
                    self.written.append((self.cycle, space, word.address, word.data))
            if complete.valid:
                self.complete.append((self.cycle, complete.post, complete.stamp))
            # A beat that waits says it again.
            if fault.valid and (fault.cause, fault.address) not in self.faults:
                self.faults.append((fault.cause, fault.address))
            self.cycle += 1
            assert self.cycle < 20000, "does not finish"

    async def push(self, ctx, transfer, post=0, stamp=0):
        command = self.dut.command
        registers = COMMANDS[Engine.LOAD].encode(transfer.fields)
        raw = sum(r << (32 * i) for i, r in enumerate(registers))
        ctx.set(command.payload.fields.as_value(), raw)
        ctx.set(command.payload.post, post)
        ctx.set(command.payload.stamp, stamp)
        ctx.set(command.valid, 1)
        self.offer_cycle = self.cycle
        await ctx.tick().until(command.ready)
        ctx.set(command.valid, 0)
        assert ctx.get(self.dut.busy), "not busy in the cycle after a command was taken"

    def run(self, body):
        sim = Simulator(self.dut)
        sim.add_clock(1e-8)
        sim.add_testbench(self.serve, background=True)

        async def testbench(ctx):
            ctx.set(self.dut.memory_base, MEMORY_BASE)
            await body(ctx)

        sim.add_testbench(testbench)
        sim.run()

    def run_transfers(self, transfers):
        tags = [(self.rng.randrange(16), self.rng.randrange(2)) for _ in transfers]

        async def body(ctx):
            for transfer, tag in zip(transfers, tags, strict=True):
                await self.push(ctx, transfer, *tag)
            while ctx.get(self.dut.busy):
                await ctx.tick()
            await ctx.tick()

        self.run(body)
        # Each memory's words in order; those of program memory come a cycle later.
        written = sorted((w[1:] for w in self.written), key=lambda word: word[0])
        assert written == sorted(self.expected(transfers), key=lambda word: word[0])
        assert [c[1:] for c in self.complete] == tags
        assert self.monitor.idle()


@pytest.mark.parametrize("word", [4, 8, 12, 16, 32])
@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_every_width(bus_bytes, word):
    harness = Harness(bus_bytes=bus_bytes, rows=word, cols=36 - word, stalls="sometimes")
    harness.run_transfers(harness.random_transfers(7, packings=4))
    assert harness.faults == []


@pytest.mark.parametrize("in_flight", [1, 5])
@pytest.mark.parametrize("stalls", list(STALLS))
def test_stalls_and_reads_in_flight(stalls, in_flight):
    harness = Harness(rows=12, cols=4, in_flight=in_flight, stalls=stalls)
    harness.run_transfers(harness.random_transfers(6, packings=4))


@pytest.mark.parametrize(
    ("bus_bytes", "rows", "words", "count"),
    [(8, 8, 600, 1), (4, 16, 100, 1), (16, 4, 400, 1), (8, 8, 16, 16), (16, 8, 9, 20)],
)
def test_throughput(bus_bytes, rows, words, count):
    """Long rows, and short ones with a stride, keep the bus or the memory busy."""
    harness = Harness(bus_bytes=bus_bytes, rows=rows, latency=20)
    slot = slot_bytes(rows)
    stride = (words + 3) * slot
    transfer = harness.transfer(
        Space.SCRATCHPAD,
        words=words,
        rows=count,
        memory_step_row=stride,
        chip_step_row=words,
    )
    harness.run_transfers([transfer])
    least = max(transfer.beats(bus_bytes), words * count)
    spent = harness.written[-1][0] - harness.first_beat
    # Four bursts of 16 beats cover twenty cycles of latency; of 5 beats they do not.
    bubbles = 2 if transfer.beats(bus_bytes) // count >= 8 else 6 * count
    assert least <= spent + 1 <= least + 1 + bubbles


@pytest.mark.parametrize(
    ("rows", "step", "words", "count", "most"),
    [(16, 3, 32, 12, 34), (16, 6, 48, 12, 51), (8, 3, 32, 12, 34), (16, 1, 49, 12, 51)],
)
def test_packing_throughput(rows, step, words, count, most):
    """First layers of three channels, stride 1 and 2, and of one: about a cycle a word."""
    harness = Harness(bus_bytes=8, rows=rows, latency=20)
    length = step * words
    transfer = harness.transfer(
        Space.SCRATCHPAD,
        words=words,
        rows=count,
        memory_address=1,
        memory_step_row=length,
        chip_step_row=words,
        pack_bytes=length,
        pack_lead=min(step, 3),
        pack_step=step,
        pack_tail=slot_bytes(rows),
    )
    harness.run_transfers([transfer])
    assert harness.written[-1][0] - harness.first_beat <= most * count


def test_first_address_comes_four_cycles_after_its_command():
    harness = Harness()
    harness.run_transfers([harness.transfer(Space.TABLE, words=4)])
    assert harness.address_cycles[0] - harness.offer_cycle == 4


def test_completion_is_two_cycles_after_the_last_word():
    harness = Harness()
    harness.run_transfers([harness.transfer(Space.WEIGHTS, words=9, memory_address=8)])
    assert harness.complete[0][0] == harness.written[-1][0] + 2


def test_addresses_of_the_next_command_go_out_while_data_arrive():
    harness = Harness(latency=30)
    transfers = [
        harness.transfer(Space.SCRATCHPAD, words=8, memory_address=4096 * i) for i in range(3)
    ]
    harness.run_transfers(transfers)
    assert harness.address_cycles[-1] < harness.first_beat


def test_error_response_is_reported_and_the_engine_goes_on():
    harness = Harness()
    harness.bad_beats = {3}
    transfers = [
        harness.transfer(Space.SCRATCHPAD, words=6, memory_address=0x1FE8 - MEMORY_BASE % 4096),
        harness.transfer(Space.TABLE, words=3, memory_address=0x100),
    ]
    harness.run_transfers(transfers)
    second_burst = (MEMORY_BASE & ~0xFFF) + 0x2000
    assert harness.faults == [(Cause.READ_RESPONSE, second_burst)]


@pytest.mark.parametrize("stalls", list(STALLS))
def test_boot_fills_program_memory_and_is_no_command(stalls):
    harness = Harness(stalls=stalls)
    pulses = 0

    async def body(ctx):
        nonlocal pulses
        boot = harness.dut.boot
        # What the command's registers hold does not matter.
        ctx.set(harness.dut.command.payload.fields.as_value(), -1)
        ctx.set(boot.payload.memory_address, 0x104)
        ctx.set(boot.payload.words, 21)
        ctx.set(boot.valid, 1)
        await ctx.tick().until(boot.ready)
        ctx.set(boot.valid, 0)
        while ctx.get(harness.dut.busy):
            pulses += ctx.get(harness.dut.boot_complete)
            await ctx.tick()
        await harness.push(ctx, command, post=5)
        await ctx.tick().repeat(200)

    command = harness.transfer(Space.WEIGHTS, words=2)
    harness.run(body)
    booted = harness.transfer(Space.PROGRAM, words=21, memory_address=0x104)
    assert [w[1:] for w in harness.written] == harness.expected([booted, command])
    assert pulses == 1
    assert [c[1:] for c in harness.complete] == [(5, 0)]


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
