"""The controller's instruction decoder, made from the instruction table."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, riscv

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
    slow: unsigned(1)  # the result is ready in the second phase, in a register
    several: unsigned(1)  # takes more than one phase
    writes: unsigned(1)  # has a destination register, not x0


class Decoder(wiring.Component):
    """Combinational decoder.

    Parameters
    ----------
    multiply : bool
        Accept the M extension.

    Members
    -------
    word : In(32)
    control : Out(Control)
    subtract : Out(1)
        The adder computes a - b: operand b is to be inverted.
    immediate : Out(32)
        Of I, S and U formats; 4 for JAL, whose adder computes the return address. Of CSR
        instructions the value in the rs1 field, or 0: the adder passes their operand.
    a_is_pc, a_is_zero, b_is_immediate : Out(1)
        Operand sources; registers rs1 and rs2 otherwise.
    """

    def __init__(self, *, multiply: bool) -> None:
        extensions = {"i", "zicsr", "tensor"} | ({"m"} if multiply else set())
        self._instructions = [i for i in riscv.INSTRUCTIONS.values() if i.extension in extensions]
        super().__init__(
            {
                "word": In(32),
                "control": Out(Control),
                "subtract": Out(1),
                "immediate": Out(32),
                "a_is_pc": Out(1),
                "a_is_zero": Out(1),
                "b_is_immediate": Out(1),
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

    def _legal(self) -> Signal:
        """Find the instructions' patterns: in each opcode the same ones for several funct3."""
        groups: dict[str, dict[str, list[str]]] = {}
        for i in self._instructions:
            p = i.pattern
            upper = groups.setdefault(p[25:], {}).setdefault(p[:17] + "---" + p[20:25], [])
            upper.append(p[17:20])
        funct3 = self.word[12:15]
        return Cat(
            self.word[:7].matches(opcode)
            & Cat(
                self.word[7:].matches(upper) & (funct3.matches(*values) if len(values) < 8 else 1)
                for upper, values in uppers.items()
            ).any()
            for opcode, uppers in groups.items()
        ).any()

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
        computes = op_imm | (op & ~self.word[25])
        m.d.comb += [
            c.illegal.eq(~self._legal() | self._bad_tensor(m)),
            c.ecall.eq(self._is("ecall")),
            c.ebreak.eq(self._is("ebreak")),
            c.fence_i.eq(self._is("fence.i")),
            c.branch.eq(self._opcode(riscv.BRANCH)),
            c.jal.eq(self._opcode(riscv.JAL)),
            c.jalr.eq(self._opcode(riscv.JALR)),
            c.load.eq(load),
            c.store.eq(store),
            c.sum.eq(lui | auipc | c.jal | (computes & (funct3 == 0))),
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
            c.slow.eq(
                c.shift
                | c.muldiv
                | c.jalr
                | system
                | (custom & funct3.matches(isa.Funct3.TWAIT, isa.Funct3.TREAD))
            ),
            c.several.eq(c.slow | load | store),
            c.writes.eq(
                (lui | auipc | c.jal | c.jalr | load | op_imm | op | c.tread | csr)
                & self.word[7:12].any()
            ),
            self.subtract.eq(c.branch | c.compare | (op & self.word[30] & (funct3 == 0))),
            self.a_is_pc.eq(auipc | c.jal),
            self.a_is_zero.eq(lui | zimm),
            self.b_is_immediate.eq(lui | auipc | c.jal | c.jalr | load | store | op_imm | csr),
        ]
        with m.If(computes):
            with m.Switch(funct3):
                for value, operation in ((4, Logic.XOR), (6, Logic.OR), (7, Logic.AND)):
                    with m.Case(value):
                        m.d.comb += c.logic.eq(operation)
        self._immediate(m, upper=lui | auipc, store=store, jal=c.jal, csr=csr)
        return m

    def _immediate(
        self, m: Module, *, upper: Signal, store: Signal, jal: Signal, csr: Signal
    ) -> None:
        word = self.word
        low = Signal(12)
        with m.If(jal):
            m.d.comb += low.eq(4)
        with m.Elif(store):
            m.d.comb += low.eq(Cat(word[7:12], word[25:32]))
        with m.Elif(csr):
            m.d.comb += low.eq(Mux(word[14], word[15:20], 0))
        with m.Elif(~upper):
            m.d.comb += low.eq(word[20:32])
        high = Signal(20)
        with m.If(upper):
            m.d.comb += high.eq(word[12:32])
        with m.Elif(~jal & ~csr):
            m.d.comb += high.eq(word[31].replicate(20))
        m.d.comb += self.immediate.eq(Cat(low, high))

    def _bad_tensor(self, m: Module) -> Signal:
        """Find what the patterns of the tensor instructions let through; see isa.Funct3."""
        engine, pair, post = self.word[30:32], self.word[25:30], self.word[20:24]
        pairs = Array(isa.COMMANDS[e].pairs for e in isa.Engine)
        bad = Signal()
        with m.If(self._opcode(isa.CUSTOM_0)):
            with m.Switch(self.word[12:15]):
                with m.Case(isa.Funct3.TSET, isa.Funct3.TADD):
                    m.d.comb += bad.eq(pair >= pairs[engine])
                with m.Case(isa.Funct3.TPUSH):
                    m.d.comb += bad.eq(post.bit_select(engine, 1))
                with m.Case(isa.Funct3.TREAD):
                    m.d.comb += bad.eq(self.word[15:20] >= len(isa.StatusWord))
        return bad


def _shortest(pattern: str, others: list[str]) -> str:
    """Leave out bits of a pattern that are not needed to tell it from others."""
    for place in range(len(pattern)):
        looser = pattern[:place] + "-" + pattern[place + 1 :]
        if all(any({a, b} == {"0", "1"} for a, b in zip(looser, o, strict=True)) for o in others):
            pattern = looser
    return pattern
