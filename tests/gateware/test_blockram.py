"""Block RAM: generic logic, plain Verilog and the ECP5 block behave alike."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth.sim import Simulator

from accel.gateware.blockram import BlockRam
from accel.gateware.export import emit_verilog

CYCLES = 400
SHAPES = [  # width, depth, granularity
    (32, 512, None),
    (64, 512, 16),
    (96, 256, 32),
    (32, 1024, 16),
    (64, 2048, 32),
    (24, 2048, 8),
    (12, 4096, None),
    (5, 8192, None),
    (3, 16384, None),
]

BENCH = """
module bench;
  reg clk = 0;
  reg [{last}:0] stimuli [0:{cycles}-1];
  integer i;
  wire [{bits}-1:0] write_address, read_address;
  wire [{width}-1:0] write_data, read_data;
  wire [{enables}-1:0] read_parity;
  wire [{enables}-1:0] write_enable;
  assign {{write_enable, write_address, read_address, write_data}} = stimuli[i];
  top dut(.clk(clk), .write_enable(write_enable), .write_address(write_address),
    .read_address(read_address), .write_data(write_data), {parity}.read_data(read_data));
  initial begin
    $readmemh("stimuli.txt", stimuli);
    for (i = 0; i < {cycles}; i = i + 1) begin
      #1 clk = 1;
      #1 clk = 0; $display("%h", {{{shown}read_data}});
    end
    $finish;
  end
endmodule
"""


def stimuli(width, depth, granularity):
    """Return (enables, write address, read address, data) per cycle; no read meets a write."""
    rng = random.Random(width * depth)
    # Few places, so that reads find what was written: their bits are those of all addresses.
    places = [0, depth - 1, *(1 << i for i in range(depth.bit_length() - 1))]
    cycles = []
    for _ in range(CYCLES):
        write, read = rng.sample(places, 2)
        cycles.append((rng.getrandbits(width // granularity), write, read, rng.getrandbits(width)))
    return cycles


def expected(cycles, granularity):
    """Return the word read after each cycle, from the second on."""
    memory, words = {}, []
    for enables, write, read, data in cycles:
        words.append(memory.get(read, 0))
        mask = sum(
            ((1 << granularity) - 1) << i * granularity
            for i in range(enables.bit_length())
            if enables >> i & 1
        )
        memory[write] = memory.get(write, 0) & ~mask | data & mask
    return words[:-1]


def with_parity(word, width, granularity):
    """Return the word with a bit before it for each granule that has an odd number of ones."""
    granules = [word >> i & (1 << granularity) - 1 for i in range(0, width, granularity)]
    return word | sum(g.bit_count() % 2 << width + i for i, g in enumerate(granules))


@pytest.mark.parametrize("parity", [False, True], ids=["", "parity"])
@pytest.mark.parametrize(("width", "depth", "granularity"), SHAPES[:2])
def test_generic_logic(width, depth, granularity, parity):
    dut = BlockRam(width=width, depth=depth, granularity=granularity, parity=parity)
    cycles = stimuli(width, depth, granularity or width)
    words = []

    async def bench(ctx):
        for enables, write, read, data in cycles:
            ctx.set(dut.write_enable, enables)
            ctx.set(dut.write_address, write)
            ctx.set(dut.read_address, read)
            ctx.set(dut.write_data, data)
            await ctx.tick()
            words.append(ctx.get(dut.read_data))
            if parity:
                assert with_parity(words[-1], width, granularity or width) >> width == ctx.get(
                    dut.read_parity
                )

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert words[1:] == expected(cycles, granularity or width)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("parity", [False, True], ids=["", "parity"])
@pytest.mark.parametrize("block", [False, True], ids=["plain", "DP16KD"])
@pytest.mark.parametrize(("width", "depth", "granularity"), SHAPES)
def test_ecp5_module(tmp_path, width, depth, granularity, block, parity):
    dut = BlockRam(width=width, depth=depth, granularity=granularity, target="ecp5", parity=parity)
    granularity = granularity or width
    (tmp_path / "top.v").write_text(emit_verilog(dut, name="top"))
    bits, enables = depth.bit_length() - 1, width // granularity
    last = enables + 2 * bits + width - 1
    text = BENCH.format(
        bits=bits,
        width=width,
        enables=enables,
        last=last,
        cycles=CYCLES,
        parity=".read_parity(read_parity), " if parity else "",
        shown="read_parity, " if parity else "",
    )
    (tmp_path / "bench.v").write_text(text)
    cycles = stimuli(width, depth, granularity)
    lines = [
        f"{((enable << bits | write) << bits | read) << width | data:x}"
        for enable, write, read, data in cycles
    ]
    (tmp_path / "stimuli.txt").write_text("\n".join(lines) + "\n")
    extra = ["-DYOSYS", str(Path(__file__).with_name("dp16kd.v"))] if block else []
    command = ["iverilog", "-g2005-sv", "-s", "bench", "-o", "sim", *extra, "top.v", "bench.v"]
    subprocess.run(command, cwd=tmp_path, check=True)
    run = subprocess.run(["vvp", "sim"], cwd=tmp_path, check=True, capture_output=True, text=True)
    words = [int(line, 16) for line in run.stdout.splitlines()[1:]]
    right = expected(cycles, granularity)
    assert words == [with_parity(w, width, granularity) if parity else w for w in right]


def test_refuses_shapes():
    with pytest.raises(ValueError, match="Depth must be a power of two from 2, not 12"):
        BlockRam(width=8, depth=12)
    with pytest.raises(ValueError, match="Granularity must be a multiple of 8 that divides 32"):
        BlockRam(width=32, depth=16, granularity=4)
