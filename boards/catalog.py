"""The boards there are; each is loaded when it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from accel.errors import AccelError

if TYPE_CHECKING:
    from boards.base import Board

__all__ = ["BOARDS", "find_board"]

BOARDS = ("ulx3s", "icebreaker", "tangnano20k")
"""Names of the modules here that hold a BOARD."""


def find_board(name: str) -> "Board":
    """Return a board by its name.

    Raises
    ------
    AccelError
        When there is no such board, or amaranth-boards is not installed.
    """
    if name not in BOARDS:
        raise AccelError(f"unknown board {name}: use {', '.join(BOARDS)}")
    try:
        board: Board = import_module(f"boards.{name}").BOARD
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("amaranth_boards"):
            raise
        message = "amaranth-boards is not installed: pip install 'systolite[fpga]'"
        raise AccelError(message) from None
    return board
