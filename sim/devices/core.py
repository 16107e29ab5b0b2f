"""The RTL of the controller alone, with its retirement port, compiled by Verilator."""

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accel.regmap import Cause
from sim.devices.build import build_library, controller_verilog

__all__ = ["RECORD", "CoreRun", "CoreSimulator"]

HARNESS = Path(__file__).with_name("core.cpp")

RECORD = np.dtype(
    [
        *((name, np.uint32) for name in ("pc", "insn", "next", "rs1", "rs2", "rd")),
        *((name, np.uint32) for name in ("address", "loaded", "stored")),
        *((name, np.uint8) for name in ("rs1_addr", "rs2_addr", "rd_addr", "read_mask")),
        *((name, np.uint8) for name in ("write_mask", "trap", "interrupt", "halt")),
        ("cycle", np.uint32),
    ]
)
"""One retired instruction, or trap: accel/gateware/rvfi.py says what the fields are."""

ENDS = ("cycle limit", "done", "fault", "tohost", "records full")


class _Options(ctypes.Structure):
    _fields_ = [
        ("cycles", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("stall_percent", ctypes.c_uint32),
        ("interrupt_percent", ctypes.c_uint32),
        ("tohost", ctypes.c_uint32),
        ("capacity", ctypes.c_uint32),
    ]


class _Outcome(ctypes.Structure):
    _fields_ = [
        ("cycles", ctypes.c_uint64),
        ("waiting", ctypes.c_uint64),
        *(
            (name, ctypes.c_uint32)
            for name in "end records retired exit_code cause address pc operations".split()
        ),
    ]


@dataclass(frozen=True)
class CoreRun:
    """What a program did.

    Parameters
    ----------
    end : str
        "done" (TDONE), "fault", "tohost", "cycle limit" or "records full".
    exit_code : int
        Of TDONE, or the word at `tohost`.
    fault : (Cause, address, pc), optional
    cycles, waiting, retired : int
        `waiting` are cycles in which engines held the program up.
    records : array of RECORD
    operations : uint32 array [n, 5]
        Tensor operations: funct3, funct7, the two register fields together, a, b.
    """

    end: str
    exit_code: int
    fault: tuple[Cause, int, int] | None
    cycles: int
    waiting: int
    retired: int
    records: npt.NDArray[np.void]
    operations: npt.NDArray[np.uint32]


class CoreSimulator:
    """A simulated controller that stays as it is from one program to the next.

    Parameters
    ----------
    multiply : bool
    program_bytes, window_bytes : int
    base : int
        First byte address of the program memory.
    target : str
        See Config.

    Members
    -------
    memory : uint32 array
        Program memory: what `load` writes to the hardware, and what stores made of it.
    window : uint8 array
        The memory behind the window.

    Raises
    ------
    DeviceError
        When Verilator or the C++ compiler is missing.
    """

    def __init__(
        self,
        *,
        multiply: bool,
        program_bytes: int = 16384,
        window_bytes: int = 2048,
        base: int = 0,
        target: str = "generic",
    ) -> None:
        self._handle: int | None = None
        verilog = controller_verilog(
            multiply=multiply,
            program_bytes=program_bytes,
            window_bytes=window_bytes,
            base=base,
            target=target,
        )
        path = build_library(
            verilog.read_text(encoding="utf-8"),
            top="core",
            defines={
                "PROGRAM_BITS": (program_bytes // 4 - 1).bit_length(),
                "WINDOW_BITS": (window_bytes // 4 - 1).bit_length(),
                "PROGRAM_BASE": base,
                "CAUSE_BITS": max(Cause).bit_length(),
            },
            trace=False,
            name="the controller",
            harness=HARNESS,
        )
        library = self._library = ctypes.CDLL(str(path))
        pointer = ctypes.c_void_p
        for name, result, arguments in (
            ("open", pointer, []),
            ("close", None, [pointer]),
            ("memory", ctypes.POINTER(ctypes.c_uint32), [pointer]),
            ("window", ctypes.POINTER(ctypes.c_uint8), [pointer]),
            ("operations", ctypes.POINTER(ctypes.c_uint32), [pointer]),
            ("load", None, [pointer]),
            (
                "run",
                None,
                [pointer, ctypes.POINTER(_Options), pointer, ctypes.POINTER(_Outcome)],
            ),
        ):
            function = getattr(library, f"core_{name}")
            function.restype, function.argtypes = result, arguments
        self._handle = library.core_open()
        shape = (program_bytes // 4,)
        self.memory = np.ctypeslib.as_array(library.core_memory(self._handle), shape)
        self.window = np.ctypeslib.as_array(library.core_window(self._handle), (window_bytes,))

    def __del__(self) -> None:
        if self._handle is not None:
            self._library.core_close(self._handle)

    def load(self) -> None:
        """Write `memory` into the program memory."""
        self._library.core_load(self._handle)

    def run(
        self,
        *,
        cycles: int,
        records: int = 0,
        seed: int = 0,
        stall_percent: int = 0,
        interrupt_percent: int = 0,
        tohost: int = 0,
    ) -> CoreRun:
        """Run the loaded program from its first word.

        Parameters
        ----------
        cycles : int
            Most cycles.
        records : int
            Retired instructions to keep; the run ends with the last one. 0: none, and no end.
        seed : int
            Of what follows.
        stall_percent : int
            Chance per cycle that the tensor port, the window or the program memory make it wait.
        interrupt_percent : int
            Chance per cycle that the interrupt input changes.
        tohost : int
            Byte address; a store that makes it other than 0 ends the run. 0: none.
        """
        options = _Options(cycles, seed, stall_percent, interrupt_percent, tohost, records)
        # Behind the last one there is room for those under way.
        kept = np.zeros(records + 16, RECORD) if records else np.zeros(0, RECORD)
        outcome = _Outcome()
        self._library.core_run(
            self._handle, ctypes.byref(options), kept.ctypes.data, ctypes.byref(outcome)
        )
        operations = (
            np.ctypeslib.as_array(
                self._library.core_operations(self._handle), (outcome.operations, 5)
            )
            if outcome.operations
            else np.zeros((0, 5), np.uint32)
        )
        end = ENDS[outcome.end]
        fault = (Cause(outcome.cause), outcome.address, outcome.pc) if end == "fault" else None
        return CoreRun(
            end,
            outcome.exit_code,
            fault,
            outcome.cycles,
            outcome.waiting,
            outcome.retired,
            kept[: outcome.records] if records else kept,
            operations.copy(),
        )
