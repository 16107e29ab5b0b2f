"""A board on a serial port as a device."""

from collections.abc import Iterable

import numpy as np

from accel.config import Config
from accel.errors import DeviceError
from accel.host.device import Buffer, Device
from accel.host.serial_link import SerialLink
from accel.host.serial_transport import SerialTransport, Transport
from accel.protocol import DEFAULT_BAUD, Command, LinkStatus
from accel.regmap import REGISTERS

__all__ = ["PREFIX", "SerialDevice", "is_serial", "open_serial"]

PREFIX = "serial:"

_OFFSETS = frozenset(register.offset for register in REGISTERS)


def is_serial(name: str) -> bool:
    """Return whether a device's name is that of a board on a serial port."""
    return name.startswith(PREFIX)


def open_serial(name: str, config: Config) -> "SerialDevice":
    """Open `serial:PORT[:BAUD]`.

    Raises
    ------
    DeviceError
        When the port cannot be opened, or no board answers there.
    """
    port, _, baud = name.removeprefix(PREFIX).rpartition(":")
    if not port or not baud.isdecimal():
        port, baud = name.removeprefix(PREFIX), str(DEFAULT_BAUD)
    if not port:
        raise DeviceError(f"{name} names no port: use serial:PORT, as in serial:/dev/ttyUSB0")
    if int(baud) < 1:
        raise DeviceError(f"{name}: the baud rate must be at least 1")
    transport = SerialTransport(port, int(baud))
    try:
        return SerialDevice(config, transport, name=f"{PREFIX}{port}", baud=int(baud))
    except BaseException:
        transport.close()
        raise


class SerialDevice(Device):
    """A board that is connected by the host link (docs/link.md).

    Parameters
    ----------
    config : Config
        What its images are compiled for; the driver compares.
    transport : Transport
    name : str
    baud : int
    seed : int, optional
        See SerialLink.

    Members
    -------
    link : SerialLink

    Raises
    ------
    DeviceError
        When no board answers.
    """

    def __init__(
        self,
        config: Config,
        transport: Transport,
        *,
        name: str,
        baud: int,
        seed: int | None = None,
    ) -> None:
        super().__init__(config)
        self.name = name
        self.link = SerialLink(transport, name=name, baud=baud, seed=seed)
        self.memory_base = self.link.greeting.memory_base
        self.memory_bytes = self.link.greeting.memory_bytes

    def read_memory(self, address: int, length: int) -> bytes:
        """Return bytes of memory; see Device."""
        self.check_range(address, length)
        start, stop = address & ~3, (address + length + 3) & ~3
        step = 4 * self.link.payload_words
        parts = []
        for place in range(start, stop, step):
            words = min(step, stop - place) // 4
            parts.append(self.link.exchange(Command.READ_MEMORY, place, words=words).payload)
        return b"".join(parts)[address - start :][:length]

    def write_memory(self, address: int, data: Buffer) -> None:
        """Write bytes to memory; see Device."""
        raw = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
        self.check_range(address, len(raw))
        stop = address + len(raw)
        step = 4 * self.link.payload_words
        for place in range(address & ~3, stop, step):
            first, last = max(place, address), min(place + step, stop)
            head, tail = first - place, -last & 3
            payload = bytes(head) + raw[first - address : last - address] + bytes(tail)
            self.link.exchange(
                Command.WRITE_MEMORY,
                place,
                words=len(payload) // 4,
                payload=payload,
                strobes=(0xF << head & 0xF) | (0xF >> tail) << 4,
            )

    def read_register(self, offset: int) -> int:
        """Return a control register; see Device."""
        self._check_register(offset)
        return int.from_bytes(self.link.exchange(Command.READ_REGISTERS, offset).payload, "little")

    def write_register(self, offset: int, value: int) -> None:
        """Write a control register; see Device."""
        self._check_register(offset)
        payload = (value & 0xFFFFFFFF).to_bytes(4, "little")
        self.link.exchange(Command.WRITE_REGISTERS, offset, payload=payload)

    def read_indexed(self, offset: int, values: Iterable[int]) -> list[int]:
        """Return a register's values for values of the one before it; see Device.

        As many as a payload has words take one packet each way.
        """
        self._check_register(offset)
        if offset % 8:
            return super().read_indexed(offset, values)
        indices = np.fromiter(values, np.uint32)
        results: list[int] = []
        step = self.link.payload_words
        for start in range(0, len(indices), step):
            payload = indices[start : start + step].astype("<u4").tobytes()
            answer = self.link.exchange(
                Command.READ_INDEXED, offset, words=len(payload) // 4, payload=payload
            )
            results += np.frombuffer(answer.payload, "<u4").tolist()
        return results

    def wait(self, timeout_cycles: int) -> None:
        """Return when `irq` is high; the board counts the cycles. See Device."""
        left = timeout_cycles
        while self.link.exchange(Command.WAIT).status == LinkStatus.PENDING:
            left -= self.link.greeting.patience
            if left <= 0:
                raise self.timeout_error(timeout_cycles)

    def close(self) -> None:
        """Close the port."""
        self.link.close()

    def _check_register(self, offset: int) -> None:
        if offset not in _OFFSETS:
            raise DeviceError(f"{self.name}: there is no register at {offset:#x}")
