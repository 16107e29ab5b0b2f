"""Single accesses to the control registers and to memory, for the host link."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.axi import AXI4LiteSignature, AXI4Signature, Burst
from accel.protocol import LinkStatus

__all__ = ["WordAccess", "WordBus"]


class WordAccess(wiring.Signature):
    """One word, seen from who wants it.

    Members
    -------
    valid : Out(1)
        Do it, until `done`; all others hold meanwhile.
    registers : Out(1)
        Of the control registers; else of memory.
    write : Out(1)
    address : Out(32)
        Of its first byte; bits 1:0 are not looked at.
    data : Out(32)
    strobe : Out(4)
        Bytes to write, of memory; registers are written whole.
    give_up : Out(1)
        It has taken too long and ends now.
    done : In(1)
        In the access's last cycle, with `status` and `result`.
    status : In(LinkStatus)
        OK, SUBORDINATE_ERROR, DECODE_ERROR or NO_ANSWER.
    result : In(32)
        The word read.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "registers": Out(1),
                "write": Out(1),
                "address": Out(32),
                "data": Out(32),
                "strobe": Out(4),
                "give_up": Out(1),
                "done": In(1),
                "status": In(3),
                "result": In(32),
            }
        )


class WordBus(wiring.Component):
    """Carries out accesses on an AXI4-Lite and an AXI4 port, one at a time.

    A port that was given up is dead: its valid signals go low for good, so that nothing
    that was given up is done later, and every access to it ends with NO_ANSWER at once.

    Parameters
    ----------
    data_bits : int
        Of the memory port. An access is a burst of one beat of that width.

    Members
    -------
    access : In(WordAccess())
    registers : Out(AXI4LiteSignature(12))
    memory : Out(AXI4Signature(data_bits=data_bits))

    Latency
    -------
    One cycle, and what the port takes.
    """

    def __init__(self, *, data_bits: int) -> None:
        self._data_bits = data_bits
        super().__init__(
            {
                "access": In(WordAccess()),
                "registers": Out(AXI4LiteSignature(12)),
                "memory": Out(AXI4Signature(data_bits=data_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        access = self.access
        ports = (self.memory, self.registers)
        sent = Signal(data.StructLayout({"aw": 1, "w": 1, "ar": 1}))
        dead = Signal(2)
        here = [access.valid & ~dead[n] & (access.registers == n) for n in range(2)]

        def chosen(name: str) -> Value:
            return Mux(access.registers, getattr(self.registers, name), getattr(self.memory, name))

        for port, selected in zip(ports, here, strict=True):
            m.d.comb += [
                port.awvalid.eq(selected & access.write & ~sent.aw),
                port.wvalid.eq(selected & access.write & ~sent.w),
                port.bready.eq(selected),
                port.arvalid.eq(selected & ~access.write & ~sent.ar),
                port.rready.eq(selected),
            ]
        m.d.comb += self._payload()
        response, answered, expired = Signal(2), Signal(), Signal()
        m.d.comb += [
            answered.eq(Mux(access.write, chosen("bvalid"), chosen("rvalid"))),
            response.eq(Mux(access.write, chosen("bresp"), chosen("rresp"))),
            expired.eq(access.give_up | dead.bit_select(access.registers, 1)),
            access.done.eq(access.valid & (answered | expired)),
            # The two errors have the values of LinkStatus; there are no exclusive accesses.
            access.status.eq(
                Mux(expired, LinkStatus.NO_ANSWER, Mux(response[1], response, LinkStatus.OK))
            ),
        ]
        with m.If(access.valid):
            for channel in ("aw", "w", "ar"):
                with m.If(chosen(f"{channel}valid") & chosen(f"{channel}ready")):
                    m.d.sync += sent[channel].eq(1)
        with m.If(access.done):
            m.d.sync += sent.eq(0)
            with m.If(expired):
                m.d.sync += dead.bit_select(access.registers, 1).eq(1)
        return m

    def _payload(self) -> list:
        access, memory, registers = self.access, self.memory, self.registers
        lanes = self._data_bits // 32
        lane_bits = (lanes - 1).bit_length()
        lane = access.address[2 : 2 + lane_bits]
        statements = [
            access.result.eq(
                Mux(access.registers, registers.rdata, memory.rdata.word_select(lane, 32))
            ),
            memory.wdata.eq(Cat(access.data for _ in range(lanes))),
            memory.wstrb.word_select(lane, 4).eq(access.strobe),
            memory.wlast.eq(1),
            registers.wdata.eq(access.data),
            registers.wstrb.eq(0b1111),
        ]
        size_bits = 2 + lane_bits
        for channel in ("aw", "ar"):
            statements += [
                getattr(memory, f"{channel}addr").eq(access.address[size_bits:] << size_bits),
                getattr(memory, f"{channel}size").eq(size_bits),
                getattr(memory, f"{channel}burst").eq(Burst.INCR),
                getattr(registers, f"{channel}addr").eq(access.address & ~0b11),
            ]
        return statements
