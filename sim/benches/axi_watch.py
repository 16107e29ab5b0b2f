"""What benches put around an AXI4 memory port: monitors of both directions, pauses."""

from collections.abc import Callable, Iterator
from typing import Any

from sim.benches.bursts import BurstError, BurstMonitor

__all__ = ["AxiWatch", "pause_channels"]


class AxiWatch:
    """Feeds burst monitors from an AXI4 memory port.

    Parameters
    ----------
    dut : cocotb handle
        Whose port's signals are called `prefix` and the AXI name.
    prefix : str
        As `m_axi_`.
    bus_bytes : int
    reads_in_flight : int
        Read bursts that may be outstanding.

    Members
    -------
    reads, writes : BurstMonitor
    window : range or None
        The bytes that bursts may touch; None for all.
    """

    def __init__(self, dut: Any, prefix: str, *, bus_bytes: int, reads_in_flight: int) -> None:
        self._bus_bytes = bus_bytes
        self.reads = BurstMonitor("read", bus_bytes, reads_in_flight)
        self.writes = BurstMonitor("write", bus_bytes)
        self.window: range | None = None
        names = ("addr", "len", "size", "burst")
        self._addresses = [
            (
                monitor,
                [getattr(dut, f"{prefix}{channel}{n}") for n in ("valid", "ready")],
                [getattr(dut, f"{prefix}{channel}{n}") for n in names],
            )
            for monitor, channel in ((self.reads, "ar"), (self.writes, "aw"))
        ]
        self._handshakes = {
            channel: [getattr(dut, f"{prefix}{channel}{n}") for n in ("valid", "ready")]
            for channel in ("r", "w", "b")
        }
        self._last = {channel: getattr(dut, f"{prefix}{channel}last") for channel in ("r", "w")}

    def sample(self) -> None:
        """Take what transfers at this rising edge of the clock; call it at every one.

        Raises
        ------
        BurstError
            When a burst breaks a rule of `BurstMonitor`, or leaves the window.
        """
        for monitor, handshake, fields in self._addresses:
            if _transfers(handshake):
                address, length, size, burst = (int(field.value) for field in fields)
                monitor.address(address, length, size, burst)
                last_byte = address + (length + 1) * self._bus_bytes - 1
                window = self.window
                if window is not None and not (address in window and last_byte in window):
                    raise BurstError(
                        f"burst of {length + 1} beats at {address:#x} is not inside "
                        f"{window.start:#x} .. {window.stop:#x}"
                    )
        if _transfers(self._handshakes["r"]):
            last = bool(self._last["r"].value)
            self.reads.beat(last)
            if last:
                self.reads.done()
        if _transfers(self._handshakes["w"]):
            self.writes.beat(bool(self._last["w"].value))
        if _transfers(self._handshakes["b"]):
            self.writes.done()

    def idle(self) -> bool:
        """Return whether no burst is under way."""
        return self.reads.idle() and self.writes.idle()


def _transfers(handshake: list[Any]) -> bool:
    valid, ready = handshake
    return bool(valid.value) and bool(ready.value)


def pause_channels(model: Any, pauses: Callable[[], Iterator[bool]]) -> None:
    """Give each channel of a cocotbext-axi memory or master pauses of its own.

    Parameters
    ----------
    model : AxiRam or AxiLiteMaster
    pauses : callable
        Returns an endless iterator: in which cycles the channel pauses.
    """
    write, read = model.write_if, model.read_if
    for channel in (write.aw_channel, write.w_channel, write.b_channel):
        channel.set_pause_generator(pauses())
    for channel in (read.ar_channel, read.r_channel):
        channel.set_pause_generator(pauses())
