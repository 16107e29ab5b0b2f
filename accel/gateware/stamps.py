"""The record of when flagged commands completed."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.regmap import STAMPS

__all__ = ["StampRecorder"]


class StampRecorder(wiring.Component):
    """Keep the time of each stamp.

    One is recorded at a time. Those that come meanwhile are recorded, one after the other, as if
    they had come when they are. So what is recorded with a stamp is always of one moment.

    Members
    -------
    clear : In(1)
        Count from 0 again; stamps of the cycle before may count too.
    stamp : In(4)
        Bit per engine: a flagged command completes in this cycle.
    time : In(32)
    ready : In(1)
        A record can begin in this cycle.
    begin : Out(1)
        One does, of the state of the cycle before.
    record : Out(8)
        With `begin`: its number.
    waits : Out(1)
        There is a stamp that will be recorded.
    count : Out(32)
        Stamps since `clear`.
    index : In(8)
        Stamp to show.
    value : Out(32)
        Its time, a cycle after `index`, from a block RAM without an output register.

    Latency
    -------
    One cycle from `stamp` to `begin` when ready, two to `count`.
    """

    clear: In(1)
    stamp: In(4)
    time: In(32)
    ready: In(1, init=1)
    begin: Out(1)
    record: Out(8)
    waits: Out(1)
    count: Out(32)
    index: In(8)
    value: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=32, depth=STAMPS, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(), memory.read_port()
        stamp_q = Signal(4)
        arrived = Signal(3)
        time_q = Signal(32, reset_less=True)
        # It may lose some above STAMPS, which are not recorded anyway.
        waiting = Signal(ceil_log2(STAMPS) + 1)
        recorded = Signal(range(STAMPS + 1))
        full = recorded[-1]  # STAMPS is a power of two
        m.d.sync += [stamp_q.eq(self.stamp), time_q.eq(self.time)]
        m.d.comb += [
            arrived.eq(sum(stamp_q)),
            self.waits.eq((stamp_q.any() | (waiting != 0)) & ~full),
            self.begin.eq(self.waits & self.ready),
            self.record.eq(recorded),
            write.addr.eq(recorded),
            write.data.eq(time_q),
            write.en.eq(self.begin),
            read.addr.eq(self.index),
            read.en.eq(1),
            self.value.eq(read.data),
        ]
        with m.If(self.clear):
            m.d.sync += [self.count.eq(0), waiting.eq(0), recorded.eq(0)]
        with m.Else():
            m.d.sync += [
                self.count.eq(self.count + arrived),
                recorded.eq(recorded + self.begin),
            ]
            with m.If(~waiting[-1]):
                m.d.sync += waiting.eq(waiting + arrived - self.begin)
            with m.Elif(self.begin):
                m.d.sync += waiting.eq(waiting - 1)
        return m
