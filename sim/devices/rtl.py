"""What the RTL simulators have in common: options and register checks."""

from pathlib import Path

from accel.config import Config
from accel.errors import DeviceError
from accel.host.device import Device
from accel.regmap import REGISTERS

__all__ = ["STALL_PERCENT", "RtlDevice"]

STALL_PERCENT = {"never": 0, "sometimes": 20, "often": 70}
"""Chance per cycle that the memory, or the register master, does not go on."""

_OFFSETS = frozenset(register.offset for register in REGISTERS)


class RtlDevice(Device):
    """A simulator of the emitted Verilog with a behavioural AXI4 memory.

    Parameters
    ----------
    config : Config
    latency : int
        Cycles from an accepted address to its first data beat, and from the last write beat to
        its response: at least 1.
    stalls : str
        "never", "sometimes" or "often": on every channel of both ports, both ways.
    seed : int
        Of the stalls: the same seed gives the same run.
    memory_bytes : int
        External memory.
    memory_base : int
        Its first byte address, a multiple of 4096.
    trace : path or None
        VCD file to write.

    Raises
    ------
    DeviceError
        When an option is out of its range, or a tool is missing.
    """

    def __init__(
        self,
        config: Config,
        *,
        latency: int = 20,
        stalls: str = "never",
        seed: int = 0,
        memory_bytes: int,
        memory_base: int = 0,
        trace: str | Path | None = None,
    ) -> None:
        super().__init__(config)
        if not 1 <= latency <= 100_000:
            raise DeviceError(f"latency must be from 1 to 100000 cycles, not {latency}")
        if stalls not in STALL_PERCENT:
            raise DeviceError(f"stalls must be one of {', '.join(STALL_PERCENT)}, not {stalls}")
        if memory_base % 4096 or memory_bytes % 4096 or memory_base + memory_bytes > 1 << 32:
            raise DeviceError("memory base and size must be multiples of 4096 within 4 GiB")
        self.memory_bytes = memory_bytes
        self.memory_base = memory_base
        self._latency = latency
        self._stall_percent = STALL_PERCENT[stalls]
        self._seed = seed
        self._trace = None if trace is None else Path(trace)

    def check_register(self, offset: int) -> None:
        """Raise DeviceError when there is no register at byte `offset`."""
        if offset not in _OFFSETS:
            raise DeviceError(f"{self.name}: there is no register at {offset:#x}")
