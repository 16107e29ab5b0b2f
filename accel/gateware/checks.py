"""What can be said against a command before it runs: one look at its fields, for each engine."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.splitram import past_end
from accel.isa import COMMANDS, PARAM_WORDS, Engine, Operation, Space
from accel.regmap import Cause, Rule

__all__ = [
    "RULE_BITS",
    "CommandChecker",
    "bit_of",
    "cause_of",
    "matmul_rules",
    "report_rules",
    "transfer_rules",
    "vector_rules",
]

RULE_BITS = max(Rule).bit_length()

GROUP_TAPS = (3, 5)
"""Array rows from group to group that the depthwise mode has wires for."""

Rules = Mapping[Rule, Value]


def bit_of(rule: Rule) -> int:
    """Return a rule's place in a mask."""
    return int(rule).bit_length() - 1


def cause_of(rules: Value) -> Value:
    """Return the cause of a mask of broken rules: what is wrong in the fields goes first."""
    return Mux(rules[:8].any(), Cause.ILLEGAL_COMMAND, Cause.CHIP_ADDRESS)


def report_rules(
    fault: data.View,
    running: Value,
    running_pc: Value,
    offered: Value,
    accepted_q: Value,
    offered_pc: Value,
) -> list:
    """Return the assignments that make a fault of broken rules.

    Parameters
    ----------
    fault : View of EngineFault
    running, running_pc : Value
        Rules that the command taken last broke as it ran, and its pc.
    offered : Value
        Rules that the command on offer in the last cycle broke.
    accepted_q : Value
        It was taken in that cycle, and `running_pc` is its own now.
    offered_pc : Value
        Of the command on offer now.
    """
    late = running.any()
    rules = Mux(late, running, offered)
    return [
        fault.valid.eq(rules.any()),
        fault.cause.eq(cause_of(rules)),
        fault.address.eq(rules),
        fault.pc.eq(Mux(late | accepted_q, running_pc, offered_pc)),
    ]


def _any_zero(*counts: Value) -> Value:
    return Cat(count == 0 for count in counts).any()


def _exceeds(a: Value, b: Value, limit: int) -> Value:
    """Return whether a + b is more than a small limit, without a sum of all their bits."""
    bits = limit.bit_length()
    return a[bits:].any() | b[bits:].any() | (a[:bits] + b[:bits] > limit)


def transfer_rules(engine: Engine, fields: data.View) -> Rules:
    """Return the rules of a load or store command; rows are checked as they come."""
    counts = [fields.words, fields.rows, fields.planes]
    if engine == Engine.STORE:
        return {Rule.COUNT: _any_zero(*counts), Rule.VALUE: fields.space != Space.SCRATCHPAD}
    packs = fields.pack_step != 0
    pads = (fields.pack_lead != 0) | (fields.pack_tail != 0)
    return {
        Rule.COUNT: _any_zero(*counts) | (packs & (fields.pack_bytes == 0)),
        Rule.VALUE: fields.space > max(Space),
        Rule.PACKING: Mux(packs, fields.space != Space.SCRATCHPAD, pads),
    }


def matmul_rules(
    fields: data.View, *, rows: int, cols: int, groups: int, acc_depth: int, weight_words: int
) -> Rules:
    """Return the rules of a matmul command; addresses of input words are checked as they come."""
    entry_bits, weight_bits = ceil_log2(2 * acc_depth), ceil_log2(weight_words)
    tile_bits = max(weight_words // rows, 1).bit_length()
    counts = [fields[f"count_{level}"] for level in ("col", "row", "k0", "k1", "k2")]
    modes = [Const(0)]
    for number in range(4):
        wide = max(number, 1)
        if wide > groups:
            continue
        here = fields.groups == number
        modes.append(here & (fields.taps == 0))
        if rows != cols:
            continue
        if wide == 1:
            modes.append(here)
        else:
            taps = [t for t in GROUP_TAPS if t * wide <= rows]
            modes += [here & (fields.taps == t) for t in taps]
    last = fields.weight_address[:weight_bits] + (rows - 1)
    return {
        Rule.COUNT: _any_zero(*counts),
        Rule.SIZE: counts[0][entry_bits + 1 :].any()
        | counts[1][entry_bits:].any()
        | Cat(count[tile_bits:] for count in counts[2:]).any()
        | (fields.skip >= counts[0]),
        Rule.VALUE: ~Cat(modes).any(),
        Rule.WEIGHTS: fields.weight_address[weight_bits] | past_end(last, weight_words),
        Rule.ACCUMULATORS: fields.acc_address[entry_bits:].any(),
    }


def vector_rules(
    fields: data.View, *, rows: int, cols: int, lanes: int, weight_words: int
) -> Rules:
    """Return the rules of a vector command; addresses of slices are checked as they come."""
    windows = [fields.window_col, fields.window_row]
    operation = fields.operation
    sums = operation == Operation.ACC
    pairs = operation.matches(int(Operation.ADD), int(Operation.MUL))
    windowed = operation.matches(int(Operation.SUM), int(Operation.MAX), int(Operation.MIN))
    slots, columns = rows // lanes, cols // lanes
    weight_bits = ceil_log2(weight_words)
    last = fields.param_address[:weight_bits] + (PARAM_WORDS - 1)
    return {
        Rule.COUNT: _any_zero(fields.slices, fields.count_col, fields.count_row, *windows),
        Rule.SIZE: (fields.dst_slot >= slots)
        | (pairs & (fields.b_slot >= slots))
        | Mux(sums, _exceeds(fields.a_slot, fields.slices, columns), fields.a_slot >= slots),
        Rule.VALUE: (operation > max(Operation))
        | (~windowed & ((windows[0] != 1) | (windows[1] != 1)))
        | (fields.clamp_min > fields.clamp_max)
        | (fields.upper if lanes % 2 else 0)
        | (fields.uniform & ((fields.shift < -31) | (fields.shift > 30))),
        Rule.WEIGHTS: ~fields.uniform
        & (fields.param_address[weight_bits] | past_end(last, weight_words)),
    }


class CommandChecker(wiring.Component):
    """Look at a command as soon as it is on offer.

    Parameters
    ----------
    engine : Engine
    options
        Of `matmul_rules` or `vector_rules`.

    Members
    -------
    offer : In({valid, fields})
        The engine's command port.
    broken : Out(RULE_BITS)
        The rules that the command breaks: a mask of accel.regmap.Rule, 0 when all is well.

    Latency
    -------
    One cycle from an offer to what is said of it.
    """

    def __init__(self, *, engine: Engine, **options: int) -> None:
        self._engine = engine
        self._options = options
        offer = data.StructLayout({"valid": 1, "fields": COMMANDS[engine].layout})
        super().__init__({"offer": In(offer), "broken": Out(RULE_BITS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fields = self.offer.fields
        if self._engine == Engine.MATMUL:
            rules = matmul_rules(fields, **self._options)
        elif self._engine == Engine.VECTOR:
            rules = vector_rules(fields, **self._options)
        else:
            rules = transfer_rules(self._engine, fields)
        for rule, breaks in rules.items():
            m.d.sync += self.broken[bit_of(rule)].eq(self.offer.valid & breaks)
        return m
