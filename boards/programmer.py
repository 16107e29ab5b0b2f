"""Loads a bitstream into a board, with the programs that its makers use for that."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accel.errors import AccelError

__all__ = ["PROGRAMMERS", "Programmer", "Tool", "find_bitstream", "flash"]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program that loads bitstreams.

    Parameters
    ----------
    command : str
        As it is called on PATH.
    variable : str
        Environment variable with another path of it; the names are amaranth-boards'.
    install : str
        What to type where it is missing.
    """

    command: str
    variable: str
    install: str


OPENFPGALOADER = Tool(
    command="openFPGALoader",
    variable="OPENFPGALOADER",
    install="apt install openfpgaloader, or brew install openfpgaloader",
)
ICEPROG = Tool(
    command="iceprog",
    variable="ICEPROG",
    install="apt install fpga-icestorm, or brew install icestorm",
)


@dataclass(frozen=True, kw_only=True)
class Programmer:
    """How to load one board.

    Parameters
    ----------
    suffix : str
        Of its bitstreams' files.
    tools : tuple of (Tool, tuple of str)
        Programs that can do it, the preferred one first, with their arguments; the file comes
        behind them.
    """

    suffix: str
    tools: tuple[tuple[Tool, tuple[str, ...]], ...]


PROGRAMMERS: Mapping[str, Programmer] = {
    # The names of amaranth-boards' modules without their underscores, with the arguments of its
    # platforms; into the FPGA's memory where that is not the flash by nature of the board.
    "ulx3s": Programmer(suffix=".bit", tools=((OPENFPGALOADER, ("-b", "ulx3s", "-m")),)),
    "icebreaker": Programmer(
        suffix=".bin", tools=((ICEPROG, ()), (OPENFPGALOADER, ("-b", "ice40_generic")))
    ),
    "tangnano9k": Programmer(suffix=".fs", tools=((OPENFPGALOADER, ("-b", "tangnano9k")),)),
    "tangnano20k": Programmer(suffix=".fs", tools=((OPENFPGALOADER, ("-b", "tangnano20k")),)),
    "tangprimer20k": Programmer(suffix=".fs", tools=((OPENFPGALOADER, ("-b", "tangprimer20k")),)),
}


def find_bitstream(directory: Path, suffix: str, board: str) -> Path:
    """Return the one bitstream in a directory.

    Raises
    ------
    AccelError
        When the directory is none, or holds no bitstream or several.
    """
    build = f"make one with accel build {board} -o {directory}"
    if not directory.is_dir():
        raise AccelError(f"there is no directory {directory}: {build}")
    found = sorted(path for path in directory.glob(f"*{suffix}") if path.is_file())
    if not found:
        raise AccelError(f"{directory} holds no bitstream (*{suffix}) for {board}: {build}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise AccelError(f"{directory} holds several bitstreams ({names}): leave one there")
    return found[0]


def _choose(programmer: Programmer, board: str) -> list[str]:
    """Return the command of the first tool that is installed."""
    for tool, arguments in programmer.tools:
        if path := shutil.which(os.environ.get(tool.variable) or tool.command):
            return [path, *arguments]
    tool = programmer.tools[0][0]
    raise AccelError(f"{board} is flashed with {tool.command}, which is missing: {tool.install}")


def flash(board: str, directory: Path) -> Path:
    """Load the bitstream in a directory into a board; return its file.

    What the program says goes to the terminal.

    Parameters
    ----------
    board : str
        One of PROGRAMMERS.
    directory : Path
        What `accel build` wrote.

    Raises
    ------
    AccelError
        When there is no such board or no bitstream, or the program is missing or fails.
    """
    if board not in PROGRAMMERS:
        raise AccelError(f"unknown board {board}: use {', '.join(PROGRAMMERS)}")
    programmer = PROGRAMMERS[board]
    bitstream = find_bitstream(directory, programmer.suffix, board)
    command = [*_choose(programmer, board), str(bitstream)]
    name = Path(command[0]).name
    try:
        status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        raise AccelError(f"cannot run {command[0]}: {error.strerror}") from None
    if status:
        raise AccelError(
            f"{name} failed with exit status {status}: is {board} plugged in, and may you use its "
            "USB port (udev rules, or sudo)?"
        )
    return bitstream
