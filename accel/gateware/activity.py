"""What a cycle is charged to: why the array does, or does not, take an input word."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.isa import Engine
from accel.regmap import Activity

__all__ = ["ActivityMonitor"]

ENGINES = len(Engine)
_TRANSFERS = 1 << Engine.LOAD | 1 << Engine.STORE


class ActivityMonitor(wiring.Component):
    """Charges each cycle to one Activity.

    The first that applies:

    1. the array takes a word: MATMUL, MATMUL_VECTOR;
    2. it waits for a tile: WEIGHTS;
    3. it has a command, and is between two of them: TOKENS;
    4. its next command waits for the vector engine, which works: VECTOR;
    5. its next command waits for a load or store, and one is under way: MEMORY;
    6. its next command waits, or the controller does, and the vector engine works: VECTOR;
    7. the same, and a load or store is under way: MEMORY;
    8. some command waits, or the last one of the array is not complete: TOKENS;
    9. what is left: CONTROLLER, CONTROLLER_VECTOR.

    Members
    -------
    streams : In(1)
        The array takes an input word.
    starved : In(1)
        It would, but for its weights.
    taken : In(1)
        The matmul engine has a command on offer, or one with words to come.
    missing : In(4)
        Engines for whose tokens the next matmul command waits.
    busy : In(4)
        By Engine: has commands on offer or under way.
    waiting : In(4)
        By Engine: the next command waits for tokens.
    held : In(1)
        The controller waits for the engines, or for a queue that is full.
    activity : Out(Activity)
    events : Out(8)
        By Engine: busy; and in bits 7:4, not busy but waiting.

    Latency
    -------
    Two cycles.
    """

    streams: In(1)
    starved: In(1)
    taken: In(1)
    missing: In(ENGINES)
    busy: In(ENGINES)
    waiting: In(ENGINES)
    held: In(1)
    activity: Out(Activity)
    events: Out(2 * ENGINES)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # These come from all over the chip: registers before any logic.
        seen = {}
        for name in ("streams", "starved", "taken", "missing", "busy", "waiting", "held"):
            seen[name] = Signal.like(getattr(self, name), name=f"{name}_q")
            m.d.sync += seen[name].eq(getattr(self, name))
        busy, missing, waiting = seen["busy"], seen["missing"], seen["waiting"]
        vector = busy[Engine.VECTOR]
        transfers = (busy & _TRANSFERS).any()
        waits = waiting[Engine.MATMUL] | seen["held"]

        activity = Signal(Activity)
        m.d.comb += activity.eq(Activity.CONTROLLER)
        with m.If(seen["streams"]):
            m.d.comb += activity.eq(Activity.MATMUL)
            with m.If(vector):
                m.d.comb += activity.eq(Activity.MATMUL_VECTOR)
        for condition, value in (
            (seen["starved"], Activity.WEIGHTS),
            (seen["taken"], Activity.TOKENS),
            (missing[Engine.VECTOR] & vector, Activity.VECTOR),
            ((missing & _TRANSFERS).any() & transfers, Activity.MEMORY),
            (waits & vector, Activity.VECTOR),
            (waits & transfers, Activity.MEMORY),
            (waiting.any() | busy[Engine.MATMUL], Activity.TOKENS),
            (vector, Activity.CONTROLLER_VECTOR),
        ):
            with m.Elif(condition):
                m.d.comb += activity.eq(value)
        m.d.sync += [self.activity.eq(activity), self.events.eq(Cat(busy, waiting & ~busy))]
        return m
