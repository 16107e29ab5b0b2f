"""The serial machine's adder, accumulator, multiplier register and operands."""

import enum

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel import riscv
from accel.gateware.serial.microword import MUL_STEPS, REGISTERS, Operation

__all__ = ["Accumulator", "Flags", "RegisterFile", "aligned", "immediate", "stored"]


class Flags(data.Struct):
    """Of the last subtraction: from no less, unsigned; from less, signed."""

    ge: 1
    lt: 1


class _Kind(enum.IntEnum):
    """Bitwise functions of the operand and the accumulator, or of the operand and 0."""

    XOR = 0
    XNOR = 1
    AND = 2
    OR = 3


# What is added to what: whether the accumulator is; the function; whether it takes the accumulator.
_SUMMANDS = {
    Operation.LOAD: (0, _Kind.XOR, 0),
    Operation.ADD: (1, _Kind.XOR, 0),
    Operation.SUB: (1, _Kind.XNOR, 0),
    Operation.AND: (0, _Kind.AND, 1),
    Operation.OR: (0, _Kind.OR, 1),
    Operation.XOR: (0, _Kind.XOR, 1),
    # Nothing: the product does not come from here.
    Operation.MUL: (0, _Kind.AND, 0),
    Operation.SHIFT: (1, _Kind.XOR, 0),
    Operation.SHIFT_ZERO: (1, _Kind.AND, 0),
    Operation.PAIR: (1, _Kind.XOR, 0),
    Operation.ROUND: (1, _Kind.AND, 0),
}


class Accumulator(wiring.Component):
    """One operation a cycle on the accumulator; see accel.gateware.serial.microword.Operation.

    Members
    -------
    operation : In(4)
        Of the next cycle.
    operand : In(32)
        0 where there is something in `loaded`.
    factor : In(32)
        The operand of MUL.
    loaded : In(32)
        What LOAD takes and nothing else: it does not go through the adder. 0 otherwise.
    keep : In(1)
        The accumulator stays as it is.
    load_multiplier : In(1)
        The multiplier register becomes what is coming.
    result : Out(32)
        Of this cycle; of shifts, before it is shifted; not of MUL.
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
                "factor": In(32),
                "loaded": In(32),
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
        a, b = self.value, self.operand

        def decoded(name: str, *operations: Operation) -> Signal:
            signal = Signal(name=name)
            m.d.sync += signal.eq(self.operation.matches(*operations))
            return signal

        shifts = decoded("shifts", Operation.SHIFT, Operation.SHIFT_ZERO)
        signed_shift = decoded("signed_shift", Operation.SHIFT)
        subtracts = decoded("subtracts", Operation.SUB)
        rounds = decoded("rounds", Operation.ROUND)
        joins = decoded("joins", *(o for o in Operation if o != Operation.PAIR))
        multiplies = decoded("multiplies", Operation.MUL)
        adds, kind, meets = Signal(), Signal(_Kind), Signal()
        with m.Switch(self.operation):
            for operation, (adds_a, function, meets_a) in _SUMMANDS.items():
                with m.Case(operation):
                    m.d.sync += [adds.eq(adds_a), kind.eq(function), meets.eq(meets_a)]
        # The operand comes late: before the adder it goes through one function of four inputs, and
        # nothing that is not added is to be kept out behind it.
        added, met, addend = Signal(32), Signal(32), Signal(32)
        m.d.comb += [added.eq(Mux(adds, a, 0)), met.eq(Mux(meets, a, 0))]
        with m.Switch(kind):
            for number, value in zip(_Kind, (b ^ met, ~(b ^ met), b & met, b | met), strict=True):
                with m.Case(number):
                    m.d.comb += addend.eq(value)
        # Between the halves the carry goes through a place of its own, where pairs stop it.
        first = subtracts | (rounds & self.multiplier[31])
        total = Signal(35)
        m.d.comb += [
            total.eq(
                Cat(C(1, 1), added[:16], joins, added[16:])
                + Cat(first, addend[:16], C(0, 1), addend[16:])
            ),
            self.result.eq(Cat(total[1:17], total[18:34])),
        ]
        carry = total[34]
        # Bit 32 of the signed sum.
        top = added[31] ^ addend[31] ^ carry
        shifted = Cat(self.result[1:], top & signed_shift)
        # Multiplication has adders of its own: the way through the operand is long enough.
        partial, bits = a, []
        for step in range(MUL_STEPS):
            product = Signal(signed(33), name=f"product_{step}")
            m.d.comb += product.eq(
                partial.as_signed() + Mux(self.multiplier[step], self.factor, 0).as_signed()
            )
            bits.append(product[0])
            partial = product[1:]
        beside = Signal(32)
        m.d.comb += [
            beside.eq(self.loaded | Mux(multiplies, partial, 0)),
            self.coming.eq(Mux(shifts, shifted, self.result) | beside),
        ]
        with m.If(~self.keep):
            m.d.sync += self.value.eq(self.coming)
        with m.If(self.load_multiplier):
            m.d.sync += self.multiplier.eq(self.coming)
        with m.Elif(multiplies):
            m.d.sync += self.multiplier.eq(Cat(self.multiplier[MUL_STEPS:], *bits))
        with m.If(subtracts):
            m.d.sync += [self.flags.ge.eq(carry), self.flags.lt.eq(top)]
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
