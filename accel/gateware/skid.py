"""Register stages of a stream: of `ready` and payload, or of `ready` alone."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReadySlice", "SkidBuffer"]


class _Stage(wiring.Component):
    """What stands between two streams of one shape."""

    def __init__(self, *, shape: ShapeLike) -> None:
        super().__init__(
            {"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape))}
        )


class SkidBuffer(_Stage):
    """Two registers between two streams: every output is a register, either way.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.

    Members
    -------
    input : In(stream.Signature(shape))
    output : Out(stream.Signature(shape))

    Latency
    -------
    One cycle; one transfer per cycle.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare = Signal.like(self.input.payload)
        empty = Signal(init=1)  # nothing in `spare`
        m.d.comb += self.input.ready.eq(empty)

        with m.If(self.input.ready):
            m.d.sync += spare.eq(self.input.payload)
        with m.If(~self.output.valid | self.output.ready):
            m.d.sync += [self.output.valid.eq(~empty | self.input.valid), empty.eq(1)]
            with m.If(empty):
                m.d.sync += self.output.payload.eq(self.input.payload)
            with m.Else():
                m.d.sync += self.output.payload.eq(spare)
        with m.Elif(self.input.valid):
            m.d.sync += empty.eq(0)
        return m


class ReadySlice(_Stage):
    """One register between two streams, behind which `ready` is a register; the payload is not.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.

    Members
    -------
    input : In(stream.Signature(shape))
    output : Out(stream.Signature(shape))

    Latency
    -------
    None; one transfer per cycle. A transfer that has to wait does so in here.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare = Signal.like(self.input.payload, reset_less=True)
        empty = Signal(init=1)  # nothing in `spare`
        m.d.comb += [
            self.input.ready.eq(empty),
            self.output.valid.eq(self.input.valid | ~empty),
            self.output.payload.eq(Mux(empty, self.input.payload, spare)),
        ]
        m.d.sync += empty.eq(self.output.ready | ~self.output.valid)
        with m.If(empty):
            m.d.sync += spare.eq(self.input.payload)
        return m
