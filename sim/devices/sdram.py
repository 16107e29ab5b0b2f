"""The strict SDRAM model, clocked by hand, and what it has to know of a part."""

import ctypes
import math
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accel.errors import DeviceError
from accel.gateware.sdram_parts import SdramPart
from sim.devices.build import find_compiler
from sim.devices.cache import cached_file, digest_of

__all__ = ["SdramCounts", "SdramModel", "SdramParameters"]

SOURCE = Path(__file__).with_name("sdram_model.cpp")
HEADER = Path(__file__).with_name("sdram.h")


class SdramParameters(ctypes.Structure):
    """SdramParameters of sdram.h."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "period row_bits column_bits data_bits cycle_cas2 cycle_cas3 rcd rp ras ras_max rc rfc "
            "rrd wr wr_cycles rrd_cycles mrd_cycles refresh init init_refreshes"
        ).split()
    ]

    @classmethod
    def of(
        cls, part: SdramPart, clock_mhz: float, *, init_us: float | None = None
    ) -> "SdramParameters":
        """Return the parameters of a part at a clock.

        Parameters
        ----------
        part : SdramPart
        clock_mhz : float
        init_us : float, optional
            Another initial wait, for short simulations.
        """

        def ps(ns: float) -> int:
            return round(ns * 1000)

        never = (1 << 64) - 1
        shortest = dict(part.cycle_ns)
        return cls(
            # A clock period is rounded up: rounded down it would fall below what is asked for.
            period=math.ceil(1e6 / clock_mhz),
            row_bits=part.row_bits,
            column_bits=part.column_bits,
            data_bits=part.data_bits,
            cycle_cas2=ps(shortest[2]) if 2 in shortest else never,
            cycle_cas3=ps(shortest[3]) if 3 in shortest else never,
            rcd=ps(part.rcd_ns),
            rp=ps(part.rp_ns),
            ras=ps(part.ras_ns),
            ras_max=ps(part.ras_max_us * 1e3),
            rc=ps(part.rc_ns),
            rfc=ps(part.rfc_ns),
            rrd=ps(part.rrd_ns),
            wr=ps(part.wr_ns),
            wr_cycles=part.wr_cycles,
            rrd_cycles=part.rrd_cycles,
            mrd_cycles=part.mrd_cycles,
            refresh=ps(part.refresh_ms * 1e6 / part.refreshes),
            init=ps((part.init_us if init_us is None else init_us) * 1e3),
            init_refreshes=part.init_refreshes,
        )


class SdramCounts(ctypes.Structure):
    """SdramCounts of sdram.h: what the part was asked to do."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "edges reads writes activates precharges refreshes data_words".split()
    ]


class _Pins(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint32) for name in "cke cs_n ras_n cas_n we_n ba a dqm dq dq_oe".split()
    ]


def _library() -> Path:
    compiler = find_compiler()
    key = digest_of([SOURCE.read_bytes(), HEADER.read_bytes(), compiler])

    def make(path: Path) -> None:
        flags = ["-O2", "-std=c++17", "-fPIC", "-shared"]
        subprocess.run([compiler, *flags, str(SOURCE), "-o", str(path)], check=True)

    return cached_file(f"{key}-sdram.so", make)


class SdramModel:
    """A part whose pins are set edge by edge.

    Parameters
    ----------
    parameters : SdramParameters
    """

    def __init__(self, parameters: SdramParameters) -> None:
        self._library = library = ctypes.CDLL(str(_library()))
        pins = ctypes.POINTER(_Pins)
        for name, result, arguments in (
            ("open", ctypes.c_void_p, [ctypes.POINTER(SdramParameters), ctypes.c_uint64]),
            ("close", None, [ctypes.c_void_p]),
            ("memory", ctypes.POINTER(ctypes.c_uint8), [ctypes.c_void_p]),
            ("error", ctypes.c_char_p, [ctypes.c_void_p]),
            (
                "clock",
                ctypes.c_int,
                [ctypes.c_void_p, pins, ctypes.POINTER(ctypes.c_uint32)],
            ),
            ("idle", None, [ctypes.c_void_p, pins, ctypes.c_uint64]),
        ):
            function = getattr(library, f"sdram_{name}")
            function.restype, function.argtypes = result, arguments
        bits = parameters.row_bits + parameters.column_bits + 2
        size = (1 << bits) * parameters.data_bits // 8
        self._handle = library.sdram_open(ctypes.byref(parameters), size)
        if not self._handle:
            raise DeviceError("the SDRAM model did not start")
        self.memory: npt.NDArray[np.uint8] = np.ctypeslib.as_array(
            library.sdram_memory(self._handle), (size,)
        )

    @property
    def error(self) -> str:
        """The first broken rule: its name, a colon, what happened; empty when there is none."""
        return str(self._library.sdram_error(self._handle).decode())

    def clock(self, **pins: int) -> int | None:
        """Pass one edge; pins that are not named are at rest: no command, nothing masked.

        Returns
        -------
        int or None
            What the part drives until the next edge.
        """
        word = ctypes.c_uint32()
        values = self._pins(pins)
        drives = self._library.sdram_clock(self._handle, ctypes.byref(values), ctypes.byref(word))
        return word.value if drives else None

    def idle(self, edges: int, **pins: int) -> None:
        """Pass many edges with the same pins."""
        self._library.sdram_idle(self._handle, ctypes.byref(self._pins(pins)), edges)

    def close(self) -> None:
        """Free the model."""
        if self._handle is not None:
            self._library.sdram_close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.close()

    @staticmethod
    def _pins(pins: dict[str, int]) -> _Pins:
        at_rest = {"cke": 1, "ras_n": 1, "cas_n": 1, "we_n": 1}
        return _Pins(**{**at_rest, **pins})
