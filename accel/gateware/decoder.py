"""The controller's instruction decoder, made from the instruction table."""

from amaranth.hdl import C, Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, riscv
from accel.gateware.bits import only

__all__ = ["Control", "Decoder", "Logic"]


class Logic(enum.Enum, shape=2):
    """Bitwise operation; NONE contributes zeros to the result."""

    NONE = 0
    XOR = 1
    OR = 2
    AND = 3


class Control(data.Struct):
    """What the execute stage does with an instruction. Where `illegal`, the rest means nothing."""

    illegal: unsigned(1)
    ecall: unsigned(1)
    ebreak: unsigned(1)
    fence_i: unsigned(1)
    branch: unsigned(1)
    jal: unsigned(1)
    jalr: unsigned(1)
    load: unsigned(1)
    store: unsigned(1)
    sum: unsigned(1)  # the result is the adder's
    compare: unsigned(1)  # the result is the adder's "less than"
    logic: Logic
    shift: unsigned(1)
    muldiv: unsigned(1)
    tensor: unsigned(1)  # TSET, TADD, TPUSH
    twait: unsigned(1)
    tread: unsigned(1)  # IDLE
    tdone: unsigned(1)
    csr: unsigned(1)
    mret: unsigned(1)
    wfi: unsigned(1)
    several: unsigned(1)  # takes more than one phase
    writes: unsigned(1)  # has a destination register, not x0


class Decoder(wiring.Component):
    """Combinational decoder.

    Parameters
    ----------
    multiply : bool
        Accept the M extension.
    machine_mode : bool
        Accept CSR instructions and MRET.

    Members
    -------
    word : In(32)
    control : Out(Control)
    subtract : Out(1)
        The adder computes a - b: operand b is to be inverted.
    immediate : Out(32)
        Of I, S and U formats, for operand b; else 0.
    zimm : Out(5)
        The value in the rs1 field of a CSR instruction, for operand a; else 0.
    a_is_pc, a_is_register, b_is_register : Out(1)
        Operand sources: rs1, rs2, or the instruction's own address, which TPUSH sends along.
    """

    def __init__(self, *, multiply: bool, machine_mode: bool = True) -> None:
        chosen = {"zicsr": machine_mode, "m": multiply}
        self._instructions = [
            i
            for i in riscv.INSTRUCTIONS.values()
            if chosen.get(i.extension, True) or i.name == "wfi"
        ]
        super().__init__(
            {
                "word": In(32),
                "control": Out(Control),
                "subtract": Out(1),
                "immediate": Out(32),
                "zimm": Out(5),
                "a_is_pc": Out(1),
                "a_is_register": Out(1),
                "b_is_register": Out(1),
            }
        )

    def _is(self, *names: str) -> Signal:
        """Tell instructions from all other legal ones, with few of their bits."""
        chosen = [i.pattern for i in self._instructions if i.name in names]
        others = [i.pattern for i in self._instructions if i.name not in names]
        return self.word.matches(*(_shortest(pattern, others) for pattern in chosen))

    def _opcode(self, opcode: int) -> Signal:
        """Tell the instructions of an opcode from all other legal ones."""
        pattern = 25 * "-" + f"{opcode:07b}"
        others = [i.pattern for i in self._instructions if i.match & 0x7F != opcode]
        return self.word.matches(_shortest(pattern, others))

    def _legal(self, m: Module) -> Value:
        """Find the instructions' patterns: in each opcode the same ones for several funct3.

        Opcodes and the rest are compared side by side: what is kept holds them apart.
        """
        groups: dict[str, dict[str, list[str]]] = {}
        for i in self._instructions:
            p = i.pattern
            upper = groups.setdefault(p[25:], {}).setdefault(p[:17] + "---" + p[20:25], [])
            upper.append(p[17:20])
        funct3 = self.word[12:15]
        found = Signal(len(groups), attrs={"keep": 1})
        for number, (opcode, uppers) in enumerate(groups.items()):
            is_opcode, is_known = (
                Signal(name=f"{name}_{opcode}", attrs={"keep": 1}) for name in ("opcode", "known")
            )
            known = Cat(
                self.word[7:].matches(upper) & (funct3.matches(*values) if len(values) < 8 else 1)
                for upper, values in uppers.items()
            )
            m.d.comb += [
                is_opcode.eq(self.word[:7].matches(opcode)),
                is_known.eq(known.any()),
                found[number].eq(is_opcode & is_known),
            ]
        return found.any()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self.control
        funct3 = self.word[12:15]
        load, store = self._opcode(riscv.LOAD), self._opcode(riscv.STORE)
        lui, auipc = self._opcode(riscv.LUI), self._opcode(riscv.AUIPC)
        op_imm, op = self._opcode(riscv.OP_IMM), self._opcode(riscv.OP)
        system, custom = self._opcode(riscv.SYSTEM), self._opcode(isa.CUSTOM_0)
        # TREAD CYCLES reads mcycle.
        reads_cycles = self._is("tread") & (self.word[15:20] == int(isa.StatusWord.CYCLES))
        csr = (system & funct3.any()) | reads_cycles
        zimm = system & funct3[2]
        tpush = self._is("tpush")
        computes = op_imm | (op & ~self.word[25])
        m.d.comb += [
            c.illegal.eq(~self._legal(m) | self._bad_tensor(m)),
            c.ecall.eq(self._is("ecall")),
            c.ebreak.eq(self._is("ebreak")),
            c.fence_i.eq(self._is("fence.i")),
            c.branch.eq(self._opcode(riscv.BRANCH)),
            c.jal.eq(self._opcode(riscv.JAL)),
            c.jalr.eq(self._opcode(riscv.JALR)),
            c.load.eq(load),
            c.store.eq(store),
            c.sum.eq(lui | auipc | (computes & (funct3 == 0))),
            c.compare.eq(computes & funct3.matches(2, 3)),
            c.shift.eq(computes & funct3.matches(1, 5)),
            c.muldiv.eq(op & self.word[25]),
            c.tensor.eq(self._is("tset", "tadd", "tpush")),
            c.twait.eq(self._is("twait")),
            c.tread.eq(self._is("tread") & ~reads_cycles),
            c.tdone.eq(self._is("tdone")),
            c.csr.eq(csr),
            c.mret.eq(self._is("mret")),
            c.wfi.eq(self._is("wfi")),
            # Of `system` the rest traps.
            c.several.eq(
                c.shift
                | c.muldiv
                | c.jal
                | c.jalr
                | load
                | store
                | system
                | (custom & funct3.matches(isa.Funct3.TWAIT, isa.Funct3.TREAD))
            ),
            c.writes.eq(
                (lui | auipc | c.jal | c.jalr | load | op_imm | op | c.tread | csr)
                & self.word[7:12].any()
            ),
            self.subtract.eq(c.branch | c.compare | (op & self.word[30] & (funct3 == 0))),
            self.zimm.eq(only(zimm, self.word[15:20])),
            self.a_is_pc.eq(auipc | tpush),
            self.a_is_register.eq(~(lui | auipc | tpush | zimm)),
            self.b_is_register.eq(op | c.branch | custom),
        ]
        with m.If(computes):
            with m.Switch(funct3):
                for value, operation in ((4, Logic.XOR), (6, Logic.OR), (7, Logic.AND)):
                    with m.Case(value):
                        m.d.comb += c.logic.eq(operation)
        self._immediate(m, upper=lui | auipc, store=store, integer=load | op_imm | c.jalr)
        return m

    def _immediate(self, m: Module, *, upper: Signal, store: Signal, integer: Signal) -> None:
        word = self.word
        signed = integer | store
        m.d.comb += self.immediate.eq(
            Cat(
                only(integer, word[20:25]) | only(store, word[7:12]),
                only(signed, word[25:32]),
                only(upper, word[12:32]) | only(signed, word[31].replicate(20)),
            )
        )

    def _bad_tensor(self, m: Module) -> Signal:
        """Find what the patterns of the tensor instructions let through; see isa.Funct3."""
        engine, pair, post = self.word[30:32], self.word[25:30], self.word[20:24]
        bad = Signal()
        with m.If(self._opcode(isa.CUSTOM_0)):
            with m.Switch(self.word[12:15]):
                with m.Case(isa.Funct3.TSET, isa.Funct3.TADD):
                    m.d.comb += bad.eq(
                        Cat(
                            (engine == e) & _at_least(pair, isa.COMMANDS[e].pairs)
                            for e in isa.Engine
                        ).any()
                    )
                with m.Case(isa.Funct3.TPUSH):
                    m.d.comb += bad.eq(post.bit_select(engine, 1))
                with m.Case(isa.Funct3.TREAD):
                    m.d.comb += bad.eq(self.word[15:20] >= len(isa.StatusWord))
        return bad


def _at_least(value: Value, bound: int) -> Value:
    """Compare with a constant in lookup tables; yosys takes a carry chain."""
    result: Value = C(1, 1)
    for place in range(len(value)):
        bit = value[place]
        result = bit & result if bound >> place & 1 else bit | result
    return result


def _shortest(pattern: str, others: list[str]) -> str:
    """Leave out bits of a pattern that are not needed to tell it from others."""
    for place in range(len(pattern)):
        looser = pattern[:place] + "-" + pattern[place + 1 :]
        if all(any({a, b} == {"0", "1"} for a, b in zip(looser, o, strict=True)) for o in others):
            pattern = looser
    return pattern
