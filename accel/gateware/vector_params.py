"""The parameters of the vector engine's slices: fetched ahead, held in staging registers."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.ports import ReadPort
from accel.gateware.requantizer import LaneParameters, OutputRange
from accel.gateware.splitram import past_end
from accel.isa import COMMANDS, PARAM_WORDS, Engine, Operation

__all__ = ["ParameterFetcher"]


class ParameterFetcher(wiring.Component):
    """Fill the lanes' staging registers for the slice that comes next.

    It looks at the command on offer before the command is accepted, so that the first slice's
    parameters come while the command before is still running. A uniform command's parameters take
    the same way, byte by byte, as if nine words had been read: so the order in which staging
    changes is always bias, multiplier, shift, a byte a cycle at most. The first byte of the bias
    is written four cycles after `taken`, the first of the multiplier eight, the shift and the
    output range ten or more: later than the requantiser's stages need what was there before.

    Parameters
    ----------
    cols, lanes : int
    words : int
        Of the weight memory, which addresses of `address_width` = clog2(words) bits reach.

    Members
    -------
    offer : In({valid, fields})
        The engine's command port.
    accepted : In(1)
        The command on offer is being accepted.
    memory : Out(ReadPort(address_width, cols * 8))
    ready : Out(1)
        The parameters of the next slice that needs some are in staging, or will be in
        2 + (latency of `memory`) cycles at the latest.
    use : In(1)
        That slice starts to be issued: `ready` falls.
    past : Out(1)
        A cycle after a read past the end of the memory, which is not one of a command's first nine.
    taken : In(1)
        The lanes take over staging (`Requantizer.first`): it may be filled again.
    lane_staging : Out(ArrayLayout(LaneParameters, lanes))
    output_staging : Out(OutputRange)

    Latency
    -------
    From `taken` to `ready` 11 cycles, and one for every refused read.
    """

    def __init__(self, *, cols: int, lanes: int, words: int) -> None:
        self._cols, self._lanes, self._words = cols, lanes, words
        address_width = ceil_log2(words)
        fields = COMMANDS[Engine.VECTOR].layout
        super().__init__(
            {
                "offer": In(data.StructLayout({"valid": 1, "fields": fields})),
                "accepted": In(1),
                "memory": Out(ReadPort(address_width, cols * 8)),
                "ready": Out(1),
                "use": In(1),
                "past": Out(1),
                "taken": In(1),
                "lane_staging": Out(data.ArrayLayout(LaneParameters, lanes)),
                "output_staging": Out(OutputRange),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        groups = self._cols // self._lanes
        fields = self.offer.fields

        remaining = Signal.like(fields.slices)  # slices of the last command still to be fetched
        more = Signal()  # there are some
        uniform = Signal()
        slot = Signal(range(max(groups, 2)))  # the slice's place in the weight words
        # A bit more shows a read past the end.
        base = Signal(len(self.memory.request.payload) + 1)  # the column group's first word
        address = Signal.like(base)
        m.d.comb += self.memory.request.payload.eq(address)
        m.d.sync += self.past.eq(self.memory.request.valid & past_end(address, self._words))
        offer_done = Signal()  # the command on offer has had its first slice fetched
        occupied = Signal()  # staging is being filled, or holds what the lanes have not taken
        filling = Signal()

        begin = Signal()
        m.d.comb += begin.eq(~occupied & (more | (self.offer.valid & ~offer_done)))
        with m.If(begin):
            m.d.sync += [occupied.eq(1), filling.eq(1)]
            with m.If(more):
                m.d.sync += [remaining.eq(remaining - 1), more.eq(remaining != 1)]
                m.d.sync += address.eq(base)
            with m.Else():
                first_slot = Mux(fields.operation == Operation.ACC, fields.a_slot, 0)
                m.d.sync += [
                    offer_done.eq(1),
                    remaining.eq(fields.slices - 1),
                    more.eq(~fields.uniform & (fields.slices != 1)),
                    uniform.eq(fields.uniform),
                    slot.eq(first_slot),
                    base.eq(fields.param_address),
                    address.eq(fields.param_address),
                ]

        reads = more | ~fields.uniform
        own, sent = self._send(m, begin, filling & uniform, reads, address)
        with m.If(sent):
            # What is still on its way arrives before any operand that is asked for now.
            m.d.sync += self.ready.eq(1)
            with m.If(offer_done):
                for name in ("output_zero", "clamp_min", "clamp_max"):
                    m.d.sync += self.output_staging[name].eq(fields[name])
        with m.If(self._receive(m, slot, own)):
            m.d.sync += filling.eq(0)
            with m.If(slot == groups - 1):
                m.d.sync += [slot.eq(0), base.eq(address)]
            with m.Else():
                m.d.sync += slot.eq(slot + 1)
        with m.If(self.use):
            m.d.sync += self.ready.eq(0)
        with m.If(self.accepted):
            m.d.sync += offer_done.eq(0)
        with m.If(self.taken):
            m.d.sync += occupied.eq(0)
        return m

    def _send(
        self, m: Module, begin: Signal, uniform: Value, reads: Value, address: Signal
    ) -> tuple[data.View, Signal]:
        """Issue the reads; return the bytes that a uniform command gives instead, and the end.

        With `begin`, `reads` says whether there are any.
        """
        fields = self.offer.fields
        request = self.memory.request
        unsent = Signal(range(PARAM_WORDS + 1))
        sending = Signal()
        sends = Signal()
        sent = Signal()
        m.d.comb += [
            sends.eq(sending & (uniform | request.ready)),
            sent.eq(sends & (unsent == 0)),
        ]
        with m.If(begin):
            # A register: the weight loader hangs on it, on the other side of the memory.
            m.d.sync += [unsent.eq(PARAM_WORDS - 1), sending.eq(1), request.valid.eq(reads)]
        with m.Elif(sends):
            m.d.sync += [
                unsent.eq(unsent - 1),
                sending.eq(unsent != 0),
                request.valid.eq((unsent != 0) & request.valid),
                address.eq(address + 1),
            ]
        number = Cat(fields.bias, fields.multiplier, Const(0, 1), fields.shift)
        own = Signal(data.StructLayout({"valid": 1, "byte": 8}))
        by_unsent = Array(reversed([number.word_select(i, 8) for i in range(PARAM_WORDS)]))
        m.d.sync += [own.valid.eq(sending & uniform), own.byte.eq(by_unsent[unsent])]
        return own, sent

    def _receive(self, m: Module, slot: Signal, own: data.View) -> Signal:
        """Put the bytes that arrive into staging; return a pulse with the last one."""
        response = self.memory.response
        arrived = Signal()
        lane_bytes = Signal(data.ArrayLayout(8, self._lanes), reset_less=True)
        place = Signal(PARAM_WORDS, init=1)  # one-hot: where the byte belongs
        selected = response.data.word_select(slot, 8 * self._lanes)
        m.d.sync += [
            arrived.eq(response.valid | own.valid),
            lane_bytes.eq(Mux(own.valid, own.byte.replicate(self._lanes), selected)),
        ]
        for lane in range(self._lanes):
            staging = Signal(LaneParameters, name=f"staging{lane}", reset_less=True)
            m.d.comb += self.lane_staging[lane].eq(staging)
            targets = [staging.bias.word_select(i, 8) for i in range(4)]
            targets += [staging.multiplier[8 * i : 8 * i + 8] for i in range(4)]
            targets += [staging.shift]
            for i, target in enumerate(targets):
                with m.If(arrived & place[i]):
                    m.d.sync += target.eq(lane_bytes[lane])
        filled = Signal()
        m.d.comb += filled.eq(arrived & place[-1])
        with m.If(arrived):
            m.d.sync += place.eq(place.rotate_left(1))
        return filled
