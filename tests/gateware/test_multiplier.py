"""The multiplier: generic logic, plain Verilog and ECP5 primitives give the same products."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth.sim import Simulator

from accel.gateware.export import emit_verilog
from accel.gateware.multiplier import Multiplier

CYCLES = 200

BENCH = """
module bench;
  reg clk = 0;
  reg [{last}:0] stimuli [0:{cycles}-1];
  integer i;
  wire [{b}-1:0] b; wire [{a}-1:0] a; wire enable;
  wire signed [{a}+{b}-1:0] product;
  assign {{enable, a, b}} = stimuli[i];
  top dut(.clk(clk), .a(a), .b(b), .b_enable(enable), .product(product));
  initial begin
    $readmemb("stimuli.txt", stimuli);
    for (i = 0; i < {cycles}; i = i + 1) begin
      #1 clk = 1;
      #1 clk = 0; $display("%0d", product);
    end
    $finish;
  end
endmodule
"""


EVERY_PRODUCT = """
module bench;
  reg clk = 0;
  integer i, right = 0;
  wire signed [7:0] a = i[7:0], b = i[15:8];
  wire signed [15:0] product;
  reg signed [15:0] wanted, wanted_q;
  top dut(.clk(clk), .a(a), .b(b), .b_enable(1'b1), .product(product));
  initial begin
    for (i = 0; i < 65537; i = i + 1) begin
      #1 clk = 1; wanted_q = wanted; wanted = a * b;
      #1 clk = 0; if (product === wanted_q && i > 0) right = right + 1;
    end
    $display("%0d right", right);
    $finish;
  end
endmodule
"""

MODELS = [str(Path(__file__).with_name(name)) for name in ("mult18x18d.v", "ccu2c.v")]

icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed"
)


def stimuli(a_bits, b_bits):
    """Return (enable, a, b) per cycle: extremes and random values."""
    rng = random.Random(a_bits)

    def value(bits):
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        return rng.choice([low, high, 0, -1, rng.randint(low, high), rng.randint(low, high)])

    return [
        (int(i == 0 or rng.random() < 0.4), value(a_bits), value(b_bits)) for i in range(CYCLES)
    ]


def expected(cycles):
    """Return the product after each cycle, from the second on."""
    products, held, previous = [], 0, None
    for enable, a, b in cycles:
        held = b if enable else held
        products.append(previous)
        previous = a * held
    return products[1:]


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize(("a_bits", "b_bits"), [(8, 8), (18, 18), (18, 15)])
def test_generic_logic(a_bits, b_bits, pipelined):
    dut = Multiplier(a_bits=a_bits, b_bits=b_bits, pipelined=pipelined)
    cycles = stimuli(a_bits, b_bits)
    products = []

    async def bench(ctx):
        for enable, a, b in cycles:
            ctx.set(dut.b_enable, enable)
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            await ctx.tick()
            products.append(ctx.get(dut.product))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert products[1 + pipelined :] == expected(cycles)[: CYCLES - 1 - pipelined]


def simulate(directory, *sources, defines=()):
    """Return the lines that Icarus prints."""
    command = [
        "iverilog",
        "-g2005-sv",
        "-s",
        "bench",
        "-o",
        "sim",
        *(f"-D{d}" for d in defines),
        *sources,
    ]
    subprocess.run(command, cwd=directory, check=True)
    run = subprocess.run(["vvp", "sim"], cwd=directory, check=True, capture_output=True, text=True)
    return run.stdout.splitlines()


@icarus
@pytest.mark.parametrize("block", [False, True], ids=["plain", "primitives"])
@pytest.mark.parametrize(
    ("a_bits", "b_bits", "dsp", "pipelined"),
    [
        (8, 8, True, False),
        (18, 15, True, False),
        (9, 9, True, True),
        (8, 8, False, False),
        (9, 9, False, False),
        (9, 9, False, True),
        (18, 15, False, True),
    ],
)
def test_ecp5_module(tmp_path, a_bits, b_bits, dsp, pipelined, block):
    dut = Multiplier(a_bits=a_bits, b_bits=b_bits, target="ecp5", dsp=dsp, pipelined=pipelined)
    (tmp_path / "top.v").write_text(emit_verilog(dut, name="top"))
    text = BENCH.format(a=a_bits, b=b_bits, last=a_bits + b_bits, cycles=CYCLES)
    (tmp_path / "bench.v").write_text(text)
    cycles = stimuli(a_bits, b_bits)
    lines = [
        f"{enable}{a & (1 << a_bits) - 1:0{a_bits}b}{b & (1 << b_bits) - 1:0{b_bits}b}"
        for enable, a, b in cycles
    ]
    (tmp_path / "stimuli.txt").write_text("\n".join(lines) + "\n")
    extra = MODELS if block else []
    lines = simulate(tmp_path, *extra, "top.v", "bench.v", defines=["YOSYS"] * block)
    wanted = expected(cycles)[: CYCLES - 1 - pipelined]
    assert [int(line) for line in lines[1 + pipelined :]] == wanted


@icarus
@pytest.mark.parametrize("block", [False, True], ids=["plain", "primitives"])
def test_every_product_in_tables(tmp_path, block):
    dut = Multiplier(a_bits=8, b_bits=8, target="ecp5", dsp=False)
    (tmp_path / "top.v").write_text(emit_verilog(dut, name="top"))
    (tmp_path / "bench.v").write_text(EVERY_PRODUCT)
    extra = MODELS if block else []
    lines = simulate(tmp_path, *extra, "top.v", "bench.v", defines=["YOSYS"] * block)
    assert lines == ["65536 right"]


def test_refuses_wide_operands():
    with pytest.raises(ValueError, match="A bits must be from 1 to 18, not 19"):
        Multiplier(a_bits=19, b_bits=8)
