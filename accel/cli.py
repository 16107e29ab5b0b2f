"""The command line. Exit status: 0 success, 2 wrong use or input, 1 an internal failure."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from accel import __version__
from accel.commands import build, cocotb, compile, demo, flash, info, run, verilog
from accel.errors import AccelError

__all__ = ["main"]

COMMANDS = (demo, info, verilog, compile, run, build, flash, cocotb)

EPILOG = """\
first steps:
  accel demo                                            see it work, no files needed
  accel run model.tflite --input random --config base   your model on the simulated hardware
  accel verilog --config base -o systolite.v            the hardware for your design

accel COMMAND --help explains a command, with an example."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        command = self.prog.partition(" ")[2]
        where = f"{command}: " if command else ""
        self.exit(2, f"accel: error: {where}{message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="accel",
        description="Generates an int8 neural accelerator, compiles .tflite models for it and runs "
        "them on the generated hardware.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"systolite {__version__}")
    parsers = parser.add_subparsers(
        metavar="COMMAND", dest="command", required=True, parser_class=_Parser
    )
    for command in COMMANDS:
        command.add_parser(parsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        args = make_parser().parse_args(arguments)
        status: int = args.execute(args)
        sys.stdout.flush()
        return status
    except AccelError as error:
        message = " ".join(str(error).split())
        print(f"accel: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("accel: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read stdout has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print("accel: internal error: please report it with the lines above", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
