"""The vector engine's runner: loops over a command's elements and asks for their operands."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.checks import RULE_BITS, bit_of
from accel.gateware.loopnest import LoopNest
from accel.isa import COMMANDS, Engine, Operation
from accel.regmap import Rule

__all__ = ["ElementTag", "Path", "RequestLayout", "ResultTag", "VectorIssuer", "slot_bits"]

_FIELDS = COMMANDS[Engine.VECTOR].layout


class Path(enum.Enum, shape=unsigned(2)):
    """The way of an operand to the reduction; they differ in length."""

    SUMS = 0
    """From the accumulators."""
    BYTES = 1
    """From the scratchpad."""
    TABLE = 2
    """From the scratchpad and through the function table."""
    PRODUCT = 3
    """As TABLE, and two of them make one operand."""


def slot_bits(rows: int, cols: int, lanes: int) -> int:
    """Return the bits that hold a slice's place in a word or in the columns."""
    return max(1, ceil_log2(max(rows, cols) // lanes))


class RequestLayout(data.StructLayout):
    """A read: address and slot of the accumulators if `sums`, else address of the scratchpad."""

    def __init__(self, address_width: int, slot_width: int) -> None:
        super().__init__({"sums": 1, "address": address_width, "slot": slot_width})


class ElementTag(data.StructLayout):
    """What becomes of an operand when it comes: which slice of its word, and its reduction.

    `start` and `end` delimit the operands of one result, `extreme` takes their largest, or with
    `minimum` their smallest, instead of their sum, `second` chooses operand B's half of the table,
    `first` marks the operands of the first result with new parameters. On Path.PRODUCT only the
    second element is an operand.
    """

    def __init__(self, slot_width: int) -> None:
        flags = dict.fromkeys(("second", "start", "end", "extreme", "minimum", "first"), 1)
        super().__init__({"slot": slot_width, "path": Path, **flags})


class ResultTag(data.StructLayout):
    """Where a result goes, which lanes it is of, and whether it is its command's last."""

    def __init__(self, address_width: int, slot_width: int) -> None:
        super().__init__({"address": address_width, "slot": slot_width, "upper": 1, "last": 1})


class VectorIssuer(wiring.Component):
    """Step through slices, results and windows; a read and a tag for each operand.

    Parameters
    ----------
    rows, cols, lanes : int
    acc_address_width, address_width : int
        Of the accumulators and of the scratchpad.

    Members
    -------
    offer : In({valid, fields})
        The command; it may change after `accept`.
    accept : Out(1)
        It has been taken in the cycle before.
    parameters_ready, use_parameters : In(1), Out(1)
        See ParameterFetcher.
    drained : In(1)
        No operand is between its request and the reduction. Awaited when a command's operands
        take another path than those before: a shorter one would overtake.
    room : In(1)
        Both tags can be taken.
    request : Out(stream.Signature(RequestLayout))
    tag, tag_valid : Out(ElementTag), Out(1)
        In the cycle of its request.
    result, result_valid : Out(ResultTag), Out(1)
        In the cycle of the last request of each result.
    broken : Out(RULE_BITS)
        Rules that the command taken last broke: a cycle after an address past its memory's end.

    Latency
    -------
    Two cycles from `accept` to the first request, three from a command's last request to the
    next `accept`; none between slices.
    """

    def __init__(
        self, *, rows: int, cols: int, lanes: int, acc_address_width: int, address_width: int
    ) -> None:
        self._slots = rows // lanes
        self._address_width = address_width
        self._acc_width = acc_address_width
        self._a_width = max(address_width, acc_address_width)
        self._slot_width = bits = slot_bits(rows, cols, lanes)
        super().__init__(
            {
                "offer": In(data.StructLayout({"valid": 1, "fields": _FIELDS})),
                "accept": Out(1),
                "parameters_ready": In(1),
                "use_parameters": Out(1),
                "drained": In(1),
                "room": In(1),
                "request": Out(stream.Signature(RequestLayout(self._a_width, bits))),
                "tag": Out(ElementTag(bits)),
                "tag_valid": Out(1),
                "result": Out(ResultTag(address_width, bits)),
                "result_valid": Out(1),
                "broken": Out(RULE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fields = self.offer.fields
        widths = {"a": self._a_width, "b": self._address_width, "dst": self._address_width}
        m.submodules.nest = nest = LoopNest(
            counts=(16, 16, 16, 16),
            # A bit more than the memory needs shows an address that leaves it, see CommandQueue.
            values={name: unsigned(width + 1) for name, width in widths.items()},
            moving={"b": (2, 3), "dst": (2, 3)},
        )
        path = Signal(Path)
        pairs = Signal()  # an element of A, then one of B
        extreme, minimum = Signal(), Signal()
        uniform, upper = Signal(), Signal()
        # Nothing looks at what is kept of a command while there is none: it follows the offer then.
        idle = Signal()
        with m.If(idle):
            m.d.sync += [
                uniform.eq(fields.uniform),
                upper.eq(fields.upper),
                pairs.eq(_is_any(fields.operation, Operation.ADD, Operation.MUL)),
                extreme.eq(_is_any(fields.operation, Operation.MAX, Operation.MIN)),
                minimum.eq(fields.operation == Operation.MIN),
                path.eq(_path(fields.operation)),
            ]
        self._latch_loops(m, nest, idle)

        # Slices: `load` starts one, in the cycle of the last request of the one before if it can.
        load = Signal()
        slices = Signal.like(fields.slices)  # not yet started
        more = Signal()
        commits = Signal(init=1)  # the next slice has parameters of its own
        with m.If(idle):
            m.d.sync += [slices.eq(fields.slices), commits.eq(1)]
        with m.Elif(load):
            m.d.sync += [slices.eq(slices - 1), more.eq(slices != 1), commits.eq(~uniform)]
        may_load = Signal()
        m.d.comb += [
            may_load.eq(self.parameters_ready | ~commits),
            nest.load.eq(load),
            self.use_parameters.eq(load & commits),
        ]

        emit = Signal()
        step = Signal()  # with `emit`: its last operand
        second = Signal()
        last_path = Signal(Path)
        same_path = Signal()
        m.d.comb += [
            step.eq(emit & (second | ~pairs)),
            nest.step.eq(step),
            self.request.valid.eq(emit),
        ]
        with m.If(emit & pairs):
            m.d.sync += second.eq(~second)
        m.d.sync += self.accept.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                m.d.sync += same_path.eq(_path(fields.operation) == last_path.as_value())
                with m.If(self.offer.valid & self.parameters_ready):
                    # The queue hears of it a cycle late: the way from here to there is long.
                    m.d.sync += self.accept.eq(1)
                    m.next = "LOAD"
            with m.State("LOAD"):
                with m.If(may_load & (self.drained | same_path)):
                    m.d.comb += load.eq(1)
                    m.d.sync += [last_path.eq(path), same_path.eq(1)]
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += emit.eq(self.room & self.request.ready)
                with m.If(step & nest.last.all()):
                    with m.If(~more):
                        m.next = "IDLE"
                    with m.Elif(may_load):
                        m.d.comb += load.eq(1)
                    with m.Else():
                        m.next = "LOAD"

        slots = self._walk_slices(m, nest, idle, load, path)
        window_start = Signal()
        first = Signal()
        window_end = nest.last[:2].all()
        with m.If(load):
            m.d.sync += [window_start.eq(1), first.eq(commits)]
        with m.Elif(step):
            m.d.sync += [window_start.eq(window_end), first.eq(first & ~window_end)]

        request, tag, result = self.request.payload, self.tag, self.result
        values = nest.values
        m.d.comb += [
            request.sums.eq(path == Path.SUMS),
            request.address.eq(Mux(second, values.b, values.a)),
            request.slot.eq(slots["a"]),
            self.tag_valid.eq(emit),
            tag.slot.eq(Mux(second, slots["b"], slots["a"])),
            tag.path.eq(path),
            tag.second.eq(second),
            tag.start.eq(window_start & (~second | (path == Path.PRODUCT))),
            tag.end.eq(window_end & (second | ~pairs)),
            tag.extreme.eq(extreme),
            tag.minimum.eq(minimum),
            tag.first.eq(first),
            self.result_valid.eq(step & window_end),
            result.address.eq(values.dst),
            result.slot.eq(slots["dst"]),
            result.upper.eq(upper),
            result.last.eq(nest.last.all() & ~more),
        ]
        past = values.a[self._address_width :].any() & (path != Path.SUMS)
        past = Mux(second, values.b[self._address_width :].any(), past)
        target_past = values.dst[self._address_width :].any()
        entry_past = values.a[self._acc_width :].any() & (path == Path.SUMS)
        m.d.sync += [
            self.broken[bit_of(Rule.SCRATCHPAD)].eq(
                (emit & past) | (self.result_valid & target_past)
            ),
            self.broken[bit_of(Rule.ACCUMULATORS)].eq(emit & entry_past),
        ]
        return m

    def _latch_loops(self, m: Module, nest: LoopNest, idle: Signal) -> None:
        """Keep counts and steps. A reads the accumulators entry by entry: its steps are 1."""
        fields = self.offer.fields
        entries = fields.operation == Operation.ACC
        levels = ("wcol", "wrow", "col", "row")
        counts = (fields.window_col, fields.window_row, fields.count_col, fields.count_row)
        kept = {}
        for i, (level, count) in enumerate(zip(levels, counts, strict=True)):
            kept[f"count_{level}"] = (nest.counts[f"c{i}"], count)
            step = fields[f"a_step_{level}"]
            if level in ("col", "row"):
                step = Mux(entries, 1, step)
                for name in ("b", "dst"):
                    target = nest.steps[name][f"s{i}"]
                    kept[f"{name}_step_{level}"] = (target, fields[f"{name}_step_{level}"])
            kept[f"a_step_{level}"] = (nest.steps.a[f"s{i}"], step)
        for name, (target, value) in kept.items():
            register = Signal.like(target, name=f"{name}_q", reset_less=True)
            m.d.comb += target.eq(register)
            with m.If(idle):
                m.d.sync += register.eq(value)

    def _walk_slices(
        self, m: Module, nest: LoopNest, idle: Signal, load: Signal, path: Signal
    ) -> dict[str, Signal]:
        """Compute the next slice's base addresses; return the places of this slice."""
        fields = self.offer.fields
        places = {}
        for name in ("a", "b", "dst"):
            base = Signal.like(nest.start[name], name=f"{name}_base", reset_less=True)
            plane = Signal.like(base, name=f"{name}_plane", reset_less=True)
            following = Signal(self._slot_width, name=f"{name}_following", reset_less=True)
            place = Signal(self._slot_width, name=f"{name}_slot", reset_less=True)
            wraps = following == self._slots - 1
            if name == "a":
                wraps = wraps & (path != Path.SUMS)
            m.d.comb += nest.start[name].eq(base)
            with m.If(idle):
                m.d.sync += [
                    base.eq(fields[f"{name}_address"]),
                    plane.eq(fields[f"{name}_plane"]),
                    following.eq(fields[f"{name}_slot"]),
                ]
            with m.Elif(load):
                m.d.sync += place.eq(following)
                with m.If(wraps):
                    m.d.sync += [base.eq(base + plane), following.eq(0)]
                with m.Else():
                    m.d.sync += following.eq(following + 1)
            places[name] = place
        return places


def _path(operation):
    """Return the path that an operation's operands take."""
    reads_table = _is_any(operation, Operation.ADD, Operation.TABLE)
    bytes_or_table = Mux(reads_table, Path.TABLE, Path.BYTES)
    multiplies = operation == Operation.MUL
    return Mux(operation == Operation.ACC, Path.SUMS, Mux(multiplies, Path.PRODUCT, bytes_or_table))


def _is_any(operation, *choices):
    return operation.matches(*(int(choice) for choice in choices))
