"""Device under test of the DMA bench: both engines on one AXI4 port."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.config import Config
from accel.gateware.axi import AXI4Signature
from accel.gateware.load import LoadEngine
from accel.gateware.store import StoreEngine

__all__ = ["DmaTop"]


class DmaTop(wiring.Component):  # type: ignore[misc]
    """Load and store engine of a configuration; the bench plays the on-chip memories.

    Parameters
    ----------
    config : Config

    Members
    -------
    m_axi : Out(AXI4Signature)
    memory_base : In(32)
    load, store : the engines' other members.
    """

    def __init__(self, config: Config) -> None:
        self._load = LoadEngine(
            bus_bytes=config.bus_bytes,
            rows=config.rows,
            cols=config.cols,
            scratchpad_words=config.scratchpad_words,
            weight_words=config.weight_words,
            program_words=config.program_words,
            reads_in_flight=config.reads_in_flight,
        )
        self._store = StoreEngine(
            bus_bytes=config.bus_bytes, rows=config.rows, scratchpad_words=config.scratchpad_words
        )
        super().__init__(
            {
                "m_axi": Out(AXI4Signature(data_bits=config.bus_bits)),
                "memory_base": In(32),
                "load": Out(_without(self._load, "axi", "memory_base", "window", "halt")),
                "store": Out(_without(self._store, "axi", "memory_base", "window", "halt")),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Join the engines' halves of the bus."""
        m = Module()
        m.submodules.load = self._load
        m.submodules.store = self._store
        for engine, outside in ((self._load, self.load), (self._store, self.store)):
            for name in outside.signature.members:
                inner, outer = getattr(engine, name), getattr(outside, name)
                member = outside.signature.members[name]
                if member.is_signature:
                    wiring.connect(m, inner, wiring.flipped(outer))
                else:
                    m.d.comb += inner.eq(outer) if member.flow is wiring.In else outer.eq(inner)
            m.d.comb += [
                engine.memory_base.eq(self.memory_base),
                engine.window.limit.eq(0xFFFFFFFF),
            ]
            for name, member in engine.axi.signature.members.items():
                inner, outer = getattr(engine.axi, name), getattr(self.m_axi, name)
                m.d.comb += inner.eq(outer) if member.flow is wiring.In else outer.eq(inner)
        return m


def _without(engine: wiring.Component, *names: str) -> wiring.Signature:
    members = engine.signature.members.items()
    return wiring.Signature({name: member for name, member in members if name not in names})
