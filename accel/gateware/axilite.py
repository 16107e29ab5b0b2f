"""AXI4-Lite subordinate that turns transactions into single-cycle register accesses."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.axi import AXI4LiteSignature, Response

__all__ = ["AXI4LiteTarget", "RegisterPort"]


class RegisterPort(wiring.Signature):
    """Register accesses, seen from the bus side.

    Parameters
    ----------
    address_bits : int
        Bits of the byte address.

    Members
    -------
    write : Out({valid, address, data, strobe})
        `valid` for one cycle; `strobe` has a bit per byte. The others stay for a cycle more.
    write_error : In(1)
        In the same cycle: no such register.
    read_address : Out(address_bits)
    read_data : In(32), read_error : In(1)
        One cycle after the address.
    read_wait : In(1)
        These two are not yet right: they are looked at again in the next cycle.
    """

    def __init__(self, address_bits: int) -> None:
        write = data.StructLayout(
            {"valid": 1, "address": unsigned(address_bits), "data": 32, "strobe": 4}
        )
        super().__init__(
            {
                "write": Out(write),
                "write_error": In(1),
                "read_address": Out(address_bits),
                "read_data": In(32),
                "read_error": In(1),
                "read_wait": In(1),
            }
        )


class AXI4LiteTarget(wiring.Component):
    """One write and one read at a time, independent of each other.

    Parameters
    ----------
    address_bits : int

    Members
    -------
    bus : In(AXI4LiteSignature(address_bits))
        Errors are answered with SLVERR.
    registers : Out(RegisterPort(address_bits))

    Latency
    -------
    Two cycles from the later of address and data to `bvalid`; four from `araddr` to `rvalid`, and
    one more for every cycle that `read_wait` is high.
    """

    def __init__(self, *, address_bits: int) -> None:
        super().__init__(
            {
                "bus": In(AXI4LiteSignature(address_bits)),
                "registers": Out(RegisterPort(address_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        bus, write = self.bus, self.registers.write
        has_address, has_data = Signal(name="write_has_address"), Signal(name="has_data")
        m.d.comb += [
            bus.awready.eq(~has_address & ~bus.bvalid),
            bus.wready.eq(~has_data & ~bus.bvalid),
            write.valid.eq(has_address & has_data),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), write.address.eq(bus.awaddr)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_data.eq(1), write.data.eq(bus.wdata), write.strobe.eq(bus.wstrb)]
        with m.If(write.valid):
            m.d.sync += [
                has_address.eq(0),
                has_data.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(self.registers.write_error, Response.SLVERR, Response.OKAY)),
            ]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)

    def _read(self, m: Module) -> None:
        bus, registers = self.bus, self.registers
        # The way from all the registers takes a cycle of its own before it takes part in anything.
        has_address, looks, looked, waits = (
            Signal(name=f"read_{name}") for name in ("has_address", "looks", "looked", "waits")
        )
        answered = Signal()
        m.d.comb += [
            bus.arready.eq(~has_address & ~bus.rvalid),
            answered.eq(looked & ~waits),
        ]
        m.d.sync += [
            looks.eq(has_address & ~answered),
            looked.eq(looks & ~answered),
            waits.eq(registers.read_wait),
        ]
        # Until it is the answer this follows what comes.
        with m.If(~answered & ~bus.rvalid):
            missing = registers.read_error
            m.d.sync += [
                bus.rdata.eq(Mux(missing, 0, registers.read_data)),
                bus.rresp.eq(Mux(missing, Response.SLVERR, Response.OKAY)),
            ]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [has_address.eq(1), registers.read_address.eq(bus.araddr)]
        with m.If(answered):
            m.d.sync += [has_address.eq(0), bus.rvalid.eq(1)]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)
