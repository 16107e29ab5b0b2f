"""The command queue of one engine: register writes, tokens, and the command they make."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.fifo import Fifo
from accel.gateware.ports import PC_BITS, CommandLayout
from accel.isa import Command

__all__ = ["CommandQueue", "QueueEntry"]


class QueueEntry(data.Struct):
    """One TSET, TADD or TPUSH on its way to an engine.

    For a push, `b[3:0]` is the wait mask, `b[7:4]` the post mask, `b[8]` the stamp flag, and `a` the
    instruction's byte address.
    """

    push: unsigned(1)  # type: ignore[valid-type]
    add: unsigned(1)  # type: ignore[valid-type]
    pair: unsigned(4)  # type: ignore[valid-type]
    a: unsigned(32)  # type: ignore[valid-type]
    b: unsigned(32)  # type: ignore[valid-type]


class CommandQueue(wiring.Component):
    """Queue of register writes, the engine's register file, and the token gate.

    An address or step of an on-chip memory of 2**k words is alone in its register, and is k + 1
    bits of it, signed. What does not fit makes the next command illegal: it is not offered, nor any
    after it.

    A push entry waits until every producer in its wait mask (`b[3:0]`) has a token here, takes
    one from each, and offers the register file as a command. The bit of the engine itself in the
    mask means: until the engine has completed all earlier commands.

    Parameters
    ----------
    command : Command
        The engine's command from isa.
    depth : int
        Entries held; they sit in distributed RAM.
    address_bits : mapping of str to int, optional
        By field, the k of the memory that it addresses; its whole width for those not named.
    pc_bits : int
        Bits of an instruction's word address, at most PC_BITS.

    Members
    -------
    entries : In(stream.Signature(QueueEntry))
    available : In(4)
        Bit per producing engine: its counter towards this engine is not zero.
    take : Out(4)
        One cycle, that of a command or of what hides it: take a token from these producers.
    missing : Out(4)
        Bit per engine for whose token, or completion, the next command waits.
    engine_busy : In(1)
    halt : In(1)
        Hold everything, from the next cycle on: no command is on offer, none begins.
    command : Out(stream.Signature(CommandLayout(command)))
    empty : Out(1)
        Nothing queued and no command on offer.
    illegal : Out(1)
        The command of `command.payload.pc` was not offered.
    level : Out(range(depth + 1))
        Entries held.
    room : Out(1)
        It takes two entries or more.

    Latency
    -------
    One cycle from an entry to its effect, two to that of a push; two from a token to the command
    that waits for it. One entry per cycle, but a push takes two, behind another one three.
    """

    def __init__(
        self,
        *,
        command: Command,
        depth: int,
        address_bits: Mapping[str, int] | None = None,
        pc_bits: int = PC_BITS,
    ) -> None:
        self._pc_bits = pc_bits
        self._command = command
        self._depth = depth
        self._address_bits = dict(address_bits or {})
        super().__init__(
            {
                "entries": In(stream.Signature(QueueEntry)),
                "available": In(4),
                "take": Out(4),
                "missing": Out(4),
                "engine_busy": In(1),
                "halt": In(1),
                "command": Out(stream.Signature(CommandLayout(command))),
                "empty": Out(1),
                "illegal": Out(1),
                "level": Out(range(depth + 1)),
                "room": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = Fifo(shape=QueueEntry, depth=self._depth)
        wiring.connect(m, wiring.flipped(self.entries), fifo.input)
        # Without a register behind the memory, which would be 74 flip-flops.
        head, head_valid, head_ready = (
            fifo.output.payload,
            fifo.output.valid,
            fifo.output.ready,
        )
        wait_mask, post_mask, stamp = head.b[0:4], head.b[4:8], head.b[8]
        own = 1 << int(self._command.engine)
        ready_mask = Signal(4)
        m.d.comb += ready_mask.eq((self.available & ~own) | (Mux(self.engine_busy, 0, own)))
        with m.If(head_valid & head.push):
            m.d.comb += self.missing.eq(wait_mask & ~ready_mask)
        # Whether the head is a push that may go, a cycle ahead: what it waits for comes from far
        # away. Nothing but its going takes away what has come, so after a push it begins anew,
        # when that one's tokens have been taken.
        granted, pushes, pushed = Signal(), Signal(), Signal()
        offered = Signal()  # a command, which `halt` may hide
        has_all = (wait_mask & ~ready_mask) == 0
        # The self bit must see a command on offer as busy.
        waits_for_own = wait_mask[int(self._command.engine)] & offered
        ready = head_valid & head.push & has_all & ~waits_for_own
        m.d.sync += [granted.eq(ready & ~pushes & ~pushed), pushed.eq(pushes), self.take.eq(0)]
        output_free = Signal()
        # A register here: `halt` is everywhere, and the engine's ready comes late.
        frozen = Signal()
        m.d.sync += frozen.eq(self.illegal | self.halt)
        m.d.comb += [
            self.command.valid.eq(offered & ~frozen),
            output_free.eq((~offered | self.command.ready) & ~frozen),
        ]
        with m.If(self.command.ready & ~frozen):
            m.d.sync += offered.eq(0)

        # Addresses that do not fit are told a cycle after their sums, in time for a push behind
        # them, which waits for a grant.
        wrong: list[Value] = []
        misfit, broken = Signal(), Signal()
        with m.If(head_valid & ~head.push):
            # A command on offer is the register file itself: it must be taken before a change.
            with m.If(output_free):
                m.d.comb += head_ready.eq(1)
                with m.Switch(head.pair):
                    for pair in range(self._command.pairs):
                        with m.Case(pair):
                            wrong += self._write(m, 2 * pair, head.a, head.add)
                            wrong += self._write(m, 2 * pair + 1, head.b, head.add)
        with m.Elif(granted & output_free):
            m.d.comb += [head_ready.eq(1), pushes.eq(1)]
            m.d.sync += [
                self.take.eq(wait_mask & ~own),
                frozen.eq(broken | misfit | self.halt),
                offered.eq(~(broken | misfit)),
                self.illegal.eq(broken | misfit),
                self.command.payload.post.eq(post_mask),
                self.command.payload.stamp.eq(stamp),
                self.command.payload.pc.eq(head.a[2 : 2 + self._pc_bits]),
            ]
        m.d.sync += [misfit.eq(Cat(wrong).any()), broken.eq(broken | misfit)]
        m.d.comb += [
            self.empty.eq(~head_valid & ~offered),
            self.level.eq(fifo.level),
            self.room.eq(fifo.level < self._depth - 1),
        ]
        return m

    def _write(self, m: Module, register: int, operand: Signal, add: Signal) -> list[Value]:
        """Set a register or add to it; return what says, from then on, that it does not fit."""
        fields = [f for f in self._command.fields if f.register == register]
        whole = self.command.payload.fields.as_value()[32 * register :]
        if len(fields) != 1 or fields[0].name not in self._address_bits:
            # Sums are modulo: what no field holds need not be kept.
            target = whole[: max((f.lsb + f.width for f in fields), default=0)]
            m.d.sync += target.eq(Mux(add, target, 0) + operand)
            return []
        width = self._address_bits[fields[0].name] + 1
        target = whole[:width]
        # One bit more shows what leaves the register, in one step of twice its range at most.
        total = Signal(width + 1, name=f"total{register}")
        sign = Signal(name=f"sign{register}")
        beyond = Signal(name=f"beyond{register}")
        rest = operand[width : fields[0].width]
        m.d.comb += total.eq(Mux(add, target.as_signed(), 0) + operand[: width + 1].as_signed())
        m.d.sync += [
            target.eq(total),
            sign.eq(total[-1]),
            beyond.eq(~((rest == 0) | rest.all())),
        ]
        return [(sign != target[-1]) | beyond]
