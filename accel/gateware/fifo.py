"""A first-word fall-through FIFO in distributed RAM whose flags are registers."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["Fifo"]


class Fifo(wiring.Component):
    """Queue between two streams.

    `input.ready` and `output.valid` come straight from registers: both ends may be far away.

    Parameters
    ----------
    shape : shape-like
    depth : int
        Entries held, at least 1.

    Members
    -------
    input : In(stream.Signature(shape))
    output : Out(stream.Signature(shape))
    level : Out(range(depth + 1))
        Entries held.

    Latency
    -------
    One cycle; one entry per cycle. When full, it takes the next entry a cycle after one has left.

    Raises
    ------
    ValueError
        When depth is less than 1.
    """

    def __init__(self, *, shape: ShapeLike, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"Depth must be at least 1, not {depth}")
        self._depth = depth
        super().__init__(
            {
                "input": In(stream.Signature(shape)),
                "output": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        payload = self.input.payload
        width = len(payload.as_value() if hasattr(payload, "as_value") else payload)
        # Deep ones would become block RAMs, out of which a path starts with half a cycle.
        m.submodules.memory = memory = Memory(
            shape=width,
            depth=1 << ceil_log2(max(self._depth, 2)),
            init=[],
            attrs={"ram_style": "distributed"},
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        level = self.level
        has_room = Signal(init=1)
        has_entry = Signal()
        pushes, pops = Signal(), Signal()
        m.d.comb += [
            self.input.ready.eq(has_room),
            self.output.valid.eq(has_entry),
            pushes.eq(self.input.valid & has_room),
            pops.eq(has_entry & self.output.ready),
            write.data.eq(payload),
            write.en.eq(pushes),
            self.output.payload.eq(read.data),
        ]
        with m.If(pushes):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(pops):
            m.d.sync += read.addr.eq(read.addr + 1)
        with m.If(pushes != pops):
            m.d.sync += [
                level.eq(Mux(pushes, level + 1, level - 1)),
                has_room.eq(pops | (level != self._depth - 1)),
                has_entry.eq(pushes | (level != 1)),
            ]
        return m
