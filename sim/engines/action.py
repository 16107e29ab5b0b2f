"""What one command does: the words it reads and writes, and the doing itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from accel.regmap import Rule
from sim.errors import CommandError, ProgramError
from sim.spaces import Memory, Spaces, Words

__all__ = ["Access", "Action", "require", "require_counts"]


@dataclass(frozen=True)
class Access:
    """Words of one memory; in external memory groups of 4 bytes, counted from MEMORY_BASE."""

    memory: Memory
    words: Words

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest address."""
        if isinstance(self.words, slice):
            return int(self.words.start), int(self.words.stop) - 1
        return int(self.words.min()), int(self.words.max())


class Action(ABC):
    """One command, decoded: its addresses do not depend on the contents of any memory.

    Members
    -------
    reads, writes : tuple of Access
        Each word at least once. Words that a padding predicate masks are not read.
    """

    reads: tuple[Access, ...]
    writes: tuple[Access, ...]

    @abstractmethod
    def run(self, spaces: Spaces) -> None:
        """Do it. On-chip addresses outside a memory wrap, as they do in the hardware.

        Raises
        ------
        ProgramError
            When parameters read from memory have no meaning.
        """


def require(ok: bool, message: str, rule: Rule | None = None) -> None:
    """Raise ProgramError with the message unless `ok`.

    With `rule` it is a CommandError: the hardware looks at that, too.
    """
    if not ok:
        raise ProgramError(message) if rule is None else CommandError(message, rule)


def require_counts(fields: Mapping[str, int], *names: str) -> None:
    """Raise ProgramError when one of the named fields is 0."""
    for name in names:
        require(fields[name] >= 1, f"{name} must be at least 1, not 0", Rule.COUNT)
