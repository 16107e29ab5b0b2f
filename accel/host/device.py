"""The one machine interface: what drivers, tests and the command line know of an accelerator."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.errors import DeviceError
from accel.image import WeightBlock

__all__ = ["DEFAULT_MEMORY_BYTES", "Buffer", "Device"]

DEFAULT_MEMORY_BYTES = 64 << 20
"""External memory of a simulated device."""

Buffer: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[np.generic]
"""What `Device.write_memory` takes: raw bytes, or an array whose bytes in C order are written."""


class Device(ABC):
    """An accelerator with its control registers and its external memory.

    Implementations: the golden machine, RTL under Verilator or Icarus, a board. A device is a
    context manager; leaving it closes it.

    Parameters
    ----------
    config : Config
        The configuration that the device was built with.

    Members
    -------
    name : str
        What the command line calls this kind of device ("model", "verilator", ...).
    config : Config
    memory_bytes : int
        Size of the external memory.
    memory_base : int
        Byte address where the external memory starts for the accelerator: what a driver writes
        to MEMORY_BASE plus the offset of its image. 0 by default.
    user : object
        Who loaded the program that it has: a driver knows by it whether another one came between.
    """

    name: str
    config: Config
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    memory_base: int = 0
    user: object = None

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def read_memory(self, address: int, length: int) -> bytes:
        """Return `length` bytes from byte `address` of the accelerator's address space.

        Raises
        ------
        DeviceError
            When the bytes are not all in memory (see `check_range`).
        """

    @abstractmethod
    def write_memory(self, address: int, data: Buffer) -> None:
        """Write raw bytes, or a numpy array's bytes in C order, from byte `address` on.

        Raises
        ------
        DeviceError
            When the bytes are not all in memory (see `check_range`).
        """

    @abstractmethod
    def read_register(self, offset: int) -> int:
        """Return the 32-bit control register at byte `offset` (accel.regmap), unsigned.

        Raises
        ------
        DeviceError
            When there is no register at that offset.
        """

    @abstractmethod
    def write_register(self, offset: int, value: int) -> None:
        """Write the 32-bit control register at byte `offset`; `value` is taken modulo 2**32.

        Raises
        ------
        DeviceError
            When there is no register at that offset.
        """

    def read_indexed(self, offset: int, values: Iterable[int]) -> list[int]:
        """Return what a register shows for values of the index register before it.

        Parameters
        ----------
        offset : int
            Of the index register: each value is written there, and the next register read.
        values : iterable of int

        Raises
        ------
        DeviceError
            When one of the two registers does not exist.
        """
        results = []
        for value in values:
            self.write_register(offset, value)
            results.append(self.read_register(offset + 4))
        return results

    @abstractmethod
    def wait(self, timeout_cycles: int) -> None:
        """Return when the `irq` output is high; at once when it already is.

        Parameters
        ----------
        timeout_cycles : int
            Clock cycles to wait at most, at least 1. A device without a clock of its own to
            count derives a time from it.

        Raises
        ------
        DeviceError
            When `irq` stays low for `timeout_cycles` cycles: the message names the limit.
        """

    def expect_weights(self, blocks: Sequence[WeightBlock]) -> None:  # noqa: B027 - optional
        """Say which weights the next run expects in the weight memory, without loading them.

        The golden machine then checks that they are there; hardware does not know.
        """

    def explain(self) -> str:
        """Return what the device knows of its last fault besides the registers; often nothing."""
        return ""

    def close(self) -> None:  # noqa: B027 - optional to override
        """Release what the device holds; it is of no use afterwards. May be called again."""

    def __enter__(self) -> Self:
        """Return the device itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the device."""
        self.close()

    def check_range(self, address: int, length: int) -> int:
        """Return where `address` lies from the start of memory.

        Raises
        ------
        DeviceError
            When not all of `length` bytes at `address` are inside the external memory.
        """
        offset = address - self.memory_base
        if length < 0 or offset < 0 or offset + length > self.memory_bytes:
            end = self.memory_base + self.memory_bytes
            raise DeviceError(
                f"{self.name}: {length} bytes at {address:#x} are outside the memory "
                f"{self.memory_base:#x} .. {end:#x}"
            )
        return offset

    def timeout_error(self, timeout_cycles: int) -> DeviceError:
        """Return the error that `wait` raises: one wording for all devices."""
        return DeviceError(
            f"{self.name}: no interrupt within {timeout_cycles} cycles; raise the limit, or look "
            "for a program that waits for ever"
        )
