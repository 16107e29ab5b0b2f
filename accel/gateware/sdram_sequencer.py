"""Initialisation and refresh of an SDRAM."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.sdram_parts import SdramTiming
from accel.gateware.sdram_pins import Command

__all__ = ["SdramSequencer", "check_postpone"]


def check_postpone(postpone: int) -> int:
    """Return the number of refreshes to postpone, or raise ValueError when it is no such number."""
    if not 1 <= postpone <= 8:
        raise ValueError(f"Postponed refreshes must be from 1 to 8, not {postpone}")
    return postpone


class SdramSequencer(wiring.Component):
    """Gives the commands that concern all banks.

    After reset: a wait, PRECHARGE of all banks, REFRESH commands, MODE REGISTER SET. Afterwards one
    REFRESH falls due every `timing.refresh` cycles. They are paid at once while nothing else is to
    do, and else several at a time: closing and opening the rows costs more than a REFRESH.

    Parameters
    ----------
    timing : SdramTiming
    postpone : int
        REFRESH commands due at which work is interrupted: 1 to 8, what a part bears.

    Members
    -------
    idle : In(1)
        No run waits anywhere.
    at_rest : In(1)
        No run is in the queue, and every bank may be precharged. Stays so while `hold` is high.
    hold : Out(1)
        No new run may start; the column commands of those in the queue go on.
    command : Out(Command)
        NOP where there is none.
    all_banks : Out(1)
        This PRECHARGE closes every bank.
    ready : Out(1)
        The initialisation is over.

    Raises
    ------
    ValueError
        When `postpone` is out of its range.
    """

    def __init__(self, *, timing: SdramTiming, postpone: int = 4) -> None:
        self._timing = timing
        self._postpone = check_postpone(postpone)
        super().__init__(
            {
                "idle": In(1),
                "at_rest": In(1),
                "hold": Out(1, init=1),
                "command": Out(Command, init=Command.NOP),
                "all_banks": Out(1),
                "ready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timing = self._timing
        due = Signal(range(16))
        until_due = Signal(range(timing.refresh), init=timing.refresh - 1)
        started = Signal(range(timing.init + 1), init=timing.init)
        left = Signal(range(timing.init_refreshes + 1), init=timing.init_refreshes)
        until_next = Signal(range(max(timing.rp, timing.rfc, timing.mrd) + 1))
        refreshes, refreshed, falls_due = Signal(), Signal(), Signal()

        with m.If(until_next != 0):
            m.d.sync += until_next.eq(until_next - 1)
        with m.If(self.ready):
            m.d.sync += until_due.eq(until_due - 1)
            with m.If(until_due == 0):
                m.d.sync += until_due.eq(timing.refresh - 1)
        m.d.sync += [
            falls_due.eq(until_due == 0),
            refreshed.eq(refreshes & self.ready),
            due.eq(due + falls_due - refreshed),
        ]
        drained = Signal()
        m.d.sync += drained.eq(self.at_rest & self.hold)
        m.d.comb += self.command.eq(Command.NOP)

        with m.FSM():
            with m.State("START"):
                m.d.sync += started.eq(started - 1)
                with m.If(started == 0):
                    m.next = "CLOSE"
            with m.State("WORK"):
                with m.If((due >= self._postpone) | ((due != 0) & self.idle)):
                    m.d.sync += self.hold.eq(1)
                    m.next = "CLOSE"
            with m.State("CLOSE"):
                with m.If(drained):
                    m.d.comb += [self.command.eq(Command.PRECHARGE), self.all_banks.eq(1)]
                    m.d.sync += until_next.eq(timing.rp - 1)
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(until_next == 0):
                    m.d.comb += [self.command.eq(Command.REFRESH), refreshes.eq(1)]
                    # `due` follows two cycles later.
                    m.d.sync += until_next.eq(max(timing.rfc, 2) - 1)
                    with m.If(~self.ready):
                        m.d.sync += left.eq(left - 1)
                        with m.If(left == 1):
                            m.next = "MODE"
                    with m.Elif(due <= 1):
                        m.next = "WAIT"
            with m.State("MODE"):
                with m.If(until_next == 0):
                    m.d.comb += self.command.eq(Command.MODE)
                    m.d.sync += until_next.eq(timing.mrd - 1)
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(until_next == 0):
                    m.d.sync += [self.hold.eq(0), self.ready.eq(1)]
                    m.next = "WORK"
        return m
