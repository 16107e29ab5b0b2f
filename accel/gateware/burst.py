"""Bursts of the DMA engines: a row of bytes becomes AXI addresses, a few of them outstanding."""

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.axi import AXI4Signature, Burst
from accel.gateware.fifo import Fifo
from accel.regmap import WINDOW_BYTES

__all__ = [
    "SPAN_BITS",
    "AddressChannel",
    "MemoryWindow",
    "ReadChannels",
    "WriteChannels",
    "drive_address",
]

SPAN_BITS = 21
"""Bits of a row's length in bytes: 65535 words of 32 bytes."""

_BLOCK_BITS = 8
"""A burst ends where 256 beats aligned to 256 beats end. For the widest bus that is 4 KiB, for a
narrower one a divisor of it: one limit keeps both rules of AXI, and a burst's length is the
difference of two beat numbers."""


_GRANULE_BITS = (WINDOW_BYTES - 1).bit_length()


class MemoryWindow(data.Struct):
    """The first and the last byte address that bursts may touch; granules of WINDOW_BYTES count."""

    base: unsigned(32)  # type: ignore[valid-type]
    limit: unsigned(32)  # type: ignore[valid-type]


def _channels(bus_bytes: int, prefixes: tuple[str, ...]) -> wiring.Signature:
    axi = AXI4Signature(address_bits=32, data_bits=8 * bus_bytes, id_bits=1)
    return wiring.Signature(
        {name: member for name, member in axi.members.items() if name.startswith(prefixes)}
    )


def ReadChannels(bus_bytes: int) -> wiring.Signature:  # noqa: N802
    """Signature of the read half of AXI4: ar* and r* of `AXI4Signature`."""
    return _channels(bus_bytes, ("ar", "r"))


def WriteChannels(bus_bytes: int) -> wiring.Signature:  # noqa: N802
    """Signature of the write half of AXI4: aw*, w* and b* of `AXI4Signature`."""
    return _channels(bus_bytes, ("aw", "w", "b"))


def drive_address(axi: object, prefix: str, channel: "AddressChannel", bus_bytes: int) -> list:
    """Return the assignments that put `channel` on the address channel `prefix` of `axi`.

    Bursts are INCR of the whole bus width, normal non-cacheable bufferable memory, one id.
    """
    fixed = {
        "id": 0,
        "size": (bus_bytes - 1).bit_length(),
        "burst": Burst.INCR.value,
        "lock": 0,
        "cache": 0b0011,
        "prot": 0,
        "qos": 0,
    }
    bursts = channel.bursts
    return [
        *(getattr(axi, prefix + name).eq(value) for name, value in fixed.items()),
        getattr(axi, prefix + "addr").eq(bursts.payload.address),
        getattr(axi, prefix + "len").eq(bursts.payload.length),
        getattr(axi, prefix + "valid").eq(bursts.valid),
        bursts.ready.eq(getattr(axi, prefix + "ready")),
    ]


class AddressChannel(wiring.Component):
    """Splits rows into bursts, issues them, and remembers those that are not done.

    No burst has more than 256 beats or crosses 4 KiB. One that is not all inside the window is not
    issued, and none behind it.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat: 4, 8 or 16.
    in_flight : int
        Bursts that may be outstanding, at least 1.
    tag : shape-like
        What a row carries along; it comes out with the row's last burst.

    Members
    -------
    rows : In(stream.Signature({address, span, tag}))
        First byte of a row and the row's length in bytes less one. The first and last beat may
        hold bytes that are not of the row.
    bursts : Out(stream.Signature({address, length}))
        To the AXI address channel: bus aligned address, beats less one. A register.
    issued : Out(1)
        A burst enters that register.
    done : In(1)
        The oldest outstanding burst is done.
    oldest : Out({address, last, tag})
        That burst; `last`: it is the last one of its row, and `tag` is the row's.
    window : In(MemoryWindow)
        Must hold still while rows come.
    halt : In(1)
        Issue no more bursts.
    refused : Out(1)
        The burst in the register is outside the window: it is not offered, and `issued` was wrong.
        Until reset.
    refused_tag : Out(tag)
        Its row's.
    quiet : Out(1)
        No burst is on offer or outstanding.

    Latency
    -------
    Two cycles from a row to its first burst; one burst per cycle, one row every two cycles.
    """

    def __init__(self, *, bus_bytes: int, in_flight: int, tag: ShapeLike) -> None:
        if bus_bytes not in (4, 8, 16):
            raise ValueError(f"Bus bytes must be one of 4, 8, 16, not {bus_bytes!r}")
        if in_flight < 1:
            raise ValueError(f"Bursts in flight must be at least 1, not {in_flight!r}")
        self._bus_bytes = bus_bytes
        self._in_flight = in_flight
        row = data.StructLayout({"address": unsigned(32), "span": unsigned(SPAN_BITS), "tag": tag})
        burst = data.StructLayout({"address": unsigned(32), "length": unsigned(8)})
        oldest = data.StructLayout({"address": unsigned(32), "last": unsigned(1), "tag": tag})
        super().__init__(
            {
                "rows": In(stream.Signature(row)),
                "bursts": Out(stream.Signature(burst)),
                "issued": Out(1),
                "done": In(1),
                "oldest": Out(oldest),
                "window": In(MemoryWindow, init={"limit": 0xFFFFFFFF}),
                "halt": In(1),
                "refused": Out(1),
                "refused_tag": Out(tag),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat_bits = (self._bus_bytes - 1).bit_length()
        low = beat_bits + _BLOCK_BITS

        row_valid = Signal()
        tag = Signal.like(self.rows.payload.tag)
        beat = Signal(_BLOCK_BITS)  # first beat of the next burst, in its block
        block = Signal(32 - low)
        end_beat = Signal(_BLOCK_BITS)  # last beat of the row, in its block
        blocks_left = Signal(SPAN_BITS + 1 - low)
        final = Signal()

        address = self.rows.payload.address
        end = Signal(SPAN_BITS + 1)
        m.d.comb += [
            # Not in the cycle of the row's last burst: a bus's ready must not reach the loops.
            self.rows.ready.eq(~row_valid),
            end.eq(address[:low] + self.rows.payload.span),
            final.eq(blocks_left == 0),
        ]

        m.submodules.outstanding = outstanding = Fifo(
            shape=len(self.oldest.as_value()) - beat_bits, depth=self._in_flight
        )
        burst_address = Cat(Const(0, beat_bits), beat, block)
        full = (1 << _BLOCK_BITS) - 1
        last_beat = Mux(final, end_beat, full)
        held = Signal()  # a burst is in the register
        outside = Signal()

        def past(last: Value) -> Value:
            """Whether a burst that ends with this beat leaves the window."""
            burst_end = Cat(Const(0, beat_bits), last, block)
            return burst_end[_GRANULE_BITS:] > self.window.limit[_GRANULE_BITS:]

        m.d.comb += [
            # Whether it is the row's last burst is known late: it chooses between what is ready.
            outside.eq(
                (burst_address[_GRANULE_BITS:] < self.window.base[_GRANULE_BITS:])
                | Mux(final, past(end_beat), past(Const(full, _BLOCK_BITS)))
            ),
            self.bursts.valid.eq(held & ~self.refused),
            self.refused_tag.eq(tag),
            # A refused burst stays in the list of those outstanding for ever.
            self.quiet.eq(outstanding.level == self.refused),
            self.issued.eq(
                row_valid
                & outstanding.input.ready
                & (~held | self.bursts.ready)
                & ~self.refused
                & ~self.halt
            ),
            outstanding.input.valid.eq(self.issued),
            outstanding.input.payload.eq(Cat(burst_address[beat_bits:], final, tag)),
            outstanding.output.ready.eq(self.done),
            self.oldest.as_value().eq(Cat(Const(0, beat_bits), outstanding.output.payload)),
        ]
        with m.If(self.bursts.ready):
            m.d.sync += held.eq(0)
        with m.If(self.issued):
            m.d.sync += [
                held.eq(1),
                self.refused.eq(outside),
                self.bursts.payload.address.eq(burst_address),
                self.bursts.payload.length.eq(last_beat - beat),
                block.eq(block + 1),
                beat.eq(0),
                blocks_left.eq(blocks_left - 1),
                # A row of which a burst is refused stays: no other one comes.
                row_valid.eq(~final | outside),
            ]
        with m.If(self.rows.valid & self.rows.ready):
            m.d.sync += [
                row_valid.eq(1),
                tag.eq(self.rows.payload.tag),
                Cat(beat, block).eq(address[beat_bits:]),
                end_beat.eq(end[beat_bits:low]),
                blocks_left.eq(end[low:]),
            ]
        return m
