"""The accumulator memories: int32 sums of output pixels, one memory per column and half."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, ValueCastable, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.blockram import BlockRam
from accel.gateware.delay import delayed, delayed_in_memory
from accel.gateware.parity import ParityReport, mismatch
from accel.gateware.ports import ACCUMULATOR_LATENCY, AccumulatorReadPort, Completion

__all__ = ["UPDATE_DISTANCE", "AccumulatorColumn", "AccumulatorControl", "Accumulators"]

UPDATE_DISTANCE = 4
"""Cycles after which the same entry may be updated again."""


class AccumulatorControl(data.StructLayout):
    """What to do with a row of sums: valid, address, replace, completion."""

    def __init__(self, address_width: int) -> None:
        super().__init__(
            {
                "valid": unsigned(1),
                "address": unsigned(address_width),
                "replace": unsigned(1),
                "completion": Completion,
            }
        )


class AccumulatorColumn(wiring.Component):
    """Two memories of `depth` int32 and the adder of one column.

    Parameters
    ----------
    depth : int
    sum_width : int
        Bits of the array's signed sums, at most 32.
    target : str
        See BlockRam.
    parity : bool
        Keep a parity bit with each sum.

    Members
    -------
    address : In(ArrayLayout(clog2(depth), 2))
        Entry to read in each half.
    sums : Out(ArrayLayout(signed(32), 2))
        What each half had there, two cycles later.
    addend : In(signed(sum_width))
    half, replace : In(1)
        Half whose `sums` is added to in the next cycle, or not at all when replaced.
    write : In(2)
        Write the total to this half; visible to an `address` of the next cycle.
    write_address : In(clog2(depth))
    parities : Out(2), wrong : Out(1)
        With `parity`: bits of `sums`; and what the total was made from did not have its own.
    """

    def __init__(
        self, *, depth: int, sum_width: int, target: str = "generic", parity: bool = False
    ) -> None:
        self._depth = depth
        self._target = target
        self._parity = parity
        super().__init__(
            {
                "address": In(data.ArrayLayout(ceil_log2(depth), 2)),
                "sums": Out(data.ArrayLayout(signed(32), 2)),
                "addend": In(signed(sum_width)),
                "half": In(1),
                "replace": In(1),
                "write": In(2),
                "write_address": In(ceil_log2(depth)),
                **({"parities": Out(2), "wrong": Out(1)} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(signed(32))
        old = Signal(signed(32), reset_less=True)
        chosen = (~self.replace & ~self.half, ~self.replace & self.half)
        parts = [s.as_unsigned() & c.replicate(32) for s, c in zip(self.sums, chosen, strict=True)]
        m.d.sync += old.eq(parts[0] | parts[1])
        m.d.comb += total.eq(old + self.addend)
        for half in range(2):
            # A read that meets a write of its entry returns nothing that anybody uses.
            memory = BlockRam(width=32, depth=self._depth, target=self._target, parity=self._parity)
            m.submodules[f"half_{half}"] = memory
            m.d.comb += [
                memory.read_address.eq(self.address[half]),
                self.sums[half].eq(memory.read_data),
                memory.write_address.eq(self.write_address),
                memory.write_data.eq(total),
                memory.write_enable.eq(self.write[half]),
            ]
            if self._parity:
                m.d.comb += self.parities[half].eq(memory.read_parity)
        if self._parity:
            # A replaced entry counts as 0, with its right bit.
            old_parity = Signal(reset_less=True)
            m.d.sync += old_parity.eq((self.parities & Cat(chosen)).any())
            m.d.comb += self.wrong.eq(mismatch(old, old_parity))
        return m


class Accumulators(wiring.Component):
    """int32 accumulators behind the array: two halves of `depth` entries of `cols` sums.

    An update reads, adds (or replaces) and writes back one entry; the columns follow one another
    by a cycle each, as the array's sums do. Meanwhile the other half can be read.

    Parameters
    ----------
    cols, depth, lanes : int
        `depth` is a power of two; `lanes` divides `cols`.
    sum_width : int
        Bits of the array's signed sums.
    lead : int
        Cycles from an update's `control` to column 0's sum, at least 6.
    target : str
        See BlockRam.
    parity : bool
        Keep a parity bit with each sum.

    Members
    -------
    control : In(AccumulatorControl(clog2(2 * depth)))
        One update; the upper half's entries start at `depth`. `completion` rides along. The same
        entry may come again after UPDATE_DISTANCE cycles; replacing updates may even follow
        directly. A completion may also come without an update.
    sums : In(ArrayLayout(signed(sum_width), cols))
        Column c's is taken `lead + c` cycles after the control.
    complete : Out(Completion)
        The update's completion: a read accepted in the next cycle sees the update.
    read : In(AccumulatorReadPort(depth, cols, lanes))
        `ready` stays low while an update of the addressed half is anywhere between `control`
        and its last column. Updates never wait for reads.
    parity : Out(ParityReport(2, clog2(2 * depth)))
        With `parity`: an update, or a read, got wrong sums; a cycle after the cycle in which
        `complete` could follow that update, or after that response.

    Latency
    -------
    `lead + cols - 1` cycles from `control` to `complete`, ACCUMULATOR_LATENCY for reads.

    Throughput
    ----------
    One update and one read per cycle.
    """

    def __init__(
        self,
        *,
        cols: int,
        depth: int,
        lanes: int,
        sum_width: int,
        lead: int,
        target: str = "generic",
        parity: bool = False,
    ) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two, not {depth}")
        if lanes < 1 or cols % lanes:
            raise ValueError(f"Lanes must divide cols ({cols}), and {lanes} does not")
        if lead < 6:
            raise ValueError(f"Lead must be at least 6, not {lead}")
        self._cols = cols
        self._depth = depth
        self._lanes = lanes
        self._sum_width = sum_width
        self._lead = lead
        self._target = target
        self._parity = parity
        super().__init__(
            {
                "control": In(AccumulatorControl(ceil_log2(2 * depth))),
                "sums": In(data.ArrayLayout(signed(sum_width), cols)),
                "complete": Out(Completion),
                "read": In(AccumulatorReadPort(depth=depth, cols=cols, lanes=lanes)),
                **({"parity": Out(ParityReport(2, ceil_log2(2 * depth)))} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entry_bits = ceil_log2(self._depth)
        control = self.control
        upper = control.address[entry_bits]
        write = Signal(2)  # by half
        m.d.comb += write.eq(Cat(control.valid & ~upper, control.valid & upper))

        # One chain for all: column c reads at its stage c, has what it read at c + 2, adds and
        # writes at c + 3.
        start = self._lead - 3
        names = ("entry", "upper", "replace")
        data_fields = Cat(control.address[:entry_bits], upper, control.replace)
        late = delayed_in_memory(m, data_fields, start, name="update")
        fields = {"entry": late[:entry_bits], "upper": late[-2], "replace": late[-1]}
        fields["write"] = delayed(m, write, start, name="write_lead")
        chain = [fields]
        for stage in range(1, self._cols + 3):
            fields = {"write": delayed(m, fields["write"], 1, name=f"write_{stage}")} | {
                name: delayed(m, fields[name], 1, name=f"{name}_{stage}", reset_less=True)
                for name in names
            }
            chain.append(fields)

        request = Signal.like(self.read.request.payload, reset_less=True)
        m.d.sync += request.eq(self.read.request.payload)
        columns = []
        for c in range(self._cols):
            column = AccumulatorColumn(
                depth=self._depth,
                sum_width=self._sum_width,
                target=self._target,
                parity=self._parity,
            )
            m.submodules[f"column_{c}"] = column
            columns.append(column)
            first, found, last = chain[c], chain[c + 2], chain[c + 3]
            for half in range(2):
                with m.If(first["write"][half]):
                    m.d.comb += column.address[half].eq(first["entry"])
                with m.Else():
                    m.d.comb += column.address[half].eq(request.address[:entry_bits])
            m.d.comb += [
                column.addend.eq(self.sums[c]),
                column.half.eq(found["upper"]),
                column.replace.eq(found["replace"]),
                column.write.eq(last["write"]),
                column.write_address.eq(last["entry"]),
            ]
        self._complete(m)
        self._interlock(m, write)
        self._respond(m, request, columns)
        if self._parity:
            self._check(m, chain, request, columns)
        return m

    def _complete(self, m: Module) -> None:
        given = self.control.completion
        cycles = self._lead + self._cols - 1
        about = delayed_in_memory(m, Cat(given.post, given.stamp), cycles, name="completion")
        m.d.comb += [
            self.complete.valid.eq(delayed(m, given.valid, cycles, name="complete")),
            Cat(self.complete.post, self.complete.stamp).eq(about),
        ]

    def _interlock(self, m: Module, write: Signal) -> None:
        """Let a half be read from the cycle after its last update completes."""
        ready = Signal(2, init=0b11)
        cycles = self._lead + self._cols - 2
        for half in range(2):
            left = Signal(range(cycles + 1), name=f"left_{half}")
            with m.If(write[half]):
                m.d.sync += [left.eq(cycles), ready[half].eq(0)]
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)
            with m.Else():
                m.d.sync += ready[half].eq(1)
        upper = self.read.request.payload.address[-1]
        m.d.comb += self.read.request.ready.eq(ready.bit_select(upper, 1))

    def _respond(self, m: Module, request: ValueCastable, columns: list[AccumulatorColumn]) -> None:
        accepted = self.read.request.valid & self.read.request.ready
        valid = delayed(m, accepted, ACCUMULATOR_LATENCY, name="read_valid")
        upper = delayed(m, request.address[-1], 2, name="read_upper", reset_less=True)
        slot = delayed(m, request.slot, 2, name="read_slot", reset_less=True)
        result = Signal.like(self.read.response.data, reset_less=True)
        slots = self._cols // self._lanes
        with m.Switch(upper):
            for half in range(2):
                with m.Case(half), m.Switch(slot):
                    for s in range(slots):
                        lanes = columns[s * self._lanes : (s + 1) * self._lanes]
                        with m.Default() if s == slots - 1 else m.Case(s):
                            m.d.sync += [
                                result[i].eq(column.sums[half]) for i, column in enumerate(lanes)
                            ]
        m.d.comb += [self.read.response.valid.eq(valid), self.read.response.data.eq(result)]

    def _check(
        self,
        m: Module,
        chain: list[dict[str, Signal]],
        request: ValueCastable,
        columns: list[AccumulatorColumn],
    ) -> None:
        """Let an update take along that a column's sum was wrong; look at what reads return."""
        wrong = Const(0)
        for column, fields in zip(columns, chain[3:], strict=True):
            bad = Signal(name="update_wrong")
            m.d.sync += bad.eq(wrong | (fields["write"].any() & column.wrong))
            wrong = bad
        last = chain[-1]
        entry = Cat(last["entry"], last["upper"])
        updated = delayed(m, entry, 1, name="updated", reset_less=True)

        response = self.read.response
        upper = delayed(m, request.address[-1], 2, name="parity_upper", reset_less=True)
        slot = delayed(m, request.slot, 2, name="parity_slot", reset_less=True)
        parity = Signal(self._lanes, reset_less=True)
        sums = Cat(Mux(upper, c.parities[1], c.parities[0]) for c in columns)
        m.d.sync += parity.eq(sums.word_select(slot, self._lanes))
        read_wrong = Signal()
        m.d.sync += read_wrong.eq(response.valid & mismatch(response.data, parity))
        cycles = ACCUMULATOR_LATENCY
        read = delayed(m, request.address, cycles, name="parity_read", reset_less=True)
        m.d.comb += [
            self.parity.wrong.eq(Cat(wrong, read_wrong)),
            self.parity.address.eq(Mux(wrong, updated, read)),
        ]
