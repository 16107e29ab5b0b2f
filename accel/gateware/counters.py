"""The counters of a run: what each cycle went to, also as it was at each stamp."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.bits import only
from accel.gateware.delay import delayed
from accel.regmap import STAMPS, Activity

__all__ = ["COUNTERS", "RECORD_CYCLES", "CounterBank"]

ACTIVITIES = len(Activity)
COUNTERS = 2 * ACTIVITIES
"""Counters of a bank: one per Activity, then as many for other events."""

RECORD_CYCLES = COUNTERS + 2
"""From the beginning of a record to that of the next."""

_SMALL_BITS = (2 * COUNTERS).bit_length()
"""A small counter is emptied every 2 * COUNTERS cycles or oftener."""

_SETTLE = 63
"""Cycles after which all events of a run are in the totals."""

_LOOK_UP = 20
"""Cycles after which any total has come by, when no records are made."""


class CounterBank(wiring.Component):
    """Sixteen 32-bit counters, eight of which are recorded with each stamp.

    Each counter is a small one in registers and a total in one small memory. A pointer goes
    round and adds one small counter after the other to its total. Activity k's events are k cycles
    late, so that the pointer, which is as late, finds all counters as of one moment. A record starts
    the pointer anew, and the totals that it then makes are written to a block memory.

    Members
    -------
    clear : In(1)
        In the first cycle of a run: count from 0, this cycle included.
    running : In(1)
        This cycle counts.
    activity : In(Activity)
        What it counts for.
    events : In(8)
        Counters 8 and following.
    begin : In(1)
        Record the activities as they were before the cycle before. Only when ready.
    record : In(8)
        Its number.
    ready : Out(1)
        From RECORD_CYCLES after `begin` on.
    index : In(4)
        Counter to show.
    value : Out(32)
        Its total.
    settled : Out(1)
        `value` is that of the index, and what `running` counted is all in it; low for some time
        after the run's end and after a change of the index.
    change : In(1)
        The index changes in this cycle.
    recorded_index : In(11)
        Activity (bits 10:8) and number of the record to show.
    recorded : Out(32)
        What it counted, a cycle later, from a block RAM without an output register.
    """

    clear: In(1)
    running: In(1)
    activity: In(Activity)
    events: In(COUNTERS - ACTIVITIES)
    begin: In(1)
    record: In(8)
    ready: Out(1)
    index: In(4)
    value: Out(32)
    settled: Out(1)
    change: In(1)
    recorded_index: In(11)
    recorded: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pointer = Signal(range(COUNTERS))
        begin = Signal()
        visit = Signal()
        free = Signal(init=1)
        recording = Signal()
        record = Signal(8)
        m.d.comb += [visit.eq(~begin), self.ready.eq(free & ~begin)]
        m.d.sync += [begin.eq(self.begin), pointer.eq(pointer + 1)]
        with m.If(visit & (pointer == COUNTERS - 1)):
            m.d.sync += [free.eq(1), recording.eq(0)]
        with m.If(self.begin):
            m.d.sync += record.eq(self.record)
        with m.If(begin):
            m.d.sync += [pointer.eq(0), free.eq(0), recording.eq(1)]

        small, fresh = self._count(m, pointer, visit)

        # One cycle to choose, one to add. A counter comes again after two cycles or more.
        m.submodules.totals = totals = Memory(shape=32, depth=COUNTERS, init=[])
        read, write = totals.read_port(domain="comb"), totals.write_port()
        pointer_q = Signal.like(pointer)
        visit_q, record_q = Signal(), Signal()
        base = Signal(32, reset_less=True)
        void = Signal(reset_less=True)
        amount = Signal(_SMALL_BITS, reset_less=True)
        total = Signal(32)
        m.d.comb += [
            read.addr.eq(pointer),
            total.eq(only(~void, base) + amount),
            write.addr.eq(pointer_q),
            write.data.eq(total),
            write.en.eq(visit_q),
        ]
        m.d.sync += [
            pointer_q.eq(pointer),
            visit_q.eq(visit),
            record_q.eq(visit & recording & (pointer < ACTIVITIES)),
            base.eq(read.data),
            void.eq(fresh),
            amount.eq(small),
        ]
        with m.If(visit_q & (pointer_q == self.index)):
            m.d.sync += self.value.eq(total)
        self._keep(m, Cat(record, pointer_q[:3]), total, record_q)
        self._settle(m)
        return m

    def _count(self, m: Module, pointer: Signal, visit: Signal) -> tuple[Signal, Signal]:
        """Count in small; return the count under the pointer, and whether its total is void."""
        # A record begins a cycle late, and the pointer is at 0 two cycles later: so are the events.
        names = ("running", "clear", "activity", "events")
        stage = {n: delayed(m, getattr(self, n), 3, name=n) for n in names}
        others = stage
        small, fresh = [], []
        for k in range(COUNTERS):
            if 0 < k < ACTIVITIES:
                stage = {n: delayed(m, stage[n], 1, name=f"{n}_{k}") for n in names[:3]}
            if k < ACTIVITIES:
                clear = stage["clear"]
                event = stage["running"] & (stage["activity"] == k)
            else:
                clear = others["clear"]
                event = others["running"] & others["events"][k - ACTIVITIES]
            visited = visit & (pointer == k)
            count = Signal(_SMALL_BITS, name=f"small_{k}")
            void = Signal(init=1, name=f"fresh_{k}")
            m.d.sync += count.eq(Mux(visited | clear, 0, count) + event)
            with m.If(visited):
                m.d.sync += void.eq(0)
            with m.If(clear):
                m.d.sync += void.eq(1)
            small.append(count)
            fresh.append(void)
        return Array(small)[pointer], Cat(fresh).bit_select(pointer, 1)

    def _keep(self, m: Module, address: Signal, total: Signal, enable: Signal) -> None:
        m.submodules.memory = memory = Memory(
            shape=32, depth=STAMPS * ACTIVITIES, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(), memory.read_port()
        for port, value in ((write.addr, address), (write.data, total), (write.en, enable)):
            held = Signal.like(port, name="write_q")
            m.d.sync += held.eq(value)
            m.d.comb += port.eq(held)
        m.d.comb += [
            read.addr.eq(self.recorded_index),
            read.en.eq(1),
            self.recorded.eq(read.data),
        ]

    def _settle(self, m: Module) -> None:
        left = Signal(range(_SETTLE + 1))
        running_q = Signal()
        m.d.comb += self.settled.eq(left == 0)
        m.d.sync += running_q.eq(self.running)
        begins = self.begin | ~self.ready
        with m.If((running_q & ~self.running) | (begins & ~self.running)):
            m.d.sync += left.eq(_SETTLE)
        with m.Elif(self.change & (left < _LOOK_UP)):
            m.d.sync += left.eq(Mux(self.running, _SETTLE, _LOOK_UP))
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
