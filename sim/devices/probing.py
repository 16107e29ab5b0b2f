"""A Verilator device whose stored bits can be flipped, and whose signals can be watched."""

import ctypes
from collections.abc import Iterable

import numpy as np

from accel.errors import DeviceError
from sim.devices.verilator import VerilatorDevice

__all__ = ["EVENT", "ProbingDevice"]

EVENT = np.dtype(
    [("cycle", "u8"), ("flag", "u8"), ("value", "u8"), ("watch", "u4"), ("unused", "u4")]
)
"""One cycle in which a watched flag was not 0."""

_NUMBER = ctypes.c_uint


class ProbingDevice(VerilatorDevice):
    """As VerilatorDevice, and slower: keeps the accelerator's memories and checks within reach.

    Variables are called by their instance path below the top module in the emitted Verilog, joined
    by dots, without the `$` and number that Amaranth puts behind a submodule's name where a signal
    has it too: for example `scratchpad.bank0.memory`. Those within reach are listed here.
    """

    name = "verilator"

    # Memories, and by what it can be told when a word of one is used or written.
    _settings = "".join(
        f'public_flat_{access} -module "*" -var "{name}"\n'
        for access, names in (
            ("rw", ("memory",)),
            ("rd", ("write_enable", "write_address", "write__en", "write__addr")),
            ("rd", ("bank*_used", "bank*_checked_q2", "used", "checked_q2")),
            ("rd", ("write_3_q1", "entry_3_q1", "replace_3_q1", "read_valid_q1", "request")),
            ("rd", ("program_executed", "program_loaded", "parity")),
        )
        for name in names
    )
    _defines = {"PROBES": 1}
    _signatures = {
        "sim_probe": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
        "sim_probe_words": (_NUMBER, [ctypes.c_void_p, _NUMBER]),
        "sim_probe_bits": (_NUMBER, [ctypes.c_void_p, _NUMBER]),
        "sim_flip": (None, [ctypes.c_void_p, _NUMBER, _NUMBER, _NUMBER, ctypes.c_uint64]),
        "sim_watch": (None, [ctypes.c_void_p, _NUMBER, _NUMBER]),
        "sim_record": (
            ctypes.c_uint64,
            [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)],
        ),
    }

    def probe(self, name: str) -> int:
        """Return the number of the variable with this name.

        Raises
        ------
        DeviceError
            When there is none.
        """
        number = int(self._library.sim_probe(self._open_handle(), name.encode()))
        if number < 0:
            raise DeviceError(f"{self.name}: there is no variable {name} within reach")
        return number

    def shape(self, memory: str) -> tuple[int, int]:
        """Return the words of a memory, and the bits of a word."""
        handle, number = self._open_handle(), self.probe(memory)
        words = self._library.sim_probe_words(handle, number)
        return int(words), int(self._library.sim_probe_bits(handle, number))

    def flip(self, memory: str, word: int, bit: int, cycles: int = 0) -> None:
        """Change a stored bit so many cycles from now; only the last call counts until then.

        Raises
        ------
        DeviceError
            When there is no such bit.
        """
        words, bits = self.shape(memory)
        if not (0 <= word < words and 0 <= bit < bits):
            raise DeviceError(f"{self.name}: {memory} has no bit {bit} of word {word}")
        cycle = self.simulated_cycles + cycles
        self._library.sim_flip(self._open_handle(), self.probe(memory), word, bit, cycle)

    def watch(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Note each cycle in which a flag is not 0, with another variable's value.

        Events count the pairs from 0, in the order of all calls.
        """
        for flag, value in pairs:
            self._library.sim_watch(self._open_handle(), self.probe(flag), self.probe(value))

    def record(self, on: bool) -> np.ndarray:
        """Begin (and forget what was noted before) or end to note; return what is noted so far."""
        pointer = ctypes.c_void_p()
        count = self._library.sim_record(self._open_handle(), int(on), ctypes.byref(pointer))
        if not count:
            return np.zeros(0, EVENT)
        raw = ctypes.string_at(pointer.value or 0, int(count) * EVENT.itemsize)
        return np.frombuffer(raw, EVENT)
