"""All that a board carries: accelerator, memory and host link; pads and clock are the board's."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from accel.config import Config
from accel.errors import ConfigError
from accel.gateware.axi_arbiter import Axi4Arbiter
from accel.gateware.axi_slice import Axi4RegisterSlice
from accel.gateware.link import HostLink
from accel.gateware.memories import Memory
from accel.gateware.top import Accelerator

__all__ = ["System"]


class System(wiring.Component):
    """An accelerator whose memory and registers a host reaches by a serial line (docs/boards.md).

    Everything is in domain `sync`, which comes from outside.

    Parameters
    ----------
    config : Config
    clock_hz : int
        Of domain `sync`.
    baud : int
        Of the serial line.
    memory : Memory
        What stands behind the memory port: Sdram, Spram or another description.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line, from the host and to it.
    running : Out(1)
        STATUS.BUSY: a program runs, or is being loaded.
    error : Out(1)
        STATUS.ERROR.
    ready : Out(1)
        The memory is initialised. Until then accesses wait.
    heartbeat : Out(1)
        Changes about once a second while there is a clock.
    pins : Out(memory.pins)
        Of the memory; where it has some.

    Raises
    ------
    ConfigError
        When clock, baud rate, memory and the configuration's bus do not fit each other.
    """

    def __init__(self, config: Config, *, clock_hz: int, baud: int, memory: Memory) -> None:
        if clock_hz < 1:
            raise ConfigError(f"The clock must be at least 1 Hz, not {clock_hz}")
        if baud < 1:
            raise ConfigError(f"Baud must be at least 1, not {baud}")
        self._clock_hz = clock_hz
        self._accelerator = Accelerator(config, status=True)
        self._arbiter = Axi4Arbiter(
            data_bits=config.bus_bits, writes_in_flight=1 if config.serial else 8
        )
        id_bits = len(self._arbiter.merged.arid)
        # A large machine fills the die: the link is elsewhere, and so are the memory's pads.
        self._slices = [
            Axi4RegisterSlice(data_bits=config.bus_bits, id_bits=bits)
            for bits in ([] if config.serial else [len(self._accelerator.m_axi.arid), id_bits])
        ]
        self._memory = memory.controller(
            clock_hz=clock_hz, data_bits=config.bus_bits, id_bits=id_bits
        )
        try:
            self._link = HostLink(
                clock_hz=clock_hz, baud=baud, data_bits=config.bus_bits, memory_bytes=memory.bytes
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "running": Out(1),
                "error": Out(1),
                "ready": Out(1),
                "heartbeat": Out(1),
                **({"pins": Out(memory.pins)} if memory.pins is not None else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accelerator = accelerator = self._accelerator
        m.submodules.arbiter = arbiter = self._arbiter
        m.submodules.memory = memory = self._memory
        m.submodules.link = link = self._link
        near, far = accelerator.m_axi, arbiter.merged
        if self._slices:
            m.submodules.accelerator_slice, m.submodules.memory_slice = self._slices
            connect(m, near, self._slices[0].s_axi)
            connect(m, far, self._slices[1].s_axi)
            near, far = (cut.m_axi for cut in self._slices)
        connect(m, near, arbiter.first)
        connect(m, link.memory, arbiter.second)
        connect(m, far, memory.s_axi)
        connect(m, link.registers, accelerator.s_axi)
        if "pins" in self.signature.members:
            connect(m, memory.pins, flipped(self.pins))
        seconds = Signal((self._clock_hz - 1).bit_length())
        m.d.sync += seconds.eq(seconds + 1)
        m.d.comb += [
            link.irq.eq(accelerator.irq),
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.running.eq(accelerator.busy),
            self.error.eq(accelerator.error),
            self.ready.eq(getattr(memory, "ready", 1)),
            self.heartbeat.eq(seconds[-1]),
        ]
        return m
