"""The controller's execute stage: results, jumps, tensor operations, traps."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.alu import Alu, Shifter
from accel.gateware.bits import only
from accel.gateware.issue import IssueLayout
from accel.gateware.loadstore import LoadStore
from accel.gateware.muldiv import MultiplyDivide
from accel.gateware.ports import PC_BITS, TensorOperation
from accel.gateware.program import ProgramPort
from accel.gateware.registers import Result
from accel.gateware.rvfi import TapLayout
from accel.gateware.trapcause import TrapCause
from accel.gateware.traps import Fault, TrapUnit
from accel.gateware.window import WindowPort

__all__ = ["Execute", "Fault"]


class Execute(wiring.Component):
    """Execute one instruction at a time, in one phase or several.

    Parameters
    ----------
    address_width : int
        Bits of a word address of the program memory.
    window_width : int
        Bits of a word address in the scratchpad's window.
    base : int
        First byte address of the program memory.
    multiply : bool
    target : str
        See Multiplier.
    parity : bool
        Have `current`.

    Members
    -------
    enable : In(1)
        While low, nothing is executed.
    restart : In(1)
        Redirect to the first word, with the CSRs at their values at start.
    issue : In(stream.Signature(IssueLayout))
    write_back : Out(Result)
    redirect : Out({valid, pc})
        Registered: everything issued in this cycle and before is dropped.
    steal : Out({valid, address})
        Read data instead of an instruction.
    data : In(32)
        What the program memory returns.
    write : Out
        Stores, as in ProgramPort.
    storing : Out(1)
        High while `write` may be valid.
    interrupt : In(1)
        As in Controller.
    pending : Out(1)
        An instruction issued now is to be `interrupted`.
    stop : Out(1)
        One cycle: a trap without a handler; `fault` follows.
    tap : Out(TapLayout)
        For RetirementPort.
    current : Out(1)
        With `parity`: the instruction taken last is not dropped, it executes or traps.
    window : Out(WindowPort)
    tensor, idle, done, exit_code, fault, waits, retired, pc
        As in Controller.
    """

    def __init__(
        self,
        *,
        address_width: int,
        window_width: int,
        base: int,
        multiply: bool,
        target: str = "generic",
        parity: bool = False,
    ) -> None:
        self._target = target
        self._parity = parity
        self._base = base
        self._width = address_width
        self._window_width = window_width
        self._multiply = multiply
        pc_width = address_width + 1
        super().__init__(
            {
                "enable": In(1),
                "restart": In(1),
                "issue": In(stream.Signature(IssueLayout(pc_width))),
                "write_back": Out(Result()),
                "redirect": Out(data.StructLayout({"valid": 1, "pc": pc_width})),
                "steal": Out(data.StructLayout({"valid": 1, "address": address_width})),
                "data": In(32),
                "write": ProgramPort(address_width).members["write"],
                "interrupt": In(1),
                **dict.fromkeys(("storing", "pending", "stop", "done", "waits", "retired"), Out(1)),
                "tap": Out(TapLayout()),
                "window": Out(WindowPort(window_width)),
                "tensor": Out(stream.Signature(TensorOperation)),
                "idle": In(4),
                "exit_code": Out(32),
                "fault": Out(Fault),
                "pc": Out(PC_BITS),
                **({"current": Out(1)} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x = Signal(self.issue.payload.shape())
        valid = Signal()
        # Phases of the instructions that need several; `address` is valid from the second.
        second = Signal()
        third = Signal()
        address = Signal(32)
        # What comes through a register: of loads, shifts, links, CSRs. 0 but in the phase in which it
        # is the result, or half of a shift.
        late = Signal(32)
        # Registers for speed: a load, shift or jump with a link is in its first phase, or dropped in
        # it; what executes may write; nothing does, or it is in its last cycle, stores and tensor
        # operations apart; a store is in its second phase, and not in the window.
        stealing, shifting, linking, writing = Signal(), Signal(), Signal(), Signal()
        ends = Signal(init=1)
        storing = Signal()
        active = Signal()
        complete = Signal()
        taken = Signal()
        # From the cycle after a trap until its handler is known: nothing has an effect.
        trapping = Signal()
        c = x.control

        m.submodules.alu = alu = Alu()
        m.submodules.memory = memory = LoadStore(
            address_width=self._width, window_width=self._window_width, base=self._base
        )
        m.submodules.traps = traps = TrapUnit(
            address_width=self._width, base=self._base, multiply=self._multiply
        )
        if self._parity:
            m.d.comb += self.current.eq(valid & ~self.redirect.valid & ~trapping)
        first = active & ~second & ~third
        funct3 = x.word[5:8]
        m.d.comb += [
            active.eq(valid & ~self.redirect.valid & ~trapping & ~x.bad & ~c.illegal),
            alu.a.eq(x.a),
            alu.b.eq(x.b),
            alu.subtract.eq(x.subtract),
            alu.unsigned.eq(Mux(c.branch, funct3[1], funct3[0])),
            alu.logic.eq(c.logic),
            taken.eq(Mux(funct3[2], alu.less, alu.equal) ^ funct3[0]),
        ]
        settled = self._tensor(m, x, active)
        first_over, others = self._late(
            m, x, first, settled, traps, memory, late, shifting, linking
        )
        m.d.comb += [
            memory.control.eq(c),
            memory.funct3.eq(funct3),
            memory.value.eq(x.data),
            memory.coming.eq(alu.sum),
            memory.take.eq(~second & ~trapping),
            memory.address.eq(address),
            memory.second.eq(second),
            memory.active.eq(active),
            memory.word.eq(late),
            memory.data.eq(self.data),
            memory.local.eq(storing),
            self.storing.eq(storing),
        ]
        wiring.connect(m, memory.write, wiring.flipped(self.write))
        wiring.connect(m, memory.window, wiring.flipped(self.window))
        jumps = c.jal | c.jalr
        misaligned = Mux(c.jalr, address[1], x.target[1])
        # Branches are decided late: what else traps is kept apart from them.
        live = valid & ~self.redirect.valid & ~trapping
        kept = {"keep": 1}
        other_fault, bad_branch, fault = Signal(attrs=kept), Signal(attrs=kept), Signal()
        m.d.comb += [
            other_fault.eq(
                live
                & (
                    x.bad
                    | c.illegal
                    | (x.bad_target & c.jal & second)
                    | (second & memory.refused)
                    | (first & traps.bad)
                )
            ),
            bad_branch.eq(live & x.bad_target & c.branch),
            fault.eq(other_fault | (bad_branch & taken)),
        ]
        entering = self._trap(m, x, traps, address, fault, trapping, first, memory)

        m.d.comb += [
            # Of a valid instruction.
            complete.eq(ends | memory.stored | (c.tensor & self.tensor.ready)),
            self.issue.ready.eq(complete | self.redirect.valid),
            # Of instructions that write, these can trap after decode.
            self.write_back.valid.eq(
                active
                & (~c.several | third | (second & ~c.load & ~c.shift & ~(jumps & misaligned)))
                & c.writes
            ),
            self.write_back.forward.eq(writing),
            self.write_back.register.eq(x.word[0:5]),
            self.write_back.data.eq(
                only(c.sum, alu.sum) | alu.bits | memory.result | (alu.less & c.compare)
            ),
            # Loose, for speed: reading for a load that is dropped does no harm.
            self.steal.valid.eq(stealing & ~self.redirect.valid),
            self.steal.address.eq(alu.sum[2:]),
            self.done.eq(active & c.tdone),
            self.waits.eq(active & c.twait),
            self.exit_code.eq(x.a),
        ]
        # A jump that leaves the memory is complete when what it finds there traps.
        spoiled = (x.target[1] & (c.jal | (c.branch & taken))) | (
            second & memory.refused & ~(c.jalr & ~address[1])
        )
        retire = active & complete & ~spoiled
        self._tap(m, x, memory, address, late, retire, fault, taken, entering)
        begins = first & c.several & first_over
        stays = (second & c.store & ~memory.answered) | memory.asks
        goes_on = active & ~complete & ((begins & ~traps.bad) | stays)
        shifted = active & second & c.shift
        # The last phase of what does not complete in the one in which it can be known.
        finishes = (
            memory.loaded
            | memory.answered
            | shifted
            | (begins & ~traps.bad & ~(c.load | c.store | c.shift))
        )
        m.d.sync += [
            self.retired.eq(retire),
            late.eq(only(memory.from_program, self.data) | others),
            second.eq(goes_on),
            storing.eq(goes_on & c.store & ~memory.coming_in_window),
            third.eq(memory.loaded | memory.answered | shifted),
            ends.eq(finishes),
        ]
        with m.If(memory.take):
            m.d.sync += address.eq(memory.coming)
        issue, control = self.issue, self.issue.payload.control
        m.d.sync += [stealing.eq(0), shifting.eq(0), linking.eq(0)]
        with m.If(issue.ready):
            m.d.sync += [
                x.eq(issue.payload),
                valid.eq(issue.valid),
                stealing.eq(issue.valid & control.load),
                shifting.eq(issue.valid & control.shift),
                linking.eq(issue.valid & (control.jal | control.jalr)),
                writing.eq(issue.valid & control.writes),
                ends.eq(~issue.valid | ~(control.several | control.tensor)),
            ]
        # Also what follows an instruction that traps: no result may meet the handler's address.
        with m.If(~self.enable | self.redirect.valid | self.done | trapping):
            m.d.sync += [valid.eq(0), stealing.eq(0), writing.eq(0), ends.eq(1)]
            m.d.sync += [shifting.eq(0), linking.eq(0)]
        self._redirect(m, x, address, late, active, second, taken, entering)
        return m

    def _trap(
        self,
        m: Module,
        x: data.View,
        traps: TrapUnit,
        address: Signal,
        fault: Signal,
        trapping: Signal,
        first: Signal,
        memory: LoadStore,
    ) -> Signal:
        """Join the unit; note why an instruction traps; return when to enter the handler."""
        c = x.control
        entering = Signal()
        m.d.sync += entering.eq(traps.done & trapping)
        with m.If(fault):
            m.d.sync += trapping.eq(1)
        with m.If(entering | ~self.enable | self.restart):
            m.d.sync += trapping.eq(0)
        m.d.comb += [
            traps.restart.eq(self.restart),
            traps.running.eq(self.enable),
            traps.retired.eq(self.retired),
            traps.interrupt.eq(self.interrupt),
            traps.access.eq(first & c.csr),
            traps.mret.eq(first & c.mret),
            traps.trap.eq(trapping & ~entering),
            traps.number.eq(x.word[13:25]),
            traps.operation.eq(x.word[5:7]),
            # CSRRW always writes, the others unless their field is 0.
            traps.writes.eq((x.word[5:7] == 1) | x.word[8:13].any()),
            traps.value.eq(address),
            self.pending.eq(traps.pending),
            self.stop.eq(traps.stop),
            self.fault.eq(traps.fault),
        ]
        m.submodules.cause = cause = TrapCause(pc_width=len(x.pc))
        m.d.comb += [
            cause.x.eq(x),
            cause.address.eq(address),
            cause.misaligned.eq(memory.misaligned),
            cause.hold.eq(trapping),
            traps.cause.eq(cause.cause),
        ]
        return entering

    def _tensor(self, m: Module, x: data.View, active: Signal) -> Signal:
        """Offer tensor operations; return whether `_idle` has seen the last one."""
        m.d.comb += [
            self.tensor.valid.eq(active & x.control.tensor),
            self.tensor.payload.funct3.eq(x.word[5:8]),
            self.tensor.payload.funct7.eq(x.word[18:25]),
            self.tensor.payload.rs1_field.eq(x.word[8:13]),
            self.tensor.payload.rs2_field.eq(x.word[13:18]),
            self.tensor.payload.a.eq(x.a),
            self.tensor.payload.b.eq(x.b),
            self.pc.eq(x.pc),
        ]
        # `idle` is right two cycles after the last transfer, its registered copy three.
        self._idle = Signal(4)
        recent = Signal(2)
        accepted = self.tensor.valid & self.tensor.ready
        m.d.sync += [self._idle.eq(self.idle), recent.eq(Cat(accepted, recent[0]))]
        return ~recent.any()

    def _late(
        self,
        m: Module,
        x: data.View,
        first: Signal,
        settled: Signal,
        traps: TrapUnit,
        memory: LoadStore,
        late: Signal,
        shifting: Signal,
        linking: Signal,
    ) -> tuple[Value, Value]:
        """Return when the first phase is over, and what `late` becomes but for the program's data."""
        c = x.control
        m.submodules.shifter = shifter = Shifter()
        m.d.comb += [
            shifter.value.eq(x.a),
            shifter.amount.eq(x.b[:5]),
            shifter.right.eq(x.word[7]),
            shifter.start.eq(shifting),
            shifter.word.eq(late),
            shifter.arithmetic.eq(x.word[23]),
        ]
        engines_idle = settled & (self._idle | ~x.word[8:12]).all()
        over = (
            (~c.tread | settled)
            & (~c.twait | engines_idle)
            & (~c.wfi | traps.wake)
            & (~(c.csr | c.mret) | traps.done)
        )
        link = Cat(C(0, 2), x.next[: self._width + 1]) | self._base
        response = self.window.response.data
        rest = only(memory.from_window, response) | traps.data | shifter.partial
        rest |= only(first & c.tread, self._idle) | only(linking, link)
        if self._multiply:
            m.submodules.muldiv = muldiv = MultiplyDivide(target=self._target)
            started = Signal()
            m.d.sync += started.eq(first & c.muldiv & ~muldiv.done)
            m.d.comb += [
                muldiv.start.eq(first & c.muldiv & ~started),
                muldiv.cancel.eq(~self.enable),
                muldiv.a.eq(x.a),
                muldiv.b.eq(x.b),
                muldiv.funct3.eq(x.word[5:8]),
            ]
            over = over & (~c.muldiv | muldiv.done)
            rest |= only(first & c.muldiv, muldiv.result)
        # The program memory is later still: it meets one lookup table, with what is kept here.
        others, shifted = (Signal(32, name=n, attrs={"keep": 1}) for n in ("others", "shifted"))
        m.d.comb += [others.eq(rest), shifted.eq(shifter.result)]
        return over, others | shifted

    def _redirect(
        self,
        m: Module,
        x: data.View,
        address: Signal,
        late: Signal,
        active: Signal,
        second: Signal,
        taken: Signal,
        entering: Signal,
    ) -> None:
        c = x.control
        pc = self.redirect.pc
        m.d.sync += self.redirect.valid.eq(
            self.restart
            | entering
            | (
                active
                & (
                    (c.branch & (taken ^ x.predicted))
                    | c.fence_i
                    | (second & (c.jalr | c.csr | c.mret))
                )
            )
        )
        # Where there is no program memory, the highest bit says so.
        outside = late[self._width + 2 :] != self._base >> (self._width + 2)
        with m.If(self.restart):
            m.d.sync += pc.eq(0)
        with m.Elif(entering | c.mret):
            m.d.sync += pc.eq(Cat(late[2 : self._width + 2], outside))
        with m.Elif(c.jalr):
            m.d.sync += pc.eq(address[2 : self._width + 2])
        with m.Elif(c.fence_i | c.csr | x.predicted):
            m.d.sync += pc.eq(x.next)
        with m.Else():
            m.d.sync += pc.eq(x.target[2 : self._width + 2])

    def _tap(
        self,
        m: Module,
        x: data.View,
        memory: LoadStore,
        address: Signal,
        late: Signal,
        retire: Signal,
        fault: Signal,
        taken: Signal,
        entering: Signal,
    ) -> None:
        """Drive `tap`; the hardware is the same without it."""
        c, tap = x.control, self.tap
        region = self._base >> (self._width + 2)
        outside = late[self._width + 2 :] != region
        m.d.comb += [
            tap.retire.eq(retire),
            tap.trap.eq(fault),
            tap.interrupted.eq(x.interrupted),
            tap.entering.eq(entering),
            tap.handler.eq(late),
            tap.load.eq(c.load),
            tap.store.eq(c.store),
            tap.address.eq(address),
            tap.mask.eq(memory.mask),
            tap.loaded.eq(late),
            tap.stored.eq(memory.bytes),
        ]
        with m.If(c.jalr):
            m.d.comb += tap.next.eq(Cat(0, address[1:]))
        with m.Elif(c.mret):
            m.d.comb += tap.next.eq(Cat(late[: self._width + 2], outside) | self._base)
        with m.Elif(c.jal | (c.branch & taken)):
            m.d.comb += tap.next.eq(x.target.as_signed() + self._base)
        with m.Else():
            m.d.comb += tap.next.eq(Cat(C(0, 2), x.next) | self._base)
