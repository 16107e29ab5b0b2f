"""The serial machine: one datapath and its microcode are controller, engines and registers."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.axi import AXI4LiteSignature, AXI4Signature
from accel.gateware.decoder import Decoder
from accel.gateware.serial.datapath import (
    Accumulator,
    RegisterFile,
    aligned,
    immediate,
    stored,
)
from accel.gateware.serial.microword import (
    ADDRESS_BITS,
    Action,
    Condition,
    Mode,
    Source,
    Word,
)
from accel.gateware.serial.ports import MachinePorts
from accel.gateware.serial.tile import TileRunner
from accel.gateware.spram import SpramBank
from accel.isa import WINDOW_BASE

__all__ = ["PROGRAM_BASE", "SUMS_BASE", "SerialMachine"]

PROGRAM_BASE = 0x8000
"""Byte address of program memory in the machine's memory; the scratchpad's is 0."""

SUMS_BASE = 0x10000
"""Byte address from which on the sums are read."""

_OF_MEMORY = (Source.WORD, Source.PART, Source.BYTE)
_WINDOW_BIT = WINDOW_BASE.bit_length() - 1


class SerialMachine(MachinePorts, wiring.Component):
    """Executes microcode.

    Parameters
    ----------
    microcode : list of int
        Microinstructions, see accel.gateware.serial.microword.
    constants : dict of int to int
        What registers hold from the start.
    scratchpad_bytes, program_bytes : int
        Powers of two, at most 32 and 16 KiB.
    target : str
        "ice40": its DSP and SPRAM blocks.

    Members
    -------
    s_axi : In(AXI4LiteSignature(12))
        Control registers. Strobes are not looked at: a register is written whole.
    m_axi : Out(AXI4Signature(data_bits=32))
    irq, busy, error : Out(1)
    """

    def __init__(
        self,
        *,
        microcode: list[int],
        constants: dict[int, int],
        scratchpad_bytes: int,
        program_bytes: int,
        target: str = "generic",
    ) -> None:
        self._microcode = microcode
        self._constants = constants
        self._scratchpad_bits = (scratchpad_bytes - 1).bit_length()
        self._program_bits = (program_bytes - 1).bit_length()
        self._target = target
        super().__init__(
            {
                "s_axi": In(AXI4LiteSignature(12)),
                "m_axi": Out(AXI4Signature(data_bits=32)),
                "irq": Out(1),
                "busy": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accumulator = self._accumulator = Accumulator()
        m.submodules.tile = self._tile = TileRunner(
            words=(1 << self._scratchpad_bits) // 4, target=self._target
        )
        self._instruction = Signal(32, reset_less=True)
        self._counter = Signal(10, reset_less=True)
        self._word = Signal(Word)  # decided in this cycle
        self._now = Signal(Word, init={"keep": 1})  # carried out in this cycle
        self._place = Signal(9)  # its register
        self._does = {
            action: Signal(name=f"does_{action.name.lower()}") for action in Action if action
        }
        for action, signal in self._does.items():
            m.d.comb += signal.eq(self._now.action == action)
        self._bad, self._misaligned, self._chip, self._outside = (
            Signal(name=name) for name in ("bad", "misaligned", "chip", "outside")
        )
        self._live = Signal()
        self._host(m)
        self._bus(m)
        self._cycles(m)
        self._remember(m)
        self._operate(m)
        self._sequence(m)
        return m

    def _remember(self, m: Module) -> None:
        """Scratchpad, program, weights and tables in one memory, the sums beside it."""
        does, tile = self._does, self._tile
        result, value = self._accumulator.result, self._accumulator.value
        m.submodules.memory = memory = SpramBank(width=32, target=self._target)
        funct3 = self._instruction[12:15]
        program_bits, scratchpad_bits = self._program_bits, self._scratchpad_bits
        by_processor, by_engine = Signal(), Signal()
        lane, of_sums = Signal(2, reset_less=True), Signal(reset_less=True)
        self._lane = lane
        size = Signal(2)
        # The processor's address is in the accumulator: it is looked at before it is used.
        window = value[_WINDOW_BIT]
        past_program, past_window = Signal(), Signal()
        outside, misaligned = Signal(), Signal()
        m.d.comb += [
            by_processor.eq(does[Action.RDX] | does[Action.WRX]),
            by_engine.eq(does[Action.RDS] | does[Action.WRS]),
            past_window.eq(
                value[_WINDOW_BIT + 1 :].any() | value[scratchpad_bits:_WINDOW_BIT].any()
            ),
            past_program.eq(past_window | window | value[program_bits:scratchpad_bits].any()),
            self._outside.eq(past_program),
            outside.eq(Mux(window, past_window, past_program)),
            misaligned.eq((funct3[:2].any() & value[0]) | (funct3[1] & value[1])),
        ]
        with m.If(by_processor):
            m.d.sync += [self._bad.eq(outside), self._misaligned.eq(misaligned)]
        # A sum is used as late as it comes: little may be decided behind it.
        address = Signal(14)
        m.d.comb += address.eq(result[2:])
        with m.If(does[Action.RDP] | (by_processor & ~window)):
            m.d.comb += address[program_bits - 2 :].eq(PROGRAM_BASE >> program_bits)
        with m.If(by_engine | (by_processor & window)):
            # Outside the scratchpad they wrap, until the machine stops.
            m.d.comb += address[scratchpad_bits - 2 :].eq(0)
        m.d.sync += [lane.eq(result), of_sums.eq(result[16] & ~by_processor)]
        engine_q = Signal()
        upper = Signal(22 - scratchpad_bits, reset_less=True)
        m.d.sync += [engine_q.eq(by_engine), upper.eq(result[scratchpad_bits:])]
        with m.If(does[Action.CLEAN]):
            m.d.sync += self._chip.eq(0)
        with m.Elif((engine_q & upper.any()) | tile.outside):
            m.d.sync += self._chip.eq(1)
        strobes = Signal(4)
        with m.If(does[Action.WR]):
            m.d.comb += [size.eq(2), strobes.eq(0b1111)]
        with m.Elif(does[Action.WRX]):
            m.d.comb += [
                size.eq(funct3),
                strobes.eq(
                    Mux(
                        funct3[1],
                        0b1111,
                        Mux(funct3[0], 0b11 << (value[1] << 1), 1 << value[:2]),
                    )
                    & (~(outside | misaligned)).replicate(4)
                ),
            ]
        with m.Elif(does[Action.WRB] | does[Action.WRS]):
            m.d.comb += strobes.eq(1 << result[:2])
        m.d.comb += [
            memory.address.eq(Mux(tile.busy, tile.address, address)),
            memory.write_data.eq(
                stored(Mux(does[Action.WRX], self._accumulator.multiplier, value), size)
            ),
            memory.write_enable.eq(strobes),
            tile.data.eq(memory.read_data),
            tile.sum_address.eq(result[2:11]),
        ]
        read = self._read = Signal(32)
        m.d.comb += read.eq(Mux(of_sums, tile.sum_data, memory.read_data))

    def _operate(self, m: Module) -> None:
        """Choose the operand, and do what needs nothing but the result."""
        does, now, word = self._does, self._now, self._word
        accumulator, tile = self._accumulator, self._tile
        m.submodules.registers = registers = RegisterFile(self._constants)
        coming = Signal(9)
        m.d.comb += coming.eq(word.register)
        instruction = self._instruction
        engine = Cat(instruction[25:29], instruction[30:32], Const(1, 2))
        host = self._host_address[2:8]
        with m.If(word.named):
            with m.Switch(word.register[:3]):
                for mode, register in (
                    (Mode.RS1, instruction[15:20]),
                    (Mode.RS2, instruction[20:25]),
                    (Mode.RD, instruction[7:12]),
                    (Mode.EVEN, Cat(Const(0, 1), engine)),
                    (Mode.ODD, Cat(Const(1, 1), engine)),
                    (Mode.HOST, Cat(host, Const(0b001, 3))),
                    (Mode.MASK, Cat(host, Const(0b101, 3))),
                    (Mode.ENGINE, Cat(word.register[3:8], instruction[30:32], Const(1, 2))),
                ):
                    with m.Case(mode):
                        m.d.comb += coming.eq(register)
        m.d.sync += self._place.eq(coming)
        # A register has the shortest way: it comes late.
        immediate_q, other = Signal(32, reset_less=True), Signal(32)
        plain = Signal()
        m.d.sync += [
            plain.eq(word.source == Source.REGISTER),
            immediate_q.eq(immediate(instruction)),
        ]
        m.d.comb += accumulator.operand.eq(Mux(plain, registers.value, other))
        with m.Switch(now.source):
            for source, chosen in (
                (Source.IMMEDIATE, immediate_q),
                (Source.ACCUMULATOR, accumulator.value),
                (Source.MULTIPLIER, accumulator.multiplier),
            ):
                with m.Case(source):
                    m.d.comb += other.eq(chosen)
        # A byte, signed, is what funct3 0 means, a word funct3 2.
        lane, funct3 = self._lane, Signal(3, reset_less=True)
        with m.Switch(word.source):
            for source, kind in ((Source.BYTE, 0), (Source.WORD, 2)):
                with m.Case(source):
                    m.d.sync += funct3.eq(kind)
            with m.Default():
                m.d.sync += funct3.eq(instruction[12:15])
        from_memory = Signal()
        m.d.sync += from_memory.eq(word.source.matches(*_OF_MEMORY))
        loaded = Signal(32)
        with m.Switch(now.source):
            for source, chosen in (
                (Source.HIGH, registers.value[16:]),
                (Source.LOW, registers.value[:16]),
                (Source.READ_DATA, self.m_axi.rdata),
                (Source.HOST_DATA, self.s_axi.wdata),
                (Source.HOST_ADDRESS, Cat(self._host_address, Const(0, 4), tile.entries)),
                (Source.CYCLES, self._cycles_value),
            ):
                with m.Case(source):
                    m.d.comb += loaded.eq(chosen)
        part = aligned(self._read, lane, funct3)
        m.d.comb += accumulator.loaded.eq(Mux(from_memory, part, loaded))
        with m.If(does[Action.IR]):
            m.d.sync += instruction.eq(accumulator.coming)
        with m.If(does[Action.LDC]):
            m.d.sync += self._counter.eq(accumulator.result)
        with m.Elif(word.decrement & self._live):
            m.d.sync += self._counter.eq(self._counter - 1)
        m.d.comb += [
            registers.read_address.eq(coming),
            registers.write_address.eq(self._place),
            registers.write_value.eq(accumulator.coming),
            # x0 stays 0.
            registers.write_enable.eq(now.write & self._place.any()),
            accumulator.operation.eq(word.operation),
            accumulator.factor.eq(registers.value),
            accumulator.keep.eq(now.keep),
            accumulator.load_multiplier.eq(does[Action.LDQ]),
            tile.value.eq(accumulator.value),
            tile.clear.eq(does[Action.CLEAN]),
            tile.place.eq(does[Action.PTA]),
            tile.coordinates.eq(does[Action.PTYX]),
            tile.first.eq(does[Action.TILE]),
            tile.sums.eq(does[Action.SUMS]),
            tile.size.eq(does[Action.SIZE]),
            tile.go.eq(does[Action.GO]),
            tile.pad.eq(accumulator.coming),
            tile.load_pad.eq(does[Action.PAD]),
            tile.weights.eq(self._read),
            tile.previous.eq(accumulator.multiplier),
            tile.load.eq(Cat(does[Action.LOW], does[Action.HIGH])),
        ]

    @property
    def _conditions(self) -> dict[int, Value]:
        """What jumps look at, but for Z, and for those that look at nothing."""
        value, flags = self._accumulator.value, self._accumulator.flags
        return {
            Condition.N: value[31],
            Condition.GE: flags.ge,
            Condition.LT: flags.lt,
            Condition.CNZ: self._counter.any(),
            Condition.TAKEN: self._taken,
            Condition.BAD: self._bad,
            Condition.MISALIGNED: self._misaligned,
            Condition.CALLED: self._host_writes | self._host_reads | self._step,
            Condition.RVALID: self.m_axi.rvalid,
            Condition.OFFERED: self._offered,
            Condition.BVALID: self.m_axi.bvalid,
            Condition.HREAD: self._host_reads,
            Condition.HWRITE: self._host_writes,
            Condition.BUSY: self._tile.busy,
            Condition.A1: value[1],
            Condition.ERROR: self._error,
            Condition.ANSWER: self._answer,
            Condition.CHIP: self._chip,
            Condition.A0: value[0],
            Condition.STEP: self._step,
            Condition.OUTSIDE: self._outside,
            Condition.BIT31: self._instruction[31],
            Condition.BIT30: self._instruction[30],
            Condition.BIT25: self._instruction[25],
            Condition.BIT15: self._instruction[15],
        }

    def _sequence(self, m: Module) -> None:
        """Decide which instruction comes next."""
        word = self._word
        m.submodules.decoder = self._decoder = Decoder(multiply=False, machine_mode=False)
        m.d.comb += self._decoder.word.eq(self._instruction)
        m.submodules.microcode = microcode = Memory(
            shape=Word, depth=1 << ADDRESS_BITS, init=[Word.from_bits(w) for w in self._microcode]
        )
        port = microcode.read_port()
        here, following, coming = (
            Signal(ADDRESS_BITS, name=name) for name in ("here", "following", "coming")
        )
        stack = [Signal(ADDRESS_BITS, name=f"return_{i}", reset_less=True) for i in range(2)]
        flags, funct3 = self._accumulator.flags, self._instruction[12:15]
        zero, illegal = Signal(), Signal(reset_less=True)
        taken = self._taken = Signal(reset_less=True)
        m.d.comb += zero.eq(self._accumulator.value == 0)
        m.d.sync += [
            taken.eq(Mux(funct3[2], Mux(funct3[1], ~flags.ge, flags.lt), zero) ^ funct3[0]),
            illegal.eq(self._decoder.control.illegal),
        ]
        conditions = self._conditions
        holds, goes, target = Signal(), Signal(), Signal(ADDRESS_BITS)
        looked_at = Cat(conditions.get(number, Const(1)) for number in range(32))
        m.d.comb += [
            word.eq(port.data),
            following.eq(here + 1),
            holds.eq(looked_at.bit_select(word.condition, 1)),
            # Whether all bits are 0 is known late.
            goes.eq(Mux(word.condition == Condition.Z, zero, holds) ^ word.negate),
            target.eq(word.target),
            # Whether to go is decided late.
            coming.eq(Mux(goes, target, following)),
            port.addr.eq(coming),
        ]
        with m.Switch(word.condition):
            with m.Case(Condition.RETURN):
                m.d.comb += target.eq(stack[0])
                m.d.sync += stack[0].eq(stack[1])
            with m.Case(Condition.OPCODE):
                m.d.comb += target[:5].eq(self._instruction[2:7] | illegal.replicate(5))
            with m.Case(Condition.FUNCT3):
                m.d.comb += target[:3].eq(self._instruction[12:15])
            with m.Case(Condition.CHOOSE):
                m.d.comb += target[:3].eq(self._accumulator.value[:3])
        with m.If(word.call & goes):
            m.d.sync += Cat(stack).eq(Cat(following, stack[0]))
        # The first instruction comes a cycle after reset.
        m.d.sync += [self._live.eq(1), here.eq(coming)]
        with m.If(self._live):
            m.d.sync += self._now.eq(word)
        with m.Else():
            m.d.comb += coming.eq(0)
