"""The vector engine's data path: operands in, results out, nothing in it ever waits."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.blockram import BlockRam
from accel.gateware.delay import delayed
from accel.gateware.multiplier import Multiplier
from accel.gateware.ports import WritePort
from accel.gateware.requantizer import LaneParameters, OutputRange, Requantizer
from accel.gateware.vector_issue import ElementTag, Path
from accel.isa import TABLE_WORDS

__all__ = ["OperandFetch", "Reducer", "VectorLanes"]

FACTOR_BITS = 9
"""Signed bits of a factor: the difference of two int8."""

PRODUCT_LATENCY = 2
"""Cycles from the second of two factors to their product; one more outside a DSP block."""


class ReductionTag(data.Struct):
    """The part of an ElementTag that the reduction needs."""

    start: 1
    extreme: 1
    minimum: 1


class _Arrival(data.Struct):
    """What is known of an operand on its way: flags as in ElementTag."""

    reduction: ReductionTag
    end: 1
    first: 1


class OperandFetch(wiring.Component):
    """Bring responses of both memories to one int32 operand per lane.

    A scratchpad word goes through the selection of its slice and, on Path.TABLE, through the
    function table: a 512 x 32 block RAM per lane, all with the same content. On Path.PRODUCT the
    low nine bits of two entries, A's and then B's, are multiplied.

    Parameters
    ----------
    rows, lanes, slot_width : int
    target, dsp : str, bool
        See Multiplier.

    Members
    -------
    sums : In({valid, data}), word : In({valid, data})
        Responses of the accumulators and of the scratchpad; never both in a cycle.
    tag : In(ElementTag)
        Of the response that comes next.
    table : In(WritePort(9, 32))
        Always ready.
    idle : Out(1)
        No operand is in here.
    operands : Out({valid, end, taken, tag, values})
        `end`: valid, and the last of its result; `taken`: besides the first with new parameters.

    Latency
    -------
    From a response to `operands`: Path.SUMS 1, BYTES 2, TABLE 4, PRODUCT 6 cycles (7 without `dsp`).
    """

    def __init__(
        self,
        *,
        rows: int,
        lanes: int,
        slot_width: int,
        target: str = "generic",
        dsp: bool = True,
    ) -> None:
        self._target, self._dsp = target, dsp
        self._lanes, self._slots = lanes, rows // lanes
        values = data.ArrayLayout(signed(32), lanes)
        super().__init__(
            {
                "sums": In(data.StructLayout({"valid": 1, "data": values})),
                "word": In(data.StructLayout({"valid": 1, "data": 8 * rows})),
                "tag": In(ElementTag(slot_width)),
                "table": In(WritePort(9, 32)),
                "idle": Out(1),
                "operands": Out(
                    data.StructLayout(
                        {"valid": 1, "end": 1, "taken": 1, "tag": ReductionTag, "values": values}
                    )
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tag = Signal(_Arrival)
        m.d.comb += [tag.end.eq(self.tag.end), tag.first.eq(self.tag.first)]
        m.d.comb += [
            tag.reduction[name].eq(self.tag[name]) for name in ReductionTag.as_shape().members
        ]

        byte_valid, table_valid, product_valid = Signal(), Signal(), Signal()
        byte_tag = Signal(_Arrival, reset_less=True)
        second = Signal(reset_less=True)
        lane_bytes = Signal(data.ArrayLayout(signed(8), self._lanes), reset_less=True)
        slot = self.tag.slot if self._slots > 1 else 0
        m.d.sync += [
            byte_valid.eq(self.word.valid & (self.tag.path == Path.BYTES)),
            table_valid.eq(self.word.valid & (self.tag.path == Path.TABLE)),
            product_valid.eq(self.word.valid & (self.tag.path == Path.PRODUCT)),
            byte_tag.eq(tag),
            second.eq(self.tag.second),
            lane_bytes.eq(self.word.data.word_select(slot, 8 * self._lanes)),
        ]
        looked_up_valid = delayed(m, table_valid, 2, name="looked_up_valid")
        looked_up_tag = delayed(m, byte_tag, 2, name="looked_up_tag", reset_less=True)
        in_table = delayed(m, table_valid, 1, name="in_table")
        # The first of a pair stays until the second, which is the operand, is there.
        hold = delayed(m, product_valid & ~second, 2, name="hold")
        latency = PRODUCT_LATENCY + (not self._dsp)
        factors = Signal(2 + latency)
        m.d.sync += factors.eq(Cat(product_valid & second, factors))
        multiplied = factors[-1]
        multiplied_tag = delayed(m, looked_up_tag, latency, name="multiplied_tag", reset_less=True)
        in_table = in_table | table_valid | looked_up_valid
        m.d.comb += self.idle.eq(~(byte_valid | in_table | product_valid | factors.any()))

        arrives = Signal()
        arrival = Signal(_Arrival)
        m.d.comb += arrives.eq(self.sums.valid | byte_valid | looked_up_valid | multiplied)
        with m.If(multiplied):
            m.d.comb += arrival.eq(multiplied_tag)
        with m.Elif(looked_up_valid):
            m.d.comb += arrival.eq(looked_up_tag)
        with m.Elif(byte_valid):
            m.d.comb += arrival.eq(byte_tag)
        with m.Else():
            m.d.comb += arrival.eq(tag)
        m.d.sync += [
            self.operands.valid.eq(arrives),
            # Registers of their own: these go to every lane.
            self.operands.end.eq(arrives & arrival.end),
            self.operands.taken.eq(arrives & arrival.end & arrival.first),
            self.operands.tag.eq(arrival.reduction),
        ]

        m.d.comb += self.table.request.ready.eq(1)
        for lane in range(self._lanes):
            looked_up = self._table(m, lane, Cat(lane_bytes[lane].as_unsigned() ^ 0x80, second))
            m.submodules[f"product{lane}"] = multiplier = Multiplier(
                a_bits=FACTOR_BITS,
                b_bits=FACTOR_BITS,
                target=self._target,
                dsp=self._dsp,
                pipelined=not self._dsp,
            )
            m.d.comb += [
                multiplier.a.eq(looked_up[:FACTOR_BITS].as_signed()),
                multiplier.b.eq(looked_up[:FACTOR_BITS].as_signed()),
                multiplier.b_enable.eq(hold),
            ]
            operand = self.operands.values[lane]
            with m.If(multiplied):
                m.d.sync += operand.eq(multiplier.product)
            with m.Elif(looked_up_valid):
                m.d.sync += operand.eq(looked_up)
            with m.Elif(byte_valid):
                m.d.sync += operand.eq(lane_bytes[lane])
            with m.Else():
                m.d.sync += operand.eq(self.sums.data[lane])
        return m

    def _table(self, m: Module, lane: int, address) -> Signal:
        """Return the entry at `address`, two cycles later."""
        # No read meets a write: tokens order the commands that load a table and use it.
        memory = BlockRam(width=32, depth=TABLE_WORDS, target=self._target)
        m.submodules[f"table{lane}"] = memory
        request = self.table.request
        m.d.comb += [
            memory.write_address.eq(request.payload.address),
            memory.write_data.eq(request.payload.data),
            memory.write_enable.eq(request.valid & request.payload.mask),
            memory.read_address.eq(address),
        ]
        return memory.read_data.as_signed()


class Reducer(wiring.Component):
    """Sum, maximum or minimum of the operands of one result, in one lane.

    Members
    -------
    valid, start, extreme, minimum : In(1)
        `start`: the first operand of a result. With `extreme` operands are int8 values, and `x` is
        the largest or, with `minimum`, the smallest.
    operand : In(signed(32))
    x : Out(signed(32))
        One cycle later; holds between operands.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": In(1),
                "start": In(1),
                "extreme": In(1),
                "minimum": In(1),
                "operand": In(signed(32)),
                "x": Out(signed(32)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        larger = self.operand[:8].as_signed() > self.x[:8].as_signed()
        base = Mux(self.start | self.extreme, 0, self.x)
        with m.If(self.valid & (self.start | ~self.extreme | (larger ^ self.minimum))):
            m.d.sync += self.x.eq(base + self.operand)
        return m


class VectorLanes(wiring.Component):
    """`lanes` times: operand, reduction, requantisation.

    Parameters
    ----------
    rows, lanes, slot_width : int
    target : str
        See Multiplier.
    dsp_products : bool
        Multiply two operands in DSP blocks, too.

    Members
    -------
    sums, word, tag, table, idle
        See OperandFetch.
    lane_staging : In(ArrayLayout(LaneParameters, lanes)), output_staging : In(OutputRange)
        See Requantizer.
    taken : Out(1)
        `first` of the requantisers.
    result : Out({valid, data})
        One int8 per lane.

    Latency
    -------
    From `operands` of OperandFetch to `result`: 1 + Requantizer.LATENCY cycles.
    """

    def __init__(
        self,
        *,
        rows: int,
        lanes: int,
        slot_width: int,
        target: str = "generic",
        dsp_products: bool = True,
    ) -> None:
        self._target, self._dsp_products = target, dsp_products
        self._rows, self._lanes, self._slot_width = rows, lanes, slot_width
        values = data.ArrayLayout(signed(32), lanes)
        super().__init__(
            {
                "sums": In(data.StructLayout({"valid": 1, "data": values})),
                "word": In(data.StructLayout({"valid": 1, "data": 8 * rows})),
                "tag": In(ElementTag(slot_width)),
                "table": In(WritePort(9, 32)),
                "idle": Out(1),
                "lane_staging": In(data.ArrayLayout(LaneParameters, lanes)),
                "output_staging": In(OutputRange),
                "taken": Out(1),
                "result": Out(data.StructLayout({"valid": 1, "data": 8 * lanes})),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetch = fetch = OperandFetch(
            rows=self._rows,
            lanes=self._lanes,
            slot_width=self._slot_width,
            target=self._target,
            dsp=self._dsp_products,
        )
        wiring.connect(m, wiring.flipped(self.table), fetch.table)
        operands = fetch.operands
        m.d.comb += [
            fetch.sums.eq(self.sums),
            fetch.word.eq(self.word),
            fetch.tag.eq(self.tag),
            self.idle.eq(fetch.idle),
            self.taken.eq(operands.taken),
            self.result.valid.eq(
                delayed(m, operands.end, 1 + Requantizer.LATENCY, name="result_valid")
            ),
        ]
        for lane in range(self._lanes):
            m.submodules[f"reducer{lane}"] = reducer = Reducer()
            m.submodules[f"requantizer{lane}"] = requantizer = Requantizer(target=self._target)
            m.d.comb += [
                reducer.valid.eq(operands.valid),
                reducer.start.eq(operands.tag.start),
                reducer.extreme.eq(operands.tag.extreme),
                reducer.minimum.eq(operands.tag.minimum),
                reducer.operand.eq(operands.values[lane]),
                requantizer.x.eq(reducer.x),
                requantizer.first.eq(self.taken),
                requantizer.lane.eq(self.lane_staging[lane]),
                requantizer.bounds.eq(self.output_staging),
                self.result.data.word_select(lane, 8).eq(requantizer.y),
            ]
        return m
