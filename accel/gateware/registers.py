"""The controller's general registers in block RAM, with results forwarded past it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterFile", "Result"]


class Result(data.StructLayout):
    """What the execute stage computes.

    Members
    -------
    valid : 1 bit; the instruction completes in this cycle and `data` is its result
    forward : 1 bit; high too then, sooner in the cycle, and else where nothing can be issued or all
        is dropped
    register : 5 bits, not 0 with `valid`
    data : 32 bits
    """

    def __init__(self) -> None:
        super().__init__({"valid": 1, "forward": 1, "register": 5, "data": 32})


class RegisterFile(wiring.Component):
    """x0 to x31 with two read ports; 0 at power-up, kept by a reset.

    A word's registers are read while it is on its way to the decoder. What is written since then
    goes past the memory: by the instruction before it, which is at work while the decoder has the
    word, and by the one before that, which completes as the word arrives.

    Members
    -------
    take : In(1)
        `coming` are the registers of the word that the decoder will have in the next cycle. High in
        every cycle with `result.valid`.
    coming : In(5).array(2)
    number : In(5).array(2)
        Registers of the decoder's word.
    value : Out(32).array(2)
        What they hold.
    use : In(1).array(2), other : In(32).array(2), invert : In(1)
        Operand sources: the registers, or else `other`, which is 0 where `use` is high. The second
        operand is inverted with `invert`.
    operand : Out(32).array(2)
    result : In(Result)
    """

    take: In(1)
    coming: In(5).array(2)
    number: In(5).array(2)
    value: Out(32).array(2)
    use: In(1).array(2)
    other: In(32).array(2)
    invert: In(1)
    operand: Out(32).array(2)
    result: In(Result())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # No read meets a write that it should see: `last` takes its place.
        attributes = {"no_rw_check": 1, "ram_style": "block"}
        m.submodules.memory = memory = Memory(shape=32, depth=32, init=[], attrs=attributes)
        write = memory.write_port()
        result = self.result
        m.d.comb += [
            write.addr.eq(result.register),
            write.data.eq(result.data),
            write.en.eq(result.valid),
        ]
        last = Signal(Result())
        # Signals with this attribute stay where they are: what comes late meets few lookup tables.
        invert = Signal(attrs={"keep": 1})
        m.d.comb += invert.eq(self.invert)
        with m.If(self.take):
            m.d.sync += last.eq(result)
        for port in range(2):
            read = memory.read_port()
            stored = Signal(32, name=f"stored{port}", attrs={"keep": 1})
            is_result = Signal(name=f"is_result{port}")
            is_last = Signal(name=f"is_last{port}")
            uses_stored = Signal(name=f"uses_stored{port}", attrs={"keep": 1})
            uses_result = Signal(name=f"uses_result{port}", attrs={"keep": 1})
            rest = Signal(32, name=f"rest{port}", attrs={"keep": 1})
            m.d.comb += [
                read.en.eq(self.take),
                read.addr.eq(self.coming[port]),
                is_result.eq(result.forward & (result.register == self.number[port])),
                is_last.eq(last.valid & (last.register == self.number[port])),
                stored.eq(Mux(is_last, last.data, read.data)),
                self.value[port].eq(Mux(is_result, result.data, stored)),
                # `read.data` and `result` are late: two lookup tables for each bit.
                uses_stored.eq(self.use[port] & ~is_result),
                uses_result.eq(self.use[port] & is_result),
                rest.eq(_only(uses_result, result.data) | self.other[port]),
                self.operand[port].eq(
                    (_only(uses_stored, stored) | rest) ^ (invert.replicate(32) if port else 0)
                ),
            ]
        return m


def _only(select: Signal, value: Signal) -> Signal:
    """Return `value` where `select` is high, else 0."""
    return value & select.replicate(len(value))
