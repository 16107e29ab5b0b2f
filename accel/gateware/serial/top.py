"""The accelerator of a configuration with `serial`: the serial machine and its microcode."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from accel.config import Config
from accel.gateware.axi import AXI4LiteSignature, AXI4Signature
from accel.gateware.serial.machine import SerialMachine
from accel.gateware.serial.program import microcode

__all__ = ["SerialAccelerator"]


class SerialAccelerator(wiring.Component):
    """What accel.gateware.top.Accelerator is, a command at a time.

    Parameters
    ----------
    config : Config

    Members
    -------
    s_axi, m_axi, irq, busy, error
        As of Accelerator.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                "s_axi": In(AXI4LiteSignature(12)),
                "m_axi": Out(AXI4Signature(data_bits=32)),
                "irq": Out(1),
                "busy": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        words, constants = microcode(
            fingerprint=config.fingerprint,
            shape=(config.rows, config.cols, config.lanes, config.bus_bytes),
            scratchpad_words=config.scratchpad_words,
            weight_words=config.weight_words,
            program_words=config.program_words,
        )
        m.submodules.machine = machine = SerialMachine(
            microcode=words,
            constants=constants,
            scratchpad_bytes=config.scratchpad_bytes,
            program_bytes=config.program_bytes,
            target=config.target,
        )
        connect(m, wiring.flipped(self.s_axi), machine.s_axi)
        connect(m, machine.m_axi, wiring.flipped(self.m_axi))
        m.d.comb += [
            self.irq.eq(machine.irq),
            self.busy.eq(machine.busy),
            self.error.eq(machine.error),
        ]
        return m
