"""The matmul engine: convolution and fully connected layers, one chunk of sums per command."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from accel.gateware.accumulators import Accumulators
from accel.gateware.array import Array, array_latency
from accel.gateware.cell import sum_width
from accel.gateware.checks import RULE_BITS, CommandChecker, bit_of, report_rules
from accel.gateware.parity import ParityReport
from accel.gateware.ports import (
    SCRATCHPAD_LATENCY,
    AccumulatorReadPort,
    CommandLayout,
    Completion,
    EngineFault,
    ReadPort,
)
from accel.gateware.streamer import Streamer
from accel.gateware.weightloader import WeightLoader
from accel.isa import COMMANDS, Engine
from accel.regmap import Rule

__all__ = ["MatmulEngine"]


class MatmulEngine(wiring.Component):
    """Runs MATMUL commands (accel.isa) on the array, into the accumulators it contains.

    The streamer feeds one input word per cycle; the weight loader prepares the tile after. Commands
    overlap: the next one streams while the last sums of the one before still move through the array.

    Parameters
    ----------
    rows, cols : int
        Size of the array, at least 4 each.
    groups : int
        Input words that are read at once, each from another bank.
    lanes : int
        Columns that one accumulator read returns.
    acc_depth : int
        Entries in each half of the accumulators.
    scratchpad_words, weight_words : int
        Sizes of the memories that are read.
    banks : int
        Of the scratchpad.
    parity : bool
        In the accumulators.

    Members
    -------
    command : In(stream.Signature(CommandLayout(MATMUL)))
        The fields stand in the cycle before a command comes on offer, as a CommandQueue's do.
    halt : In(1)
        Read nothing more.
    fault : Out(EngineFault)
        One cycle after the offer of a command that breaks a rule, or three after a read that does.
    complete : Out(Completion)
        In command order; a read accepted in the next cycle sees the sums.
    busy : Out(1)
        From the cycle after a command is accepted until the cycle that its completion is in.
    starved : Out(1)
        Only the weights of the next tile are missing.
    scratchpad : Out(ReadPort(clog2(scratchpad_words), 8 * rows)), one per group
        `request.ready` must always be high, the response comes SCRATCHPAD_LATENCY cycles later.
    weights : Out(ReadPort(clog2(weight_words), 8 * cols))
        The response comes WEIGHT_LATENCY cycles after the request is accepted.
    weights_burst : Out(1)
        High from the cycle after a tile's first request is accepted until its last one is:
        `weights.request.ready` must be high then.
    acc_read : In(AccumulatorReadPort(acc_depth, cols, lanes))
        Reads of a half wait while a command writes to it, and never delay commands.
    unread : Out(groups), parity : Out(ParityReport)
        With `parity`: this response of `scratchpad` is padding; the accumulators' report.

    Latency
    -------
    SCRATCHPAD_LATENCY + rows + cols + 2 cycles from a command's last input word request to
    `complete`.

    Throughput
    ----------
    A tile takes max(pixels, rows, cols) cycles. Between two commands there are two idle cycles at
    most, as long as the second is on offer when the last tile of the first begins (its first tile
    then loads during that tile) and the weight port is free.
    """

    def __init__(
        self,
        *,
        rows: int,
        cols: int,
        groups: int = 1,
        lanes: int,
        acc_depth: int,
        scratchpad_words: int,
        weight_words: int,
        banks: int = 1,
        target: str = "generic",
        dsp_cells: int | None = None,
        parity: bool = False,
    ) -> None:
        self._parity = parity
        self._target = target
        self._dsp_cells = dsp_cells
        self._rows = rows
        self._cols = cols
        self._groups = groups
        self._lanes = lanes
        self._acc_depth = acc_depth
        self._banks = banks
        self._scratchpad_width = ceil_log2(scratchpad_words)
        self._weight_words = weight_words
        self._weight_width = ceil_log2(weight_words)
        self._tiles = max(weight_words // rows, 1)
        self._checker = CommandChecker(
            engine=Engine.MATMUL,
            rows=rows,
            cols=cols,
            groups=groups,
            acc_depth=acc_depth,
            weight_words=weight_words,
        )
        super().__init__(
            {
                "command": In(stream.Signature(CommandLayout(COMMANDS[Engine.MATMUL]))),
                "halt": In(1),
                "fault": Out(EngineFault),
                "complete": Out(Completion),
                "busy": Out(1),
                "starved": Out(1),
                "scratchpad": Out(ReadPort(self._scratchpad_width, unsigned(8 * rows))).array(
                    groups
                ),
                "weights": Out(ReadPort(self._weight_width, unsigned(8 * cols))),
                "weights_burst": Out(1),
                "acc_read": In(AccumulatorReadPort(depth=acc_depth, cols=cols, lanes=lanes)),
                **(
                    {
                        "unread": Out(groups),
                        "parity": Out(ParityReport(2, ceil_log2(2 * acc_depth))),
                    }
                    if parity
                    else {}
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.streamer = streamer = Streamer(
            rows=self._rows,
            groups=self._groups,
            address_width=self._scratchpad_width,
            banks=self._banks,
            acc_depth=self._acc_depth,
            tiles=self._tiles,
            parity=self._parity,
        )
        m.submodules.loader = loader = WeightLoader(
            rows=self._rows, cols=self._cols, words=self._weight_words
        )
        m.submodules.array = array = Array(
            rows=self._rows,
            cols=self._cols,
            groups=self._groups,
            target=self._target,
            dsp_cells=self._dsp_cells,
        )
        m.submodules.accumulators = accumulators = Accumulators(
            cols=self._cols,
            depth=self._acc_depth,
            lanes=self._lanes,
            sum_width=sum_width(self._rows),
            lead=SCRATCHPAD_LATENCY + 1 + array_latency(self._rows),
            target=self._target,
            parity=self._parity,
        )
        connect(m, flipped(self.command), streamer.command)
        for g in range(self._groups):
            connect(m, flipped(self.scratchpad[g]), streamer.scratchpad[g])
        connect(m, flipped(self.weights), loader.weights)
        connect(m, flipped(self.acc_read), accumulators.read)
        m.d.comb += [
            loader.first.valid.eq(self.command.valid),
            loader.first.address.eq(self.command.payload.fields.weight_address),
            loader.start.eq(streamer.start),
            loader.last.eq(streamer.last),
            streamer.loaded.eq(loader.loaded),
            streamer.halt.eq(self.halt),
            self.starved.eq(streamer.starved),
            self.weights_burst.eq(loader.burst),
            array.load.eq(loader.load),
            array.weights.eq(loader.data),
            array.swap.eq(streamer.swap),
            array.activations.eq(streamer.activations),
            array.fir.eq(streamer.fir),
            array.inject.eq(streamer.inject),
            array.taps_5.eq(streamer.taps_5),
            array.words.eq(streamer.words),
            accumulators.control.eq(streamer.control),
            accumulators.sums.eq(array.sums),
            self.complete.eq(accumulators.complete),
        ]

        self._report(m, streamer, loader)
        if self._parity:
            m.d.comb += [
                self.unread.eq(streamer.unread),
                self.parity.eq(accumulators.parity),
            ]
        # A command takes at least max(rows, cols) cycles: at most five are in the pipeline.
        unfinished = Signal(3)
        accepted = self.command.valid & self.command.ready
        m.d.comb += self.busy.eq(unfinished != 0)
        with m.If(accepted != self.complete.valid):
            m.d.sync += unfinished.eq(Mux(accepted, unfinished + 1, unfinished - 1))
        return m

    def _report(self, m: Module, streamer: Streamer, loader: WeightLoader) -> None:
        m.submodules.checker = checker = self._checker
        running = Signal(RULE_BITS)
        accepted_q = Signal()
        fault = self.fault
        m.d.sync += accepted_q.eq(self.command.valid & self.command.ready)
        m.d.comb += [
            checker.offer.valid.eq(self.command.valid),
            checker.offer.fields.eq(self.command.payload.fields),
            running.eq(streamer.broken),
            running[bit_of(Rule.WEIGHTS)].eq(loader.past),
            *report_rules(
                fault, running, streamer.pc, checker.broken, accepted_q, self.command.payload.pc
            ),
        ]
