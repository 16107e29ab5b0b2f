"""The controller's execute stage: results, memory access, jumps, tensor operations, faults."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.aligner import Aligner
from accel.gateware.alu import Alu, Shifter
from accel.gateware.decoder import Control
from accel.gateware.fetch import TARGET_BITS
from accel.gateware.muldiv import MultiplyDivide
from accel.gateware.ports import TensorOperation
from accel.gateware.program import ProgramPort
from accel.gateware.window import WindowPort
from accel.isa import WINDOW_BASE, StatusWord
from accel.regmap import Cause

__all__ = ["Execute", "Fault", "IssueLayout"]

_WINDOW_BIT = WINDOW_BASE.bit_length() - 1


class Fault(data.Struct):
    """Why a program stopped.

    `address` is the target of a bad jump, load or store, and equals `pc` for all other causes. `pc`
    is the instruction's; for FETCH_FAULT it is where there is no instruction.
    """

    valid: unsigned(1)
    cause: Cause
    address: unsigned(32)
    pc: unsigned(32)


class IssueLayout(data.StructLayout):
    """A decoded instruction with its operands.

    Parameters
    ----------
    pc_width : int
        Bits of a word address, and one more.

    Members
    -------
    control : Control
    bad : 1 bit; it faults whatever its operands are
    subtract : 1 bit; `b` is inverted
    word : instruction bits 31:7
    a, b : operands of the adder
    data : register rs2, for stores
    pc, predicted, target : as in FetchedLayout
    """

    def __init__(self, pc_width: int) -> None:
        super().__init__(
            {
                "control": Control,
                "bad": unsigned(1),
                "subtract": unsigned(1),
                "word": unsigned(25),
                "a": unsigned(32),
                "b": unsigned(32),
                "data": unsigned(32),
                "pc": unsigned(pc_width),
                "predicted": unsigned(1),
                "target": signed(TARGET_BITS),
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
    multiply : bool

    Members
    -------
    enable : In(1)
        While low, nothing is executed.
    restart : In(1)
        Redirect to address 0.
    issue : In(stream.Signature(IssueLayout))
    write_back : Out({valid, forward, register, data})
        `valid`: the instruction completes in this cycle and `data` is its result. `forward` is high
        too then, sooner in the cycle, and else where nothing can be issued or all is dropped.
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
    window : Out(WindowPort)
    tensor, idle, cycles, done, exit_code, fault, waits, retired
        As in Controller.
    """

    def __init__(self, *, address_width: int, window_width: int, multiply: bool) -> None:
        self._width = address_width
        self._window_width = window_width
        self._multiply = multiply
        pc_width = address_width + 1
        super().__init__(
            {
                "enable": In(1),
                "restart": In(1),
                "issue": In(stream.Signature(IssueLayout(pc_width))),
                "write_back": Out(
                    data.StructLayout(
                        {"valid": 1, "forward": 1, "register": 5, "data": unsigned(32)}
                    )
                ),
                "redirect": Out(data.StructLayout({"valid": 1, "pc": pc_width})),
                "steal": Out(data.StructLayout({"valid": 1, "address": address_width})),
                "data": In(32),
                "write": ProgramPort(address_width).members["write"],
                "storing": Out(1),
                "window": Out(WindowPort(window_width)),
                "tensor": Out(stream.Signature(TensorOperation)),
                "idle": In(4),
                "cycles": In(32),
                "done": Out(1),
                "exit_code": Out(32),
                "fault": Out(Fault),
                "waits": Out(1),
                "retired": Out(1),
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
        slow = Signal(32)
        active = Signal()
        complete = Signal()
        taken = Signal()
        c = x.control

        m.submodules.alu = alu = Alu()
        m.submodules.aligner = aligner = Aligner()
        first = active & ~second & ~third
        funct3 = x.word[5:8]
        m.d.comb += [
            active.eq(valid & ~self.redirect.valid & ~x.bad),
            alu.a.eq(x.a),
            alu.b.eq(x.b),
            alu.subtract.eq(x.subtract),
            alu.unsigned.eq(Mux(c.branch, funct3[1], funct3[0])),
            alu.logic.eq(c.logic),
            taken.eq(Mux(funct3[2], alu.less, alu.equal) ^ funct3[0]),
        ]
        settled = self._tensor(m, x, active)
        first_over, slow_result = self._slow(m, x, first, settled)
        bad_address = self._memory(m, x, aligner, address)
        in_window = address[_WINDOW_BIT]
        remote = active & second & (c.load | c.store) & in_window
        answered = self._window(m, x, remote & ~bad_address, second, address, aligner)
        stored = Mux(in_window, answered, self.write.ready)
        loaded = active & second & c.load & (~in_window | answered)
        bad_target = x.target[1] | x.target[self._width + 2 :].any()
        bad_jump = bad_target & (c.jal | (c.branch & taken))
        fault = valid & ~self.redirect.valid & (x.bad | bad_jump | (second & bad_address))
        self._report(m, x, address, fault, second, aligner.misaligned)

        with m.If(c.several):
            m.d.comb += complete.eq(third | (second & ~c.load & (~c.store | stored)))
        with m.Else():
            engines_idle = settled & (self._idle | ~x.word[8:12]).all()
            m.d.comb += complete.eq((~c.tensor | self.tensor.ready) & (~c.twait | engines_idle))
        m.d.comb += [
            self.issue.ready.eq(~valid | complete | self.redirect.valid),
            # Of instructions that write, these can fault after decode.
            self.write_back.valid.eq(
                active
                & Mux(
                    c.several,
                    third | (second & ~c.load & ~(c.jalr & bad_address)),
                    ~(c.jal & bad_target),
                )
                & c.writes
            ),
            self.write_back.forward.eq(valid & c.writes),
            self.write_back.register.eq(x.word[0:5]),
            self.write_back.data.eq(
                # `slow` and `loaded` are 0 but in the phase in which they are the result.
                _only(c.sum, alu.sum) | (alu.less & c.compare) | alu.bits | slow | aligner.loaded
            ),
            # Loose, for speed: reading for a load that is dropped, or twice, does no harm.
            self.steal.valid.eq(valid & c.load & ~third & ~self.redirect.valid),
            self.steal.address.eq(alu.sum[2:]),
            self.write.valid.eq(active & second & c.store & ~bad_address & ~in_window),
            self.storing.eq(second & c.store),
            self.done.eq(active & c.tdone),
            self.waits.eq(active & c.twait),
            self.exit_code.eq(x.a),
        ]
        m.d.sync += [
            self.retired.eq(active & complete & ~fault),
            slow.eq(Mux(first, slow_result, 0)),
            aligner.word.eq(
                _only(loaded & ~in_window, self.data)
                | _only(loaded & in_window, self.window.response.data)
            ),
            second.eq(
                active
                & ~complete
                & ((first & c.several & first_over) | (second & c.store) | (remote & ~answered))
            ),
            third.eq(loaded),
        ]
        with m.If(~second):
            m.d.sync += address.eq(alu.sum)
        with m.If(self.issue.ready):
            m.d.sync += [x.eq(self.issue.payload), valid.eq(self.issue.valid)]
        with m.If(~self.enable | self.redirect.valid | fault | self.done):
            m.d.sync += valid.eq(0)
        self._redirect(m, x, address, active & ~fault, second, taken)
        return m

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
        ]
        # `idle` is right two cycles after the last transfer, its registered copy three.
        self._idle = Signal(4)
        recent = Signal(2)
        accepted = self.tensor.valid & self.tensor.ready
        m.d.sync += [self._idle.eq(self.idle), recent.eq(Cat(accepted, recent[0]))]
        return ~recent.any()

    def _slow(
        self, m: Module, x: data.View, first: Signal, settled: Signal
    ) -> tuple[Signal, Signal]:
        """Return when the first phase is over, and the results that pass through a register."""
        c = x.control
        m.submodules.shifter = shifter = Shifter()
        reads_idle = x.word[8] == StatusWord.IDLE
        link = Cat(C(0, 2), (x.pc + 1)[: self._width + 1])
        m.d.comb += [
            shifter.value.eq(x.a),
            shifter.amount.eq(x.b[:5]),
            shifter.right.eq(x.word[7]),
            shifter.arithmetic.eq(x.word[23]),
        ]
        over = ~(c.tread & reads_idle) | settled
        result = (
            _only(c.shift, shifter.result)
            | _only(c.tread, Mux(reads_idle, self._idle, self.cycles))
            | _only(c.jalr, link)
        )
        if self._multiply:
            m.submodules.muldiv = muldiv = MultiplyDivide()
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
        no_code = address[program:].any()
        # A bit of their own tells the memories apart; it counts for none of the two.
        both = max(program, window)
        beyond = address[both:_WINDOW_BIT].any() | address[_WINDOW_BIT + 1 :].any()
        no_data = beyond | Mux(
            address[_WINDOW_BIT], address[window:both].any(), address[program:both].any()
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
        good: Signal,
        second: Signal,
        taken: Signal,
    ) -> None:
        c = x.control
        pc = self.redirect.pc
        m.d.sync += self.redirect.valid.eq(
            self.restart
            | (good & ((c.branch & (taken ^ x.predicted)) | c.fence_i | (c.jalr & second)))
        )
        with m.If(self.restart):
            m.d.sync += pc.eq(0)
        with m.Elif(c.jalr):
            m.d.sync += pc.eq(address[2 : self._width + 2])
        with m.Elif(c.fence_i | x.predicted):
            m.d.sync += pc.eq(x.pc + 1)
        with m.Else():
            m.d.sync += pc.eq(x.target[2 : self._width + 2])

    def _report(
        self,
        m: Module,
        x: data.View,
        address: Signal,
        fault: Signal,
        second: Signal,
        misaligned: Signal,
    ) -> None:
        """Drive `fault`; see Fault for what its members mean."""
        c = x.control
        report = self.fault
        here = Cat(C(0, 2), x.pc)
        m.d.comb += [report.valid.eq(fault), report.address.eq(here), report.pc.eq(here)]
        with m.If(x.bad):
            with m.If(x.pc[-1]):
                m.d.comb += report.cause.eq(Cause.FETCH_FAULT)
            with m.Elif(c.illegal):
                m.d.comb += report.cause.eq(Cause.ILLEGAL_INSTRUCTION)
            with m.Elif(c.ebreak):
                m.d.comb += report.cause.eq(Cause.BREAKPOINT)
            with m.Else():
                m.d.comb += report.cause.eq(Cause.ENVIRONMENT_CALL)
        with m.Elif(c.load | c.store):
            m.d.comb += report.address.eq(address)
            with m.If(misaligned):
                m.d.comb += report.cause.eq(Cause.MISALIGNED)
            with m.Else():
                m.d.comb += report.cause.eq(Mux(c.load, Cause.LOAD_FAULT, Cause.STORE_FAULT))
        with m.Else():
            target = Signal(32)
            m.d.comb += [
                target.eq(Mux(c.jalr, Cat(0, address[1:]), x.target)),
                report.address.eq(target),
            ]
            with m.If(target[1]):
                m.d.comb += report.cause.eq(Cause.MISALIGNED)
            with m.Else():
                m.d.comb += [report.cause.eq(Cause.FETCH_FAULT), report.pc.eq(target)]


def _only(select: Signal, value: Signal) -> Signal:
    """Return `value` where `select` is high, else 0."""
    return value & select.replicate(len(value))
