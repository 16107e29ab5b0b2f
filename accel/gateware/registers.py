"""The controller's general registers in block RAM, with results forwarded past it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.bits import only

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
        Operand sources: the registers where `use` is high, together with `other`: one of them is 0.
        The second operand is inverted with `invert`.
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
        with m.If(self.take):
            m.d.sync += last.eq(result)
        for port in range(2):
            read = memory.read_port()
            m.d.comb += [read.en.eq(self.take), read.addr.eq(self.coming[port])]
            self._choose(m, port, read.data, last)
        return m

    def _choose(self, m: Module, port: int, stored: Signal, last: data.View) -> None:
        """Put an operand together: one lookup table for each signal kept here, and each bit.

        `stored` and `result.data` are late: they meet one table and three. Left alone, yosys spends
        three times as many to save one.
        """

        def kept(name: str, width: int = 1) -> Signal:
            return Signal(width, name=f"{name}{port}", attrs={"keep": 1})

        result, number, use = self.result, self.number[port], self.use[port]
        is_result, is_last = Signal(name=f"is_result{port}"), Signal(name=f"is_last{port}")
        from_result, from_last, from_memory = kept("r"), kept("l"), kept("m")
        forwarded, other = kept("forwarded", 32), kept("other", 32)
        m.d.comb += [
            is_result.eq(result.forward & (result.register == number)),
            is_last.eq(last.valid & (last.register == number) & ~is_result),
            forwarded.eq(only(from_result, result.data) | only(from_last, last.data)),
            other.eq(self.other[port]),
        ]
        if port == 0:
            m.d.comb += [
                from_result.eq(use & is_result),
                from_last.eq(use & is_last),
                from_memory.eq(use & ~is_result & ~is_last),
                self.operand[0].eq(only(from_memory, stored) | forwarded | other),
                # For the retirement port, which shows what an operand does not use.
                self.value[0].eq(Mux(is_result, result.data, Mux(is_last, last.data, stored))),
            ]
            return
        # What does not come from the memory is complete before that does, inverted where it has to be:
        # the rest is one lookup table, and another one for a store's data, which are this register
        # though its operand is not.
        uses, invert, elsewhere = kept("uses"), kept("invert"), kept("elsewhere", 32)
        stored_here = kept("reads")
        m.d.comb += [
            from_result.eq(is_result),
            from_last.eq(is_last),
            from_memory.eq(~is_result & ~is_last),
            uses.eq(use),
            stored_here.eq(use & from_memory),
            invert.eq(self.invert),
            elsewhere.eq((only(uses, forwarded) | other) ^ invert.replicate(32)),
            self.value[1].eq(only(from_memory, stored) | forwarded),
            self.operand[1].eq(only(stored_here, stored) ^ elsewhere),
        ]
