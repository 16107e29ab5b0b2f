"""The streamer: walks a matmul command's input words and accumulator entries."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.accumulators import AccumulatorControl
from accel.gateware.array import group_rows, inject_layout
from accel.gateware.checks import RULE_BITS, bit_of
from accel.gateware.delay import delayed
from accel.gateware.loopnest import LoopNest
from accel.gateware.ports import PC_BITS, SCRATCHPAD_LATENCY, CommandLayout, ReadPort
from accel.isa import CHIP_BITS, COMMANDS, Engine
from accel.regmap import Rule

__all__ = ["Streamer"]

_LEVELS = ("col", "row", "k0", "k1", "k2")


GROUP_BYTES = 4
"""Array rows that a group's word fills in matrix mode."""

UNDER_WAY = 31
"""Cycles after a command's last request until all its words have entered the array's rows."""

POSITION_BITS = 2
"""A row has at most 2**POSITION_BITS times as many positions as an accumulator half has entries."""


class Streamer(wiring.Component):
    """Reads the input words of a position per cycle and replaces those outside by padding.

    A position has up to `groups` words, each `group_step` words and `group_step_y` image rows from
    the one before, read together. In matrix mode bytes 0 to 3 of group g's word go to array rows
    4 g .. 4 g + 3, and the rows behind the last group's take what group 0's word has there. In
    depthwise mode each word goes to the columns.

    Parameters
    ----------
    rows : int
    groups : int
        The most words of a position.
    address_width : int
        Of the scratchpad.
    banks : int
        Of the scratchpad.
    acc_depth : int
        Entries of an accumulator half: the most pixels of a command.
    tiles : int
        The most tiles of a command: what the weight memory holds.
    parity : bool
        Have `unread`.

    Members
    -------
    command : In(stream.Signature(CommandLayout(MATMUL)))
        Taken when the last word of the command before has been requested. Its fields stand in the
        cycle before it comes on offer, as a CommandQueue's do.
    halt : In(1)
        Request nothing more.
    broken : Out(RULE_BITS)
        Rules that the command of `pc` broke as it ran, three cycles after the request.
    pc : Out(PC_BITS)
        Of the command that runs, or ran last.
    loaded : In(1)
        The next tile's first word may be requested in the next cycle: as it is after a `start` in
        this cycle.
    start, last : Out(1)
        It is requested; it belongs to the command's last tile.
    starved : Out(1)
        It could be requested, but for `loaded`.
    scratchpad : Out(ReadPort(address_width, 8 * rows)), a list, one per group
        `request.ready` must always be high. Words outside the image are read too, and ignored;
        so are words of groups that the command does not have.
    control : Out(AccumulatorControl)
        What the position's sums are for, in the cycle of the request.
    swap, activations, words, fir, inject, taps_5
        To the array, SCRATCHPAD_LATENCY + 1 cycles after the request.
    unread : Out(groups)
        With `parity`: the word that `scratchpad` returns is ignored.

    Latency
    -------
    Two cycles from an accepted command to its first request: three cycles from one command's last
    request to the next one's first, the two between are idle. A cycle more when it adds to the
    entry that was updated last.

    Throughput
    ----------
    One position per cycle.
    """

    def __init__(
        self,
        *,
        rows: int,
        groups: int = 1,
        address_width: int,
        banks: int = 1,
        acc_depth: int,
        tiles: int,
        parity: bool = False,
    ) -> None:
        self._parity = parity
        self._bank_bits = ceil_log2(banks)
        self._rows = rows
        self._groups = groups
        self._address_width = address_width
        self._acc_depth = acc_depth
        self._tiles = tiles
        self._control = AccumulatorControl(ceil_log2(2 * acc_depth))
        word = data.ArrayLayout(signed(8), rows)
        # Where groups can enter in depthwise mode: (group, taps).
        self._entries = list(group_rows(rows, groups).values())
        super().__init__(
            {
                "command": In(stream.Signature(CommandLayout(COMMANDS[Engine.MATMUL]))),
                "halt": In(1),
                "broken": Out(RULE_BITS),
                "pc": Out(PC_BITS),
                "loaded": In(1),
                "start": Out(1),
                "last": Out(1),
                "starved": Out(1),
                "scratchpad": Out(ReadPort(address_width, unsigned(8 * rows))).array(groups),
                "control": Out(self._control),
                "swap": Out(1),
                "activations": Out(word),
                "fir": Out(1),
                "taps_5": Out(1),
                "inject": Out(inject_layout(rows, groups)),
                "words": Out(data.ArrayLayout(word, max(groups - 1, 1))),
                **({"unread": Out(groups)} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixel_bits, tile_bits = self._acc_depth.bit_length(), self._tiles.bit_length()
        # The groups' addresses run side by side: nothing but a register before the memory.
        addresses = ["address", *(f"address{g}" for g in range(1, self._groups))]
        m.submodules.nest = nest = LoopNest(
            counts=[pixel_bits + POSITION_BITS, pixel_bits] + [tile_bits] * 3,
            values={
                # Between the words that count an address may be anywhere.
                **dict.fromkeys(addresses, CHIP_BITS),
                "y": signed(16),
                "x": signed(16),
            },
        )
        # The queue goes on rewriting its registers once the command is taken: keep a copy.
        fields = self.command.payload.fields
        held = {
            name: Signal(width, name=name, reset_less=True)
            for name, width in {
                "acc_address": ceil_log2(2 * self._acc_depth),
                "accumulate": 1,
                "pad_value": 8,
                "input_height": 16,
                "input_width": 16,
                "groups": 2,
                "taps": 5,
                "skip": 8,
                "gap": 8,
                "group_step_y": 16,
                "post": 4,
                "stamp": 1,
                "pc": PC_BITS,
            }.items()
        }
        m.d.comb += self.pc.eq(held["pc"])
        idle = Signal(init=1)
        load = Signal()
        taken = Signal()
        # Words on their way through the array are delayed as their command's taps say.
        delayed_taps = Signal(5)
        under_way = Signal(range(UNDER_WAY + 1))
        several = (fields.groups > 1) & (fields.taps != 0)
        # A register: when a command comes on offer, what it is made of has been there for a cycle.
        quiet = Signal()
        same = fields.taps == delayed_taps
        m.d.sync += quiet.eq(~several | same | (idle & (under_way == 0)))
        if self._groups == 1:
            quiet = Const(1)
        m.d.comb += [
            self.command.ready.eq(idle & quiet),
            taken.eq(self.command.valid & self.command.ready),
            self.taps_5.eq(delayed_taps == 5),
        ]
        with m.If(taken & several):
            m.d.sync += delayed_taps.eq(fields.taps)
        m.d.sync += load.eq(taken)
        with m.If(taken):
            m.d.sync += idle.eq(0)
            for name, signal in held.items():
                whole = self.command.payload if name in ("post", "stamp", "pc") else fields
                m.d.sync += signal.eq(whole[name])
        self._hold_loops(m, nest, taken)

        # `first`, `replace` and `entry` belong to the word that `nest` points at.
        running = Signal()
        first = Signal()
        replace = Signal()
        entry = Signal.like(held["acc_address"], name="entry", reset_less=True)
        # Three cycles lie between two commands' words, UPDATE_DISTANCE between updates of an entry.
        newest = Signal.like(entry, name="newest", reset_less=True)
        too_soon = Signal()
        pauses = Signal()
        step = Signal()
        # Positions to go to the next one with an output pixel.
        ahead = Signal(8)
        pixel = Signal(init=1)
        tile_end = nest.last[:2].all()
        end = nest.last.all()
        m.d.comb += [
            nest.load.eq(load),
            nest.step.eq(step),
            self.start.eq(step & first),
            self.starved.eq(running & ~step),
            self.last.eq(nest.last[2:].all()),
        ]
        # A register: a request goes to the other end of the chip, and its step to every loop.
        runs, at_first = Signal(), Signal()
        m.d.comb += [
            runs.eq(~self.halt & (pauses | Mux(load, ~too_soon, running & ~(step & end)))),
            at_first.eq(load | Mux(step, tile_end, first)),
        ]
        m.d.sync += [
            running.eq(runs),
            first.eq(at_first),
            step.eq(runs & (~at_first | self.loaded)),
        ]
        with m.If(under_way != 0):
            m.d.sync += under_way.eq(under_way - 1)
        with m.If(step):
            with m.If(pixel):
                m.d.sync += newest.eq(entry)
                m.d.sync += [entry.eq(entry + 1), ahead.eq(held["gap"]), pixel.eq(held["gap"] == 0)]
            with m.Else():
                m.d.sync += [ahead.eq(ahead - 1), pixel.eq(ahead == 1)]
            with m.If(nest.last[0]):
                m.d.sync += [ahead.eq(held["skip"]), pixel.eq(held["skip"] == 0)]
            with m.If(tile_end):
                m.d.sync += [entry.eq(held["acc_address"]), replace.eq(0)]
            with m.If(end):
                m.d.sync += [idle.eq(1), under_way.eq(UNDER_WAY)]
        m.d.comb += too_soon.eq(held["accumulate"] & (held["acc_address"] == newest))
        m.d.sync += pauses.eq(load & too_soon)
        with m.If(load):
            m.d.sync += [
                entry.eq(held["acc_address"]),
                replace.eq(~held["accumulate"]),
                ahead.eq(held["skip"]),
                pixel.eq(held["skip"] == 0),
            ]
        m.d.comb += [
            self.scratchpad[0].request.valid.eq(step),
            self.scratchpad[0].request.payload.eq(nest.values.address),
            self.control.valid.eq(step & pixel),
            self.control.address.eq(entry),
            self.control.replace.eq(replace),
            self.control.completion.valid.eq(step & end),
            self.control.completion.post.eq(held["post"]),
            self.control.completion.stamp.eq(held["stamp"]),
        ]
        used = {}
        for g in range(1, self._groups):
            used[g] = Signal(name=f"used_{g}")
            request = self.scratchpad[g].request
            m.d.comb += [
                used[g].eq(held["groups"] > g),
                request.valid.eq(step & used[g]),
                request.payload.eq(nest.values[addresses[g]]),
            ]
        outside = self._respond(m, nest, held, used)
        self._check(m, [nest.values[name] for name in addresses], step, used, outside)
        half = self.control.address[-1] != held["acc_address"][-1]
        m.d.sync += self.broken[bit_of(Rule.ACCUMULATORS)].eq(self.control.valid & half)
        return m

    def _hold_loops(self, m: Module, nest: LoopNest, taken: Signal) -> None:
        """Connect the nest to a copy of the command's counts, starts and steps."""
        fields = self.command.payload.fields
        ports = [(nest.counts[f"c{i}"], f"count_{level}") for i, level in enumerate(_LEVELS)]
        for value in ("address", "y", "x"):
            ports.append((nest.start[value], f"input_{value}"))
            suffix = "" if value == "address" else f"_{value}"
            ports += [
                (nest.steps[value][f"s{i}"], f"step_{level}{suffix}")
                for i, level in enumerate(_LEVELS)
            ]
        for port, name in ports:
            copy = Signal.like(fields[name], name=name, reset_less=True)
            m.d.comb += port.eq(copy)
            with m.If(taken):
                m.d.sync += copy.eq(fields[name])
        for g in range(1, self._groups):
            start = Signal(CHIP_BITS, name=f"start{g}", reset_less=True)
            m.d.comb += nest.start[f"address{g}"].eq(start)
            m.d.comb += nest.steps[f"address{g}"].eq(nest.steps.address)
            with m.If(taken):
                m.d.sync += start.eq(fields.input_address + (fields.group_step << (g - 1)))

    def _check(
        self,
        m: Module,
        addresses: list[Signal],
        step: Signal,
        used: dict[int, Signal],
        outside: list[Signal],
    ) -> None:
        """Say when a word that counts is not in the scratchpad, or two are in one bank."""
        past, meet = [], []
        for g, address in enumerate(addresses):
            reads = step & used[g] if g else step
            beyond = delayed(m, reads & address[self._address_width :].any(), 2, name=f"past{g}")
            past.append(beyond & ~outside[g])
            for h in range(g):
                both = used[g] & (used[h] if h else 1) & step
                bank = address[: self._bank_bits] == addresses[h][: self._bank_bits]
                same = delayed(m, both & bank, 2, name=f"meet{g}{h}")
                meet.append(same & ~outside[g] & ~outside[h])
        m.d.sync += [
            self.broken[bit_of(Rule.SCRATCHPAD)].eq(Cat(past).any()),
            self.broken[bit_of(Rule.BANKS)].eq(Cat(meet).any()),
        ]

    def _respond(
        self, m: Module, nest: LoopNest, held: dict[str, Signal], used: dict[int, Signal]
    ) -> list[Signal]:
        """Decide on padding while the memory reads, and pass the words on.

        Returns each group's decision, two cycles after the request.
        """
        x_inside = Signal(reset_less=True)
        x = nest.values.x
        m.d.sync += x_inside.eq((x >= 0) & (x < held["input_width"]))
        # The next command's value may be here before this command's last word. Its first word is
        # asked for one cycle after `load` at the earliest, and comes three later.
        pad = Signal(8, name="pad", reset_less=True)
        with m.If(delayed(m, nest.load, 2, name="loaded")):
            m.d.sync += pad.eq(held["pad_value"])
        step_y = held["group_step_y"].as_signed()
        words, decisions = [], []
        for g in range(self._groups):
            y = Signal(signed(16), name=f"y_{g}", reset_less=True)
            outside = Signal(name=f"outside_{g}", reset_less=True)
            m.d.sync += [
                y.eq(nest.values.y + (step_y << (g - 1) if g else 0)),
                outside.eq(~x_inside | (y < 0) | (y >= held["input_height"])),
            ]
            decisions.append(outside)
            flag = delayed(m, outside, SCRATCHPAD_LATENCY - 2, name=f"pad_{g}", reset_less=True)
            if self._parity:
                m.d.comb += self.unread[g].eq(flag)
            response = self.scratchpad[g].response.data
            words.append([Mux(flag, pad, response[8 * r : 8 * r + 8]) for r in range(self._rows)])
            for r in range(self._rows if g else 0):
                m.d.sync += self.words[g - 1][r].eq(words[g][r])
        matrix = held["taps"] == 0
        grouped = {
            g: delayed(m, used[g] & matrix, SCRATCHPAD_LATENCY, name=f"grouped_{g}") for g in used
        }
        for r in range(self._rows):
            byte = words[0][r]
            group = r // GROUP_BYTES
            if group in grouped:
                byte = Mux(grouped[group], words[group][r % GROUP_BYTES], byte)
            m.d.sync += self.activations[r].eq(byte)

        cycles = SCRATCHPAD_LATENCY + 1
        m.d.comb += [
            self.swap.eq(delayed(m, self.start, cycles, name="swap_q")),
            self.fir.eq(delayed(m, ~matrix, cycles, name="fir_q", reset_less=True)),
        ]
        for g, t in self._entries:
            name = f"g{g}t{t}"
            enters = used[g] & (held["taps"] == t)
            late = delayed(m, enters, cycles, name=f"{name}_q", reset_less=True)
            m.d.comb += self.inject[name].eq(late)
        return decisions
