"""A board in simulation: its top level in Verilator, its serial port on a pseudo-terminal."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from accel.config import Config
from accel.errors import AccelError
from boards.base import Board
from boards.catalog import find_board
from sim.devices.boardtop import BoardSimulation, board_top
from sim.serial_port import PseudoTerminal

__all__ = ["device_name", "main", "simulate"]

_CYCLES_MEASURED = 20_000

_SLOWER = 8
"""A machine at work is simulated slower than one at rest; and others want the computer, too."""


def simulate(
    board: Board,
    config: Config | None = None,
    *,
    baud: int | None = None,
    system_hz: int | None = None,
) -> BoardSimulation:
    """Return a running simulation of a board, built when it is not cached.

    Parameters
    ----------
    board : Board
    config : Config, optional
        By default the board's.
    baud : int, optional
        By default the fastest that the link has at this clock, not the board's: what the line
        takes is simulated, too.
    system_hz : int, optional
        By default the board's.

    Raises
    ------
    ConfigError
        When these do not fit the board.
    DeviceError
        When Verilator or the C++ compiler is missing.
    """
    return BoardSimulation(board_top(board, config or board.config, baud, system_hz))


def device_name(terminal: PseudoTerminal, simulation: BoardSimulation) -> str:
    """Return what `accel run --device` opens: port and rate of a simulation at rest.

    The rate is less than the simulation reaches here, so that the host waits long enough.
    """
    return f"serial:{terminal.path}:{max(simulation.baud // _SLOWER, 300)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.board",
        description="Simulates a board's top level until interrupted; prints the DEVICE that "
        "`accel run MODEL --config C --device DEVICE` takes.",
    )
    parser.add_argument("board", metavar="BOARD", help="as for accel build")
    parser.add_argument("--config", metavar="C", help="preset or TOML file (default: the board's)")
    parser.add_argument("--baud", type=int, metavar="B", help="default: an eighth of the clock")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="default: the board's")
    options = parser.parse_args(arguments)
    try:
        board = find_board(options.board)
        simulation = simulate(
            board,
            Config.load(options.config) if options.config else None,
            baud=options.baud,
            system_hz=round(options.clock * 1e6) if options.clock else None,
        )
        simulation.measure(_CYCLES_MEASURED)
        with PseudoTerminal(simulation) as terminal:
            print(device_name(terminal, simulation), flush=True)
            # Shells start background jobs with SIGINT ignored.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            try:
                while terminal.failure is None:
                    time.sleep(0.1)
            except KeyboardInterrupt:
                return 0
            raise terminal.failure
    except AccelError as error:
        print(f"sim.board: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
