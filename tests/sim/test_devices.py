"""The RTL devices' memory, registers and AXI checks, on a stand-in for the accelerator."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accel.config import PRESETS
from accel.errors import DeviceError
from accel.regmap import address
from sim.devices import open_device
from sim.devices.cache import cached_file, digest_of

TOY = Path(__file__).with_name("toy.v").read_text()
CONFIG = PRESETS["test"]
WORDS = 256
RTL = pytest.mark.parametrize("name", ["verilator", "icarus"])


def start(dut, source=0x1000, words=WORDS, fault=0):
    dut.write_register(address("PROGRAM_ADDRESS"), source)
    dut.write_register(address("PROGRAM_WORDS"), words)
    dut.write_register(address("STAMP_INDEX"), fault)
    dut.write_register(address("CONTROL"), 1)


@RTL
@pytest.mark.parametrize("stalls", ["never", "sometimes", "often"])
def test_a_copy_arrives_with_exact_strobes(device, name, stalls):
    dut = device(name, CONFIG, verilog=TOY, stalls=stalls, seed=1, memory_bytes=1 << 16)
    data = np.random.default_rng(1).integers(0, 256, 4 * WORDS, np.uint8)
    dut.write_memory(0x1000, data)
    dut.write_memory(0x3000, b"\xaa" * 2048)
    start(dut)
    assert dut.read_register(address("PROGRAM_WORDS")) == WORDS
    dut.wait(20_000)
    # The stand-in does not write the two lowest bytes.
    assert dut.read_memory(0x3000, 2048) == b"\xaa\xaa" + data.tobytes()[2:] + b"\xaa" * 1024
    assert dut.read_register(address("CAUSE")) == 0
    dut.write_register(address("CONTROL"), 4)
    with pytest.raises(DeviceError, match="no interrupt within 50 cycles"):
        dut.wait(50)


@RTL
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (1, "wlast"),
        (2, "not INCR"),
        (3, "ar beats of 2 bytes|beats narrower"),
        (4, "ar changed before it was accepted"),
    ],
)
def test_a_broken_rule_of_axi_stops_the_simulation(device, name, fault, message):
    dut = device(name, CONFIG, verilog=TOY, stalls="often", seed=5, memory_bytes=1 << 20)
    with pytest.raises(DeviceError, match=message):
        for _ in range(20):  # a request that is taken at once has no time to change
            start(dut, fault=fault)
            dut.wait(20_000)
            dut.write_register(address("CONTROL"), 4)


@RTL
def test_a_burst_across_4_kib_stops_the_simulation(device, name):
    dut = device(name, CONFIG, verilog=TOY, memory_bytes=1 << 16)
    with pytest.raises(DeviceError, match="crosses 4 KiB"):
        start(dut, source=0x1D00)
        dut.wait(1000)


@RTL
def test_addresses_outside_get_a_decode_error(device, name):
    dut = device(name, CONFIG, verilog=TOY, memory_bytes=1 << 16)
    start(dut, source=1 << 16)
    dut.wait(2000)
    assert dut.read_register(address("CAUSE")) == 3


@RTL
def test_memory_base_moves_the_memory(device, name):
    dut = device(name, CONFIG, verilog=TOY, memory_bytes=1 << 16, memory_base=0x8000_0000)
    dut.write_memory(0x8000_1000, b"some words here.")
    dut.write_register(address("MEMORY_BASE"), 0x8000_0000)
    start(dut, words=4)
    dut.wait(2000)
    assert dut.read_memory(0x8000_3002, 14) == b"me words here."
    with pytest.raises(DeviceError, match="outside the memory"):
        dut.read_memory(0, 4)


@RTL
def test_an_engine_that_never_ends_is_a_timeout(device, name):
    dut = device(name, CONFIG, verilog=TOY, memory_bytes=1 << 16)
    start(dut, fault=5)
    with pytest.raises(DeviceError, match="no interrupt within 1000 cycles"):
        dut.wait(1000)


@RTL
def test_unknown_registers_and_closed_devices_are_errors(device, name):
    dut = device(name, CONFIG, verilog=TOY, memory_bytes=1 << 16)
    for offset in (0x8C, 0x68, 1):
        with pytest.raises(DeviceError, match="there is no register"):
            dut.read_register(offset)
    dut.close()
    dut.close()
    with pytest.raises(DeviceError, match="closed"):
        dut.read_register(0)


def test_latency_is_counted_in_cycles(device):
    cycles = []
    for latency in (1, 20, 120):
        dut = device("verilator", CONFIG, verilog=TOY, latency=latency, memory_bytes=1 << 16)
        start(dut)
        before = dut.simulated_cycles
        dut.wait(10_000)
        cycles.append(dut.simulated_cycles - before)
    # One read burst and one write burst, each delayed once.
    assert np.diff(cycles).tolist() == [2 * 19, 2 * 100]
    assert 2 * WORDS < cycles[0] < 2 * WORDS + 20


def test_the_same_seed_gives_the_same_run(device):
    cycles = []
    for seed in (1, 1, 2):
        dut = device(
            "verilator", CONFIG, verilog=TOY, stalls="often", seed=seed, memory_bytes=1 << 16
        )
        start(dut)
        dut.wait(10_000)
        cycles.append(dut.simulated_cycles)
    assert cycles[0] == cycles[1] != cycles[2]


@RTL
def test_waves_are_written_on_request(device, name, tmp_path):
    path = tmp_path / "waves.vcd"
    dut = device(name, CONFIG, verilog=TOY, trace=path, memory_bytes=1 << 16)
    start(dut, words=4)
    dut.wait(2000)
    dut.close()
    assert "m_axi_araddr" in path.read_text()


def test_icarus_refuses_to_read_undefined_memory(device):
    leaky = TOY.replace("buffer[count[7:0]] <= m_axi_rdata", "buffer[count[7:0]] <= 32'hx")
    dut = device("icarus", CONFIG, verilog=leaky, memory_bytes=1 << 16)
    start(dut, words=4)
    dut.wait(2000)
    with pytest.raises(DeviceError, match="the byte at 0x3002 is undefined"):
        dut.read_memory(0x3000, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency": 0}, "latency must be from 1"),
        ({"stalls": "always"}, "stalls must be one of never, sometimes, often"),
        ({"memory_base": 64}, "multiples of 4096"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(DeviceError, match=message):
        open_device("verilator", CONFIG, verilog=TOY, **options)


def test_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="unknown device fpga: use model, verilator, icarus"):
        open_device("fpga", CONFIG)


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="install Icarus Verilog"):
        open_device("icarus", CONFIG, verilog=TOY)
    with pytest.raises(DeviceError, match=r"install g\+\+"):
        open_device("verilator", dataclasses.replace(CONFIG, bus_bits=64), verilog=TOY)


def test_the_cache_makes_a_file_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def make(path):
        made.append(path)
        path.write_text("content")

    first = cached_file("thing-1", make)
    assert cached_file("thing-1", make) == first
    assert first.read_text() == "content" and len(made) == 1 and made[0] != first

    def fail(path):
        path.write_text("half")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cached_file("thing-2", fail)
    assert [p.name for p in first.parent.iterdir() if "thing-2" in p.name] == ["thing-2.lock"]


def test_two_processes_do_not_make_the_same_file_at_once(tmp_path):
    script = (
        "import sys, time\n"
        "from sim.devices.cache import cached_file\n"
        "def make(path):\n"
        "    open(sys.argv[1], 'a').write('made\\n'); time.sleep(0.5); path.write_text('x')\n"
        "cached_file('slow', make)\n"
    )
    log = tmp_path / "log"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", script, str(log)]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [p.wait() for p in processes] == [0, 0, 0]
    assert log.read_text() == "made\n"


def test_digests_see_the_borders_of_parts():
    assert digest_of(["ab", "c"]) != digest_of(["a", "bc"])
