"""A small FIFO in distributed RAM whose head is a register."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["RamFifo"]


class RamFifo(wiring.Component):
    """FIFO for facts about requests in flight: never full or empty when used as promised.

    Parameters
    ----------
    shape : shape-like
    depth : int
        Entries held; a power of two, at least 2.

    Members
    -------
    push : In(1)
        Take `tail`; only while `room`.
    tail : In(shape)
    room : Out(1)
    pop : In(1)
        Drop `head`; only while an entry is there that was pushed two or more cycles ago.
    head : Out(shape)
        The oldest entry; a register.
    level : Out(range(depth + 1))

    Latency
    -------
    Two cycles from `push` to `head`; one entry per cycle.

    Raises
    ------
    ValueError
        When depth is no power of two.
    """

    def __init__(self, *, shape: ShapeLike, depth: int) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two from 2, not {depth}")
        self._depth = depth
        super().__init__(
            {
                "push": In(1),
                "tail": In(shape),
                "room": Out(1),
                "pop": In(1),
                "head": Out(shape),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = len(self.tail.as_value()) if hasattr(self.tail, "as_value") else len(self.tail)
        m.submodules.memory = memory = Memory(shape=width, depth=self._depth, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        head_valid = Signal()
        stored = Signal()  # something waits behind the head
        bits = ceil_log2(self._depth)
        m.d.comb += [
            write.data.eq(self.tail),
            write.en.eq(self.push),
            stored.eq(write.addr != read.addr),
            self.room.eq(~self.level[bits]),
        ]
        with m.If(self.push):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(self.pop | ~head_valid):
            m.d.sync += [self.head.eq(read.data), head_valid.eq(stored)]
            with m.If(stored):
                m.d.sync += read.addr.eq(read.addr + 1)
        m.d.sync += self.level.eq(self.level + self.push - self.pop)
        return m
