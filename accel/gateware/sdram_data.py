"""Beats of a port to words of an SDRAM and back."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReadAssembler", "ReadBeat", "WriteBeat", "WriteSerialiser"]


def WriteBeat(data_bits: int) -> data.StructLayout:  # noqa: N802
    """Layout of a beat to write: data and strobes."""
    return data.StructLayout({"data": unsigned(data_bits), "strobe": unsigned(data_bits // 8)})


def ReadBeat(data_bits: int, id_bits: int) -> data.StructLayout:  # noqa: N802
    """Layout of a beat that was read: data, whose, and whether it is its burst's last."""
    return data.StructLayout(
        {"data": unsigned(data_bits), "last": unsigned(1), "id": unsigned(id_bits)}
    )


class WriteSerialiser(wiring.Component):
    """Sends a beat word by word, lowest first.

    Parameters
    ----------
    words : int
        Words of a beat.
    word_bits : int

    Members
    -------
    start : In(1)
        Take `beat`. At least `words` cycles lie between two.
    beat : In(WriteBeat(words * word_bits))
    mute : In(1)
        Mask all bytes while nothing is sent.
    data : Out(word_bits)
    mask : Out(word_bits // 8)
        Bytes not to write.
    drive : Out(1)
        A word is sent. All three are registers.

    Latency
    -------
    Two cycles from `start` to the first word.
    """

    def __init__(self, *, words: int, word_bits: int) -> None:
        self._words = words
        super().__init__(
            {
                "start": In(1),
                "beat": In(WriteBeat(words * word_bits)),
                "mute": In(1),
                "data": Out(word_bits),
                "mask": Out(word_bits // 8, init=(1 << word_bits // 8) - 1),
                "drive": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rest = Signal.like(self.beat, reset_less=True)
        left = Signal(self._words)  # a one for every word in `rest`
        m.d.sync += [
            rest.data.eq(rest.data >> len(self.data)),
            rest.strobe.eq(rest.strobe >> len(self.mask)),
            left.eq(left >> 1),
            self.data.eq(rest.data),
            self.mask.eq(~rest.strobe[: len(self.mask)]),
            self.drive.eq(left[0]),
        ]
        with m.If(~left[0]):
            m.d.sync += self.mask.eq(self.mute.replicate(len(self.mask)))
        with m.If(self.start):
            m.d.sync += [rest.eq(self.beat), left.eq(-1)]
        return m


class ReadAssembler(wiring.Component):
    """Collects a beat's words, which come at a fixed distance behind its command.

    Parameters
    ----------
    words : int
        Words of a beat.
    word_bits : int
    id_bits : int
    delay : int
        Cycles from `start` to the first word.

    Members
    -------
    start : In(1)
        A beat is asked for.
    last : In(1)
    id : In(id_bits)
        What comes out with it.
    data : In(word_bits)
    beats : Out(stream.Signature(ReadBeat, always_ready=True))

    Latency
    -------
    `delay + words - 1` cycles.
    """

    def __init__(self, *, words: int, word_bits: int, id_bits: int, delay: int) -> None:
        self._words = words
        self._stages = delay + words - 1
        beat = ReadBeat(words * word_bits, id_bits)
        super().__init__(
            {
                "start": In(1),
                "last": In(1),
                "id": In(id_bits),
                "data": In(word_bits),
                "beats": Out(stream.Signature(beat, always_ready=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        started = Signal(self._stages)
        note = Cat(self.last, self.id)
        notes = [Signal(len(note), name=f"note_{i}") for i in range(self._stages)]
        m.d.sync += started.eq(Cat(self.start, started))
        for before, stage in zip([note, *notes], notes, strict=False):
            m.d.sync += stage.eq(before)
        width = len(self.data)
        words = [Signal(width, name=f"word_{i}", reset_less=True) for i in range(self._words - 1)]
        for word, after in zip(words, [*words[1:], self.data], strict=False):
            m.d.sync += word.eq(after)
        beat = self.beats.payload
        m.d.comb += [
            self.beats.valid.eq(started[-1]),
            beat.data.eq(Cat(*words, self.data)),
            Cat(beat.last, beat.id).eq(notes[-1]),
        ]
        return m
