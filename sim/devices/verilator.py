"""The everyday device: the emitted Verilog, compiled by Verilator, with its memory, in C++."""

import ctypes
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from accel.config import Config
from accel.errors import DeviceError
from accel.host.device import DEFAULT_MEMORY_BYTES, Buffer
from sim.devices.build import TOP, accelerator_verilog, build_library
from sim.devices.rtl import RtlDevice

__all__ = ["DECERR", "SLVERR", "VerilatorDevice"]

SLVERR, DECERR = 2, 3
"""Error responses of AXI4."""

# A second or so: Python sees an interrupt from the keyboard between calls only.
_CYCLES_PER_CALL = 500_000

_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "sim_open": (
        ctypes.c_void_p,
        [
            ctypes.c_uint64,
            ctypes.c_uint64,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_uint64,
            ctypes.c_char_p,
        ],
    ),
    "sim_close": (None, [ctypes.c_void_p]),
    "sim_memory": (ctypes.POINTER(ctypes.c_uint8), [ctypes.c_void_p]),
    "sim_cycles": (ctypes.c_uint64, [ctypes.c_void_p]),
    "sim_error": (ctypes.c_char_p, [ctypes.c_void_p]),
    "sim_run": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint64]),
    "sim_advance": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint64]),
    "sim_reset": (None, [ctypes.c_void_p, ctypes.c_uint64]),
    "sim_inject": (None, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_uint]),
    "sim_allow": (None, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_uint64]),
    "sim_write_register": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32]),
    "sim_read_register": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)],
    ),
}


def _direction(name: str) -> int:
    if name not in ("read", "write"):
        raise DeviceError(f"direction must be read or write, not {name}")
    return int(name == "write")


class VerilatorDevice(RtlDevice):
    """The RTL as a compiled model, called once per register access and once per run.

    The simulator is built at first use (tens of seconds) and cached. Its memory accepts 16 bursts
    per direction, answers in order, and stops the simulation where the accelerator breaks AXI4's
    rules: bursts across 4 KiB, narrow or not INCR, a request changed before it was accepted, wrong
    last flags, strobes below the address. An address outside the memory gets DECERR.

    Parameters
    ----------
    config : Config
    verilog : str, optional
        Verilog to simulate in place of the configuration's: top module `systolite`, same ports.
    options
        See RtlDevice.
    """

    name = "verilator"

    # What a subclass builds into the simulator, and calls there.
    _settings = ""
    _defines: Mapping[str, int] = {}
    _signatures: Mapping[str, tuple[object, list[object]]] = {}

    def __init__(
        self,
        config: Config,
        *,
        latency: int = 20,
        stalls: str = "never",
        seed: int = 0,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        memory_base: int = 0,
        trace: str | Path | None = None,
        verilog: str | None = None,
    ) -> None:
        self._handle: int | None = None
        super().__init__(
            config,
            latency=latency,
            stalls=stalls,
            seed=seed,
            memory_bytes=memory_bytes,
            memory_base=memory_base,
            trace=trace,
        )
        self._library = ctypes.CDLL(str(self._build(verilog)))
        for name, (result, arguments) in {**_SIGNATURES, **self._signatures}.items():
            function = getattr(self._library, name)
            function.restype = result
            function.argtypes = arguments
        self._prepare()
        trace_path = None if self._trace is None else str(self._trace).encode()
        self._handle = self._library.sim_open(
            memory_bytes, memory_base, latency, self._stall_percent, seed & (2**64 - 1), trace_path
        )
        pointer = self._library.sim_memory(self._handle)
        self._memory = np.ctypeslib.as_array(pointer, (memory_bytes,))

    def _build(self, verilog: str | None) -> Path:
        """Return the simulator's library, built when it is not cached."""
        if verilog is None:
            verilog = accelerator_verilog(self.config).read_text(encoding="utf-8")
        return build_library(
            verilog,
            top=TOP,
            defines={"BUS_BYTES": self.config.bus_bytes, **self._defines},
            trace=self._trace is not None,
            name=self.config.name,
            settings=self._settings,
        )

    def _prepare(self) -> None:
        """Tell the library what it has to know before it is opened."""

    @property
    def simulated_cycles(self) -> int:
        """Clock cycles simulated since the device was opened."""
        return int(self._library.sim_cycles(self._open_handle()))

    def read_memory(self, address: int, length: int) -> bytes:
        """Return bytes of memory; see Device."""
        self._open_handle()
        offset = self.check_range(address, length)
        return self._memory[offset : offset + length].tobytes()

    def write_memory(self, address: int, data: Buffer) -> None:
        """Write bytes to memory; see Device."""
        self._open_handle()
        raw = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
        offset = self.check_range(address, len(raw))
        self._memory[offset : offset + len(raw)] = np.frombuffer(raw, np.uint8)

    def read_register(self, offset: int) -> int:
        """Return a control register by an AXI4-Lite read; see Device."""
        self.check_register(offset)
        value = ctypes.c_uint32()
        handle = self._open_handle()
        self._check(self._library.sim_read_register(handle, offset, ctypes.byref(value)))
        return value.value

    def write_register(self, offset: int, value: int) -> None:
        """Write a control register by an AXI4-Lite write; see Device."""
        self.check_register(offset)
        handle = self._open_handle()
        self._check(self._library.sim_write_register(handle, offset, value & 0xFFFFFFFF))

    def wait(self, timeout_cycles: int) -> None:
        """Simulate until `irq` is high; see Device."""
        handle = self._open_handle()
        for start in range(0, timeout_cycles, _CYCLES_PER_CALL):
            cycles = min(timeout_cycles - start, _CYCLES_PER_CALL)
            if self._check(self._library.sim_run(handle, cycles)):
                return
        raise self.timeout_error(timeout_cycles)

    def advance(self, cycles: int) -> None:
        """Simulate so many cycles, whatever `irq` says.

        Raises
        ------
        DeviceError
            When the accelerator breaks a rule of AXI4 or a limit of `allow`.
        """
        self._check(self._library.sim_advance(self._open_handle(), cycles))

    def reset(self, cycles: int = 4) -> None:
        """Hold `rst` high for so many cycles, of the accelerator and of the memory's port.

        The memory keeps its bytes; all control registers have their reset values afterwards.
        """
        self._library.sim_reset(self._open_handle(), cycles)

    def inject_error(self, direction: str, beat: int, response: int = SLVERR) -> None:
        """Let the memory answer one data beat with an error, once.

        Parameters
        ----------
        direction : str
            "read" or "write"; a write's response is that of the burst with the beat in it.
        beat : int
            Beats of that direction that come before it from now on.
        response : int
            SLVERR (2) or DECERR (3); 0 takes an error back that has not come yet.
        """
        number = _direction(direction)
        self._library.sim_inject(self._open_handle(), number, beat, response)

    def allow(self, direction: str, first: int, last: int) -> None:
        """Stop the simulation at a burst that touches other byte addresses than these.

        It knows nothing of the accelerator's own windows, and so can check them.
        """
        self._library.sim_allow(self._open_handle(), _direction(direction), first, last)

    def close(self) -> None:
        """Free the simulator and finish its waves."""
        if self._handle is not None:
            self._library.sim_close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.close()

    def _open_handle(self) -> int:
        if self._handle is None:
            raise DeviceError(f"{self.name}: the device is closed")
        return self._handle

    def _check(self, result: int) -> int:
        if result < 0:
            raise DeviceError(f"{self.name}: {self._library.sim_error(self._handle).decode()}")
        return result
