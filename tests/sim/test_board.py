"""Tops of boards in simulation: the real driver on their serial port, the SDRAM at their pins."""

import dataclasses
from pathlib import Path

import pytest

import accel
from accel.cli import main
from accel.config import PRESETS
from accel.errors import DeviceError
from accel.gateware.sdram_parts import PARTS
from accel.host.serial_device import SerialDevice, open_serial
from accel.regmap import address
from boards.catalog import find_board
from sim.board import device_name, simulate
from sim.devices.boardtop import SDRAM_SIGNALS, BoardSimulation, BoardTop, board_top
from sim.serial_port import PseudoTerminal, SimulatedTransport
from tests.faultyline import KINDS, FaultyLine
from tests.host.linkwork import LinkWork

DATA = Path(accel.__file__).parent / "data"
CONFIG = PRESETS["test"]


@pytest.fixture(scope="module")
def top():
    return board_top(find_board("ulx3s"), CONFIG)


@pytest.fixture
def simulation(top):
    simulation = BoardSimulation(top)
    yield simulation
    simulation.close()


def open_device(simulation, **lines):
    """Return a device and its line; a board's second is a million cycles."""
    transport = SimulatedTransport(simulation, clock_hz=1_000_000, **lines)
    baud = 1_000_000 // simulation.bit_cycles
    device = SerialDevice(CONFIG, transport, name="serial:rtl", baud=baud, seed=1)
    # Its memory answers within a refresh; waiting as long as for a broken one takes long here.
    device.link.greeting = dataclasses.replace(device.link.greeting, patience=1 << 12)
    return device, transport


def run_network(capsys, simulation, config, model, inputs, *, limit):
    """Run `accel run --check` on a simulated board's pseudo-terminal."""
    simulation.measure(2000)
    with PseudoTerminal(simulation) as terminal:
        device = device_name(terminal, simulation)
        arguments = ["run", model, "--input", inputs, "--limit", limit, "--config", config]
        status = main([str(word) for word in (*arguments, "--device", device, "--check")])
        assert terminal.failure is None
    assert status == 0
    assert f"{limit} of {limit} outputs equal TensorFlow Lite Micro" in capsys.readouterr().out


def test_digits_on_the_ulx3s(capsys, simulation):
    run_network(capsys, simulation, "test", DATA / "digits.tflite", DATA / "digits.npz", limit=1)


@pytest.mark.full
@pytest.mark.parametrize("name", ["icebreaker", "tangnano20k"])
def test_digits_on_other_boards(capsys, tmp_path, name):
    board = find_board(name)
    config = tmp_path / "config.toml"
    config.write_text(board.config.to_toml())
    model, inputs = DATA / "digits.tflite", DATA / "digits.npz"
    run_network(capsys, simulate(board), config, model, inputs, limit=2)


@pytest.mark.full
def test_networks_on_the_ulx3s_as_it_is_built(capsys, models):
    keywords = models / "models" / "kws_dscnn.tflite"
    for model, inputs, limit in (
        (DATA / "digits.tflite", DATA / "digits.npz", 10),
        (keywords, models / "data" / "kws_dscnn__cfu12.npz", 2),
    ):
        run_network(capsys, simulate(find_board("ulx3s")), "base", model, inputs, limit=limit)


def test_memory_at_the_pins(simulation):
    device, _ = open_device(simulation)
    before = simulation.counts.writes
    device.write_memory(device.memory_bytes - 6, b"abcdef")
    assert bytes(simulation.memory[-6:]) == b"abcdef"
    simulation.memory[-3] = ord("X")
    assert device.read_memory(device.memory_bytes - 6, 6) == b"abcXef"
    assert simulation.counts.writes - before == 2
    assert device.link.greeting.clock_hz == 75_000_000


class SystemWork(LinkWork):
    """On an accelerator that runs nothing: registers keep what is written, counters are 0."""

    def _control(self) -> None:
        value = self._rng.getrandbits(28) << 4
        self._device.write_register(address("PROGRAM_ADDRESS"), value)
        assert self._device.read_register(address("PROGRAM_ADDRESS")) == value

    def _indexed(self) -> None:
        counters = [self._rng.randrange(8) for _ in range(self._rng.choice([1, 9]))]
        counts = self._device.read_indexed(address("COUNTER_INDEX"), counters)
        assert counts == [0] * len(counters)


def spoil(simulation, kind, faults):
    lines = [FaultyLine(kind, seed=seed, chance=chance) for seed, chance in ((1, 0.2), (2, 0.003))]
    device, transport = open_device(simulation, to_board=lines[0], from_board=lines[1])
    work = SystemWork(device, transport.now, seed=3, largest=60)
    while min(line.faults for line in lines) < faults:
        work.step()
    for line in lines:
        line.chance = 0.0
    work.check()
    assert work.errors <= 1 + faults // 20


def test_link_faults_change_nothing(simulation):
    spoil(simulation, "mixed", 3)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_link_faults_change_nothing(simulation, kind):
    spoil(simulation, kind, 50)


TOY = """
module toy(input clk, rx, output tx, mclk, cke, cs_n, ras_n, cas_n, we_n, output [1:0] ba,
  output reg [12:0] a, output [1:0] dqm, inout [15:0] dq);
  reg [7:0] low = 0, mistake = 0;
  wire late, in_phase;
  EHXPLLL #(.CLKOP_DIV(FEEDBACK), .CLKOS_DIV(12), .CLKOS_CPHASE(11), .CLKOS2_ENABLE("ENABLED"),
    .CLKOS2_DIV(12), .CLKOS2_CPHASE(17)) pll(.CLKI(clk), .CLKOS(in_phase), .CLKOS2(late));
  always @(posedge in_phase) begin
    low <= rx ? 0 : low + 1;
    if (rx && low != 0) mistake <= (low + 4) / 8;
    a <= mistake == 4 ? ~a : 0;
  end
  assign mclk = mistake == 4 ? in_phase : late;
  assign tx = rx;
  assign {cke, ras_n, cas_n, we_n, ba, dqm} = {3'h7, mistake != 3, 2'h0, 2'h3};
  assign cs_n = mistake != 3;
  assign dq = mistake == 1 ? 16'h55 : 16'bz;
  assign dq[7:0] = mistake == 2 ? 8'h55 : 8'bz;
endmodule
"""


def toy(feedback=24):
    """Return a top that makes the mistake of the number of low bits that a byte begins with."""
    ports = {"clk": "oscillator", "rx": "rx", "tx": "tx", "mclk": "sdram_clk"}
    return BoardSimulation(
        BoardTop(
            name="toy",
            verilog=TOY.replace("FEEDBACK", str(feedback)),
            module="toy",
            ports=ports | {pin: f"sdram_{pin}" for pin in SDRAM_SIGNALS[1:]},
            primitives=("ecp5",),
            clock_hz=50_000_000,
            oscillator_hz=25_000_000,
            bit_cycles=8,
            part=PARTS["IS42S16160G-7"],
        )
    )


@pytest.mark.parametrize(
    ("mistake", "message"),
    [(0, None), (1, None), (2, "DQ is driven in part"), (3, "init_wait"), (4, "hold: pins change")],
)
def test_broken_rules_stop_the_board(mistake, message):
    simulation = toy()
    # The start bit counts.
    simulation.push(bytes([0xFF << mistake - 1 & 0xFF] if mistake else []))
    if message is None:
        simulation.step(400)
        assert simulation.counts.edges == simulation.cycles
    else:
        with pytest.raises(DeviceError, match=f"toy: .*{message}"):
            simulation.step(400)
    simulation.close()


def test_a_board_that_stops_is_reported():
    with PseudoTerminal(toy()) as terminal:
        with pytest.raises(DeviceError, match="no answer at 1000000 baud"):
            open_serial(f"serial:{terminal.path}:1000000", CONFIG)
        assert "DQ is driven in part" in str(terminal.failure)


def test_a_pll_that_makes_another_clock():
    simulation = toy(feedback=23)
    with pytest.raises(DeviceError, match="toy: the PLL makes 47916 kHz"):
        simulation.step(100)
    simulation.close()
