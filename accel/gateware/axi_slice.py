"""Registers between the two ends of an AXI4 interface."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.axi import AXI4Signature
from accel.gateware.skid import SkidBuffer

__all__ = ["Axi4RegisterSlice"]


class Axi4RegisterSlice(wiring.Component):
    """A register slice on all five channels: no path goes through, in neither direction.

    Parameters
    ----------
    data_bits, id_bits : int
        See AXI4Signature.

    Members
    -------
    s_axi : In(AXI4Signature)
    m_axi : Out(AXI4Signature)

    Latency
    -------
    One cycle a channel; one transfer a cycle.

    Raises
    ------
    ValueError
        As AXI4Signature.
    """

    def __init__(self, *, data_bits: int, id_bits: int) -> None:
        axi = AXI4Signature(data_bits=data_bits, id_bits=id_bits)
        super().__init__({"s_axi": In(axi), "m_axi": Out(axi)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        manager, subordinate = self.s_axi, self.m_axi
        for channel, source, target in (
            ("aw", manager, subordinate),
            ("ar", manager, subordinate),
            ("w", manager, subordinate),
            ("b", subordinate, manager),
            ("r", subordinate, manager),
        ):
            valid, ready = f"{channel}valid", f"{channel}ready"
            names = [
                name
                for name in self.signature.members["m_axi"].signature.members
                if name.startswith(channel) and name not in (valid, ready)
            ]
            payload = Cat(getattr(source, name) for name in names)
            m.submodules[channel] = buffer = SkidBuffer(shape=len(payload))
            m.d.comb += [
                buffer.input.valid.eq(getattr(source, valid)),
                buffer.input.payload.eq(payload),
                getattr(source, ready).eq(buffer.input.ready),
                getattr(target, valid).eq(buffer.output.valid),
                Cat(getattr(target, name) for name in names).eq(buffer.output.payload),
                buffer.output.ready.eq(getattr(target, ready)),
            ]
        return m
