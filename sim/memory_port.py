"""The accelerator's memory port: which bursts a transfer takes, and which of them fail."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from accel.isa import Engine
from accel.regmap import WINDOW_BYTES, Cause
from sim.errors import Fault

__all__ = ["MemoryPort"]

MASK = 0xFFFFFFFF
BURST_BEATS = 256

Offsets = npt.NDArray[np.int64]

_CAUSES = {
    Engine.LOAD: (Cause.READ_WINDOW, Cause.READ_RESPONSE),
    Engine.STORE: (Cause.WRITE_WINDOW, Cause.WRITE_RESPONSE),
}


class MemoryPort:
    """Memory windows, the memory's extent, and error responses that a test asks for.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    memory_base, memory_bytes : int
        What the memory answers for; elsewhere it answers with an error.

    Members
    -------
    windows : dict of Engine to (int, int)
        First and last byte address that LOAD may read and STORE may write.
    """

    def __init__(self, bus_bytes: int, memory_base: int, memory_bytes: int) -> None:
        self._bus_bytes = bus_bytes
        self._memory = (memory_base, memory_base + memory_bytes - 1)
        self.windows = {engine: (0, MASK) for engine in _CAUSES}
        self._injected: dict[Engine, int | None] = dict.fromkeys(_CAUSES)

    def inject(self, engine: Engine, beats: int | None) -> None:
        """Let the burst with the beat fail before which `beats` others come; None: no more."""
        self._injected[engine] = beats

    def check(self, engine: Engine, first: Offsets, last: Offsets) -> None:
        """Check the bursts of rows, given by the byte addresses of their first and last byte.

        Raises
        ------
        Fault
            For the first burst that leaves the window, or that the memory answers with an error.
        """
        low, high = int(first.min()), int(last.max())
        extents = (self.windows[engine], self._memory)
        beats = int((last // self._bus_bytes - first // self._bus_bytes + 1).sum())
        injected = self._injected[engine]
        if injected is None or injected >= beats:
            if injected is not None:
                self._injected[engine] = injected - beats
            if all(self._holds(extent, low, high) for extent in extents):
                return
        self._find(engine, first, last)

    def _find(self, engine: Engine, first: Offsets, last: Offsets) -> None:
        """Raise the fault of the first burst that has one."""
        injected = self._injected[engine]
        for start, end in self._bursts(first, last):
            address = start & MASK
            outside, response = _CAUSES[engine]
            if not self._holds(self.windows[engine], address, address + end - start):
                raise Fault(outside, address, engine=engine)
            if injected is not None:
                injected -= (end - start) // self._bus_bytes + 1
                self._injected[engine] = injected
            if injected is not None and injected < 0:
                self._injected[engine] = None
                raise Fault(response, address, engine=engine)
            if not self._holds(self._memory, address, address + end - start):
                raise Fault(response, address, engine=engine)

    def _bursts(self, first: Offsets, last: Offsets) -> Iterator[tuple[int, int]]:
        """Return the first and the last byte of each burst, whole beats."""
        bus = self._bus_bytes
        for start, end in zip(first.tolist(), last.tolist(), strict=True):
            beat, final = start // bus, end // bus
            while beat <= final:
                stop = min(beat | (BURST_BEATS - 1), final)
                yield beat * bus, stop * bus + bus - 1
                beat = stop + 1

    def _holds(self, extent: tuple[int, int], low: int, high: int) -> bool:
        """Return whether an extent of whole granules holds these bytes."""
        first, last = (end // WINDOW_BYTES for end in extent)
        return first <= low // WINDOW_BYTES and high // WINDOW_BYTES <= last
