"""Rows of an SDRAM's banks: which are open, since when, and opening them ahead of their use."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.sdram_parts import BANKS, SdramTiming
from accel.gateware.sdram_runs import RunLayout

__all__ = ["BankState", "RowOpener", "RunQueue"]


def _count_down(m: Module, counter: Signal) -> None:
    with m.If(counter != 0):
        m.d.sync += counter.eq(counter - 1)


class BankState(wiring.Component):
    """One bank's row, and what may be done to it.

    Parameters
    ----------
    timing : SdramTiming
    row_bits : int
    burst : int
        Words of a column command.

    Members
    -------
    row_in : In(row_bits)
    activate, precharge : In(1)
        That command is decided in this cycle.
    read, write : In(1)
        That command was decided in the cycle before.
    open : Out(1)
    row : Out(row_bits)
        The one that is open.
    can_precharge : Out(1)
        A PRECHARGE may be decided in the next cycle: tRAS and tWR are over then, no data is cut
        off. Not while `read` or `write` is high.
    can_access : Out(1)
        A READ or WRITE may be decided: a row is open, and tRCD is over. A register.
    """

    def __init__(self, *, timing: SdramTiming, row_bits: int, burst: int) -> None:
        self._timing = timing
        self._burst = burst
        super().__init__(
            {
                "row_in": In(row_bits),
                "activate": In(1),
                "precharge": In(1),
                "read": In(1),
                "write": In(1),
                "open": Out(1),
                "row": Out(row_bits),
                "can_precharge": Out(1),
                "can_access": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timing = self._timing
        # A counter is set to one less than the distance of two commands and is 0 when the second
        # may come. A word written last is burst - 1 cycles behind its command; a column command is
        # told a cycle late, and can_precharge tells of the next cycle.
        after_activate = max(timing.ras - 2, 0)
        after_read = max(self._burst - 3, 0)
        after_write = max(self._burst - 1 + timing.wr - 3, 0)
        until_precharge = Signal(range(max(after_activate, after_write, after_read) + 1))
        until_access = Signal(range(timing.rcd + 1))
        m.d.comb += self.can_precharge.eq((until_precharge == 0) & ~self.read & ~self.write)
        _count_down(m, until_precharge)
        _count_down(m, until_access)
        m.d.sync += self.can_access.eq(self.open & (until_access <= 1))
        with m.If(self.precharge):
            m.d.sync += [self.open.eq(0), self.can_access.eq(0)]
        with m.If(self.activate):
            m.d.sync += [
                self.open.eq(1),
                self.can_access.eq(timing.rcd == 1),
                self.row.eq(self.row_in),
                until_access.eq(timing.rcd - 1),
                until_precharge.eq(after_activate),
            ]
        with m.If(self.read & (until_precharge < after_read + 1)):
            m.d.sync += until_precharge.eq(after_read)
        with m.If(self.write & (until_precharge < after_write + 1)):
            m.d.sync += until_precharge.eq(after_write)
        return m


class RowOpener(wiring.Component):
    """Takes runs in order and passes each on once its row is open, or being opened.

    So the next runs' rows are opened while the data of the runs before still pass. A bank that
    those use is not touched.

    Parameters
    ----------
    timing : SdramTiming
    layout : RunLayout

    Members
    -------
    input, output : In(stream.Signature(layout)), Out(stream.Signature(layout))
    hold : In(1)
        Do nothing: the banks are being refreshed.
    in_use : In(BANKS)
        Banks that runs passed on still need.
    open : In(BANKS)
    hit : In(BANKS)
        The open row is `input`'s.
    can_precharge : In(BANKS)
    slot : In(1)
        No other command is decided in this cycle.
    activate, precharge : Out(1)
        Decided in this cycle: the row and bank of `input`.

    Latency
    -------
    Two cycles when the row is open; tRP and tRCD come to that.
    """

    def __init__(self, *, timing: SdramTiming, layout: RunLayout) -> None:
        self._timing = timing
        super().__init__(
            {
                "input": In(stream.Signature(layout)),
                "output": Out(stream.Signature(layout)),
                "hold": In(1),
                "in_use": In(BANKS),
                "open": In(BANKS),
                "hit": In(BANKS),
                "can_precharge": In(BANKS),
                "slot": In(1),
                "activate": Out(1),
                "precharge": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank = self.input.payload.bank
        known = Signal()  # `is_open` and `is_hit` are of this run
        is_open = Signal()
        is_hit = Signal()
        # Nobody else will use the bank as long as this run waits.
        can_close = Signal()
        until_activate = Signal(range(max(self._timing.rp, self._timing.rrd) + 1))
        _count_down(m, until_activate)

        ready = Signal()
        m.d.comb += [
            ready.eq(self.input.valid & known & ~self.hold),
            self.output.payload.eq(self.input.payload),
            self.activate.eq(
                ready & ~is_open & (until_activate == 0) & self.output.ready & self.slot
            ),
            self.precharge.eq(ready & is_open & ~is_hit & can_close & self.slot),
            self.output.valid.eq((ready & is_open & is_hit) | self.activate),
            self.input.ready.eq(self.output.valid & self.output.ready),
        ]
        m.d.sync += [
            known.eq(self.input.valid & ~self.input.ready & ~self.hold),
            can_close.eq((self.can_precharge & ~self.in_use).bit_select(bank, 1)),
        ]
        with m.If(~known):
            m.d.sync += [
                is_open.eq(self.open.bit_select(bank, 1)),
                is_hit.eq(self.hit.bit_select(bank, 1)),
            ]
        with m.If(self.precharge):
            m.d.sync += [
                is_open.eq(0),
                until_activate.eq(max(self._timing.rp, self._timing.rrd - 1) - 1),
            ]
        with m.If(self.activate):
            m.d.sync += until_activate.eq(self._timing.rrd - 1)
        return m


class RunQueue(wiring.Component):
    """Runs whose rows are open; the first is cut down beat by beat.

    Parameters
    ----------
    layout : RunLayout
    depth : int
        At least 2.

    Members
    -------
    input : In(stream.Signature(layout))
        `ready` is a register.
    head : Out(layout)
    valid : Out(1)
        There is a head.
    step : In(1)
        A beat of `head` is done; its last one removes it.
    in_use : Out(BANKS)
        Banks of all runs held.
    empty : Out(1)

    Latency
    -------
    One cycle into an empty queue; runs follow one another without a gap.
    """

    def __init__(self, *, layout: RunLayout, depth: int = 3) -> None:
        if depth < 2:
            raise ValueError(f"Depth must be at least 2, not {depth}")
        self._layout = layout
        self._depth = depth
        super().__init__(
            {
                "input": In(stream.Signature(layout)),
                "head": Out(layout),
                "valid": Out(1),
                "step": In(1),
                "in_use": Out(BANKS),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        runs = [Signal(self._layout, name=f"run_{i}") for i in range(self._depth)]
        valid = [Signal(name=f"valid_{i}") for i in range(self._depth)]
        pop, push = Signal(), Signal()
        m.d.comb += [
            self.head.eq(runs[0]),
            self.valid.eq(valid[0]),
            self.empty.eq(~valid[0]),
            self.input.ready.eq(~valid[-1]),
            push.eq(self.input.valid & self.input.ready),
            pop.eq(self.step & (runs[0].beats == 0)),
        ]
        for bank in range(BANKS):
            users = [v & (run.bank == bank) for v, run in zip(valid, runs, strict=True)]
            m.d.comb += self.in_use[bank].eq(Cat(*users).any())
        with m.If(self.step):
            m.d.sync += [
                runs[0].beats.eq(runs[0].beats - 1),
                runs[0].column.eq(runs[0].column + 1),
            ]
        for i in range(self._depth):
            follows = valid[i + 1] if i + 1 < self._depth else Const(0)
            before = valid[i - 1] if i else Const(1)
            # What is pushed goes behind the last run that stays.
            here = Mux(pop, valid[i] & ~follows, before & ~valid[i])
            with m.If(push & here):
                m.d.sync += [runs[i].eq(self.input.payload), valid[i].eq(1)]
            with m.Elif(pop):
                m.d.sync += valid[i].eq(follows)
                if i + 1 < self._depth:
                    m.d.sync += runs[i].eq(runs[i + 1])
        return m
