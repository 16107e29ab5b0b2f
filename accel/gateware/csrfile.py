"""The controller's control and status registers: one memory, with one adder behind it."""

from amaranth.hdl import C, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.riscv import Csr

__all__ = ["FIXED_ROWS", "ROWS", "ZERO_ROW", "CsrFile"]

# Rows of the memory that holds the registers, chosen so that a row is made of few of a number's
# bits. Registers without state share rows that stay 0; what they read is added behind the memory.
ROWS = {
    Csr.MSTATUS: 0,
    Csr.MISA: 1,
    Csr.MCYCLE: 2,
    Csr.MINSTRET: 3,
    Csr.MIE: 4,
    Csr.MTVEC: 5,
    Csr.MCYCLEH: 6,
    Csr.MINSTRETH: 7,
    Csr.MSCRATCH: 8,
    Csr.MEPC: 9,
    Csr.MCAUSE: 10,
    Csr.MTVAL: 11,
    Csr.MIP: 12,
}
ZERO_ROW = 15
FIXED_ROWS = (0, 1, 4, 12, ZERO_ROW)


class CsrFile(wiring.Component):
    """Show a row of registers in each cycle, and write what becomes of it.

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
        Interrupts off and no handler, at once; the rows keep their values.
    interrupt : In(1)
    coming : In(4)
        Row of the next cycle.
    row : Out(4), data : Out(32)
        Row of this cycle, and its value.
    keeps : In(2), operand : In(32), addend : In(5)
        The new value is the operand (1), the row with its bits set (2) or cleared (3), or the row
        itself (0), each plus the addend.
    write : In(1)
        The row becomes that; none of FIXED_ROWS.
    assign : In(1)
        The same for the bits of mstatus and mie.
    enters, returns : In(1)
        What a trap and an MRET do to mstatus.
    written : Out(32)
        The new value of the last cycle, without the addend.
    carry : Out(1)
        Of its addition.
    armed : Out(1)
        mtvec names a handler.
    pending, wake : Out(1)
        As in TrapUnit.

    Latency
    -------
    What is written is seen from the third cycle on, and not to be looked at in the second.
    """

    def __init__(self, *, address_width: int, base: int, multiply: bool) -> None:
        self._width = address_width
        self._base = base
        self._multiply = multiply
        inputs = ("restart", "interrupt", "write", "assign", "enters", "returns")
        outputs = ("carry", "armed", "pending", "wake")
        super().__init__(
            {
                **{name: In(1) for name in inputs},
                **{name: Out(1) for name in outputs},
                "coming": In(4),
                "row": Out(4),
                "data": Out(32),
                "keeps": In(2),
                "operand": In(32),
                "addend": In(5),
                "written": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        attributes = {"no_rw_check": 1, "ram_style": "block"}
        m.submodules.memory = memory = Memory(shape=32, depth=16, init=[], attrs=attributes)
        write, read = memory.write_port(), memory.read_port()
        logic, addend_q, total = Signal(32), Signal(5), Signal(33)
        m.d.sync += [
            self.row.eq(self.coming),
            self.written.eq(logic),
            addend_q.eq(self.addend),
            write.addr.eq(self.row),
            write.en.eq(self.write),
        ]
        m.d.comb += [
            read.addr.eq(self.coming),
            total.eq(self.written + addend_q),
            write.data.eq(total),
            self.carry.eq(total[32]),
        ]
        with m.Switch(self.keeps):
            with m.Case(0):
                # Rows that count have no fixed bits.
                m.d.comb += logic.eq(self.data)
            with m.Case(1):
                m.d.comb += logic.eq(self.operand)
            with m.Case(2):
                m.d.comb += logic.eq(self.data | self.operand)
            with m.Case(3):
                m.d.comb += logic.eq(self.data & ~self.operand)
        # Addresses of instructions are multiples of four.
        with m.If(self.row.matches(ROWS[Csr.MTVEC], ROWS[Csr.MEPC])):
            m.d.sync += self.written[:2].eq(0)
        beyond = self.written[self._width + 2 :] != self._base >> (self._width + 2)
        with m.If(write.en & (write.addr == ROWS[Csr.MTVEC])):
            m.d.sync += self.armed.eq(~beyond & self.written[2:].any())
        self._status(m, read.data, write.addr)
        with m.If(self.restart):
            m.d.sync += self.armed.eq(0)
        return m

    def _status(self, m: Module, stored: Signal, written_row: Signal) -> None:
        """Keep the bits that have an effect of their own."""
        mie, mpie, meie = (Signal(name=name) for name in ("mie", "mpie", "meie"))
        m.d.comb += self.data.eq(stored | self._fixed(mie, mpie, meie))
        assigned = Signal()
        m.d.sync += assigned.eq(self.assign)
        with m.If(assigned & (written_row == ROWS[Csr.MSTATUS])):
            m.d.sync += [mie.eq(self.written[3]), mpie.eq(self.written[7])]
        with m.If(assigned & (written_row == ROWS[Csr.MIE])):
            m.d.sync += meie.eq(self.written[11])
        with m.If(self.enters):
            m.d.sync += [mie.eq(0), mpie.eq(mie)]
        with m.If(self.returns):
            m.d.sync += [mie.eq(mpie), mpie.eq(1)]
        with m.If(self.restart):
            m.d.sync += [mie.eq(0), mpie.eq(0), meie.eq(0)]
        m.d.sync += [
            self.pending.eq(self.interrupt & meie & mie & self.armed),
            self.wake.eq(self.interrupt | ~meie),
        ]

    def _fixed(self, mie: Signal, mpie: Signal, meie: Signal) -> Cat:
        """Return what the rows that stay 0 read as."""
        status, misa = self.row == ROWS[Csr.MSTATUS], self.row == ROWS[Csr.MISA]
        bits = {
            3: status & mie,
            7: status & mpie,
            8: misa,
            11: status
            | ((self.row == ROWS[Csr.MIE]) & meie)
            | ((self.row == ROWS[Csr.MIP]) & self.interrupt),
            12: status | (misa if self._multiply else C(0, 1)),
            30: misa,
        }
        return Cat(bits.get(bit, C(0, 1)) for bit in range(32))
