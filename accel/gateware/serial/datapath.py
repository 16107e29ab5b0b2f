"""The serial machine's adder, accumulator, multiplier register and operands."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel import riscv
from accel.gateware.serial.assembler import MUL_STEPS, REGISTERS, Operation

__all__ = ["Accumulator", "Flags", "RegisterFile", "aligned", "immediate", "stored"]


class Flags(data.Struct):
    """Of the last subtraction: from no less, unsigned; from less, signed."""

    ge: 1
    lt: 1


class Accumulator(wiring.Component):
    """One operation a cycle on the accumulator; see accel.gateware.serial.assembler.Operation.

    Members
    -------
    operation : In(4)
    operand : In(32)
    keep : In(1)
        The accumulator stays as it is.
    load_multiplier : In(1)
        The multiplier register becomes the result.
    result : Out(32)
        Of this cycle; of shifts, before it is shifted.
    coming : Out(32)
        What the accumulator becomes, if it is not kept.
    value, multiplier : Out(32)
    flags : Out(Flags)
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "operation": In(4),
                "operand": In(32),
                "keep": In(1),
                "load_multiplier": In(1),
                "result": Out(32),
                "coming": Out(32),
                "value": Out(32),
                "multiplier": Out(32),
                "flags": Out(Flags),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        op, a, b = self.operation, self.value, self.operand
        addend = Signal(32)
        passes, shifts = Signal(), Signal()
        with m.Switch(op):
            with m.Case(Operation.SUB):
                m.d.comb += addend.eq(~b)
            with m.Case(Operation.AND):
                m.d.comb += addend.eq(a & b)
            with m.Case(Operation.OR):
                m.d.comb += addend.eq(a | b)
            with m.Case(Operation.XOR):
                m.d.comb += addend.eq(a ^ b)
            with m.Case(Operation.MUL):
                m.d.comb += addend.eq(Mux(self.multiplier[0], b, 0))
            with m.Case(Operation.SHIFT_ZERO, Operation.ROUND):
                m.d.comb += addend.eq(0)
            with m.Default():
                m.d.comb += addend.eq(b)
        m.d.comb += [
            passes.eq(op.matches(Operation.LOAD, Operation.AND, Operation.OR, Operation.XOR)),
            shifts.eq(op.matches(Operation.SHIFT, Operation.SHIFT_ZERO)),
        ]
        subtracts = op == Operation.SUB
        first = subtracts | ((op == Operation.ROUND) & self.multiplier[31])
        # One adder; its carry goes through bit 16 and is stopped there for pairs.
        low = Signal(17)
        high = Signal(17)
        carry = Signal()
        m.d.comb += [
            low.eq((Cat(C(1, 1), a[:16]) + Cat(first, addend[:16]))[1:18]),
            carry.eq(low[16] & (op != Operation.PAIR)),
            high.eq((Cat(C(1, 1), a[16:]) + Cat(carry, addend[16:]))[1:18]),
            self.result.eq(Mux(passes, addend, Cat(low[:16], high[:16]))),
        ]
        # Bit 32 of the signed sum.
        top = a[31] ^ addend[31] ^ high[16]
        top = Mux(op == Operation.SHIFT_ZERO, 0, top)
        shifted = Cat(self.result[1:], top)
        # The other steps of a multiplication have adders of their own.
        partial, bits = shifted, [self.result[0]]
        for step in range(1, MUL_STEPS):
            total = Signal(signed(33), name=f"total_{step}")
            m.d.comb += total.eq(partial.as_signed() + Mux(self.multiplier[step], b, 0).as_signed())
            bits.append(total[0])
            partial = total[1:]
        m.d.comb += self.coming.eq(
            Mux(op == Operation.MUL, partial, Mux(shifts, shifted, self.result))
        )
        with m.If(~self.keep):
            m.d.sync += self.value.eq(self.coming)
        with m.If(self.load_multiplier):
            m.d.sync += self.multiplier.eq(self.result)
        with m.Elif(op == Operation.MUL):
            m.d.sync += self.multiplier.eq(Cat(self.multiplier[MUL_STEPS:], *bits))
        with m.If(subtracts):
            m.d.sync += [self.flags.ge.eq(high[16]), self.flags.lt.eq(top)]
        return m


class RegisterFile(wiring.Component):
    """512 registers of 32 bits in block RAM; the microcode's constants are among them.

    Parameters
    ----------
    constants : dict of int to int
        What registers hold from the start.

    Members
    -------
    read_address : In(9), value : Out(32)
        One cycle later; of no meaning when it was written in the address's cycle.
    write_address : In(9), write_value : In(32), write_enable : In(1)
    """

    def __init__(self, constants: dict[int, int]) -> None:
        self._constants = constants
        super().__init__(
            {
                "read_address": In(9),
                "value": Out(32),
                "write_address": In(9),
                "write_value": In(32),
                "write_enable": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        init = [self._constants.get(i, 0) for i in range(REGISTERS)]
        m.submodules.memory = memory = Memory(
            shape=32, depth=REGISTERS, init=init, attrs={"no_rw_check": 1}
        )
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            self.value.eq(read.data),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_value),
            write.en.eq(self.write_enable),
        ]
        return m


def immediate(word: Value) -> Value:
    """Return the immediate of a RISC-V instruction, by its opcode."""
    opcode = word[2:7]

    def kind(*opcodes: int) -> Value:
        return opcode.matches(*(code >> 2 for code in opcodes))

    upper, jump, branch, store = (
        kind(riscv.LUI, riscv.AUIPC),
        kind(riscv.JAL),
        kind(riscv.BRANCH),
        kind(riscv.STORE),
    )
    sign = word[31]
    bit0 = Mux(store, word[7], word[20] & ~(branch | jump))
    low = Mux(store | branch, word[8:12], word[21:25])
    bit11 = Mux(branch, word[7], Mux(jump, word[20], sign))
    first = Cat(bit0, low, word[25:31], bit11) & ~upper.replicate(12)
    middle = Mux(upper | jump, word[12:20], sign.replicate(8))
    return Cat(first, middle, Mux(upper, word[20:31], sign.replicate(11)), sign)


def aligned(word: Value, lane: Value, funct3: Value) -> Value:
    """Return what a RISC-V load takes of a word from byte `lane` on."""
    byte = word.word_select(lane, 8)
    half = Mux(lane[1], word[16:], word[:16])
    low = Mux(funct3[:2] == 0, byte, half[:8])
    sign = Mux(funct3[0], half[15], byte[7]) & ~funct3[2]
    second = Mux(funct3[:2] == 0, sign.replicate(8), half[8:])
    upper = Mux(funct3[1], word[16:], sign.replicate(16))
    return Cat(low, second, upper)


def stored(value: Value, size: Value) -> Value:
    """Return the value so that it lies in every lane: size 0 a byte, 1 a half, 2 a word."""
    second = Mux(size == 0, value[:8], value[8:16])
    upper = Mux(size[1], value[16:], Cat(value[:8], second))
    return Cat(value[:8], second, upper)
