"""What the controller's interpreter reaches outside itself."""

from typing import Protocol

from accel.isa import Engine

__all__ = ["CorePort"]


class CorePort(Protocol):
    """What executes the tensor instructions, and what is behind the window."""

    def write(self, engine: Engine, pair: int, a: int, b: int, add: bool) -> None:
        """TSET, or with `add` TADD."""

    def push(self, engine: Engine, wait: int, post: int, stamp: bool) -> None:
        """TPUSH."""

    def wait(self, mask: int) -> None:
        """TWAIT."""

    def read(self, word: int) -> int:
        """TREAD."""

    def done(self, exit_code: int) -> None:
        """TDONE."""

    def load(self, offset: int, size: int) -> int:
        """Read `size` bytes of the window, little-endian and unsigned."""

    def store(self, offset: int, size: int, value: int) -> None:
        """Write `size` bytes of the window."""
