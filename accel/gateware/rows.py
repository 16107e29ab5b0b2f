"""The rows of a load or store command: where each starts in memory and on chip."""

from collections.abc import Mapping

from amaranth.hdl import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.burst import SPAN_BITS
from accel.gateware.checks import RULE_BITS, CommandChecker, bit_of
from accel.gateware.loopnest import LoopNest
from accel.gateware.ports import CommandLayout
from accel.gateware.splitram import past_end
from accel.isa import COMMANDS, Engine, Space
from accel.regmap import Rule

__all__ = ["ChipRow", "Row", "RowWalker", "copy_row"]


class ChipRow(data.StructLayout):
    """The part of a row that matters once its bursts are on their way.

    Parameters
    ----------
    chip_width : int
        Bits of an on-chip address.
    place_width : int
        Bits of `place`.

    Fields
    ------
    place : unsigned(place_width)
        Where in a beat or burst the row starts; its user defines the unit.
    others
        See `Row`.
    """

    def __init__(self, chip_width: int, place_width: int) -> None:
        super().__init__(
            {
                "place": unsigned(place_width),
                "chip": unsigned(chip_width),
                "more": unsigned(16),
                "single": unsigned(1),
                "space": unsigned(2),
                "last": unsigned(1),
                "post": unsigned(4),
                "stamp": unsigned(1),
            }
        )


class Row(data.StructLayout):
    """One row of a command: `words` consecutive words between memory and chip.

    Parameters
    ----------
    chip_width : int
        Bits of an on-chip address.

    Fields
    ------
    address, span : unsigned(32), unsigned(21)
        First byte in memory, bytes less one.
    chip : unsigned(chip_width)
        First on-chip word.
    more, single : unsigned(16), unsigned(1)
        Words less one, and whether that is zero.
    space : unsigned(2)
    last : unsigned(1)
        The last row of its command.
    post, stamp : unsigned(4), unsigned(1)
        The command's.
    """

    def __init__(self, chip_width: int) -> None:
        super().__init__(
            {
                "address": unsigned(32),
                "span": unsigned(SPAN_BITS),
                "chip": unsigned(chip_width),
                "more": unsigned(16),
                "single": unsigned(1),
                "space": unsigned(2),
                "last": unsigned(1),
                "post": unsigned(4),
                "stamp": unsigned(1),
            }
        )


def copy_row(chip_row: data.View, row: data.View) -> list:
    """Return the assignments of all of a `ChipRow` but `place` from a `Row`."""
    return [chip_row[n].eq(row[n]) for n in chip_row.shape().members if n != "place"]


class RowWalker(wiring.Component):
    """Walks the rows of load or store commands.

    The command stays with its queue until its last row has been taken: a copy here would cost
    some 250 flip-flops to win a few cycles that the bursts in flight hide.

    Parameters
    ----------
    engine : Engine
        LOAD or STORE: whose commands.
    chip_width : int
        Bits of an on-chip address; the command's addresses and steps have one more.
    slots : mapping of Space to int
        Bytes that a word of each space takes in memory, powers of two from 4 to 32.
    sizes : mapping of Space to int
        Words in each space.

    Members
    -------
    memory_base : In(32)
        Added to every memory address.
    command : In(stream.Signature(CommandLayout))
        A load or store command: both have the same fields. Ready for one cycle, at its end.
    rows : Out(stream.Signature(Row(chip_width)))
    started : Out(1)
        A command's first row is on its way; before `command.ready`.
    broken : Out(RULE_BITS)
        Rules (accel.regmap.Rule) that the command on offer breaks. If it is known before the first
        row, no row comes; else it is said one cycle after the row that breaks it is on offer.

    Latency
    -------
    Two cycles from a command to its first row, then one row per cycle; two cycles from the
    last row to the next command.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        chip_width: int,
        slots: Mapping[Space, int],
        sizes: Mapping[Space, int],
    ) -> None:
        for space, slot in slots.items():
            if slot not in (4, 8, 16, 32):
                raise ValueError(f"{space.name} slot must be one of 4, 8, 16, 32, not {slot!r}")
        self._engine = engine
        self._chip_width = chip_width
        self._slots = dict(slots)
        self._sizes = dict(sizes)
        super().__init__(
            {
                "memory_base": In(32),
                "command": In(stream.Signature(CommandLayout(COMMANDS[engine]))),
                "rows": Out(stream.Signature(Row(chip_width))),
                "started": Out(1),
                "broken": Out(RULE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fields = self.command.payload.fields
        start = Signal(32)
        span = Signal(SPAN_BITS)
        more = Signal(16)
        single = Signal()

        m.submodules.nest = nest = LoopNest(
            counts=[16, 16], values={"memory": 32, "chip": self._chip_width + 1}
        )
        m.d.comb += [
            nest.counts.c0.eq(fields.rows),
            nest.counts.c1.eq(fields.planes),
            nest.start.memory.eq(start),
            nest.start.chip.eq(fields.chip_address),
            nest.steps.memory.s0.eq(fields.memory_step_row),
            nest.steps.memory.s1.eq(fields.memory_step_plane),
            nest.steps.chip.s0.eq(fields.chip_step_row),
            nest.steps.chip.s1.eq(fields.chip_step_plane),
        ]

        less_one = Signal(16)
        m.d.comb += less_one.eq(fields.words - 1)
        m.d.sync += [
            start.eq(self.memory_base + fields.memory_address),
            more.eq(less_one),
            single.eq(less_one == 0),
            span.eq(self._span(fields.space, less_one)),
        ]
        if self._engine == Engine.LOAD:
            with m.If(fields.pack_step != 0):
                m.d.sync += span.eq((fields.pack_bytes - 1)[:16])

        row = self.rows.payload
        m.d.comb += [
            row.address.eq(nest.values.memory),
            row.span.eq(span),
            row.chip.eq(nest.values.chip),
            row.more.eq(more),
            row.single.eq(single),
            row.space.eq(fields.space),
            row.last.eq(nest.last.all()),
            row.post.eq(self.command.payload.post),
            row.stamp.eq(self.command.payload.stamp),
        ]
        m.submodules.checker = checker = CommandChecker(engine=self._engine)
        m.d.comb += [
            checker.offer.valid.eq(self.command.valid),
            checker.offer.fields.eq(fields),
            self.broken.eq(checker.broken | self._check_row(m, nest.values.chip)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.command.valid):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += [nest.load.eq(1), self.started.eq(checker.broken == 0)]
                with m.If(self.started):
                    m.next = "WALK"
            with m.State("WALK"):
                m.d.comb += [self.rows.valid.eq(1), nest.step.eq(self.rows.ready)]
                with m.If(self.rows.ready & row.last):
                    m.next = "END"
            with m.State("END"):
                # A state of its own: the row's ready must not reach the command queue.
                m.d.comb += self.command.ready.eq(1)
                m.next = "IDLE"
        return m

    def _check_row(self, m, chip):
        """Return the rules that the row on offer broke."""
        row = self.rows.payload
        end = Signal(max(len(chip), len(row.more)) + 1)
        broken = Signal(RULE_BITS)
        aligned = Const(1)
        if self._engine == Engine.LOAD:
            aligned = self.command.payload.fields.pack_step == 0
        m.d.comb += end.eq(chip + row.more)
        with m.Switch(row.space):
            for space, words in self._sizes.items():
                with m.Case(int(space)):
                    slot_bits = (self._slots[space] - 1).bit_length()
                    past = past_end(chip, words) | past_end(end, words)
                    m.d.sync += [
                        broken.eq(0),
                        broken[bit_of(Rule[space.name])].eq(self.rows.valid & past),
                        broken[bit_of(Rule.ALIGNMENT)].eq(
                            self.rows.valid & aligned & row.address[:slot_bits].any()
                        ),
                    ]
        return broken

    def _span(self, space, less_one):
        """Bytes less one of a row of `less_one` + 1 words."""
        result = Const(0, SPAN_BITS)
        for slot in sorted(set(self._slots.values())):
            bits = (slot - 1).bit_length()
            spaces = [s for s, size in self._slots.items() if size == slot]
            chosen = Const(0, 1)
            for s in spaces:
                chosen = chosen | (space == s)
            result = Mux(chosen, (less_one << bits) | (slot - 1), result)
        return result
