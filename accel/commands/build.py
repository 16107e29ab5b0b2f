"""`accel build`: a board's bitstream, by tools from PyPI."""

import argparse
import time
from pathlib import Path

from accel.commands.common import CommandParsers, add_command, console, natural
from accel.config import PRESETS, Config
from accel.errors import AccelError

__all__ = ["add_parser", "execute"]


def add_parser(parsers: CommandParsers) -> None:
    """Add the command."""
    from boards.catalog import BOARDS

    parser = add_command(
        parsers,
        "build",
        "Make a board's bitstream with yosys and nextpnr; minutes for test, an hour for base.",
        "accel build ulx3s -o build/ulx3s",
    )
    add = parser.add_argument
    add("board", metavar="BOARD", help=", ".join(BOARDS))
    add("-o", "--output", metavar="DIR", type=Path, required=True, help="directory for all files")
    add(
        "--config",
        metavar="C",
        help=f"accelerator: {', '.join(PRESETS)}, or a .toml file (default: the board's)",
    )
    add("--clock", metavar="MHZ", type=float, help="system clock (default: the board's)")
    add("--seed", metavar="N", type=natural, default=1, help="of place and route (default: 1)")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    from boards.catalog import find_board

    board = find_board(args.board)
    config = board.config if args.config is None else Config.load(args.config)
    if args.clock is not None and not 1 <= args.clock <= 1000:
        raise AccelError(f"--clock must be from 1 to 1000 MHz, not {args.clock:g}")
    if args.output.exists() and not args.output.is_dir():
        raise AccelError(f"output {args.output} is not a directory")
    from boards.build import build

    out = console()
    start = time.monotonic()

    def on_step(step: str) -> None:
        out.print(f"[{time.monotonic() - start:5.0f} s] {step}", markup=False)

    summary = build(
        board,
        config,
        args.output,
        system_hz=None if args.clock is None else round(args.clock * 1e6),
        seed=args.seed,
        on_step=on_step,
    )
    out.print("\n" + summary.to_text(), markup=False)
    out.print(f"{args.output / str(summary.bitstream)}: accel flash {board.name} {args.output}")
    return 0
