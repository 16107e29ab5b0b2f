"""Machine mode of the controller: control and status registers, traps, the engines' interrupt."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.bits import only
from accel.gateware.csrfile import FIXED_ROWS, ROWS, ZERO_ROW, CsrFile
from accel.gateware.fetch import TARGET_BITS
from accel.gateware.trapcause import TrapLayout
from accel.regmap import Cause
from accel.riscv import CAUSES, CSRS, Csr

__all__ = ["Fault", "TrapUnit"]


class _State(enum.Enum):
    """What the unit does in a cycle; PC to ENTER are a trap's."""

    CLEAR = 0
    CYCLE = 1
    CYCLEH = 2
    INSTRET = 3
    INSTRETH = 4
    ACCESS = 5
    SETTLED = 6
    RETURN = 7
    PC = 8
    VALUE = 9
    CAUSE = 10
    ENTER = 11
    SELECT = 12
    SETTLE = 13
    WRITTEN = 14


class Fault(data.Struct):
    """Why a program stopped.

    `address` is the target of a bad jump, load or store, and equals `pc` for all other causes. `pc`
    is the instruction's; for FETCH_FAULT it is where there is no instruction.
    """

    valid: unsigned(1)
    cause: Cause
    address: unsigned(32)
    pc: unsigned(32)


class TrapUnit(wiring.Component):
    """All CSRs in one memory, with one adder that works through them.

    In each round of six cycles it adds what happened to the halves of mcycle and minstret; a
    request is served between two rounds, when the counters are exact.

    Parameters
    ----------
    address_width : int
        Bits of a word address of the program memory.
    base : int
        Its first byte address.
    multiply : bool

    Members
    -------
    restart : In(1)
        Set all registers to their values at start.
    running : In(1)
        Counts for mcycle.
    retired : In(1)
        Counts for minstret. At latest in the first cycle of the next request.
    interrupt : In(1)
    access, mret, trap : In(1)
        Requests, one at a time, until `done` or no longer wanted.
    number : In(12), operation : In(2), writes : In(1)
        Of `access`: CSR, low bits of funct3, whether it writes. Operation 0 reads mcycle, and has
        number 0.
    value : In(32)
        Operand of `access`; from the second cycle on. Address of TrapLayout.
    cause : In(TrapLayout)
        With `trap`.
    done : Out(1)
        One cycle: the request is served. A trap without a handler has no `done`.
    data : Out(32)
        With `done`: the CSR's value before, mepc or mtvec; else 0.
    bad : Out(1)
        With `done` of `access`: it is illegal.
    pending : Out(1)
        The interrupt is to be taken. Two cycles after `done` it has followed what was written.
    wake : Out(1)
        WFI goes on: the interrupt is there, or not enabled.
    stop : Out(1)
        One cycle: there is no handler. In the next one `fault` is valid.
    fault : Out(Fault)

    Latency
    -------
    Requests: 9 to 15 cycles, and 16 more after `restart`; a trap 4 more.
    """

    def __init__(self, *, address_width: int, base: int, multiply: bool) -> None:
        self._width = address_width
        self._base = base
        self._multiply = multiply
        super().__init__(
            {
                "restart": In(1),
                "running": In(1),
                "retired": In(1),
                "interrupt": In(1),
                "access": In(1),
                "mret": In(1),
                "trap": In(1),
                "number": In(12),
                "operation": In(2),
                "writes": In(1),
                "value": In(32),
                "cause": In(TrapLayout(address_width + 1)),
                "done": Out(1),
                "data": Out(32),
                "bad": Out(1),
                "pending": Out(1),
                "wake": Out(1),
                "stop": Out(1),
                "fault": Out(Fault),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.file = file = CsrFile(
            address_width=self._width, base=self._base, multiply=self._multiply
        )
        m.d.comb += [
            file.restart.eq(self.restart),
            file.interrupt.eq(self.interrupt),
            self.pending.eq(file.pending),
            self.wake.eq(file.wake),
        ]
        self._sequence(m, file)
        serves = self._served | (self._ends & file.armed)
        m.d.sync += [self.done.eq(serves), self.data.eq(0)]
        with m.If(serves):
            m.d.sync += self.data.eq(file.data)
        m.d.comb += self.stop.eq(self._ends & ~file.armed)
        self._report(m, file.written)
        return m

    def _decode(self, m: Module) -> tuple[Signal, Signal]:
        """Return the row of the CSR `number`, and whether there is none."""
        number = self.number
        row, bad = Signal(4), Signal()
        with m.If(~number[11]):
            # 0 stands for mcycle, as TREAD CYCLES has it; no CSR instruction does.
            low = Cat(number[0], number[1] | ~number[8], number[2], number[6])
            m.d.comb += row.eq(Mux(number[4], ZERO_ROW, low))
        with m.Elif(number[10]):
            m.d.comb += row.eq(ZERO_ROW)
        with m.Else():
            m.d.comb += row.eq(Cat(number[1], 1, number[7], 0))
        m.d.comb += bad.eq(
            ~(number.matches(*(int(csr) for csr in CSRS)) | (self.operation == 0))
            | (self.writes & number[10] & number[11])
        )
        return row, bad

    def _sequence(self, m: Module, file: CsrFile) -> None:
        """Work through the registers: clear them, count, serve requests."""
        cycles, retired = Signal(5), Signal(5)
        skip, bad = Signal(), Signal()
        # Requests as they were when the round began.
        access, mret, trap = Signal(), Signal(), Signal()
        number_row, number_bad = self._decode(m)
        m.d.sync += [
            cycles.eq(cycles + self.running),
            retired.eq(retired + (self.retired & ~skip)),
            bad.eq(number_bad),
            self.bad.eq(0),
        ]
        with m.If(self.retired):
            m.d.sync += skip.eq(0)
        self._served, self._ends, self._accesses, self._takes_pc, self._takes_address = (
            Signal(name=name)
            for name in ("served", "ends", "accesses", "takes_pc", "takes_address")
        )
        row = file.row

        def begin(following: _State, csr: Csr) -> None:
            m.d.comb += file.coming.eq(ROWS[csr])
            m.d.sync += state.eq(following)

        state = Signal(_State)
        m.d.comb += file.coming.eq(row)
        with m.Switch(state):
            with m.Case(_State.CLEAR):
                m.d.comb += [file.write.eq(1), file.keeps.eq(1), file.coming.eq(row + 1)]
                with m.If(row == 15):
                    begin(_State.CYCLE, Csr.MCYCLE)
            with m.Case(_State.CYCLE):
                m.d.comb += [file.write.eq(1), file.addend.eq(cycles)]
                m.d.sync += cycles.eq(self.running)
                m.d.sync += [access.eq(self.access), mret.eq(self.mret), trap.eq(self.trap)]
                begin(_State.CYCLEH, Csr.MCYCLEH)
            with m.Case(_State.CYCLEH):
                m.d.comb += [file.write.eq(1), file.addend.eq(file.carry)]
                begin(_State.INSTRET, Csr.MINSTRET)
            with m.Case(_State.INSTRET):
                m.d.comb += [file.write.eq(1), file.addend.eq(retired)]
                m.d.sync += retired.eq(self.retired & ~skip)
                begin(_State.INSTRETH, Csr.MINSTRETH)
            with m.Case(_State.INSTRETH):
                m.d.comb += [file.write.eq(1), file.addend.eq(file.carry)]
                m.d.sync += state.eq(_State.WRITTEN)
            with m.Case(_State.WRITTEN):
                # The last row is being written.
                m.d.sync += state.eq(_State.SELECT)
            with m.Case(_State.SELECT):
                begin(_State.CYCLE, Csr.MCYCLE)
                with m.If(access):
                    m.d.comb += file.coming.eq(number_row)
                    m.d.sync += state.eq(_State.ACCESS)
                with m.If(mret):
                    begin(_State.RETURN, Csr.MEPC)
                with m.If(trap):
                    begin(_State.PC, Csr.MEPC)
            with m.Case(_State.ACCESS):
                m.d.comb += [
                    self._accesses.eq(1),
                    file.keeps.eq(self.operation),
                    file.assign.eq(self.writes & ~bad),
                    file.write.eq(file.assign & ~row.matches(*FIXED_ROWS)),
                    self._served.eq(1),
                ]
                m.d.sync += self.bad.eq(bad)
                with m.If(row.matches(ROWS[Csr.MINSTRET], ROWS[Csr.MINSTRETH])):
                    # What is written counts from the next instruction on.
                    m.d.sync += skip.eq(file.assign)
                m.d.sync += state.eq(_State.SETTLE)
            with m.Case(_State.SETTLE):
                m.d.sync += state.eq(_State.SETTLED)
            with m.Case(_State.SETTLED):
                begin(_State.CYCLE, Csr.MCYCLE)
            with m.Case(_State.RETURN):
                m.d.comb += [file.returns.eq(1), self._served.eq(1)]
                m.d.sync += state.eq(_State.SETTLED)
            with m.Case(_State.PC):
                m.d.comb += [file.write.eq(1), file.keeps.eq(1), self._takes_pc.eq(1)]
                begin(_State.VALUE, Csr.MTVAL)
            with m.Case(_State.VALUE):
                m.d.comb += [file.write.eq(1), file.keeps.eq(1), self._takes_address.eq(1)]
                begin(_State.CAUSE, Csr.MCAUSE)
            with m.Case(_State.CAUSE):
                m.d.comb += [file.write.eq(1), file.keeps.eq(1), file.enters.eq(1)]
                begin(_State.ENTER, Csr.MTVEC)
            with m.Case(_State.ENTER):
                m.d.comb += self._ends.eq(self.trap)
                m.d.sync += state.eq(_State.SETTLED)
        with m.If(self.restart):
            m.d.comb += file.coming.eq(0)
            m.d.sync += [cycles.eq(0), retired.eq(0), skip.eq(0)]
            m.d.sync += state.eq(_State.CLEAR)
        self._operand(m, file)

    def _operand(self, m: Module, file: CsrFile) -> None:
        """Put together what is written: one lookup table or two a bit, each source with its select."""
        cause = self.cause
        trapped, uses_target, uses_value, uses_pc = (
            Signal(name=name) for name in ("trapped", "uses_target", "uses_value", "uses_pc")
        )
        high = self._base >> TARGET_BITS
        top = Mux(cause.target[-1], C(high - 1, 32 - TARGET_BITS), C(high, 32 - TARGET_BITS))
        # JALR drops the lowest bit.
        even = cause.from_address & ~cause.code[1:].any() & trapped
        m.d.comb += [
            trapped.eq(Mux(self._takes_pc, cause.jump, self._takes_address)),
            uses_target.eq(trapped & cause.from_target),
            uses_value.eq(self._accesses | (trapped & cause.from_address)),
            uses_pc.eq((self._takes_pc & ~cause.jump) | (self._takes_address & cause.from_pc)),
            file.operand.eq(
                only(uses_value, Cat(self.value[0] & ~even, self.value[1:]))
                | only(uses_target, Cat(cause.target, top))
                | only(uses_pc, Cat(C(0, 2), cause.pc) | self._base)
                | only(file.enters, Cat(cause.code, C(0, 27), cause.interrupt))
            ),
        ]

    def _report(self, m: Module, value: Signal) -> None:
        """Take what `fault` shows from what is written on the way."""
        cause, fault = self.cause, self.fault
        named = cause.from_target | cause.from_address | cause.from_pc
        takes_pc, takes_address = Signal(), Signal()
        m.d.sync += [takes_pc.eq(self._takes_pc), takes_address.eq(self._takes_address & named)]
        with m.If(takes_pc):
            m.d.sync += fault.pc.eq(value)
        with m.If(takes_pc | takes_address):
            m.d.sync += fault.address.eq(value)
        with m.Switch(cause.code):
            for trap, code in CAUSES.items():
                with m.Case(trap):
                    m.d.sync += fault.cause.eq(code)
        m.d.sync += fault.valid.eq(self.stop)
