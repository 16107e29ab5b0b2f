"""Bytes to and from a serial port."""

import errno
import time
from abc import ABC, abstractmethod
from typing import Any

from accel.errors import DeviceError

__all__ = ["SerialTransport", "Transport"]

WRITE_SECONDS = 2.0
"""For what is written to leave the host: several times what the longest packet takes."""

_POLL_SECONDS = 0.05
"""pyserial sets the port up anew when its timeout changes: so it has one that stays."""


class Transport(ABC):
    """A line that carries bytes both ways, and a clock."""

    @abstractmethod
    def write(self, content: bytes) -> None:
        """Send bytes.

        Raises
        ------
        DeviceError
            When the line is gone.
        """

    @abstractmethod
    def read(self, seconds: float) -> bytes:
        """Return what has come; wait up to `seconds` for the first byte of it.

        Raises
        ------
        DeviceError
            When the line is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the line back. May be called again."""

    def now(self) -> float:
        """Return the time in seconds, from anywhere."""
        return time.monotonic()


def _explain(port: str, error: Exception) -> DeviceError:
    """Return what a user can do about a port that does not open."""
    from serial.tools import list_ports

    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        found = ", ".join(sorted(p.device for p in list_ports.comports())) or "none"
        return DeviceError(f"there is no serial port {port}; found here: {found}")
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(
            f"no permission to open {port}: add your user to the group that owns it "
            f"(see ls -l {port}; mostly dialout), and log in again"
        )
    if number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY):
        return DeviceError(f"serial port {port} is in use by another program: close that first")
    return DeviceError(f"cannot open serial port {port}: {error}")


class SerialTransport(Transport):
    """A serial port, by pyserial, for this program alone.

    Parameters
    ----------
    port : str
        /dev/ttyUSB0, COM3, a pseudo-terminal.
    baud : int

    Raises
    ------
    DeviceError
        When there is no such port, it may not be opened, or is in use.
    """

    def __init__(self, port: str, baud: int) -> None:
        import serial

        self._port = port
        self._error: type[Exception] = serial.SerialException
        try:
            self._serial: Any = serial.Serial(
                port, baud, timeout=_POLL_SECONDS, write_timeout=WRITE_SECONDS, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise _explain(port, error) from None
        self._answer_soon()

    def _answer_soon(self) -> None:
        """Ask the driver not to collect bytes for 16 ms, as FTDI's does."""
        try:
            self._serial.set_low_latency_mode(True)
        except (AttributeError, NotImplementedError, OSError, ValueError):
            # Not on this system, or not this driver: it is slower then, and nothing else.
            pass

    def write(self, content: bytes) -> None:
        """Send bytes; see Transport."""
        try:
            self._serial.write(content)
        except (self._error, OSError) as error:
            raise self._lost(error) from None

    def read(self, seconds: float) -> bytes:
        """Return what has come; see Transport."""
        end = self.now() + seconds
        try:
            while True:
                content: bytes = self._serial.read(1)
                if content:
                    content += self._serial.read(self._serial.in_waiting)
                    return content
                if self.now() >= end:
                    return b""
        except (self._error, OSError, TypeError) as error:
            raise self._lost(error) from None

    def close(self) -> None:
        """Close the port."""
        self._serial.close()

    def _lost(self, error: Exception) -> DeviceError:
        return DeviceError(
            f"serial port {self._port} does not work any more ({error}): is the board still "
            "plugged in?"
        )
