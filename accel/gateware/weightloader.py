"""The weight loader: keeps the array's shadow registers one tile ahead of the streamer."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.delay import delayed
from accel.gateware.ports import WEIGHT_LATENCY, ReadPort

__all__ = ["WeightLoader"]


class WeightLoader(wiring.Component):
    """Reads tiles of `rows` weight words and hands them to the array.

    Loads the next tile as soon as the swap of the one before is far enough, also across the
    border of two commands: it takes a command's first address while the last tile of the command
    before still runs.

    Parameters
    ----------
    rows, cols : int
        At least 4 each.
    words : int
        Of the weight memory, which addresses of `address_width` = clog2(words) bits reach.

    Members
    -------
    first : In({valid, address})
        The next command's first tile is at `address`: a command on offer that the streamer has not
        begun. Looked at from the cycle after a `start` with `last` on; not consumed here, but
        must stay for one cycle at least.
    loaded : Out(1)
        The next tile is on its way: `start` is allowed in the next cycle.
    start : In(1)
        The tile's first input word is requested in this cycle.
    last : In(1)
        With `start`: it is the command's last tile.
    weights : Out(ReadPort(address_width, 8 * cols))
        Once a tile's first request is accepted, the others must be accepted without a gap.
    burst : Out(1)
        High from the cycle after a tile's first request is accepted until its last one is.
    past : Out(1)
        A cycle late: a tile goes past the end of the memory. Of a command's first tile this is not
        said.
    load, data : Out(1), Out(8 * cols)
        To the array: row 0's word WEIGHT_LATENCY + 1 cycles after its request, then one per cycle.

    Throughput
    ----------
    From `start` to the next tile's first request: cols - 2 cycles, or `rows` from that tile's own
    first request. `loaded` rises a cycle behind the acceptance of a tile's first request. So there
    is a `start` every max(rows, cols) cycles in a command, and every five at best from command to
    command.
    """

    def __init__(self, *, rows: int, cols: int, words: int) -> None:
        if rows < 4 or cols < 4:
            raise ValueError(f"Rows and cols must be at least 4, not {rows} and {cols}")
        self._rows = rows
        self._cols = cols
        self._words = words
        address_width = ceil_log2(words)
        first = data.StructLayout({"valid": unsigned(1), "address": unsigned(address_width)})
        super().__init__(
            {
                "first": In(first),
                "loaded": Out(1),
                "start": In(1),
                "last": In(1),
                "weights": Out(ReadPort(address_width, unsigned(8 * cols))),
                "burst": Out(1),
                "past": Out(1),
                "load": Out(1),
                "data": Out(8 * cols),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        request: stream.Interface = self.weights.request
        accepted = Signal()
        m.d.comb += accepted.eq(request.valid & request.ready)

        # A command's first address is kept apart: it may come while the last burst still runs.
        need = Signal(init=1)
        jump = Signal()
        target = Signal.like(request.payload, reset_less=True)
        wrapped = Signal()  # the next word, not being a command's first, is past the end
        with m.If(need & self.first.valid):
            m.d.sync += [target.eq(self.first.address), need.eq(0), jump.eq(1)]

        # The shadow weights of row 0 are free once its last cell has swapped.
        wait = Signal(range(self._cols))
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        begun = Signal()  # in the last cycle; input words then come no earlier than weights
        loaded = Signal()  # in this cycle
        m.d.comb += self.loaded.eq((loaded & ~self.start) | begun)
        m.d.sync += [begun.eq(accepted & ~self.burst), loaded.eq(self.loaded)]
        with m.If(self.start):
            m.d.sync += [wait.eq(self._cols - 4), need.eq(self.last)]

        begin = Signal()
        row = Signal(range(self._rows), init=self._rows - 1)
        end = Signal()
        m.d.comb += [
            end.eq(accepted & (row == self._rows - 1)),
            begin.eq((~request.valid | end) & ~loaded & (wait == 0) & ~need),
        ]
        with m.If(accepted):
            m.d.sync += [self.burst.eq(~end), request.payload.eq(request.payload + 1)]
            m.d.sync += wrapped.eq(request.payload == self._words - 1)
            m.d.sync += row.eq(row + 1)
        with m.If(begin):
            m.d.sync += [request.valid.eq(1), row.eq(0), jump.eq(0)]
            with m.If(jump):
                m.d.sync += [request.payload.eq(target), wrapped.eq(0)]
        with m.Elif(end):
            m.d.sync += request.valid.eq(0)

        m.d.sync += self.past.eq(accepted & wrapped)
        word = Signal.like(self.data, name="word", reset_less=True)
        m.d.sync += word.eq(self.weights.response.data)
        row_0 = delayed(m, accepted & ~self.burst, WEIGHT_LATENCY + 1, name="row_0")
        m.d.comb += [self.data.eq(word), self.load.eq(row_0)]
        return m
