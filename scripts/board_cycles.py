"""Cycles of an inference on a board: the top level that is built, in simulation, memory included.

    .venv/bin/python scripts/board_cycles.py BOARD [--config C] [--json FILE] [MODEL ...]

The networks are MODEL, or those of MLPerf Tiny in the directory that ACCEL_MODELS names. The host's
real driver runs each three times, by the board's serial port; an SDRAM's content is put into the
model of the part at once, since a line would take long. Outputs must be the golden machine's. With
--json the cycles of the last inference go to FILE, as scripts/board_docs.py wants them.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

import accel
from accel.errors import AccelError
from accel.host.device import Buffer
from accel.host.driver import Driver
from accel.host.inputs import random_inputs
from accel.host.serial_device import SerialDevice
from boards.catalog import BOARDS, find_board
from sim.board import simulate
from sim.devices.boardtop import BoardSimulation
from sim.serial_port import SimulatedTransport

NETWORKS = ("resnet8_cifar10", "kws_dscnn", "vww_mobilenetv1_96", "ad_toycar_fc")
INFERENCES = 3


class _Board(SerialDevice):
    """A simulated board whose SDRAM the host reaches past the line."""

    def __init__(self, simulation: BoardSimulation, config: accel.Config) -> None:
        self._simulation = simulation
        clock_hz = 1_000_000
        transport = SimulatedTransport(simulation, clock_hz=clock_hz)
        baud = clock_hz // simulation.bit_cycles
        super().__init__(config, transport, name="serial:simulation", baud=baud, seed=1)

    def write_memory(self, address: int, data: Buffer) -> None:
        """Write bytes to memory."""
        content = np.frombuffer(bytes(data), np.uint8)
        if len(self._simulation.memory):
            self.check_range(address, len(content))
            self._simulation.memory[address : address + len(content)] = content
        else:
            super().write_memory(address, data)

    def read_memory(self, address: int, length: int) -> bytes:
        """Return bytes of memory."""
        if len(self._simulation.memory):
            self.check_range(address, length)
            return self._simulation.memory[address : address + length].tobytes()
        return super().read_memory(address, length)


def measure(simulation: BoardSimulation, config: accel.Config, model: Path) -> list[int]:
    """Return the cycles of each inference."""
    image = accel.compile_model(model, config)
    samples = list(random_inputs(image.inputs, 0, INFERENCES))
    device = _Board(simulation, config)
    driver = Driver(device)
    driver.load_image(image)
    cycles = []
    for inputs in samples:
        outputs, stats = driver.run(inputs)
        golden = accel.run(image, inputs, device="model").outputs
        for ours, theirs in zip(outputs, golden, strict=True):
            if not np.array_equal(np.squeeze(ours), np.squeeze(theirs)):
                raise AccelError(f"{model.stem}: the outputs are not the golden machine's")
        cycles.append(stats.cycles)
    return cycles


def main() -> int:
    """Measure; 2 when something cannot be built, or is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("--config", help="preset or TOML file (default: the board's)")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="default: the board's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the cycles to this file")
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL")
    options = parser.parse_args()
    directory = Path(os.environ.get("ACCEL_MODELS", "")) / "models"
    models = options.models or [directory / f"{name}.tflite" for name in NETWORKS]
    try:
        board = find_board(options.board)
        config = accel.Config.load(options.config) if options.config else board.config
        hz = round(options.clock * 1e6) if options.clock else None
        simulation = simulate(board, config, system_hz=hz)
        mhz = float(board.clock(hz).output_hz) / 1e6
        found = {}
        for model in models:
            first, *_, last = measure(simulation, config, model)
            found[model.stem] = last
            print(
                f"{model.stem:24} {first:>9,} cycles, then {last:>9,}: {last / mhz / 1e3:7.3f} ms "
                f"at {mhz:g} MHz",
                flush=True,
            )
        if options.json:
            known = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
            known.setdefault(options.board, {}).update(found)
            options.json.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    except AccelError as error:
        print(f"board_cycles: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
