"""What stands between the registers of an SDRAM controller and the pins of its part.

Pads are the platform's (`IB`, `OBZ`; `IBUF`, `TBUF`) where not said. Levels pass as they are: what
a platform says of inverted pins is left out, since the controller has the levels of the part.
"""

from typing import Any

from amaranth.hdl import ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io

__all__ = ["Ecp5SdramPads", "GowinSdramPads", "SdramPads"]

_OUTPUTS = {
    "cke": "clk_en",
    "cs_n": "cs",
    "ras_n": "ras",
    "cas_n": "cas",
    "we_n": "we",
    "ba": "ba",
    "a": "a",
    "dqm": "dqm",
}
"""Members of SdramPins, and of a resource of amaranth-boards."""


class SdramPads(Elaboratable):
    """Pads of an SDRAM; its clock is that of domain `memory`.

    Parameters
    ----------
    pins : Any
        SdramPins, seen from the controller.
    ports : Any
        The platform's resource of the part, requested with `dir="-"`.
    """

    def __init__(self, pins: Any, ports: Any) -> None:
        self._pins = pins
        self._ports = ports

    def elaborate(self, platform: Any) -> Module:
        """Return the module."""
        m = Module()
        self._clock(m)
        for member, name in _OUTPUTS.items():
            port = getattr(self._ports, name, None)
            if port is not None:
                self._output(m, member, getattr(self._pins, member), port)
        self._data(m)
        return m

    def _pad(self, m: Module, name: str, signal: Any, port: io.SingleEndedPort) -> None:
        """Put levels on output pins as they are."""
        m.submodules[name] = buffer = io.Buffer("o", io.SingleEndedPort(port.io, direction="o"))
        m.d.comb += buffer.o.eq(signal)

    def _clock(self, m: Module) -> None:
        raise NotImplementedError

    def _output(self, m: Module, name: str, signal: Signal, port: io.SingleEndedPort) -> None:
        raise NotImplementedError

    def _data(self, m: Module) -> None:
        raise NotImplementedError


class Ecp5SdramPads(SdramPads):
    """Every pin has its registers in the pad, of clock `sync`: their delays are all the same.

    That is one cycle more each way. Primitives: OFS1P3BX, OFS1P3DX, IFS1P3DX, ODDRX1F and, for the
    data pins, BB.
    """

    def _register(self, m: Module, name: str, data: Any, *, init: int = 0) -> Signal:
        """Return a bit behind a pad's output register."""
        q = Signal(name=f"{name}_q")
        m.submodules[name] = Instance(
            "OFS1P3BX" if init else "OFS1P3DX",
            i_SCLK=ClockSignal(),
            i_SP=Const(1),
            **{"i_PD" if init else "i_CD": Const(0)},
            i_D=data,
            o_Q=q,
        )
        return q

    def _clock(self, m: Module) -> None:
        q = Signal()
        m.submodules.clock = Instance(
            "ODDRX1F",
            i_SCLK=ClockSignal("memory"),
            i_RST=Const(0),
            i_D0=Const(1),
            i_D1=Const(0),
            o_Q=q,
        )
        self._pad(m, "clock_pad", q, self._ports.clk)

    def _output(self, m: Module, name: str, signal: Signal, port: io.SingleEndedPort) -> None:
        pads = Signal.like(signal, name=f"{name}_pads")
        for i in range(len(signal)):
            init = signal.init >> i & 1
            m.d.comb += pads[i].eq(self._register(m, f"{name}_{i}", signal[i], init=init))
        self._pad(m, f"{name}_pad", pads, port)

    def _data(self, m: Module) -> None:
        pins, port = self._pins, self._ports.dq.io
        off = Signal()
        m.d.comb += off.eq(~pins.dq_oe)
        for i in range(len(port)):
            data = Signal(name=f"dq_{i}_pin")
            m.submodules[f"dq_{i}_pad"] = Instance(
                "BB",
                i_I=self._register(m, f"dq_{i}_out", pins.dq_o[i]),
                i_T=self._register(m, f"dq_{i}_off", off, init=1),
                o_O=data,
                io_B=port[i],
            )
            m.submodules[f"dq_{i}_in"] = Instance(
                "IFS1P3DX",
                i_SCLK=ClockSignal(),
                i_SP=Const(1),
                i_CD=Const(0),
                i_D=data,
                o_Q=pins.dq_i[i],
            )


class GowinSdramPads(SdramPads):
    """The controller's registers, in the fabric, are the last before the pads.

    For an SDRAM in the FPGA's own package, at clocks that leave time for the wires to the pads.
    Primitives: ODDR and, for the data pins, IOBUF.
    """

    def _clock(self, m: Module) -> None:
        q = Signal()
        m.submodules.clock = Instance(
            "ODDR",
            p_TXCLK_POL=0,
            i_CLK=ClockSignal("memory"),
            i_D0=Const(1),
            i_D1=Const(0),
            i_TX=Const(0),
            o_Q0=q,
        )
        self._pad(m, "clock_pad", q, self._ports.clk)

    def _output(self, m: Module, name: str, signal: Signal, port: io.SingleEndedPort) -> None:
        self._pad(m, f"{name}_pad", signal, port)

    def _data(self, m: Module) -> None:
        pins = self._pins
        buffer = io.Buffer("io", self._ports.dq)
        m.submodules.dq_pad = buffer
        m.d.comb += [
            buffer.o.eq(pins.dq_o),
            buffer.oe.eq(pins.dq_oe),
            pins.dq_i.eq(buffer.i),
        ]
