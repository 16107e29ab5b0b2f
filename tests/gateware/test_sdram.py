# amaranth: UnusedElaboratable=no
"""The SDRAM controller: right data, no rule of the part broken, and few cycles lost."""

import dataclasses
import functools
import itertools
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.errors import ConfigError, DeviceError
from accel.gateware.sdram import SdramController
from accel.gateware.sdram_parts import PARTS, SdramTiming
from accel.gateware.sdram_runs import RunArbiter, RunLayout
from sim.devices.sdramport import SdramPort, Transfer

ISSI = PARTS["IS42S16160G-7"]
ALLIANCE = PARTS["AS4C32M16SB-7"]
WINBOND = PARTS["W9825G6JH-6"]

# A beat of four words, and one of two with late data and the other CAS latency.
SETUPS = {
    "64 bits, 100 MHz": (ISSI, 100.0, {"data_bits": 64}),
    "32 bits, 140 MHz": (ALLIANCE, 140.0, {"data_bits": 32, "capture_delay": 1}),
}
LONG_SETUPS = {
    "128 bits, 133 MHz": (WINBOND, 133.0, {"data_bits": 128, "capture_delay": 2, "cas": 3}),
    "16 MHz": (ISSI, 16.0, {"data_bits": 64, "capture_delay": 4}),
    "32 bits, 166 MHz": (WINBOND, 166.0, {"data_bits": 32, "postpone": 1}),
}


@functools.cache
def port(name):
    part, clock, options = {**SETUPS, **LONG_SETUPS}[name]
    return SdramPort(part, clock, **options)


def random_burst(rng, bus_bytes, blocks):
    """Return a burst in one of `blocks` of 4 KiB: any alignment, short ones often."""
    first = rng.randrange(4096 // bus_bytes)
    most = min(256, 4096 // bus_bytes - first)
    beats = min(rng.choice([1, rng.randint(1, 4), rng.randint(1, 30), 256]), most)
    return rng.choice(blocks) + first * bus_bytes, beats


def random_traffic(rng, numbers, memory, bus_bytes, phases):
    """Return phases of reads and writes that touch different blocks, and what is read."""
    transfers, expected = [], []
    for _ in range(phases):
        # Blocks of 4 KiB lie in all four banks; those 4 KiB apart differ in the row.
        near = rng.randrange(1 << 10) * 4096
        blocks = [near + i * 4096 for i in range(4)] + [
            rng.randrange(len(memory) // 4096) * 4096 for _ in range(4)
        ]
        blocks = list(dict.fromkeys(blocks))
        rng.shuffle(blocks)
        written, read = blocks[:3], blocks[3:]
        mix = rng.choice([0.0, 0.3, 0.5, 1.0])
        for i in range(rng.randint(1, 12)):
            fence = i == 0
            if rng.random() < mix:
                address, beats = random_burst(rng, bus_bytes, written)
                size = beats * bus_bytes
                data = numbers.integers(0, 256, size, np.uint8)
                strobes = numbers.random(size) < rng.choice([0.0, 0.5, 1.0, 1.0])
                memory[address : address + size][strobes] = data[strobes]
                transfers.append(Transfer(address, beats, data, strobes, fence))
            else:
                address, beats = random_burst(rng, bus_bytes, read)
                expected.append(memory[address : address + beats * bus_bytes].copy())
                transfers.append(Transfer(address, beats, fence=fence))
    return transfers, np.concatenate(expected)


def check_random_traffic(name, stall, seed, phases):
    bench = port(name)
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    memory = bench.memory.copy()
    memory[: 1 << 22] = bench.memory[: 1 << 22] = numbers.integers(0, 256, 1 << 22, np.uint8)
    transfers, expected = random_traffic(rng, numbers, memory, bench.bus_bytes, phases)
    in_flight = rng.randint(1, 8)
    served = bench.run(
        transfers, in_flight=in_flight, read_stall=stall[0], write_stall=stall[1], seed=seed
    )
    assert np.array_equal(served.data, expected)
    assert np.array_equal(bench.memory, memory)


STALLS = {"never": (0, 0), "sometimes": (20, 20), "reads": (70, 0), "writes": (0, 90)}


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("name", SETUPS)
def test_random_traffic(name, stalls):
    check_random_traffic(name, STALLS[stalls], len(name) + len(stalls), 300)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", {**SETUPS, **LONG_SETUPS})
def test_much_random_traffic(name, seed):
    check_random_traffic(name, list(STALLS.values())[seed % 4], seed, 600)


def reads(size, total, bus_bytes=8, first=0):
    return [Transfer(first + i * size, size // bus_bytes) for i in range(total // size)]


@pytest.mark.parametrize("size", [64, 256, 2048])
def test_sequential_reads_stream(size):
    served = port("64 bits, 100 MHz").run(reads(size, 1 << 17))
    # Refreshes take about a hundredth; the first word, once, about twenty cycles.
    assert served.efficiency > 0.98
    assert served.counts.data_words == 1 << 16
    assert served.counts.reads == 1 << 14


def test_sequential_reads_stream_on_the_narrow_port():
    served = port("32 bits, 140 MHz").run(reads(1024, 1 << 17, bus_bytes=4))
    assert served.efficiency > 0.98


def test_rows_of_different_banks_are_opened_ahead():
    # Each burst of 64 bytes finds another row open, and the bank is not the one before.
    jumps = [(i % 4) * 1024 + ((i * 37) % 500) * 4096 for i in range(2000)]
    served = port("64 bits, 100 MHz").run([Transfer(address, 8) for address in jumps])
    assert served.counts.activates >= 2000
    assert served.efficiency > 0.96


def test_rows_of_one_bank_cost_their_time():
    jumps = [i * 4096 for i in range(500)]
    served = port("64 bits, 100 MHz").run([Transfer(address, 8) for address in jumps])
    # 28 from the first READ to the last, 4 to PRECHARGE, tRP 2, tRCD 2; and refreshes.
    assert 36 <= served.cycles / 500 <= 37.5


def mixed(numbers, write_size, read_size, count):
    result = []
    for i in range(count):
        result.append(Transfer(i * read_size, read_size // 8))
        data = numbers.integers(0, 256, write_size, np.uint8)
        result.append(Transfer((1 << 20) + i * write_size, write_size // 8, data))
    return result


@pytest.mark.parametrize("sizes", [(512, 512), (256, 1024), (2048, 2048)])
def test_reads_and_writes_side_by_side(sizes):
    transfers = mixed(np.random.default_rng(1), *sizes, 60)
    served = port("64 bits, 100 MHz").run(transfers)
    assert served.efficiency > 0.85


def test_neither_direction_starves():
    layout = RunLayout(part=ISSI, beat_words=4, id_bits=1)
    dut = RunArbiter(layout=layout, depth=32, read_turn=3, write_turn=2)
    order = []

    async def run(ctx):
        ctx.set(dut.reads.valid, 1)
        ctx.set(dut.writes.valid, 1)
        ctx.set(dut.writes.payload.write, 1)
        ctx.set(dut.runs.ready, 1)
        # Runs of one beat: data come and go as fast.
        ctx.set(dut.taken, 1)
        for _ in range(64):
            ctx.set(dut.stored, 1)
            *_, valid, run = await ctx.tick().sample(dut.runs.valid, dut.runs.payload)
            if valid:
                order.append("RW"[run.write])
            ctx.set(dut.taken, bool(valid and not run.write))

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(run)
    sim.run()
    turns = [(direction, len(list(runs))) for direction, runs in itertools.groupby(order)]
    assert turns[1:5] in ([("W", 2), ("R", 3)] * 2, [("R", 3), ("W", 2)] * 2)


def test_refreshes_while_idle_and_under_load():
    bench = port("64 bits, 100 MHz")
    # The model stops at a ninth missing refresh.
    bench.advance(100_000)
    for _ in range(3):
        before = bench.run(reads(2048, 1 << 16))
        assert (
            781 * (before.counts.refreshes - 5)
            < before.cycles
            < 781 * (before.counts.refreshes + 5)
        )


def test_latency():
    bench = port("64 bits, 100 MHz")
    numbers = np.random.default_rng(0)
    best = min(bench.run([Transfer(8 * int(i), 1)]).cycles for i in numbers.integers(0, 9, 9))
    assert best == 1 + 9 + 2 + 4


def test_wrong_capture_delay_is_seen():
    part, clock, options = SETUPS["32 bits, 140 MHz"]
    bench = SdramPort(part, clock, **options, wire_delay=3)
    bench.memory[:4096] = np.random.default_rng(0).integers(0, 256, 4096, np.uint8)
    assert not np.array_equal(bench.run(reads(1024, 4096, 4)).data, bench.memory[:4096])


# A part so slow that each of its times decides when some command comes.
SLOW = dataclasses.replace(
    ISSI, rcd_ns=40.0, rp_ns=40.0, ras_ns=120.0, rc_ns=160.0, rfc_ns=90.0, rrd_ns=40.0, wr_ns=40.0
)


@pytest.mark.full
@pytest.mark.parametrize(
    ("timing", "rule"),
    [
        ({}, ""),
        ({"rcd": 3}, "tRCD"),
        ({"rp": 3}, "tRP"),
        ({"ras": 11}, "tRAS"),
        ({"rfc": 8}, "tRFC"),
        ({"rrd": 3}, "tRRD"),
        ({"wr": 3}, "tWR"),
        ({"mrd": 1}, "tMRD"),
        ({"init": 100}, "init_wait"),
        ({"init_refreshes": 7}, "init_order"),
        ({"refresh": 1700}, "tREFI"),
    ],
)
def test_every_number_of_the_timing_matters(timing, rule):
    """A controller that is told a time one cycle too short breaks just that rule."""
    numbers, rng = np.random.default_rng(0), random.Random(3)
    try:
        bench = SdramPort(SLOW, 100.0, timing=timing)
        jumps = [(i % 4) * 1024 + rng.randrange(8000) * 4096 for i in range(500)]
        bench.run([Transfer(address, 1) for address in jumps])
        bench.run(random_traffic(rng, numbers, bench.memory.copy(), 8, 100)[0])
        bench.run(reads(2048, 1 << 17))
    except DeviceError as error:
        assert str(error).startswith(f"SDRAM: {rule}:")
    else:
        assert rule == ""


def test_timing_of_parts():
    assert SdramTiming.of(ISSI, 100.0).describe() == {
        "cas": 2,
        "rcd": 2,
        "rp": 2,
        "ras": 5,
        "rfc": 7,
        "rrd": 2,
        "mrd": 2,
        "wr": 2,
        "refresh": 781,
        "init": 20000,
        "init_refreshes": 8,
    }
    fast = SdramTiming.of(ALLIANCE, 140.0)
    assert (fast.cas, fast.rcd, fast.rp, fast.ras, fast.rfc) == (3, 3, 3, 6, 9)
    slow = SdramTiming.of(ISSI, 16.0)
    assert (slow.cas, slow.rcd, slow.rp, slow.ras, slow.wr, slow.refresh) == (2, 1, 1, 1, 2, 125)
    assert ISSI.bytes == 32 << 20 and ALLIANCE.bytes == 64 << 20


def test_impossible_timing():
    with pytest.raises(ConfigError, match="IS42S16160G-7 runs at up to 143 MHz, not 150: choose"):
        SdramTiming.of(ISSI, 150.0)
    with pytest.raises(ConfigError, match="has CAS latency 3 at 133 MHz, not 2"):
        SdramTiming.of(ISSI, 133.0, cas=2)
    with pytest.raises(ConfigError, match="has CAS latency 2 or 3 at 80 MHz, not 4"):
        SdramTiming.of(ISSI, 80.0, cas=4)


def test_wrong_parameters():
    timing = SdramTiming.of(ISSI, 100.0)
    with pytest.raises(ValueError, match="Capture delay must be from -2 to 8 half cycles, not 9"):
        SdramController(part=ISSI, timing=timing, data_bits=64, capture_delay=9)
    with pytest.raises(ValueError, match="Postponed refreshes must be from 1 to 8, not 9"):
        SdramController(part=ISSI, timing=timing, data_bits=64, postpone=9)
    with pytest.raises(ValueError, match="Data bits must be 1, 2, 4 or 8 words of 16 bits"):
        SdramController(part=ISSI, timing=timing, data_bits=256)
    layout = RunLayout(part=ISSI, beat_words=4, id_bits=1)
    with pytest.raises(ValueError, match="Depth must be at least 16 beats, not 8"):
        RunArbiter(layout=layout, depth=8)
    with pytest.raises(ValueError, match="Turns must be at least 1, not 0 and 4"):
        RunArbiter(layout=layout, depth=32, read_turn=0)
