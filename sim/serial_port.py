"""A simulated design's serial port: on a pseudo-terminal, or called directly.

The design is any library with the functions of `sim/devices/serial.cpp`: the real host software
opens the pseudo-terminal with pyserial and knows no difference to a board.
"""

import ctypes
import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from accel.errors import DeviceError
from accel.host.serial_transport import Transport
from sim.devices.build import build_library

__all__ = ["Line", "PseudoTerminal", "SerialSimulation", "SimulatedTransport", "build_simulation"]

HARNESS = Path(__file__).parent / "devices" / "serial.cpp"

Line: TypeAlias = Callable[[bytes], list[tuple[float, bytes]]]
"""What a line makes of bytes: pieces of them, each with seconds that it comes late."""

_CYCLES_PER_CALL = 20_000

_PAUSE_BITS = 40
"""A pause in what the design says after which it has said all."""

_SIGNATURES: Mapping[str, tuple[object, list[object]]] = {
    "serial_close": (None, [ctypes.c_void_p]),
    "serial_cycles": (ctypes.c_uint64, [ctypes.c_void_p]),
    "serial_framing_errors": (ctypes.c_uint64, [ctypes.c_void_p]),
    "serial_push": (None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint]),
    "serial_pop": (ctypes.c_uint, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint]),
    "serial_step": (None, [ctypes.c_void_p, ctypes.c_uint64]),
}


def build_simulation(verilog: str, *, top: str, name: str) -> Path:
    """Return the library of a design whose ports are clk, rst, rx and tx; built when not cached.

    Parameters
    ----------
    verilog : str
    top : str
        Its top module.
    name : str
        What the progress bar calls it.
    """
    return build_library(verilog, top=top, defines={}, trace=False, name=name, harness=HARNESS)


class SerialSimulation:
    """A simulated design and the bytes on its serial port.

    Parameters
    ----------
    library : Path
    bit_cycles : int
        Clock cycles of a bit.
    """

    def __init__(self, library: Path, *, bit_cycles: int) -> None:
        self._library = ctypes.CDLL(str(library))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype = result
            function.argtypes = arguments
        self.bit_cycles = bit_cycles
        self._handle: int | None = self._open()

    @property
    def cycles(self) -> int:
        """Clock cycles since it began."""
        return int(self._library.serial_cycles(self._handle))

    @property
    def framing_errors(self) -> int:
        """Bytes of the design that had no stop bit."""
        return int(self._library.serial_framing_errors(self._handle))

    def push(self, content: bytes) -> None:
        """Put bytes in the queue for the design."""
        self._library.serial_push(self._handle, content, len(content))

    def step(self, cycles: int) -> bytes:
        """Clock the design, fewer than `cycles` times when it has said something; return that.

        Raises
        ------
        DeviceError
            When the design breaks a rule of what is around it.
        """
        self._library.serial_step(self._handle, cycles)
        self._check()
        buffer = ctypes.create_string_buffer(4096)
        count = self._library.serial_pop(self._handle, buffer, len(buffer))
        return buffer.raw[:count]

    def close(self) -> None:
        """Free the simulation. May be called again."""
        if self._handle is not None:
            self._library.serial_close(self._handle)
            self._handle = None

    def _open(self) -> int:
        """Return the handle of a new simulation."""
        self._library.serial_open.restype = ctypes.c_void_p
        return int(self._library.serial_open(ctypes.c_uint(self.bit_cycles)))

    def _check(self) -> None:
        """Raise DeviceError when something went wrong: here nothing can."""


def straight(content: bytes) -> list[tuple[float, bytes]]:
    """Return the bytes as they are: a good line."""
    return [(0.0, content)]


class SimulatedTransport(Transport):
    """A line to a simulated design whose clock is the time: nothing depends on the machine's load.

    Parameters
    ----------
    simulation : SerialSimulation
    clock_hz : int
        Of the design.
    to_board, from_board : Line
        What becomes of the bytes.
    """

    def __init__(
        self,
        simulation: SerialSimulation,
        *,
        clock_hz: int,
        to_board: Line = straight,
        from_board: Line = straight,
    ) -> None:
        self._simulation = simulation
        self._clock_hz = clock_hz
        self._lines = (to_board, from_board)
        self._coming: list[tuple[int, bytes]] = []
        self._going: list[tuple[int, bytes]] = []

    def now(self) -> float:
        """Return the design's time."""
        return self._simulation.cycles / self._clock_hz

    def write(self, content: bytes) -> None:
        """Send bytes; see Transport."""
        self._schedule(self._going, self._lines[0](content))

    def read(self, seconds: float) -> bytes:
        """Clock the design until it has said something; see Transport."""
        end = self._simulation.cycles + max(int(seconds * self._clock_hz), 1)
        while True:
            here = self._simulation.cycles
            self._simulation.push(_due(self._going, here))
            if (content := _due(self._coming, here)) or here >= end:
                return content
            stops = [end, here + _CYCLES_PER_CALL]
            stops += [queue[0][0] for queue in (self._going, self._coming) if queue]
            said = self._simulation.step(max(min(stops) - here, 1))
            if said:
                self._schedule(self._coming, self._lines[1](said))

    def close(self) -> None:
        """Do nothing: the simulation belongs to who made it."""

    def _schedule(self, queue: list[tuple[int, bytes]], pieces: list[tuple[float, bytes]]) -> None:
        # Nothing overtakes on a line.
        time = max([self._simulation.cycles, *(when for when, _ in queue)])
        for late, piece in pieces:
            time += int(late * self._clock_hz)
            queue.append((time, piece))


def _due(queue: list[tuple[int, bytes]], time: int) -> bytes:
    """Take what has arrived by then out of the queue."""
    content = b""
    while queue and queue[0][0] <= time:
        content += queue.pop(0)[1]
    return content


class PseudoTerminal:
    """Runs a simulated design in the background, its serial port on a pseudo-terminal.

    The design stands still while it has answered and nobody speaks: between the answer to one
    request and the next request no time passes for it.

    Parameters
    ----------
    simulation : SerialSimulation
        Not to be used elsewhere meanwhile; it is closed at the end.
    to_board, from_board : Line
        What becomes of the bytes; their delays are left out.

    Members
    -------
    path : str
        What to open: `--device serial:PATH:BAUD` with the rate that the simulation reaches.
    failure : DeviceError, optional
        Why the simulation stopped by itself: see SerialSimulation.step. The host has no answers
        from then on.
    """

    def __init__(
        self,
        simulation: SerialSimulation,
        *,
        to_board: Line = straight,
        from_board: Line = straight,
    ) -> None:
        self.failure: DeviceError | None = None
        self._simulation = simulation
        self._lines = (to_board, from_board)
        self._master, self._terminal = pty.openpty()
        tty.setraw(self._terminal)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._terminal)
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the simulation and take the pseudo-terminal away. May be called again."""
        if self._stops.is_set():
            return
        self._stops.set()
        self._thread.join()
        os.close(self._terminal)
        os.close(self._master)
        self._simulation.close()

    def __enter__(self) -> Self:
        """Return the pseudo-terminal itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _serve(self) -> None:
        try:
            self._pass_bytes()
        except DeviceError as error:
            self.failure = error

    def _pass_bytes(self) -> None:
        # After its first byte the answer goes on without a pause, until it is over.
        stands, speaks = True, False
        while not self._stops.is_set():
            if heard := self._hear(0.05 if stands else 0.0):
                stands = speaks = False
                for _, piece in self._lines[0](heard):
                    self._simulation.push(piece)
            if stands:
                continue
            pause = _PAUSE_BITS * self._simulation.bit_cycles
            if said := self._simulation.step(pause if speaks else _CYCLES_PER_CALL):
                speaks = True
                for _, piece in self._lines[1](said):
                    self._say(piece)
            else:
                stands = speaks

    def _hear(self, seconds: float) -> bytes:
        """Return what the host has sent; wait for it so long."""
        if not select.select([self._master], [], [], seconds)[0]:
            return b""
        return os.read(self._master, 4096)

    def _say(self, content: bytes) -> None:
        """Hand bytes to the host; wait while it takes none."""
        while content and not self._stops.is_set():
            if select.select([], [self._master], [], 0.05)[1]:
                content = content[os.write(self._master, content) :]
