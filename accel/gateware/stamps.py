"""The record of when flagged commands completed."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["STAMPS", "StampRecorder"]

STAMPS = 256
"""Stamps that are kept; later ones are only counted."""


class StampRecorder(wiring.Component):
    """Keep the time of each stamp, in the order of their engines where they coincide.

    Members
    -------
    clear : In(1)
        Count from 0 again; stamps in the last cycles before it may count too.
    stamp : In(4)
        Bit per engine: a flagged command completes in this cycle.
    time : In(32)
    count : Out(32)
        Stamps since `clear`.
    index : In(8)
        Stamp to show.
    value : Out(32)
        Its time, one cycle after `index`.

    Latency
    -------
    Two cycles from `stamp` to `count`, and one more for every stamp before it that is not recorded
    yet: one is recorded per cycle. Stamps of eight cycles wait; more are lost.
    """

    clear: In(1)
    stamp: In(4)
    time: In(32)
    count: Out(32)
    index: In(8)
    value: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = SyncFIFO(width=36, depth=8)
        m.submodules.memory = memory = Memory(
            shape=32, depth=STAMPS, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(), memory.read_port()
        mask, time = fifo.r_data[:4], fifo.r_data[4:]
        recorded = Signal(4)
        remaining = Signal(4)
        m.d.comb += [
            fifo.w_en.eq(self.stamp.any()),
            fifo.w_data.eq(Cat(self.stamp, self.time)),
            remaining.eq(mask & ~recorded),
            write.addr.eq(self.count[:8]),
            write.data.eq(time),
            read.addr.eq(self.index),
            read.en.eq(1),
            self.value.eq(read.data),
        ]
        lowest = remaining & -remaining
        with m.If(self.clear):
            m.d.sync += [self.count.eq(0), recorded.eq(0)]
        with m.Elif(fifo.r_rdy):
            m.d.comb += write.en.eq(self.count < STAMPS)
            m.d.sync += [self.count.eq(self.count + 1), recorded.eq(recorded | lowest)]
            with m.If(remaining == lowest):
                m.d.comb += fifo.r_en.eq(1)
                m.d.sync += recorded.eq(0)
        return m
