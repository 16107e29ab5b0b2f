"""From the controller to the engines: routing of tensor operations, and the token counters."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.ports import Completion, TensorOperation
from accel.gateware.queue import QueueEntry
from accel.isa import TOKEN_LIMIT, Engine, Funct3

__all__ = ["Dispatcher", "TokenCounters"]

ENGINES = len(Engine)


class Dispatcher(wiring.Component):
    """Hands each tensor operation to the queue of its engine.

    Members
    -------
    operation : In(stream.Signature(TensorOperation))
    entries : Out(stream.Signature(QueueEntry)).array(4)
        By Engine.
    room : In(4)
        Bit per engine: its queue takes two operations or more.
    pending : Out(4)
        An operation for this engine has been accepted and has not reached its queue.
    blocked : Out(4)
        Its queue is full.

    Latency
    -------
    One cycle; one operation per cycle, one in two to a queue without `room`.
    """

    operation: In(stream.Signature(TensorOperation))
    entries: Out(stream.Signature(QueueEntry)).array(ENGINES)
    room: In(ENGINES)
    pending: Out(ENGINES)
    blocked: Out(ENGINES)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(TensorOperation, reset_less=True)
        valid = Signal()
        engine = held.funct7[5:7]
        accepted, leaves, queue_ready = Signal(), Signal(), Signal()
        m.d.comb += [
            accepted.eq(self.operation.valid & self.operation.ready),
            leaves.eq(valid & queue_ready),
        ]
        with m.If(self.operation.ready):
            m.d.sync += held.eq(self.operation.payload)
        # `ready` is a register, since the controller is far from the queues: high when what is
        # accepted leaves in the next cycle for sure. Only what is held here can fill a queue.
        coming = self.operation.payload.funct7[5:7]
        roomy = self.room.bit_select(coming, 1)
        with m.If(accepted):
            m.d.sync += [valid.eq(1), self.operation.ready.eq(roomy)]
        with m.Elif(leaves | ~valid):
            m.d.sync += [valid.eq(0), self.operation.ready.eq(1)]
        entry = Signal(QueueEntry)
        push = held.funct3 == Funct3.TPUSH
        m.d.comb += [
            entry.push.eq(push),
            entry.add.eq(held.funct3 == Funct3.TADD),
            entry.pair.eq(held.funct7[:4]),
            entry.a.eq(held.a),
            entry.b.eq(held.b),
        ]
        with m.If(push):
            masks = Cat(held.rs1_field[:4], held.rs2_field[:4], held.funct7[0])
            m.d.comb += entry.b.eq(masks)
        with m.Switch(engine):
            for e in Engine:
                with m.Case(int(e)):
                    m.d.comb += [
                        self.entries[e].valid.eq(valid),
                        self.pending[e].eq(valid),
                        self.blocked[e].eq(valid & ~self.entries[e].ready),
                        queue_ready.eq(self.entries[e].ready),
                    ]
        for e in Engine:
            m.d.comb += self.entries[e].payload.eq(entry)
        return m


class TokenCounters(wiring.Component):
    """One counter per (producer, consumer): tokens given by completions, taken by pushes.

    Members
    -------
    completions : In(Completion).array(4)
        By producing engine.
    take : In(4).array(4)
        By consuming engine: bit per producer, one cycle per token. Only while available.
    available : Out(4).array(4)
        By consuming engine: bit per producer whose counter is not zero.
    clear : In(1)
        Set all counters to zero.
    overflow, overflowed : Out(4), Out(4)
        A token came to a full counter and was lost: bit per producer, and per consumer.
    """

    completions: In(Completion).array(ENGINES)
    take: In(ENGINES).array(ENGINES)
    available: Out(ENGINES).array(ENGINES)
    clear: In(1)
    overflow: Out(ENGINES)
    overflowed: Out(ENGINES)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lost = {}
        for producer in Engine:
            for consumer in Engine:
                if producer == consumer:
                    continue
                count = Signal(range(TOKEN_LIMIT + 1), name=f"count_{producer}_{consumer}")
                some = Signal(name=f"some_{producer}_{consumer}")
                give, take = Signal(name="give"), Signal(name="take")
                completion = self.completions[producer]
                m.d.comb += [
                    give.eq(completion.valid & completion.post[consumer]),
                    take.eq(self.take[consumer][producer]),
                    self.available[consumer][producer].eq(some),
                ]
                full = count == TOKEN_LIMIT
                with m.If(give & ~take & ~full):
                    m.d.sync += [count.eq(count + 1), some.eq(1)]
                with m.Elif(take & ~give):
                    m.d.sync += [count.eq(count - 1), some.eq(count != 1)]
                lost[producer, consumer] = give & ~take & full
                with m.If(self.clear):
                    m.d.sync += [count.eq(0), some.eq(0)]
        for engine in Engine:
            m.d.sync += [
                self.overflow[engine].eq(Cat(v for (p, _), v in lost.items() if p == engine).any()),
                self.overflowed[engine].eq(
                    Cat(v for (_, c), v in lost.items() if c == engine).any()
                ),
            ]
        return m
