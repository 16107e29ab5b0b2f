"""What the serial machine has outside: the host's accesses, bursts, cycles."""

from amaranth.hdl import Cat, Module, Mux, Signal

from accel.gateware.axi import Burst, Response
from accel.gateware.serial.microword import Action, Condition
from accel.regmap import REGISTERS

__all__ = ["MachinePorts"]


class MachinePorts:
    """The parts of SerialMachine that answer the host, offer bursts and count cycles.

    They act on the machine's own signals: what an instruction does, its word, the accumulator.
    """

    def _host(self, m: Module) -> None:
        """Answer the host's accesses."""
        bus, does = self.s_axi, self._does
        self._host_writes, self._host_reads = Signal(), Signal()
        writes = Signal()
        answer = self._answer = Signal()
        # Seen a cycle late: what the host wants may come from far.
        m.d.sync += [
            self._host_writes.eq(bus.awvalid & bus.wvalid & ~bus.bvalid & ~bus.awready),
            self._host_reads.eq(bus.arvalid & ~bus.rvalid & ~bus.arready),
        ]
        m.d.comb += [
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
