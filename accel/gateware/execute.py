"""The controller's execute stage: results, memory access, jumps, tensor operations, traps."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.aligner import Aligner
from accel.gateware.alu import Alu, Shifter
from accel.gateware.decoder import Control
from accel.gateware.fetch import TARGET_BITS
from accel.gateware.muldiv import MultiplyDivide
from accel.gateware.ports import PC_BITS, TensorOperation
from accel.gateware.program import ProgramPort
from accel.gateware.registers import Result
from accel.gateware.rvfi import TapLayout
from accel.gateware.traps import Fault, TrapLayout, TrapUnit
from accel.gateware.window import WindowPort
from accel.isa import WINDOW_BASE, Funct3
from accel.riscv import INTERRUPT, Trap

__all__ = ["Execute", "Fault", "IssueLayout"]

_WINDOW_BIT = WINDOW_BASE.bit_length() - 1


class IssueLayout(data.StructLayout):
    """A decoded instruction with its operands.

    Parameters
    ----------
    pc_width : int
        Bits of a word address, and one more.

    Members
    -------
    control : Control
    bad : 1 bit; it traps whatever its operands are
    interrupted : 1 bit; the interrupt is taken in its place
    subtract : 1 bit; `b` is inverted
    word : instruction bits 31:7
    a, b : operands of the adder
    data : register rs2, for stores
    pc, predicted, target : as in FetchedLayout
    bad_target : 1 bit; no instruction can be at `target`
    """

    def __init__(self, pc_width: int) -> None:
        super().__init__(
            {
                "control": Control,
                "bad": unsigned(1),
                "interrupted": unsigned(1),
                "subtract": unsigned(1),
                "word": unsigned(25),
                "a": unsigned(32),
                "b": unsigned(32),
                "data": unsigned(32),
                "pc": unsigned(pc_width),
                "predicted": unsigned(1),
                "target": signed(TARGET_BITS),
                "bad_target": unsigned(1),
            }
        )


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
                "storing": Out(1),
                "interrupt": In(1),
                "pending": Out(1),
                "stop": Out(1),
                "tap": Out(TapLayout()),
                "window": Out(WindowPort(window_width)),
                "tensor": Out(stream.Signature(TensorOperation)),
                "idle": In(4),
                "done": Out(1),
                "exit_code": Out(32),
                "fault": Out(Fault),
                "waits": Out(1),
                "retired": Out(1),
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
        finishing = Signal()
        address = Signal(32)
        slow = Signal(32)
        active = Signal()
        complete = Signal()
        taken = Signal()
        # From the cycle after a trap until its handler is known: nothing has an effect.
        trapping = Signal()
        c = x.control

        m.submodules.alu = alu = Alu()
        m.submodules.aligner = aligner = Aligner()
        m.submodules.traps = traps = TrapUnit(
            address_width=self._width, base=self._base, multiply=self._multiply
        )
        if self._parity:
            m.d.comb += self.current.eq(valid & ~self.redirect.valid & ~trapping)
        first = active & ~second & ~third
        funct3 = x.word[5:8]
        m.d.comb += [
            active.eq(valid & ~self.redirect.valid & ~trapping & ~x.bad),
            alu.a.eq(x.a),
            alu.b.eq(x.b),
            alu.subtract.eq(x.subtract),
            alu.unsigned.eq(Mux(c.branch, funct3[1], funct3[0])),
            alu.logic.eq(c.logic),
            taken.eq(Mux(funct3[2], alu.less, alu.equal) ^ funct3[0]),
        ]
        settled = self._tensor(m, x, active)
        first_over, slow_result = self._slow(m, x, first, settled, traps)
        bad_address = self._memory(m, x, aligner, address)
        in_window = address[_WINDOW_BIT]
        remote = active & second & (c.load | c.store) & in_window
        answered = self._window(m, x, remote & ~bad_address, second, address, aligner)
        stored = Mux(in_window, answered, self.write.ready)
        loaded = active & second & c.load & (~in_window | answered)
        bad_jump = x.bad_target & (c.jal | (c.branch & taken))
        fault = Signal()
        m.d.comb += fault.eq(
            valid
            & ~self.redirect.valid
            & ~trapping
            & (x.bad | bad_jump | (second & bad_address) | (first & traps.bad))
        )
        entering = self._trap(m, x, traps, address, fault, trapping, first, second, aligner)

        m.d.comb += [
            complete.eq(
                finishing | (self.storing & stored) | (~c.several & (~c.tensor | self.tensor.ready))
            ),
            self.issue.ready.eq(~valid | complete | self.redirect.valid),
            # Of instructions that write, these can trap after decode.
            self.write_back.valid.eq(
                active
                & Mux(
                    c.several,
                    third | (second & ~c.load & ~(c.jalr & address[1])),
                    ~(c.jal & x.target[1]),
                )
                & c.writes
            ),
            self.write_back.forward.eq(valid & c.writes),
            self.write_back.register.eq(x.word[0:5]),
            self.write_back.data.eq(
                # `slow` and `loaded` are 0 but in the phase in which they are the result.
                (_only(c.sum, alu.sum) | alu.bits | (slow | aligner.loaded))
                | (alu.less & c.compare)
            ),
            # Loose, for speed: reading for a load that is dropped does no harm.
            self.steal.valid.eq(valid & c.load & ~second & ~third & ~self.redirect.valid),
            self.steal.address.eq(alu.sum[2:]),
            self.write.valid.eq(active & second & c.store & ~bad_address & ~in_window),
            self.storing.eq(second & c.store),
            self.done.eq(active & c.tdone),
            self.waits.eq(active & c.twait),
            self.exit_code.eq(x.a),
        ]
        # A jump that leaves the memory is complete when what it finds there traps.
        leaves = (c.jal | c.branch | c.jalr) & ~Mux(c.jalr, address[1], x.target[1])
        retire = active & complete & (~fault | leaves)
        self._tap(m, x, aligner, address, slow, retire, fault, taken, entering)
        begins = first & c.several & first_over
        stays = (second & c.store) | (remote & ~answered)
        m.d.sync += [
            self.retired.eq(retire),
            slow.eq(_only(first, slow_result) | _only(traps.done, traps.data)),
            aligner.word.eq(
                _only(loaded & ~in_window, self.data)
                | _only(loaded & in_window, self.window.response.data)
            ),
            second.eq(active & ~complete & ((begins & ~traps.bad) | stays)),
            third.eq(loaded),
            # The last phase of what does not complete in the one in which it can be known.
            finishing.eq(loaded | (begins & ~traps.bad & ~(c.load | c.store))),
        ]
        with m.If(~second & ~trapping):
            m.d.sync += address.eq(alu.sum)
        with m.If(self.issue.ready):
            m.d.sync += [x.eq(self.issue.payload), valid.eq(self.issue.valid)]
        with m.If(~self.enable | self.redirect.valid | self.done):
            m.d.sync += valid.eq(0)
        self._redirect(m, x, address, slow, active, second, taken, entering)
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
        second: Signal,
        aligner: Aligner,
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
        cause = Signal(TrapLayout(len(x.pc)))
        m.d.comb += traps.cause.eq(cause)
        access = c.load | c.store
        with m.If(~trapping):
            m.d.sync += [
                cause.interrupt.eq(x.interrupted),
                cause.pc.eq(x.pc),
                cause.target.eq(x.target),
                cause.from_pc.eq(x.pc[-1] & ~x.interrupted),
                cause.from_address.eq(~x.bad & (access | c.jalr)),
                cause.from_target.eq(~x.bad & (c.branch | c.jal)),
                cause.jump.eq(
                    ~x.bad & ((c.jalr & ~address[1]) | ((c.branch | c.jal) & ~x.target[1]))
                ),
            ]
            with m.If(x.interrupted):
                m.d.sync += cause.code.eq(INTERRUPT & 15)
            with m.Elif(x.bad & x.pc[-1]):
                m.d.sync += cause.code.eq(Trap.FETCH_FAULT)
            with m.Elif((x.bad & c.illegal) | (~x.bad & c.csr)):
                m.d.sync += cause.code.eq(Trap.ILLEGAL_INSTRUCTION)
            with m.Elif(x.bad & c.ecall):
                m.d.sync += cause.code.eq(Trap.ENVIRONMENT_CALL)
            with m.Elif(x.bad):
                m.d.sync += cause.code.eq(Trap.BREAKPOINT)
            with m.Elif(access):
                m.d.sync += cause.code.eq(Cat(~aligner.misaligned, c.store, 1))
            with m.Else():
                misaligned = Mux(c.jalr, address[1], x.target[1])
                m.d.sync += cause.code.eq(~misaligned)
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
            self.tensor.payload.b.eq(
                Mux(x.word[5:8] == Funct3.TPUSH, Cat(x.pc, x.b[len(x.pc) :]), x.b)
            ),
            self.pc.eq(x.pc),
        ]
        # `idle` is right two cycles after the last transfer, its registered copy three.
        self._idle = Signal(4)
        recent = Signal(2)
        accepted = self.tensor.valid & self.tensor.ready
        m.d.sync += [self._idle.eq(self.idle), recent.eq(Cat(accepted, recent[0]))]
        return ~recent.any()

    def _slow(
        self, m: Module, x: data.View, first: Signal, settled: Signal, traps: TrapUnit
    ) -> tuple[Signal, Signal]:
        """Return when the first phase is over, and the results that pass through a register.

        The trap unit's are added to them.
        """
        c = x.control
        m.submodules.shifter = shifter = Shifter()
        link = Cat(C(0, 2), (x.pc + 1)[: self._width + 1]) | self._base
        shifting = Signal()
        m.d.sync += shifting.eq(first & c.shift & ~(shifting & shifter.done))
        m.d.comb += [
            shifter.start.eq(first & c.shift & ~shifting),
            shifter.value.eq(x.a),
            shifter.amount.eq(x.b[:5]),
            shifter.right.eq(x.word[7]),
            shifter.arithmetic.eq(x.word[23]),
        ]
        engines_idle = settled & (self._idle | ~x.word[8:12]).all()
        over = (
            (~c.shift | (shifting & shifter.done))
            & (~c.tread | settled)
            & (~c.twait | engines_idle)
            & (~c.wfi | traps.wake)
            & (~(c.csr | c.mret) | traps.done)
        )
        result = _only(shifting, shifter.result) | _only(c.tread, self._idle) | _only(c.jalr, link)
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
            result = result | _only(c.muldiv, muldiv.result)
        return over, result

    def _memory(self, m: Module, x: data.View, aligner: Aligner, address: Signal) -> Signal:
        """Join the aligner to the memory; return whether `address` is refused."""
        c = x.control
        m.d.comb += [
            aligner.offset.eq(address[:2]),
            aligner.size.eq(x.word[5:7]),
            aligner.zero_extend.eq(x.word[7]),
            aligner.data.eq(x.data),
            self.write.payload.address.eq(address[2:]),
            self.write.payload.data.eq(aligner.bytes),
            self.write.payload.mask.eq(aligner.mask),
        ]
        program, window = self._width + 2, self._window_width + 2
        no_code = address[program:] != self._base >> program
        # A bit of their own tells the memories apart.
        both = max(program, window)
        in_window = address[_WINDOW_BIT]
        no_data = (
            (address[both:] != Mux(in_window, WINDOW_BASE >> both, self._base >> both))
            | (in_window & address[window:both].any())
            | (~in_window & address[program:both].any())
        )
        return Mux(
            c.jalr, no_code | address[1], (c.load | c.store) & (no_data | aligner.misaligned)
        )

    def _window(
        self,
        m: Module,
        x: data.View,
        access: Signal,
        second: Signal,
        address: Signal,
        aligner: Aligner,
    ) -> Signal:
        """Ask the window once for each access; return whether it answers in this cycle."""
        request = self.window.request
        asked = Signal()
        # An answer to a program that was stopped comes before the next request is taken.
        with m.If(request.valid & request.ready):
            m.d.sync += asked.eq(1)
        with m.Elif(~second | self.window.response.valid):
            m.d.sync += asked.eq(0)
        m.d.comb += [
            request.valid.eq(access & ~asked),
            request.payload.write.eq(x.control.store),
            request.payload.address.eq(address[2:]),
            request.payload.data.eq(aligner.bytes),
            request.payload.mask.eq(aligner.mask),
        ]
        return asked & self.window.response.valid

    def _redirect(
        self,
        m: Module,
        x: data.View,
        address: Signal,
        slow: Signal,
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
        outside = slow[self._width + 2 :] != self._base >> (self._width + 2)
        with m.If(self.restart):
            m.d.sync += pc.eq(0)
        with m.Elif(entering | c.mret):
            m.d.sync += pc.eq(Cat(slow[2 : self._width + 2], outside))
        with m.Elif(c.jalr):
            m.d.sync += pc.eq(address[2 : self._width + 2])
        with m.Elif(c.fence_i | c.csr | x.predicted):
            m.d.sync += pc.eq(x.pc + 1)
        with m.Else():
            m.d.sync += pc.eq(x.target[2 : self._width + 2])

    def _tap(
        self,
        m: Module,
        x: data.View,
        aligner: Aligner,
        address: Signal,
        slow: Signal,
        retire: Signal,
        fault: Signal,
        taken: Signal,
        entering: Signal,
    ) -> None:
        """Drive `tap`; the hardware is the same without it."""
        c, tap = x.control, self.tap
        region = self._base >> (self._width + 2)
        outside = slow[self._width + 2 :] != region
        m.d.comb += [
            tap.retire.eq(retire),
            tap.trap.eq(fault),
            tap.interrupted.eq(x.interrupted),
            tap.entering.eq(entering),
            tap.handler.eq(slow),
            tap.load.eq(c.load),
            tap.store.eq(c.store),
            tap.address.eq(address),
            tap.mask.eq(aligner.mask),
            tap.loaded.eq(aligner.word),
            tap.stored.eq(aligner.bytes),
        ]
        with m.If(c.jalr):
            m.d.comb += tap.next.eq(Cat(0, address[1:]))
        with m.Elif(c.mret):
            m.d.comb += tap.next.eq(Cat(slow[: self._width + 2], outside) | self._base)
        with m.Elif(c.jal | (c.branch & taken)):
            m.d.comb += tap.next.eq(x.target.as_signed() + self._base)
        with m.Else():
            m.d.comb += tap.next.eq((Cat(C(0, 2), x.pc) | self._base) + 4)


def _only(select: Signal, value: Signal) -> Signal:
    """Return `value` where `select` is high, else 0."""
    return value & select.replicate(len(value))
