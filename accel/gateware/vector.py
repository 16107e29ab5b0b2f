"""The vector engine: sums or bytes in, requantised bytes out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.checks import RULE_BITS, CommandChecker, bit_of, report_rules
from accel.gateware.delay import delayed
from accel.gateware.ports import (
    AccumulatorReadPort,
    CommandLayout,
    Completion,
    EngineFault,
    ReadPort,
    WritePort,
)
from accel.gateware.ramfifo import RamFifo
from accel.gateware.skid import SkidBuffer
from accel.gateware.vector_issue import ElementTag, ResultTag, VectorIssuer, slot_bits
from accel.gateware.vector_lanes import VectorLanes
from accel.gateware.vector_params import ParameterFetcher
from accel.isa import COMMANDS, Engine
from accel.regmap import Rule

__all__ = ["VectorEngine"]

_TAGS = 16
"""Operands that may have been asked for and not come."""

_RESULTS = 32
"""Results that may be on their way, more than the longest pipeline."""

_POSTS = 8
"""Commands that may be under way."""

WRITE_LATENCY = 2
"""Cycles from an accepted scratchpad write to where reads see it."""


class VectorEngine(wiring.Component):
    """Requantisation, residual addition, pooling and table look-up, `lanes` channels at a time.

    What a command does is written in docs/architecture.md ("Vector") and `accel.isa`.

    Parameters
    ----------
    rows, cols, lanes : int
        Bytes of a scratchpad word and of a weight word, and results per cycle, which divide both.
    acc_depth, scratchpad_words, weight_words : int
    target : str
        See Multiplier.
    dsp_products : bool
        Operation MUL multiplies in DSP blocks, not in lookup tables.

    Members
    -------
    command : In(stream.Signature(CommandLayout(COMMANDS[Engine.VECTOR])))
        A command is accepted when its first parameters are there and the one before has issued
        its last read; its fields may change after that.
    halt : In(1)
        Read nothing more but parameters.
    fault : Out(EngineFault)
        One cycle after the offer of a command that breaks a rule, or after a read that does.
    complete : Out(Completion)
    busy : Out(1)
        From the cycle after a command's acceptance to that of its completion.
    acc : Out(AccumulatorReadPort)
    scratchpad : Out(ReadPort(clog2(scratchpad_words), rows * 8))
    result : Out(WritePort(clog2(scratchpad_words), rows * 8, rows // lanes))
        Must always be ready.
    params : Out(ReadPort(clog2(weight_words), cols * 8))
    table : In(WritePort(9, 32))
        Always ready. Written while no command that uses the table runs.

    All reads are answered in order, two or more cycles after their acceptance, and may be refused
    for any time.

    Latency
    -------
    From `command.valid` to its acceptance by an idle engine 11 cycles, for its parameters; from
    there to the first read 2. From a result's last response to its write 12 cycles (ACC),
    13 (SUM, MAX, MIN), 15 (ADD, TABLE) or 17 (MUL; 18 without `dsp_products`). `complete` comes two
    cycles after the last write.

    Throughput
    ----------
    One operand per cycle without a gap between slices: a result per cycle for ACC and TABLE, one
    in two for ADD and MUL. Between commands two idle cycles; 7 to 11 when the operands come from somewhere
    else than before. A slice with parameters of its own can start no sooner than 11 cycles after
    the first result of the slice before was reduced: with prompt memories 18 cycles (ACC),
    18 (SUM, MAX, MIN) or 20 (TABLE) after that one's start, if that one is shorter.

    Raises
    ------
    ValueError
        When lanes does not divide rows and cols.
    """

    def __init__(
        self,
        *,
        rows: int,
        cols: int,
        lanes: int,
        acc_depth: int,
        scratchpad_words: int,
        weight_words: int,
        target: str = "generic",
        dsp_products: bool = True,
    ) -> None:
        self._target, self._dsp_products = target, dsp_products
        if lanes < 1 or rows % lanes or cols % lanes:
            raise ValueError(f"Lanes must divide rows ({rows}) and cols ({cols}), not be {lanes}")
        self._rows, self._cols, self._lanes = rows, cols, lanes
        self._acc_width = ceil_log2(2 * acc_depth)
        self._width = width = ceil_log2(scratchpad_words)
        self._weight_words = weight_words
        self._checker = CommandChecker(
            engine=Engine.VECTOR, rows=rows, cols=cols, lanes=lanes, weight_words=weight_words
        )
        super().__init__(
            {
                "command": In(stream.Signature(CommandLayout(COMMANDS[Engine.VECTOR]))),
                "halt": In(1),
                "fault": Out(EngineFault),
                "complete": Out(Completion),
                "busy": Out(1),
                "acc": Out(AccumulatorReadPort(depth=acc_depth, cols=cols, lanes=lanes)),
                "scratchpad": Out(ReadPort(width, rows * 8)),
                "result": Out(WritePort(width, rows * 8, rows // lanes)),
                "params": Out(ReadPort(ceil_log2(weight_words), cols * 8)),
                "table": In(WritePort(9, 32)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = slot_bits(self._rows, self._cols, self._lanes)
        m.submodules.params = params = ParameterFetcher(
            cols=self._cols, lanes=self._lanes, words=self._weight_words
        )
        m.submodules.issue = issue = VectorIssuer(
            rows=self._rows,
            cols=self._cols,
            lanes=self._lanes,
            acc_address_width=self._acc_width,
            address_width=self._width,
        )
        m.submodules.lanes = lanes = VectorLanes(
            rows=self._rows,
            lanes=self._lanes,
            slot_width=bits,
            target=self._target,
            dsp_products=self._dsp_products,
        )
        m.submodules.tags = tags = RamFifo(shape=ElementTag(bits), depth=_TAGS)
        m.submodules.results = results = RamFifo(shape=ResultTag(self._width, bits), depth=_RESULTS)
        wiring.connect(m, params.memory, wiring.flipped(self.params))
        wiring.connect(m, wiring.flipped(self.table), lanes.table)

        posts = self._complete(m, issue.accept, lanes.result.valid & results.head.last)
        drained, room, may_accept = Signal(), Signal(), Signal()
        # Looked at a cycle later, when there may be one entry more.
        m.d.sync += [
            may_accept.eq(posts.level < _POSTS - 1),
            drained.eq(lanes.idle & (tags.level == 0)),
            room.eq((tags.level < _TAGS - 1) & (results.level < _RESULTS - 1) & ~self.halt),
        ]
        command = self.command
        m.d.comb += [
            command.ready.eq(issue.accept),
            params.offer.fields.eq(command.payload.fields),
            params.offer.valid.eq(command.valid),
            params.accepted.eq(issue.accept),
            params.use.eq(issue.use_parameters),
            params.taken.eq(lanes.taken),
            issue.offer.fields.eq(command.payload.fields),
            # Parameters are there for a command on offer only.
            issue.offer.valid.eq(may_accept),
            issue.parameters_ready.eq(params.ready),
            issue.drained.eq(drained),
            issue.room.eq(room),
            tags.push.eq(issue.tag_valid),
            tags.tail.eq(issue.tag),
            tags.pop.eq(self.acc.response.valid | self.scratchpad.response.valid),
            results.push.eq(issue.result_valid),
            results.tail.eq(issue.result),
            results.pop.eq(lanes.result.valid),
            lanes.sums.eq(self.acc.response),
            lanes.word.eq(self.scratchpad.response),
            lanes.tag.eq(tags.head),
            lanes.lane_staging.eq(params.lane_staging),
            lanes.output_staging.eq(params.output_staging),
        ]
        self._connect_reads(m, issue)
        self._connect_result(m, lanes, results)
        self._report(m, issue, params)
        return m

    def _report(self, m: Module, issue: VectorIssuer, params: ParameterFetcher) -> None:
        m.submodules.checker = checker = self._checker
        command = self.command
        running = Signal(RULE_BITS)
        pc = Signal.like(command.payload.pc, reset_less=True)
        accepted_q = Signal()
        m.d.sync += accepted_q.eq(issue.accept)
        with m.If(issue.accept):
            m.d.sync += pc.eq(command.payload.pc)
        m.d.comb += [
            checker.offer.valid.eq(command.valid),
            checker.offer.fields.eq(command.payload.fields),
            running.eq(issue.broken),
            running[bit_of(Rule.WEIGHTS)].eq(params.past),
            *report_rules(self.fault, running, pc, checker.broken, accepted_q, command.payload.pc),
        ]

    def _connect_reads(self, m: Module, issue: VectorIssuer) -> None:
        # Cuts the memories' ready, which hangs on arbitration, from the loop counters.
        m.submodules.requests = buffer = SkidBuffer(shape=issue.request.payload.shape())
        wiring.connect(m, issue.request, buffer.input)
        request = buffer.output
        m.d.comb += [
            self.acc.request.valid.eq(request.valid & request.payload.sums),
            self.acc.request.payload.address.eq(request.payload.address),
            self.acc.request.payload.slot.eq(request.payload.slot),
            self.scratchpad.request.valid.eq(request.valid & ~request.payload.sums),
            self.scratchpad.request.payload.eq(request.payload.address),
            request.ready.eq(
                Mux(request.payload.sums, self.acc.request.ready, self.scratchpad.request.ready)
            ),
        ]

    def _connect_result(self, m: Module, lanes: VectorLanes, results: RamFifo) -> None:
        write = self.result.request
        slots = self._rows // self._lanes
        middle = 4 * self._lanes
        values = lanes.result.data
        if self._lanes % 2 == 0:
            lower = Mux(results.head.upper, values[middle:], values[:middle])
            values = Cat(lower, values[middle:])
        m.d.comb += [
            write.valid.eq(lanes.result.valid),
            write.payload.address.eq(results.head.address),
            write.payload.data.eq(values.replicate(slots)),
        ]
        for slot in range(slots):
            m.d.comb += write.payload.mask[slot].eq(results.head.slot == slot)

    def _complete(self, m: Module, accept: Signal, last_write: Signal) -> RamFifo:
        """Give each command's completion when its last write can be read."""
        post = data.StructLayout({"post": 4, "stamp": 1})
        m.submodules.posts = posts = RamFifo(shape=post, depth=_POSTS)
        m.d.comb += [
            posts.push.eq(accept),
            posts.tail.post.eq(self.command.payload.post),
            posts.tail.stamp.eq(self.command.payload.stamp),
            self.complete.valid.eq(delayed(m, last_write, WRITE_LATENCY, name="written")),
            self.complete.post.eq(posts.head.post),
            self.complete.stamp.eq(posts.head.stamp),
            posts.pop.eq(self.complete.valid),
            self.busy.eq(posts.level != 0),
        ]
        return posts
