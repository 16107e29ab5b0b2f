"""A monitor of AXI bursts: what the DMA engines may never do on the bus."""

from collections import deque

__all__ = ["BurstError", "BurstMonitor"]

_INCR = 1


class BurstError(AssertionError):
    """A burst that breaks a rule."""


class BurstMonitor:
    """Checks one direction of an AXI4 port, transfer by transfer.

    Rules: INCR bursts of the whole bus width from an aligned address, at most 256 beats, none
    across a multiple of 4 KiB, `last` exactly on the last beat. Data may come before addresses.

    Parameters
    ----------
    name : str
        For messages.
    bus_bytes : int
    in_flight : int, optional
        Bursts that may be outstanding; no limit by default.

    Members
    -------
    bursts, beats : int
        Seen so far.
    """

    def __init__(self, name: str, bus_bytes: int, in_flight: int | None = None) -> None:
        self._name = name
        self._bus_bytes = bus_bytes
        self._in_flight = in_flight
        self._announced: deque[int] = deque()
        self._finished: deque[int] = deque()
        self._open = 0  # beats of the burst whose data are being transferred
        self._outstanding = 0
        self.bursts = 0
        self.beats = 0

    def _require(self, ok: bool, message: str) -> None:
        if not ok:
            raise BurstError(f"{self._name}: {message}")

    def address(self, address: int, length: int, size: int, burst: int) -> None:
        """Take a transfer of the address channel: axaddr, axlen, axsize, axburst.

        Raises
        ------
        BurstError
            When it breaks a rule.
        """
        beats = length + 1
        where = f"burst of {beats} beats at {address:#x}"
        self._require(beats <= 256, f"{where}: more than 256 beats")
        self._require(burst == _INCR, f"{where}: not INCR")
        self._require(1 << size == self._bus_bytes, f"{where}: size {size} is not the bus width")
        self._require(address % self._bus_bytes == 0, f"{where}: not aligned to the bus")
        last_byte = address + beats * self._bus_bytes - 1
        self._require(address >> 12 == last_byte >> 12, f"{where}: crosses 4 KiB")
        self.bursts += 1
        self._outstanding += 1
        self._require(
            self._in_flight is None or self._outstanding <= self._in_flight,
            f"{where}: more than {self._in_flight} bursts in flight",
        )
        self._announced.append(beats)
        self._match()

    def beat(self, last: bool) -> None:
        """Take a transfer of the data channel.

        Raises
        ------
        BurstError
            When the burst has too many beats, or `last` is not on its last one.
        """
        self.beats += 1
        self._open += 1
        self._require(self._open <= 256, "data burst of more than 256 beats")
        if last:
            self._finished.append(self._open)
            self._open = 0
        self._match()

    def done(self) -> None:
        """Take the end of a burst: its last read beat, or its write response."""
        self._outstanding -= 1

    def idle(self) -> bool:
        """Return whether every burst has had all its beats and is done."""
        return not (self._announced or self._finished or self._open or self._outstanding)

    def _match(self) -> None:
        while self._announced and self._finished:
            wanted, got = self._announced.popleft(), self._finished.popleft()
            self._require(got == wanted, f"burst of {wanted} beats had {got}")
        if self._announced:
            self._require(
                self._open < self._announced[0],
                f"burst of {self._announced[0]} beats: no last on the last one",
            )
