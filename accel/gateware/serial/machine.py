"""The serial machine: one datapath and its microcode are controller, engines and registers."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.axi import AXI4LiteSignature, AXI4Signature, Burst, Response
from accel.gateware.decoder import Decoder
from accel.gateware.serial.assembler import (
    ADDRESS_BITS,
    Action,
    Condition,
    Mode,
    Source,
    Word,
)
from accel.gateware.serial.datapath import (
    Accumulator,
    RegisterFile,
    aligned,
    immediate,
    stored,
)
from accel.gateware.serial.tile import TileRunner
from accel.gateware.spram import SpramBank
from accel.isa import WINDOW_BASE
from accel.regmap import REGISTERS

__all__ = ["PROGRAM_BASE", "SUMS_BASE", "SerialMachine"]

PROGRAM_BASE = 0x8000
"""Byte address of program memory in the machine's memory; the scratchpad's is 0."""

SUMS_BASE = 0x10000
"""Byte address from which on the sums are read."""

_WINDOW_BIT = WINDOW_BASE.bit_length() - 1


class SerialMachine(wiring.Component):
    """Executes microcode.

    Parameters
    ----------
    microcode : list of int
        Microinstructions, see accel.gateware.serial.assembler.
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
        self._bad, self._misaligned, self._chip = (
            Signal(name=name) for name in ("bad", "misaligned", "chip")
        )
        self._live = Signal()
        self._host(m)
        self._bus(m)
        self._cycles(m)
        self._remember(m)
        self._operate(m)
        self._sequence(m)
        return m

    def _host(self, m: Module) -> None:
        """Answer the host's accesses."""
        bus, does = self.s_axi, self._does
        self._host_writes, self._host_reads = Signal(), Signal()
        writes = Signal()
        answer = self._answer = Signal()
        m.d.comb += [
            self._host_writes.eq(bus.awvalid & bus.wvalid & ~bus.bvalid),
            self._host_reads.eq(bus.arvalid & ~bus.rvalid),
            answer.eq(bus.bvalid | bus.rvalid),
            bus.awready.eq(does[Action.HWRITE]),
            bus.wready.eq(does[Action.HWRITE]),
            bus.arready.eq(does[Action.HREAD]),
            bus.rdata.eq(self._accumulator.value),
        ]
        # Asking for writes decides which access is served: the other one may come meanwhile.
        with m.If(self._word.condition == Condition.HWRITE):
            m.d.sync += writes.eq(self._host_writes)
        address = self._host_address = Signal(12)
        m.d.comb += address.eq(Mux(writes, bus.awaddr, bus.araddr))
        known = self._known = Signal()
        m.d.comb += known.eq(
            ~address[8:].any() & Cat(address[2:8] == r.offset >> 2 for r in REGISTERS).any()
        )
        response = Mux(known, Response.OKAY, Response.SLVERR)
        for name, action, error in (
            ("b", Action.HWRITE, bus.bresp),
            ("r", Action.HREAD, bus.rresp),
        ):
            valid, ready = getattr(bus, f"{name}valid"), getattr(bus, f"{name}ready")
            with m.If(does[action]):
                m.d.sync += [valid.eq(1), error.eq(response)]
            with m.Elif(ready):
                m.d.sync += valid.eq(0)
        with m.If(does[Action.IRQ]):
            m.d.sync += self.irq.eq(self._accumulator.value[0])
        with m.If(does[Action.STATE]):
            m.d.sync += [
                self.busy.eq(self._accumulator.value[0]),
                self.error.eq(self._accumulator.value[2]),
            ]

    def _bus(self, m: Module) -> None:
        """Bursts: the accumulator and the counter hold while something is offered."""
        axi, does = self.m_axi, self._does
        value = self._accumulator.value
        self._offered, self._error = Signal(), Signal()
        m.d.comb += [
            self._offered.eq(axi.arvalid | axi.awvalid | axi.wvalid),
            axi.wdata.eq(value),
            axi.wstrb.eq(0b1111),
            axi.wlast.eq(self._counter == 0),
            # Only one of them can have something.
            axi.rready.eq(does[Action.POP]),
            axi.bready.eq(does[Action.POP]),
        ]
        for name in ("ar", "aw"):
            m.d.comb += [
                getattr(axi, f"{name}addr").eq(value),
                getattr(axi, f"{name}len").eq(self._counter),
                getattr(axi, f"{name}size").eq(2),
                getattr(axi, f"{name}burst").eq(Burst.INCR),
            ]
        for name in ("ar", "aw", "w"):
            valid, ready = getattr(axi, f"{name}valid"), getattr(axi, f"{name}ready")
            with m.If(does[Action[name.upper()]]):
                m.d.sync += valid.eq(1)
            with m.Elif(ready):
                m.d.sync += valid.eq(0)
        with m.If(does[Action.CLEAN]):
            m.d.sync += self._error.eq(0)
        wrong = (axi.rvalid & axi.rresp[1]) | (axi.bvalid & axi.bresp[1])
        with m.If(does[Action.POP] & wrong):
            m.d.sync += self._error.eq(1)

    def _cycles(self, m: Module) -> None:
        does = self._does
        cycles = self._cycles_value = Signal(32, reset_less=True)
        counts = Signal()
        step = self._step = Signal()
        with m.If(does[Action.RUN]):
            m.d.sync += [cycles.eq(1), counts.eq(1)]
        with m.Elif(counts):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(does[Action.STOP]):
            m.d.sync += counts.eq(0)
        with m.If(counts & (cycles[:12] == 0)):
            m.d.sync += step.eq(1)
        with m.Elif(~counts | (self._word.condition == Condition.STEP)):
            m.d.sync += step.eq(0)

    def _remember(self, m: Module) -> None:
        """Scratchpad, program, weights and tables in one memory, the sums beside it."""
        does, tile, now = self._does, self._tile, self._now
        result, value = self._accumulator.result, self._accumulator.value
        m.submodules.memory = memory = SpramBank(width=32, target=self._target)
        funct3 = self._instruction[12:15]
        by_program, by_processor = Signal(), Signal()
        window = result[_WINDOW_BIT] & by_processor
        program_bits, scratchpad_bits = self._program_bits, self._scratchpad_bits
        other = Cat(result[:_WINDOW_BIT], result[_WINDOW_BIT + 1 :])
        outside = Signal()  # of program memory or window
        lane, of_sums = Signal(2, reset_less=True), Signal(reset_less=True)
        size = Signal(2)
        address = Signal(14)
        misaligned = Signal()
        m.d.comb += [
            by_processor.eq(does[Action.RDX] | does[Action.WRX]),
            by_program.eq(by_processor | does[Action.RDP]),
            outside.eq(
                other[scratchpad_bits:].any()
                | (~window & (result[program_bits:scratchpad_bits].any() | result[_WINDOW_BIT]))
            ),
            misaligned.eq((funct3[:2].any() & result[0]) | (funct3[1] & result[1])),
            address.eq(result[2:16]),
        ]
        with m.If(by_program & ~window):
            m.d.comb += address.eq(PROGRAM_BASE >> 2 | result[2:program_bits])
        with m.If(by_program):
            m.d.sync += self._bad.eq(outside)
        with m.If(by_processor):
            m.d.sync += self._misaligned.eq(misaligned)
        m.d.sync += [lane.eq(result), of_sums.eq(result[16])]
        scratch = Signal()
        m.d.comb += scratch.eq(
            (does[Action.RDS] | does[Action.WRS]) & result[scratchpad_bits:22].any()
        )
        with m.If(does[Action.CLEAN]):
            m.d.sync += self._chip.eq(0)
        with m.Elif(scratch | tile.outside):
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
                        Mux(funct3[0], 0b11 << (result[1] << 1), 1 << result[:2]),
                    )
                    & (~(outside | misaligned)).replicate(4)
                ),
            ]
        with m.Elif(does[Action.WRB] | (does[Action.WRS] & ~scratch)):
            m.d.comb += strobes.eq(1 << result[:2])
        m.d.comb += [
            memory.address.eq(Mux(tile.busy, tile.address, address)),
            memory.write_data.eq(stored(value, size)),
            memory.write_enable.eq(strobes),
            tile.data.eq(memory.read_data),
            tile.sum_address.eq(result[2:11]),
        ]
        read = self._read = Signal(32)
        m.d.comb += read.eq(Mux(of_sums, tile.sum_data, memory.read_data))
        # A byte, signed, is what funct3 0 means.
        self._part = aligned(read, lane, Mux(now.source == Source.BYTE, 0, funct3))

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
        operand = accumulator.operand
        with m.Switch(now.source):
            for source, chosen in (
                (Source.HIGH, registers.value[16:]),
                (Source.LOW, registers.value[:16]),
                (Source.IMMEDIATE, immediate(instruction)),
                (Source.WORD, self._read),
                (Source.PART, self._part),
                (Source.BYTE, self._part),
                (Source.ACCUMULATOR, accumulator.value),
                (Source.MULTIPLIER, accumulator.multiplier),
                (Source.READ_DATA, self.m_axi.rdata),
                (Source.HOST_DATA, self.s_axi.wdata),
                (Source.HOST_ADDRESS, Cat(self._host_address, Const(0, 4), tile.entries)),
                (Source.CYCLES, self._cycles_value),
            ):
                with m.Case(source):
                    m.d.comb += operand.eq(chosen)
            with m.Default():
                m.d.comb += operand.eq(registers.value)
        with m.If(does[Action.IR]):
            m.d.sync += instruction.eq(accumulator.result)
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
            accumulator.operation.eq(now.operation),
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
            tile.pad.eq(accumulator.result),
            tile.load_pad.eq(does[Action.PAD]),
            tile.weights.eq(self._read),
            tile.previous.eq(accumulator.multiplier),
            tile.load.eq(Cat(does[Action.LOW], does[Action.HIGH])),
        ]

    @property
    def _conditions(self) -> dict[Condition, Value]:
        value, flags = self._accumulator.value, self._accumulator.flags
        zero = value == 0
        funct3 = self._instruction[12:15]
        taken = Mux(funct3[2], Mux(funct3[1], ~flags.ge, flags.lt), zero) ^ funct3[0]
        return {
            Condition.ALWAYS: Const(1),
            Condition.Z: zero,
            Condition.N: value[31],
            Condition.GE: flags.ge,
            Condition.LT: flags.lt,
            Condition.CNZ: self._counter.any(),
            Condition.TAKEN: taken,
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
            Condition.ILLEGAL: self._decoder.control.illegal,
            Condition.CHIP: self._chip,
            Condition.A0: value[0],
            Condition.STEP: self._step,
            Condition.KNOWN: self._known,
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
        conditions = self._conditions
        holds = Signal()
        m.d.comb += holds.eq(1)
        with m.Switch(word.condition):
            for condition, signal in conditions.items():
                with m.Case(condition):
                    m.d.comb += holds.eq(signal)
        m.d.comb += [
            word.eq(port.data),
            following.eq(here + 1),
            coming.eq(following),
            port.addr.eq(coming),
        ]
        goes = holds ^ word.negate
        with m.If(goes):
            m.d.comb += coming.eq(word.target)
        with m.Switch(word.condition):
            with m.Case(Condition.RETURN):
                m.d.comb += coming.eq(stack[0])
                m.d.sync += stack[0].eq(stack[1])
            with m.Case(Condition.OPCODE):
                m.d.comb += coming[:5].eq(self._instruction[2:7])
            with m.Case(Condition.FUNCT3):
                m.d.comb += coming[:3].eq(self._instruction[12:15])
            with m.Case(Condition.CHOOSE):
                m.d.comb += coming[:3].eq(self._accumulator.value[:3])
        with m.If(word.call & goes):
            m.d.sync += Cat(stack).eq(Cat(following, stack[0]))
        # The first instruction comes a cycle after reset.
        m.d.sync += [self._live.eq(1), here.eq(coming)]
        with m.If(self._live):
            m.d.sync += self._now.eq(word)
        with m.Else():
            m.d.comb += coming.eq(0)
