"""The host link: packets on a serial line become accesses to registers and memory."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from accel.gateware.axi import AXI4LiteSignature, AXI4Signature
from accel.gateware.link_bus import WordBus
from accel.gateware.link_core import LinkCore
from accel.gateware.link_framing import Deframer, Framer, PacketWord
from accel.gateware.skid import SkidBuffer
from accel.gateware.uart import UartReceiver, UartTransmitter, bit_cycles
from accel.protocol import PROTOCOL_VERSION, Greeting

__all__ = ["HostLink"]


class HostLink(wiring.Component):
    """Serves a host on a serial line: docs/link.md.

    Parameters
    ----------
    clock_hz : int
        Of domain `sync`.
    baud : int
        At most an eighth of it.
    data_bits : int
        Of the memory port: 32, 64 or 128.
    memory_base, memory_bytes : int
        External memory, as the greeting tells the host.
    patience_bits : int
        After 2**patience_bits cycles an access without an answer is given up, and a WAIT answered.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line, from the host and to it.
    irq : In(1)
        Of the accelerator.
    registers : Out(AXI4LiteSignature(12))
        To its `s_axi`.
    memory : Out(AXI4Signature(data_bits=data_bits))
        Bursts of one beat, one at a time; with an Axi4Arbiter beside its `m_axi`.

    Raises
    ------
    ValueError
        When the baud rate cannot be made of the clock (see `bit_cycles`), or a size is wrong.
    """

    def __init__(
        self,
        *,
        clock_hz: int,
        baud: int,
        data_bits: int,
        memory_base: int = 0,
        memory_bytes: int,
        patience_bits: int = 20,
    ) -> None:
        self._bit_cycles = bit_cycles(clock_hz, baud)
        if not 8 <= patience_bits <= 30:
            raise ValueError(f"Patience bits must be from 8 to 30, not {patience_bits}")
        self._patience_bits = patience_bits
        self._greeting = Greeting(
            version=PROTOCOL_VERSION,
            clock_hz=clock_hz,
            memory_base=memory_base,
            memory_bytes=memory_bytes,
            patience=1 << patience_bits,
            bit_cycles=self._bit_cycles,
        )
        self._data_bits = data_bits
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "irq": In(1),
                "registers": Out(AXI4LiteSignature(12)),
                "memory": Out(AXI4Signature(data_bits=data_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(bit_cycles=self._bit_cycles)
        m.submodules.transmitter = transmitter = UartTransmitter(bit_cycles=self._bit_cycles)
        m.submodules.deframer = deframer = Deframer()
        m.submodules.framer = framer = Framer()
        m.submodules.core = core = LinkCore(
            greeting=self._greeting, patience_bits=self._patience_bits
        )
        m.submodules.bus = bus = WordBus(data_bits=self._data_bits)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            deframer.received.eq(receiver.received),
            deframer.drop.eq(core.busy),
            core.word.eq(deframer.word),
            core.end.eq(deframer.end),
            core.heard.eq(receiver.received.valid),
            core.irq.eq(self.irq),
        ]
        # On a full part the four are far apart.
        m.submodules.words = words = SkidBuffer(shape=PacketWord)
        m.submodules.bytes = line_bytes = SkidBuffer(shape=8)
        connect(m, core.answer, words.input)
        connect(m, words.output, framer.words)
        connect(m, framer.bytes, line_bytes.input)
        connect(m, line_bytes.output, transmitter.bytes)
        connect(m, core.access, bus.access)
        connect(m, bus.registers, flipped(self.registers))
        connect(m, bus.memory, flipped(self.memory))
        return m
