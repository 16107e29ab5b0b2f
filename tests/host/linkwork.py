"""What a host does with a board, at random, and whether all of it is right."""

import random

from accel.errors import DeviceError
from accel.host.serial_device import SerialDevice
from accel.regmap import address

__all__ = ["LinkWork"]

LONGEST_SECONDS = 5.0


class LinkWork:
    """Accesses of every kind, compared with what they should give.

    The board's CONTROL counts its writes in EXIT_CODE, STAMP shows 3 * STAMP_INDEX + 1.

    Parameters
    ----------
    device : SerialDevice
    now : callable
        Time in seconds: no access may take more than five.
    seed : int
    largest : int
        Bytes of an access to memory.

    Members
    -------
    errors : int
        Accesses that ended with an error, because all attempts were spoilt.
    """

    def __init__(self, device: SerialDevice, now, *, seed: int, largest: int = 600) -> None:
        self.errors = 0
        self._device = device
        self._now = now
        self._rng = random.Random(seed)
        self._largest = largest
        self._base = device.memory_base
        self._expected = bytearray(4 * largest)
        device.write_memory(self._base, self._expected)
        self._controls = device.read_register(address("EXIT_CODE"))

    def step(self) -> None:
        """Do one thing."""
        start = self._now()
        try:
            self._rng.choice([self._write, self._read, self._control, self._indexed])()
        except DeviceError as error:
            assert "the board stopped answering" in str(error)
            self._recover()
        else:
            assert self._now() - start < LONGEST_SECONDS

    def _recover(self) -> None:
        """Begin again where it is not known whether the last write was done."""
        self.errors += 1
        while True:
            try:
                self._device.write_memory(self._base, self._expected)
                done = self._device.read_register(address("EXIT_CODE"))
            except DeviceError:
                continue
            assert done in (self._controls, self._controls + 1)
            self._controls = done
            return

    def check(self) -> None:
        """Compare all of memory, and the number of writes to CONTROL."""
        size = len(self._expected)
        assert self._device.read_memory(self._base, size) == self._expected
        assert self._device.read_register(address("EXIT_CODE")) == self._controls

    def _place(self) -> tuple[int, int]:
        length = self._rng.choice([1, 2, 3, 4, 5, 64, self._largest])
        return self._rng.randrange(len(self._expected) - length), length

    def _write(self) -> None:
        at, length = self._place()
        # Flags and escapes are as likely as all others together.
        choices = [0x7E, 0x7D, *self._rng.randbytes(2)]
        content = bytes(self._rng.choices(choices, k=length))
        self._device.write_memory(self._base + at, content)
        self._expected[at : at + length] = content

    def _read(self) -> None:
        at, length = self._place()
        assert self._device.read_memory(self._base + at, length) == self._expected[at : at + length]

    def _control(self) -> None:
        self._device.write_register(address("CONTROL"), 0)
        self._controls += 1
        assert self._device.read_register(address("EXIT_CODE")) == self._controls

    def _indexed(self) -> None:
        indices = [self._rng.randrange(1 << 20) for _ in range(self._rng.choice([1, 9, 40]))]
        values = self._device.read_indexed(address("STAMP_INDEX"), indices)
        assert values == [3 * index + 1 for index in indices]
