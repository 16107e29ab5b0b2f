"""The accelerator with an SDRAM for its memory: RTL of both, and the strict model of the part."""

import ctypes
import dataclasses
from pathlib import Path

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from accel.config import Config
from accel.gateware.axi import AXI4LiteSignature
from accel.gateware.sdram import SdramController
from accel.gateware.sdram_parts import SdramPart, SdramTiming
from accel.gateware.sdram_pins import SdramPins
from accel.gateware.top import Accelerator
from sim.devices.build import TOP, build_library, component_verilog
from sim.devices.sdram import SdramCounts, SdramParameters
from sim.devices.sdramport import INIT_US
from sim.devices.verilator import VerilatorDevice

__all__ = ["SdramDevice", "SdramSystem", "SdramUse"]


class SdramSystem(wiring.Component):  # type: ignore[misc]
    """An accelerator and its SDRAM controller.

    Parameters
    ----------
    config : Config
    part : SdramPart
    timing : SdramTiming

    Members
    -------
    s_axi : In(AXI4LiteSignature(12))
    irq : Out(1)
    pins : Out(SdramPins(part))
    busy : Out(1)
        A burst is outstanding: words could pass.
    """

    def __init__(self, *, config: Config, part: SdramPart, timing: SdramTiming) -> None:
        self._config = config
        self._part = part
        self._timing = timing
        super().__init__(
            {
                "s_axi": In(AXI4LiteSignature(12)),
                "irq": Out(1),
                "pins": Out(SdramPins(part)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect the two and count bursts."""
        m = Module()
        m.submodules.accelerator = accelerator = Accelerator(self._config)
        m.submodules.memory = memory = SdramController(
            part=self._part, timing=self._timing, data_bits=self._config.bus_bits
        )
        connect(m, flipped(self.s_axi), accelerator.s_axi)
        connect(m, accelerator.m_axi, memory.s_axi)
        connect(m, memory.pins, flipped(self.pins))
        axi = accelerator.m_axi
        bursts = Signal(8)
        begins = (axi.arvalid & axi.arready) + (axi.awvalid & axi.awready)
        ends = (axi.rvalid & axi.rready & axi.rlast) + (axi.bvalid & axi.bready)
        m.d.sync += bursts.eq(bursts + begins - ends)
        m.d.comb += [self.irq.eq(accelerator.irq), self.busy.eq(bursts != 0)]
        return m


@dataclasses.dataclass(frozen=True)
class SdramUse:
    """What the memory did since the device was opened.

    Parameters
    ----------
    busy_cycles : int
        Cycles in which a burst was outstanding.
    counts : SdramCounts
    """

    busy_cycles: int
    counts: SdramCounts


class SdramDevice(VerilatorDevice):
    """The accelerator's RTL behind the SDRAM controller's, with the strict model of a part.

    The host's accesses to memory go to the model directly. A broken rule of the part stops the
    simulation.

    Parameters
    ----------
    config : Config
    part : SdramPart
    clock_mhz : float
        Of accelerator and memory.
    options
        `stalls` (of the register port), `seed`, `trace`: see RtlDevice.
    """

    name = "verilator"

    def __init__(
        self,
        config: Config,
        *,
        part: SdramPart,
        clock_mhz: float,
        stalls: str = "never",
        seed: int = 0,
        trace: str | Path | None = None,
    ) -> None:
        self._part = dataclasses.replace(part, init_us=INIT_US)
        self._clock_mhz = clock_mhz
        super().__init__(config, stalls=stalls, seed=seed, memory_bytes=part.bytes, trace=trace)

    @property
    def use(self) -> SdramUse:
        """What the memory did so far."""
        busy, counts = ctypes.c_uint64(), SdramCounts()
        self._library.sim_counts(
            ctypes.c_void_p(self._open_handle()), ctypes.byref(busy), ctypes.byref(counts)
        )
        return SdramUse(busy.value, counts)

    def _build(self, verilog: str | None) -> Path:
        timing = SdramTiming.of(self._part, self._clock_mhz)
        config = self.config
        text = component_verilog(
            lambda: SdramSystem(config=config, part=self._part, timing=timing),
            name=TOP,
            parameters=repr((config, self._part, timing)),
        )
        return build_library(
            text.read_text(encoding="utf-8") if verilog is None else verilog,
            top=TOP,
            defines={"BUS_BYTES": config.bus_bytes, "SDRAM": 1},
            trace=self._trace is not None,
            name=f"{config.name} with SDRAM",
        )

    def _prepare(self) -> None:
        parameters = SdramParameters.of(self._part, self._clock_mhz)
        self._library.sim_part(ctypes.byref(parameters))
