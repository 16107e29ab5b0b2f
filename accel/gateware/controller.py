"""The RISC-V controller: RV32I, optionally M, and the tensor instructions."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.bits import only
from accel.gateware.decoder import Decoder
from accel.gateware.execute import Execute
from accel.gateware.fetch import TARGET_BITS, Fetch
from accel.gateware.parity import ParityReport, mismatch
from accel.gateware.ports import PC_BITS, TensorOperation, WritePort
from accel.gateware.program import ProgramMemory
from accel.gateware.registers import RegisterFile
from accel.gateware.rvfi import RetirementPort, RvfiSignature
from accel.gateware.traps import Fault
from accel.gateware.window import WindowPort
from accel.isa import WINDOW_BASE

__all__ = ["Controller"]

_LARGEST = 1 << (TARGET_BITS - 2)


class Controller(wiring.Component):
    """In-order core: two cycles of fetch, decode with register read, execute.

    A program starts at the first word of its memory and ends with TDONE, or with a trap while mtvec
    names no handler. Registers x1 to x31 keep what the last program left in them, CSRs start anew.
    A store into code is seen by instructions behind a FENCE.I or a taken jump. Machine mode only;
    CSRs and traps: accel.riscv. MRET to an address outside the program memory finds nothing right
    behind it.

    Parameters
    ----------
    program_bytes : int
        Size of the program memory, a power of two, 1 KiB to 1 MiB.
    window_bytes : int
        Size of the memory behind `window`, a power of two, 2 KiB to 4 MiB.
    base : int
        First byte address of the program memory: a multiple of 4 MiB, not the window's.
    multiply : bool
        The M extension.
    target : str
        See Multiplier.
    rvfi : bool
        Add the port `rvfi`; nothing else changes.
    parity : bool
        Keep a parity bit with each byte of program memory.

    Members
    -------
    start : In(1)
        Run from the first word.
    halt : In(1)
        Stop; wins over `start`.
    running : Out(1)
    done : Out(1)
        One cycle, when TDONE executes; `running` falls next.
    exit_code : Out(32)
        Valid with `done`.
    fault : Out(Fault)
        `valid` for one cycle, in which `running` has fallen.
    program : In(WritePort(address_width, 32))
        From the load engine, into program memory: always ready.
    tensor : Out(stream.Signature(TensorOperation))
        TSET, TADD and TPUSH, checked for legality.
    window : Out(WindowPort(address_width))
        Loads and stores from accel.isa.WINDOW_BASE on.
    idle : In(4)
        Bit per engine: TWAIT need not wait. Must have fallen two cycles after the cycle in which a
        tensor operation was accepted; TWAIT and TREAD IDLE look at it from then on.
    interrupt : In(1)
        Level; mip's MEIP.
    waits : Out(1)
        In a TWAIT.
    retired : Out(1)
        An instruction was completed in the last cycle; TDONE counts, one that traps does not.
    pc : Out(PC_BITS)
        Word address of the instruction that executes, or was the last to do so.
    rvfi : Out(RvfiSignature)
        With parameter `rvfi` only.
    parity : Out(ParityReport(1, address_width))
        With parameter `parity` only: the instruction that executes, or the word that it loads, was
        wrong. In the cycle in which the instruction begins or the load ends.

    Latency
    -------
    One cycle per instruction, but: taken backward branch and JAL 2; other taken branch, or a
    backward one not taken, 4; FENCE.I 4; JALR 5; load 3; store 2, more while the load engine writes
    program memory; load and store in the window 3 and its time; shift 3;
    TREAD IDLE, TWAIT and WFI 2, and what they wait; mul* 8, div* and rem* 37; tensor
    operations until they are accepted; CSR instructions, TREAD CYCLES and MRET 13 to 19, traps 17
    to 23, up to 16 more at the start of a program.
    """

    def __init__(
        self,
        *,
        program_bytes: int,
        window_bytes: int,
        multiply: bool,
        target: str = "generic",
        base: int = 0,
        rvfi: bool = False,
        parity: bool = False,
    ) -> None:
        self._parity = parity
        self._rvfi = rvfi
        self._target = target
        if not 1024 <= program_bytes <= _LARGEST or program_bytes & (program_bytes - 1):
            raise ValueError(
                f"Program bytes must be a power of two from 1024 to {_LARGEST}, "
                f"not {program_bytes!r}"
            )
        if base % (1 << TARGET_BITS) or not 0 <= base < 1 << 32 or base & WINDOW_BASE:
            raise ValueError(
                f"Base must be a multiple of {1 << TARGET_BITS:#x} below 2**32 without bit "
                f"{WINDOW_BASE.bit_length() - 1}, not {base!r}"
            )
        self._base = base
        if not 2048 <= window_bytes <= 1 << 22 or window_bytes & (window_bytes - 1):
            raise ValueError(
                f"Window bytes must be a power of two from 2048 to {1 << 22}, not {window_bytes!r}"
            )
        self._address_width = (program_bytes // 4 - 1).bit_length()
        self._window_width = (window_bytes // 4 - 1).bit_length()
        self._multiply = multiply
        super().__init__(
            {
                "start": In(1),
                "halt": In(1),
                "running": Out(1),
                "done": Out(1),
                "exit_code": Out(32),
                "fault": Out(Fault),
                "program": In(WritePort(self._address_width, 32)),
                "tensor": Out(stream.Signature(TensorOperation)),
                "window": Out(WindowPort(self._window_width)),
                "idle": In(4),
                "interrupt": In(1),
                "waits": Out(1),
                "retired": Out(1),
                "pc": Out(PC_BITS),
                **({"rvfi": Out(RvfiSignature())} if rvfi else {}),
                **({"parity": Out(ParityReport(1, self._address_width))} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = ProgramMemory(
            depth=1 << self._address_width, parity=self._parity
        )
        m.submodules.fetch = fetch = Fetch(address_width=self._address_width, parity=self._parity)
        m.submodules.execute = execute = Execute(
            address_width=self._address_width,
            window_width=self._window_width,
            base=self._base,
            multiply=self._multiply,
            target=self._target,
            parity=self._parity,
        )
        m.d.comb += [
            fetch.enable.eq(self.running),
            fetch.redirect.eq(execute.redirect),
            fetch.steal.eq(execute.steal),
            fetch.data.eq(memory.core.data),
            memory.core.read.eq(fetch.read),
            memory.core.address.eq(fetch.address),
            execute.enable.eq(self.running & ~self.halt),
            execute.restart.eq(self.start),
            execute.data.eq(memory.core.data),
            execute.idle.eq(self.idle),
            execute.interrupt.eq(self.interrupt),
            self.done.eq(execute.done),
            self.exit_code.eq(execute.exit_code),
            self.waits.eq(execute.waits),
            self.retired.eq(execute.retired),
            self.fault.eq(execute.fault),
            self.pc.eq(execute.pc),
        ]
        wiring.connect(m, execute.write, memory.core.write)
        wiring.connect(m, wiring.flipped(self.program), memory.load)
        wiring.connect(m, wiring.flipped(self.tensor), execute.tensor)
        wiring.connect(m, wiring.flipped(self.window), execute.window)
        with m.If(self.start):
            m.d.sync += self.running.eq(1)
        with m.If(self.halt | self.done | execute.stop):
            m.d.sync += self.running.eq(0)
        self._decode(m, fetch, execute)
        if self._parity:
            self._check(m, memory, fetch, execute)
        return m

    def _check(self, m: Module, memory: ProgramMemory, fetch: Fetch, execute: Execute) -> None:
        """Look at every instruction as it goes to execute, and at every word that a load returns.

        What is fetched and dropped, or read for a load that is dropped, does not count.
        """
        tap, report = execute.tap, self.parity
        fetched_wrong = Signal()
        data_parity = Signal(4)
        with m.If(execute.issue.ready):
            m.d.sync += fetched_wrong.eq(mismatch(fetch.instruction.payload.word, fetch.parity))
        m.d.sync += data_parity.eq(memory.core.parity)
        # A load retires in the cycle in which its word stands in the aligner.
        ends, begins = Signal(name="program_loaded"), Signal(name="program_executed")
        in_window = tap.address[WINDOW_BASE.bit_length() - 1]
        m.d.comb += [
            ends.eq(tap.retire & tap.load & ~in_window),
            begins.eq(execute.current),
            fetch.data_parity.eq(memory.core.parity),
            report.wrong.eq((begins & fetched_wrong) | (ends & mismatch(tap.loaded, data_parity))),
            report.address.eq(Mux(ends & ~fetched_wrong, tap.address[2:], execute.pc)),
        ]

    def _decode(self, m: Module, fetch: Fetch, execute: Execute) -> None:
        """Read the operands of the fetched instruction and hand it to the execute stage."""
        fetched = fetch.instruction.payload
        issue = execute.issue.payload
        m.submodules.decoder = decoder = Decoder(multiply=self._multiply)
        m.submodules.registers = registers = RegisterFile()
        control = decoder.control
        hold = Signal()
        m.d.comb += [
            registers.result.eq(execute.write_back),
            registers.take.eq(fetch.take),
            decoder.word.eq(fetched.word),
            # Fetch follows a predicted jump at once: it must find what the store writes.
            hold.eq(execute.storing & fetched.predicted),
            execute.issue.valid.eq(fetch.instruction.valid & ~hold),
            fetch.instruction.ready.eq(execute.issue.ready & ~hold),
            issue.control.eq(control),
            issue.bad.eq(control.ecall | control.ebreak | fetched.pc[-1] | execute.pending),
            issue.interrupted.eq(execute.pending),
            issue.subtract.eq(decoder.subtract),
            issue.word.eq(fetched.word[7:]),
            issue.pc.eq(fetched.pc),
            issue.next.eq(fetched.next),
            issue.predicted.eq(fetched.predicted),
            issue.target.eq(fetched.target),
            issue.bad_target.eq(
                fetched.target[1] | fetched.target[self._address_width + 2 :].any()
            ),
        ]
        for port, field in enumerate((slice(15, 20), slice(20, 25))):
            m.d.comb += [
                registers.coming[port].eq(fetch.data[field]),
                registers.number[port].eq(fetched.word[field]),
            ]
        pc = Cat(C(0, 2), fetched.pc) | self._base
        m.d.comb += [
            registers.use[0].eq(decoder.a_is_register),
            registers.use[1].eq(decoder.b_is_register),
            registers.other[0].eq(only(decoder.a_is_pc, pc) | decoder.zimm),
            registers.other[1].eq(decoder.immediate),
            registers.invert.eq(decoder.subtract),
            issue.a.eq(registers.operand[0]),
            issue.b.eq(registers.operand[1]),
            issue.data.eq(registers.value[1]),
        ]
        if self._rvfi:
            self._show(m, fetch, execute, registers.value[0], registers.value[1])

    def _show(self, m: Module, fetch: Fetch, execute: Execute, a: Signal, b: Signal) -> None:
        """Add the retirement port beside the pipeline."""
        fetched = fetch.instruction
        m.submodules.retirement = port = RetirementPort(
            pc_width=self._address_width + 1, base=self._base
        )
        m.d.comb += [
            port.issue.eq(fetched.valid & fetched.ready),
            port.word.eq(fetched.payload.word),
            port.pc.eq(fetched.payload.pc),
            port.rs1.eq(a),
            port.rs2.eq(b),
            port.tap.eq(execute.tap),
            port.write_back.valid.eq(execute.write_back.valid),
            port.write_back.register.eq(execute.write_back.register),
            port.write_back.data.eq(execute.write_back.data),
            port.done.eq(execute.done),
            port.restart.eq(self.start),
        ]
        wiring.connect(m, wiring.flipped(self.rvfi), port.rvfi)
