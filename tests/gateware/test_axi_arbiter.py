"""The AXI4 arbiter: two managers' random traffic arrives whole, in order and at the right place."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from accel.gateware.axi_arbiter import Axi4Arbiter

CYCLES = 600


class Channel:
    """Drives one valid/ready channel, by a chance, and holds what it offers."""

    def __init__(self, rng, chance, port, prefix, names):
        self.rng, self.chance, self.names = rng, chance, names
        self.valid, self.ready = getattr(port, f"{prefix}valid"), getattr(port, f"{prefix}ready")
        self.signals = [getattr(port, prefix + name) for name in names]
        self.queue = deque()
        self.offered = None

    def drive(self, ctx):
        if self.offered is None and self.queue and self.rng.random() < self.chance:
            self.offered = self.queue[0]
            for signal, value in zip(self.signals, self.offered, strict=True):
                ctx.set(signal, value)
        ctx.set(self.valid, self.offered is not None)

    def sample(self, ctx):
        if self.offered is not None and ctx.get(self.ready):
            self.offered = None
            return self.queue.popleft()
        return None


class Sink:
    """Takes one valid/ready channel, by a chance; what is offered must stay until it is taken."""

    def __init__(self, rng, chance, port, prefix, names):
        self.rng, self.chance = rng, chance
        self.valid, self.ready = getattr(port, f"{prefix}valid"), getattr(port, f"{prefix}ready")
        self.signals = [getattr(port, prefix + name) for name in names]
        self.held = None

    def drive(self, ctx):
        ctx.set(self.ready, self.rng.random() < self.chance)

    def sample(self, ctx):
        valid, ready = ctx.get(self.valid), ctx.get(self.ready)
        values = tuple(ctx.get(signal) for signal in self.signals)
        assert self.held is None or (valid and values == self.held)
        self.held = values if valid and not ready else None
        return values if valid and ready else None


ADDRESS = ("addr", "len", "id")


@pytest.mark.parametrize("chance", [1.0, 0.7, 0.3], ids=["never", "sometimes", "often"])
def test_traffic(chance):
    dut = Axi4Arbiter(data_bits=32, id_bits=1, writes_in_flight=3)
    rng = random.Random(f"arbiter {chance}")
    managers = (dut.first, dut.second)
    reads = [Channel(rng, chance, p, "ar", ADDRESS) for p in managers]
    writes = [Channel(rng, chance, p, "aw", ADDRESS) for p in managers]
    beats = [Channel(rng, chance, p, "w", ("data", "strb", "last")) for p in managers]
    read_out = Sink(rng, chance, dut.merged, "ar", ADDRESS)
    write_out = Sink(rng, chance, dut.merged, "aw", ADDRESS)
    beat_out = Sink(rng, chance, dut.merged, "w", ("data", "strb", "last"))
    read_in = Channel(rng, chance, dut.merged, "r", ("id", "data", "resp", "last"))
    write_in = Channel(rng, chance, dut.merged, "b", ("id", "resp"))
    answers = [Sink(rng, chance, p, "r", ("id", "data", "resp", "last")) for p in managers]
    acks = [Sink(rng, chance, p, "b", ("id", "resp")) for p in managers]
    everything = [*reads, *writes, *beats, read_out, write_out, beat_out, read_in, write_in]
    everything += [*answers, *acks]

    async def bench(ctx):
        expected_reads = [deque(), deque()]
        expected_acks = [deque(), deque()]
        open_writes = deque()
        counts = [[0, 0], [0, 0]]
        order = []
        for cycle in range(CYCLES):
            room = cycle < CYCLES - 200 and len(read_in.queue) < 20
            for number in range(2):
                if room and len(reads[number].queue) < 2:
                    reads[number].queue.append((rng.getrandbits(32), rng.randrange(3), number ^ 1))
                if cycle < CYCLES - 200 and len(writes[number].queue) < 2:
                    length = rng.randrange(3)
                    writes[number].queue.append((rng.getrandbits(32), length, rng.getrandbits(1)))
                    for beat in range(length + 1):
                        strobe = rng.randrange(16)
                        # The top bit says whose it is.
                        data = number << 31 | rng.getrandbits(31)
                        beats[number].queue.append((data, strobe, int(beat == length)))
            for channel in everything:
                channel.drive(ctx)
            await ctx.delay(1e-8)
            taken = {channel: channel.sample(ctx) for channel in everything}
            for number in range(2):
                if (request := taken[reads[number]]) is not None:
                    where, length, identity = request
                    assert taken[read_out] == (where, length, identity | number << 1)
                    order.append(number)
                    counts[0][number] += 1
                    for beat in range(length + 1):
                        answer = (rng.getrandbits(32), rng.randrange(4), int(beat == length))
                        read_in.queue.append((identity | number << 1, *answer))
                        expected_reads[number].append((identity, *answer))
                if (request := taken[writes[number]]) is not None:
                    where, length, identity = request
                    assert taken[write_out] == (where, length, identity | number << 1)
                    open_writes.append((number, identity))
                    counts[1][number] += 1
                if (beat := taken[beats[number]]) is not None:
                    assert taken[beat_out] == beat and open_writes[0][0] == number
                    if beat[2]:
                        _, identity = open_writes.popleft()
                        response = rng.randrange(4)
                        write_in.queue.append((identity | number << 1, response))
                        expected_acks[number].append((identity, response))
                if (answer := taken[answers[number]]) is not None:
                    assert answer == expected_reads[number].popleft()
                if (ack := taken[acks[number]]) is not None:
                    assert ack == expected_acks[number].popleft()
            assert (taken[beat_out] is None) == all(taken[b] is None for b in beats)
            assert len(open_writes) <= 3
            await ctx.tick()
        assert not any([*expected_reads, *expected_acks, open_writes])
        assert min(counts[0] + counts[1]) > 20
        if chance == 1.0:
            # Both always ask: they take turns.
            assert all(a != b for a, b in zip(order[2:40], order[3:41], strict=True))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_refuses():
    with pytest.raises(ValueError, match="AXI4 data bits must be one of 32, 64, 128, not 16"):
        Axi4Arbiter(data_bits=16)
    with pytest.raises(ValueError, match="Writes in flight must be at least 1, not 0"):
        Axi4Arbiter(data_bits=32, writes_in_flight=0)
