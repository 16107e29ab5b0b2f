"""The host link with a small memory and registers that count, on the way to a simulator."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect

from accel.gateware.axi import AXI4Signature, Response
from accel.gateware.axi_arbiter import Axi4Arbiter
from accel.gateware.axilite import AXI4LiteTarget
from accel.gateware.link import HostLink
from accel.regmap import address

__all__ = ["BASE", "HOLE", "LinkBench", "MEMORY_BYTES"]

BASE = 0x8000_0000
MEMORY_BYTES = 16 << 10
HOLE = BASE + MEMORY_BYTES // 2
"""Word whose accesses are answered with an error."""


class SmallMemory(wiring.Component):
    """Bursts of one beat, one at a time; SLVERR at HOLE, DECERR outside, no answer at `deaf`."""

    def __init__(self, data_bits):
        self.data_bits = data_bits
        super().__init__({"bus": In(AXI4Signature(data_bits=data_bits, id_bits=2)), "deaf": In(1)})

    def elaborate(self, platform):
        m = Module()
        bus, beat = self.bus, self.data_bits // 8
        m.submodules.memory = memory = Memory(
            shape=data.ArrayLayout(8, beat), depth=MEMORY_BYTES // beat, init=[]
        )
        write, read = memory.write_port(granularity=1), memory.read_port()
        shift = (beat - 1).bit_length()
        awaits = Signal()

        def response(byte_address):
            inside = (byte_address & ~(MEMORY_BYTES - 1)) == BASE
            hole = byte_address >> shift == HOLE >> shift
            return Mux(inside, Mux(hole, Response.SLVERR, Response.OKAY), Response.DECERR)

        m.d.comb += [write.data.eq(bus.wdata), read.addr.eq(bus.araddr >> shift)]
        address_q, has_address = Signal(32), Signal()
        m.d.comb += bus.awready.eq(~has_address & ~bus.bvalid & ~self.deaf)
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [address_q.eq(bus.awaddr), bus.bid.eq(bus.awid), has_address.eq(1)]
        m.d.comb += [
            bus.wready.eq(has_address),
            write.addr.eq(address_q >> shift),
        ]
        with m.If(bus.wvalid & bus.wready):
            m.d.comb += write.en.eq(Mux(response(address_q) == Response.OKAY, bus.wstrb, 0))
            m.d.sync += [
                has_address.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(response(address_q)),
            ]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        m.d.comb += [
            bus.arready.eq(~awaits & ~bus.rvalid & ~self.deaf),
            bus.rlast.eq(1),
        ]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [awaits.eq(1), bus.rid.eq(bus.arid), bus.rresp.eq(response(bus.araddr))]
        with m.If(awaits):
            m.d.sync += [awaits.eq(0), bus.rvalid.eq(1), bus.rdata.eq(read.data)]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        return m


class LinkBench(wiring.Component):
    """A board in little.

    CONTROL counts its writes in EXIT_CODE, and `irq` rises as many cycles later as is written; 0
    lowers it. STAMP shows 3 * STAMP_INDEX + 1. CAUSE is not there. The memory falls silent for
    ever when MEMORY_BASE is written.
    """

    def __init__(self, *, clock_hz, baud, data_bits=64, patience_bits=12):
        self.link = HostLink(
            clock_hz=clock_hz,
            baud=baud,
            data_bits=data_bits,
            memory_base=BASE,
            memory_bytes=MEMORY_BYTES,
            patience_bits=patience_bits,
        )
        self.data_bits = data_bits
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.arbiter = arbiter = Axi4Arbiter(data_bits=self.data_bits)
        m.submodules.memory = memory = SmallMemory(self.data_bits)
        m.submodules.target = target = AXI4LiteTarget(address_bits=12)
        connect(m, link.memory, arbiter.second)
        connect(m, arbiter.merged, memory.bus)
        connect(m, link.registers, target.bus)
        registers = target.registers
        m.submodules.values = values = Memory(shape=32, depth=64, init=[])
        write, read = values.write_port(), values.read_port()
        count, left, irq, where = Signal(32), Signal(32), Signal(), Signal(12)
        stamp = Signal(32)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            link.irq.eq(irq),
            write.addr.eq(registers.write.address[2:]),
            write.data.eq(registers.write.data),
            write.en.eq(registers.write.valid),
            registers.write_error.eq(registers.write.address == address("CAUSE")),
            read.addr.eq(registers.read_address[2:]),
            registers.read_data.eq(read.data),
            registers.read_error.eq(where == address("CAUSE")),
        ]
        m.d.sync += where.eq(registers.read_address)
        with m.Switch(where):
            with m.Case(address("EXIT_CODE")):
                m.d.comb += registers.read_data.eq(count)
            with m.Case(address("STAMP")):
                m.d.comb += registers.read_data.eq(3 * stamp + 1)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += irq.eq(1)
        with m.If(registers.write.valid):
            with m.Switch(registers.write.address):
                with m.Case(address("CONTROL")):
                    m.d.sync += [count.eq(count + 1), left.eq(registers.write.data), irq.eq(0)]
                with m.Case(address("STAMP_INDEX")):
                    m.d.sync += stamp.eq(registers.write.data)
                with m.Case(address("MEMORY_BASE")):
                    m.d.sync += memory.deaf.eq(1)
        return m
