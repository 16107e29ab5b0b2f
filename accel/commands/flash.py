"""`accel flash`: a bitstream into a board."""

import argparse
from pathlib import Path

from accel.commands.common import CommandParsers, add_command, console

__all__ = ["add_parser", "execute"]


def add_parser(parsers: CommandParsers) -> None:
    """Add the command."""
    from boards.programmer import PROGRAMMERS

    parser = add_command(
        parsers,
        "flash",
        "Load a board with the bitstream that accel build made.",
        "accel flash ulx3s build/ulx3s",
    )
    add = parser.add_argument
    add("board", metavar="BOARD", help=", ".join(PROGRAMMERS))
    add("directory", metavar="DIR", type=Path, help="directory with the bitstream")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    from boards.programmer import flash

    bitstream = flash(args.board, args.directory)
    console().print(f"{args.board}: loaded {bitstream}", markup=False)
    return 0
