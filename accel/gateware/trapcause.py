"""Why an instruction of the controller traps, and which address is to blame."""

from amaranth.hdl import Cat, Module, Mux, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.fetch import TARGET_BITS
from accel.gateware.issue import IssueLayout
from accel.riscv import INTERRUPT, Trap

__all__ = ["TrapCause", "TrapLayout"]


class TrapLayout(data.StructLayout):
    """Why execution stopped, held from the cycle after it.

    Parameters
    ----------
    pc_width : int
        Bits of a word address, and one more.

    Members
    -------
    interrupt : 1 bit; for the interrupt, else `code`
    code : Trap
    pc : the instruction's word address
    target : of JAL and branches, as in FetchedLayout
    from_target, from_address : 1 bit; the address that trapped is `target`, or the unit's `value`
    from_pc : 1 bit; it is `pc`
    jump : 1 bit; mepc becomes that address too
    """

    def __init__(self, pc_width: int) -> None:
        super().__init__(
            {
                "interrupt": unsigned(1),
                "code": unsigned(4),
                "pc": unsigned(pc_width),
                "target": unsigned(TARGET_BITS),
                "from_target": unsigned(1),
                "from_address": unsigned(1),
                "from_pc": unsigned(1),
                "jump": unsigned(1),
            }
        )


class TrapCause(wiring.Component):
    """Follow the execute stage until it traps.

    Parameters
    ----------
    pc_width : int
        Bits of a word address, and one more.

    Members
    -------
    x : In(IssueLayout)
        The instruction.
    address : In(32)
        Of a load, store or JALR, in its second phase.
    misaligned : In(1)
        `address` is not a multiple of the size.
    hold : In(1)
        `cause` stays.
    cause : Out(TrapLayout)

    Latency
    -------
    One cycle.
    """

    def __init__(self, *, pc_width: int) -> None:
        super().__init__(
            {
                "x": In(IssueLayout(pc_width)),
                "address": In(32),
                "misaligned": In(1),
                "hold": In(1),
                "cause": Out(TrapLayout(pc_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x, c, cause = self.x, self.x.control, self.cause
        access = c.load | c.store
        bad = x.bad | c.illegal
        with m.If(~self.hold):
            m.d.sync += [
                cause.interrupt.eq(x.interrupted),
                cause.pc.eq(x.pc),
                cause.target.eq(x.target),
                cause.from_pc.eq(x.pc[-1] & ~x.interrupted),
                cause.from_address.eq(~bad & (access | c.jalr)),
                cause.from_target.eq(~bad & (c.branch | c.jal)),
                cause.jump.eq(
                    ~bad & ((c.jalr & ~self.address[1]) | ((c.branch | c.jal) & ~x.target[1]))
                ),
            ]
            with m.If(x.interrupted):
                m.d.sync += cause.code.eq(INTERRUPT & 15)
            with m.Elif(x.bad & x.pc[-1]):
                m.d.sync += cause.code.eq(Trap.FETCH_FAULT)
            with m.Elif(c.illegal | (~bad & c.csr)):
                m.d.sync += cause.code.eq(Trap.ILLEGAL_INSTRUCTION)
            with m.Elif(x.bad & c.ecall):
                m.d.sync += cause.code.eq(Trap.ENVIRONMENT_CALL)
            with m.Elif(x.bad):
                m.d.sync += cause.code.eq(Trap.BREAKPOINT)
            with m.Elif(access):
                m.d.sync += cause.code.eq(Cat(~self.misaligned, c.store, 1))
            with m.Else():
                misaligned = Mux(c.jalr, self.address[1], x.target[1])
                m.d.sync += cause.code.eq(~misaligned)
        return m
