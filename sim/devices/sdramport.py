"""The SDRAM controller's Verilog between an AXI4 manager and the strict model of its part."""

import ctypes
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import DeviceError
from accel.gateware.sdram import SdramController
from accel.gateware.sdram_parts import SdramPart, SdramTiming
from sim.devices.build import build_library, component_verilog
from sim.devices.sdram import SdramCounts, SdramParameters

__all__ = ["SdramPort", "Served", "Transfer"]

HARNESS = Path(__file__).with_name("sdram_port.cpp")
INIT_US = 5.0
"""Initial wait that is simulated in place of the part's 200 microseconds."""


@dataclass(frozen=True)
class Transfer:
    """A burst.

    Parameters
    ----------
    address : int
        Byte address, a multiple of the port's width.
    beats : int
        1 to 256.
    data : array of uint8, optional
        What to write; without it the burst reads.
    strobes : array of bool, optional
        Bytes of `data` to write; all by default.
    fence : bool
        Begin when everything before is done.
    earliest : int
        Cycle of the run before which it is not issued.
    """

    address: int
    beats: int
    data: npt.NDArray[np.uint8] | None = None
    strobes: npt.NDArray[np.bool_] | None = None
    fence: bool = False
    earliest: int = 0


@dataclass(frozen=True)
class Served:
    """What a run of transfers took.

    Parameters
    ----------
    cycles : int
    data : array of uint8
        All that was read, in order.
    counts : SdramCounts
        Commands and words that passed in that time.
    """

    cycles: int
    data: npt.NDArray[np.uint8]
    counts: SdramCounts

    @property
    def efficiency(self) -> float:
        """Share of the cycles in which a word passed on the data pins."""
        return int(self.counts.data_words) / self.cycles


class _Transfer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("write", "fence", "address", "beats")),
        ("earliest", ctypes.c_uint64),
    ]


class _Options(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("seed", "limit")),
        *((name, ctypes.c_uint32) for name in ("in_flight", "read_stall", "write_stall", "unused")),
    ]


class _Outcome(ctypes.Structure):
    _fields_ = [("cycles", ctypes.c_uint64), ("counts", SdramCounts)]


class SdramPort:
    """A simulated controller with its part, behind an AXI4 port.

    Parameters
    ----------
    part : SdramPart
    clock_mhz : float
    data_bits : int
        Of the port.
    cas : int, optional
        CAS latency; by default the shortest.
    capture_delay, postpone : int
        Of SdramController.
    wire_delay : int, optional
        Half cycles by which read data are late on their way; by default `capture_delay`.
    timing : dict of str to int, optional
        Numbers to put in SdramTiming in place of the part's.

    Raises
    ------
    DeviceError
        When a rule of the part or of AXI is broken, at once or in `run`.
    """

    def __init__(
        self,
        part: SdramPart,
        clock_mhz: float,
        *,
        data_bits: int = 64,
        cas: int | None = None,
        capture_delay: int = 0,
        postpone: int = 4,
        wire_delay: int | None = None,
        timing: dict[str, int] | None = None,
    ) -> None:
        self._handle: int | None = None
        short = dataclasses.replace(part, init_us=INIT_US)
        cycles = SdramTiming.of(short, clock_mhz, cas=cas)
        parameters: dict[str, Any] = {
            "part": part,
            "timing": dataclasses.replace(cycles, **(timing or {})),
            "data_bits": data_bits,
            "capture_delay": capture_delay,
            "postpone": postpone,
        }
        verilog = component_verilog(
            lambda: SdramController(**parameters), name="sdram", parameters=repr(parameters)
        )
        self.bus_bytes = data_bits // 8
        self._library = ctypes.CDLL(
            str(
                build_library(
                    verilog.read_text(encoding="utf-8"),
                    top="sdram",
                    defines={"BUS_BYTES": self.bus_bytes},
                    trace=False,
                    name="the SDRAM controller",
                    harness=HARNESS,
                )
            )
        )
        pointer = ctypes.POINTER
        for name, result, arguments in (
            ("open", ctypes.c_void_p, [pointer(SdramParameters), ctypes.c_uint64, ctypes.c_uint]),
            ("close", None, [ctypes.c_void_p]),
            ("memory", pointer(ctypes.c_uint8), [ctypes.c_void_p]),
            ("error", ctypes.c_char_p, [ctypes.c_void_p]),
            ("advance", None, [ctypes.c_void_p, ctypes.c_uint64]),
            (
                "run",
                ctypes.c_int,
                [ctypes.c_void_p, pointer(_Transfer), ctypes.c_uint64]
                + [ctypes.c_char_p, ctypes.c_char_p, pointer(ctypes.c_uint8)]
                + [pointer(_Options), pointer(_Outcome)],
            ),
        ):
            function = getattr(self._library, f"port_{name}")
            function.restype, function.argtypes = result, arguments
        model = SdramParameters.of(short, clock_mhz)
        wires = capture_delay if wire_delay is None else wire_delay
        self._handle = self._library.port_open(ctypes.byref(model), part.bytes, wires)
        self.memory: npt.NDArray[np.uint8] = np.ctypeslib.as_array(
            self._library.port_memory(self._handle), (part.bytes,)
        )
        self._check()

    def run(
        self,
        transfers: Sequence[Transfer],
        *,
        in_flight: int = 8,
        read_stall: int = 0,
        write_stall: int = 0,
        seed: int = 0,
    ) -> Served:
        """Serve transfers.

        Parameters
        ----------
        transfers : sequence of Transfer
        in_flight : int
            Bursts of each direction that may be outstanding.
        read_stall, write_stall : int
            Chance per cycle, in percent, that the manager takes no read data; that it offers no
            write data, or takes no response.
        seed : int
            Of the stalls.
        """
        table = (_Transfer * len(transfers))()
        data, strobes, bytes_read = bytearray(), bytearray(), 0
        for row, one in zip(table, transfers, strict=True):
            size = one.beats * self.bus_bytes
            row.write, row.fence = one.data is not None, one.fence
            row.address, row.beats, row.earliest = one.address, one.beats, one.earliest
            if one.data is None:
                bytes_read += size
                continue
            masks = np.ones(size, np.bool_) if one.strobes is None else one.strobes
            data += one.data.tobytes()
            bits = np.zeros((one.beats, 16), np.bool_)
            bits[:, : self.bus_bytes] = masks.reshape(one.beats, self.bus_bytes)
            strobes += np.packbits(bits, axis=1, bitorder="little").tobytes()
        buffer = np.zeros(max(bytes_read, 1), np.uint8)
        beats = sum(one.beats for one in transfers)
        limit = 100_000 + 2000 * beats + max((one.earliest for one in transfers), default=0)
        outcome = _Outcome()
        options = _Options(seed, limit, in_flight, read_stall, write_stall, 0)
        self._library.port_run(
            self._handle,
            table,
            len(transfers),
            bytes(data),
            bytes(strobes),
            buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
            ctypes.byref(options),
            ctypes.byref(outcome),
        )
        self._check()
        return Served(outcome.cycles, buffer[:bytes_read], outcome.counts)

    def advance(self, cycles: int) -> None:
        """Simulate so many cycles in which nothing is asked for."""
        self._library.port_advance(self._handle, cycles)
        self._check()

    def close(self) -> None:
        """Free the simulator."""
        if self._handle is not None:
            self._library.port_close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.close()

    def _check(self) -> None:
        text = self._library.port_error(self._handle).decode()
        if text:
            raise DeviceError(f"SDRAM: {text}")
