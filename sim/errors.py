"""What stops the golden machine."""

from typing import Self

from accel.errors import AccelError
from accel.isa import Engine
from accel.regmap import Cause, Rule

__all__ = ["CommandError", "Fault", "ProgramError"]


class ProgramError(AccelError):
    """A program that breaks the rules of the architecture, although hardware may not notice.

    Examples: data that no token orders, a token that nobody posts, a field outside its range.
    The message names the instruction.
    """

    def located(self, place: str) -> Self:
        """Return the same error with the place in front of its message."""
        return type(self)(f"{place}{self}")


class CommandError(ProgramError):
    """A command that the hardware refuses, too.

    Parameters
    ----------
    message : str
    rule : Rule
        What it breaks.

    Members
    -------
    cause : Cause
    """

    def __init__(self, message: str, rule: Rule) -> None:
        super().__init__(message)
        self.rule = rule
        self.cause = Cause.ILLEGAL_COMMAND if rule < Rule.SCRATCHPAD else Cause.CHIP_ADDRESS

    def located(self, place: str) -> Self:
        """See ProgramError."""
        return type(self)(f"{place}{self}", self.rule)


class Fault(Exception):
    """An event that stops the machine and shows in CAUSE and the registers that go with it.

    Parameters
    ----------
    cause : Cause
    address : int
        What CAUSE_ADDRESS shows.
    pc : int, optional
        Program counter, where it is not the one of the instruction that is running.
    engine : Engine, optional
        None for the controller.
    """

    def __init__(
        self, cause: Cause, address: int, pc: int | None = None, engine: Engine | None = None
    ) -> None:
        super().__init__(f"{cause.name} at address {address:#x}")
        self.cause = cause
        self.address = address
        self.pc = pc
        self.engine = engine
