"""The RISC-V formal interface: what every instruction did, for checks beside the controller.

Names and meanings: "RISC-V Formal Interface", https://github.com/SymbioticEDA/riscv-formal,
docs/rvfi.md, with aligned memory addresses.
"""

from amaranth.hdl import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RetirementPort", "RvfiSignature", "TapLayout"]


class RvfiSignature(wiring.Signature):
    """One retired instruction per cycle with `valid`.

    A trap has a record of its own with `trap` = 1 and the handler's address in `pc_wdata`, once
    that is known; where there is nothing to fetch, `insn` is 0. Without a handler there is none.
    `intr` = 1 marks the first instruction behind an interrupt.
    """

    def __init__(self) -> None:
        widths = {"valid": 1, "order": 64, "insn": 32, "trap": 1, "halt": 1, "intr": 1}
        widths |= {"mode": 2, "ixl": 2, "rs1_addr": 5, "rs2_addr": 5, "rs1_rdata": 32}
        widths |= {"rs2_rdata": 32, "rd_addr": 5, "rd_wdata": 32, "pc_rdata": 32, "pc_wdata": 32}
        widths |= {"mem_addr": 32, "mem_rmask": 4, "mem_wmask": 4, "mem_rdata": 32}
        super().__init__({name: Out(width) for name, width in {**widths, "mem_wdata": 32}.items()})


class TapLayout(data.StructLayout):
    """What the execute stage shows of itself.

    Members
    -------
    retire : 1 bit; the instruction is complete
    trap : 1 bit; it traps, or after `retire` what is fetched next does
    interrupted : 1 bit; with `trap`: an interrupt
    entering : 1 bit; `handler` is known
    next : where execution goes on after `retire`
    load, store : 1 bit
    address, mask, loaded, stored : of its memory access
    """

    def __init__(self) -> None:
        bits = ("retire", "trap", "interrupted", "entering", "load", "store")
        words = ("next", "handler", "address", "loaded", "stored")
        super().__init__(
            {name: unsigned(1) for name in bits}
            | {name: unsigned(32) for name in words}
            | {"mask": unsigned(4)}
        )


class RetirementPort(wiring.Component):
    """Registers beside the pipeline that follow an instruction; nothing depends on them.

    Parameters
    ----------
    pc_width : int
        Bits of a word address, and one more.
    base : int
        First byte address of the program memory.

    Members
    -------
    issue : In(1)
        An instruction enters the execute stage: `word`, `pc` and registers `rs1`, `rs2` are its.
    tap : In(TapLayout)
    write_back : In({valid, register, data})
    done : In(1)
        TDONE completes.
    restart : In(1)
    rvfi : Out(RvfiSignature)

    Latency
    -------
    One cycle.
    """

    def __init__(self, *, pc_width: int, base: int) -> None:
        self._base = base
        super().__init__(
            {
                "issue": In(1),
                "word": In(32),
                "pc": In(pc_width),
                "rs1": In(32),
                "rs2": In(32),
                "tap": In(TapLayout()),
                "write_back": In(data.StructLayout({"valid": 1, "register": 5, "data": 32})),
                "done": In(1),
                "restart": In(1),
                "rvfi": Out(RvfiSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rvfi, tap, back = self.rvfi, self.tap, self.write_back
        now = data.StructLayout({"word": 32, "pc": 32, "rs1": 32, "rs2": 32})
        current, trapped = Signal(now), Signal(now)
        interrupt, waiting, record = Signal(), Signal(), Signal()
        order = Signal(64)
        with m.If(self.issue):
            m.d.sync += [
                current.word.eq(self.word),
                current.pc.eq(Cat(C(0, 2), self.pc) | self._base),
                current.rs1.eq(self.rs1),
                current.rs2.eq(self.rs2),
            ]
        outside = current.pc[len(self.pc) + 1]
        with m.If(tap.trap):
            m.d.sync += [trapped.eq(current), waiting.eq(~tap.interrupted)]
            with m.If(tap.retire | outside):
                # There is no instruction: a jump has left the memory, or execution has.
                m.d.sync += [trapped.word.eq(0), trapped.rs1.eq(0), trapped.rs2.eq(0)]
            with m.If(tap.retire):
                m.d.sync += trapped.pc.eq(tap.next)
            with m.If(tap.interrupted):
                m.d.sync += interrupt.eq(1)
        with m.If(tap.entering):
            m.d.sync += waiting.eq(0)
        m.d.comb += record.eq(tap.retire | (tap.entering & waiting))
        shown = Mux(tap.retire, current.as_value(), trapped.as_value())
        shown = data.View(now, shown)
        access = tap.retire & (tap.load | tap.store)
        m.d.sync += [
            rvfi.valid.eq(record),
            rvfi.order.eq(order),
            order.eq(order + record),
            rvfi.insn.eq(shown.word),
            rvfi.trap.eq(~tap.retire),
            rvfi.halt.eq(self.done),
            rvfi.rs1_addr.eq(shown.word[15:20]),
            rvfi.rs2_addr.eq(shown.word[20:25]),
            rvfi.rs1_rdata.eq(shown.rs1),
            rvfi.rs2_rdata.eq(shown.rs2),
            rvfi.rd_addr.eq(Mux(back.valid, back.register, 0)),
            rvfi.rd_wdata.eq(Mux(back.valid, back.data, 0)),
            rvfi.pc_rdata.eq(shown.pc),
            rvfi.pc_wdata.eq(Mux(tap.retire, tap.next, tap.handler)),
            rvfi.mem_addr.eq(Mux(access, Cat(C(0, 2), tap.address[2:]), 0)),
            rvfi.mem_rmask.eq(Mux(access & tap.load, tap.mask, 0)),
            rvfi.mem_wmask.eq(Mux(access & tap.store, tap.mask, 0)),
            rvfi.mem_rdata.eq(Mux(access & tap.load, tap.loaded, 0)),
            rvfi.mem_wdata.eq(Mux(access & tap.store, tap.stored, 0)),
        ]
        with m.If(record):
            m.d.sync += [rvfi.intr.eq(interrupt), interrupt.eq(0)]
        with m.If(self.restart):
            m.d.sync += [waiting.eq(0), interrupt.eq(0), order.eq(0)]
        m.d.comb += [rvfi.mode.eq(3), rvfi.ixl.eq(1)]
        return m
