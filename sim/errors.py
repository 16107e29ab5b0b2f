"""What stops the golden machine."""

from accel.errors import AccelError
from accel.regmap import Cause

__all__ = ["Fault", "ProgramError"]


class ProgramError(AccelError):
    """A program that breaks the rules of the architecture, although hardware may not notice.

    Examples: data that no token orders, a token that nobody posts, a field outside its range.
    The message names the instruction.
    """


class Fault(Exception):
    """An event that stops the machine and shows in CAUSE, CAUSE_ADDRESS and CAUSE_PC.

    Parameters
    ----------
    cause : Cause
    address : int
        Address that faulted.
    pc : int, optional
        Program counter, where it is not the one of the instruction that is running.
    """

    def __init__(self, cause: Cause, address: int, pc: int | None = None) -> None:
        super().__init__(f"{cause.name} at address {address:#x}")
        self.cause = cause
        self.address = address
        self.pc = pc
