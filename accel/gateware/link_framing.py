"""Packets of 32-bit words on a line of bytes: HDLC-like framing with CRC-32 (RFC 1662)."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.uart import ReceivedByte
from accel.protocol import ESCAPE, ESCAPE_FLIP, FLAG

__all__ = ["Deframer", "Framer", "PacketWord"]

_BYTE_BITS = 8


def _crc32() -> crc.Processor:
    """Return a circuit for CRC-32/ISO-HDLC that takes a bit a cycle."""
    return crc.Processor(crc.catalog.CRC32_ISO_HDLC(data_width=1))


class PacketWord(data.Struct):
    """A word of a packet to be sent, and whether it is its last one."""

    data: 32
    last: 1


class Deframer(wiring.Component):
    """Takes packets apart; whatever is wrong with one, the next FLAG begins another.

    Members
    -------
    received : In({valid, payload: ReceivedByte})
        Bytes of the line, at least 10 cycles apart.
    drop : In(1)
        Nobody listens: what is received now makes its packet bad.
    word : Out({valid, data})
        Each word of a packet, its CRC included, for one cycle.
    end : Out({valid, good})
        Behind the last word, for one cycle. A good packet is whole words whose CRC is right. Words
        without such an end are to be forgotten at the next `end`; between two FLAGs with nothing
        in between there is none.

    Latency
    -------
    A word 10 cycles after its last byte, `end` one cycle after the FLAG.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "received": In(data.StructLayout({"valid": 1, "payload": ReceivedByte})),
                "drop": In(1),
                "word": Out(data.StructLayout({"valid": 1, "data": 32})),
                "end": Out(data.StructLayout({"valid": 1, "good": 1})),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = check = _crc32()
        received, word, end = self.received, self.word, self.end
        byte = received.payload.byte
        is_flag, is_escape, escaped = Signal(), Signal(), Signal()
        # Before the first FLAG everything is the rest of something else.
        bad, empty = Signal(init=1), Signal(init=1)
        m.d.comb += [
            is_flag.eq(received.valid & (byte == FLAG) & ~received.payload.error),
            is_escape.eq(byte == ESCAPE),
        ]
        bits = Signal(8)
        left = Signal(range(_BYTE_BITS + 1))
        place = Signal(5)
        m.d.comb += [check.data.eq(bits[0]), check.valid.eq(left != 0), check.start.eq(end.valid)]
        m.d.sync += [word.valid.eq(0), end.valid.eq(0)]
        with m.If(left != 0):
            m.d.sync += [
                left.eq(left - 1),
                bits.eq(bits >> 1),
                word.data.eq(Cat(word.data[1:], bits[0])),
                place.eq(place + 1),
                word.valid.eq(place == 31),
            ]
        with m.If(is_flag):
            m.d.sync += [
                end.valid.eq(~empty),
                end.good.eq(~bad & ~escaped & (place == 0) & check.match_detected),
                place.eq(0),
                escaped.eq(0),
                bad.eq(self.drop),
                empty.eq(1),
            ]
        with m.Elif(received.valid):
            m.d.sync += [
                empty.eq(0),
                escaped.eq(is_escape),
                bits.eq(Mux(escaped, byte ^ ESCAPE_FLIP, byte)),
            ]
            with m.If(received.payload.error | self.drop | (escaped & is_escape)):
                m.d.sync += bad.eq(1)
            with m.If(~is_escape):
                m.d.sync += left.eq(_BYTE_BITS)
        return m


class Framer(wiring.Component):
    """Puts packets together.

    Members
    -------
    words : In(stream.Signature(PacketWord))
        A packet's words without its CRC, at least one.
    bytes : Out(stream.Signature(8))
        A FLAG, the words with their CRC, lowest byte first, and a FLAG.

    Throughput
    ----------
    A byte every 9 cycles, when `bytes.ready` is never low.
    """

    def __init__(self) -> None:
        super().__init__(
            {"words": In(stream.Signature(PacketWord)), "bytes": Out(stream.Signature(8))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = check = _crc32()
        words, output = self.words, self.bytes
        word = Signal(32)
        bits = Signal(8)
        place = Signal(5)
        last, closing = Signal(), Signal()
        special, flipped = Signal(), Signal()
        m.d.comb += [
            special.eq((bits == FLAG) | (bits == ESCAPE)),
            check.data.eq(word[0]),
        ]
        with m.FSM():
            with m.State("rest"):
                m.d.comb += [
                    check.start.eq(1),
                    output.valid.eq(words.valid),
                    output.payload.eq(FLAG),
                ]
                m.d.sync += [last.eq(0), closing.eq(0)]
                with m.If(words.valid & output.ready):
                    m.next = "word"
            with m.State("word"):
                m.d.comb += words.ready.eq(~last)
                with m.If(last):
                    m.d.sync += [word.eq(check.crc), closing.eq(1)]
                    m.next = "bits"
                with m.Elif(words.valid):
                    m.d.sync += [word.eq(words.payload.data), last.eq(words.payload.last)]
                    m.next = "bits"
            with m.State("bits"):
                m.d.comb += check.valid.eq(1)
                m.d.sync += [
                    word.eq(word >> 1),
                    bits.eq(Cat(bits[1:], word[0])),
                    place.eq(place + 1),
                    flipped.eq(0),
                ]
                with m.If(place[:3] == _BYTE_BITS - 1):
                    m.next = "byte"
            with m.State("byte"):
                m.d.comb += [
                    output.valid.eq(1),
                    output.payload.eq(
                        Mux(special & ~flipped, ESCAPE, bits ^ Mux(flipped, ESCAPE_FLIP, 0))
                    ),
                ]
                with m.If(output.ready):
                    m.d.sync += flipped.eq(1)
                    with m.If(~special | flipped):
                        m.next = "bits"
                        with m.If(place == 0):
                            m.next = "word"
                            with m.If(closing):
                                m.next = "flag"
            with m.State("flag"):
                m.d.comb += [output.valid.eq(1), output.payload.eq(FLAG)]
                with m.If(output.ready):
                    m.next = "rest"
        return m
