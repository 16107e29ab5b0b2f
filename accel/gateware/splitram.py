"""A memory whose depth is no power of two: block RAMs of falling powers of two, side by side."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.blockram import BlockRam
from accel.gateware.delay import delayed

__all__ = ["SplitRam", "past_end", "split_sizes"]

LATENCY = 2
"""Of BlockRam."""


def split_sizes(depth: int) -> list[int]:
    """Return the powers of two that add up to a number of words, largest first."""
    return [1 << bit for bit in reversed(range(depth.bit_length())) if depth >> bit & 1]


def past_end(address: Value, words: int) -> Value:
    """Return whether an address, read as unsigned, lies behind a memory of so many words."""
    step = (words & -words).bit_length() - 1
    if words == 1 << step:
        return address[step:].any()
    return address[step:] >= words >> step


class SplitRam(wiring.Component):
    """Memory with one write port and one read port, initially zero, of any number of words.

    An ECP5 block of 36 bits holds 512 words: a depth that is a multiple of that wastes none,
    whatever the parts. A word behind the end is one of the last part.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words, no power of two; each part has two at least.
    target, parity
        See BlockRam.

    Members
    -------
    write_address : In(clog2(depth)), write_data : In(width), write_enable : In(1)
    read_address : In(clog2(depth)), read_data : Out(width), read_parity : Out(1)
        As of BlockRam.

    Latency
    -------
    As BlockRam: two cycles from `read_address` to `read_data`, behind which a multiplexer follows.
    """

    def __init__(
        self, *, width: int, depth: int, target: str = "generic", parity: bool = False
    ) -> None:
        sizes = split_sizes(depth)
        if len(sizes) < 2 or sizes[-1] < 2:
            raise ValueError(f"Depth must be even and no power of two, not {depth}")
        self._width = width
        self._sizes = sizes
        self._target = target
        self._parity = parity
        super().__init__(
            {
                "write_address": In(ceil_log2(depth)),
                "write_data": In(width),
                "write_enable": In(1),
                "read_address": In(ceil_log2(depth)),
                "read_data": Out(width),
                **({"read_parity": Out(1)} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        written = self._part(self.write_address)
        read = Signal(len(self._sizes))
        m.d.comb += read.eq(self._part(self.read_address))
        read = delayed(m, read, LATENCY, name="read_part", reset_less=True)
        result = Const(0, self._width + self._parity)
        for part, size in enumerate(self._sizes):
            memory = BlockRam(
                width=self._width, depth=size, target=self._target, parity=self._parity
            )
            m.submodules[f"part_{part}"] = memory
            m.d.comb += [
                memory.write_address.eq(self.write_address),
                memory.write_data.eq(self.write_data),
                memory.write_enable.eq(self.write_enable & written[part]),
                memory.read_address.eq(self.read_address),
            ]
            word = Cat(memory.read_data, memory.read_parity) if self._parity else memory.read_data
            result = Mux(read[part], word, result) if part else word
        m.d.comb += self.read_data.eq(result[: self._width])
        if self._parity:
            m.d.comb += self.read_parity.eq(result[self._width])
        return m

    def _part(self, address: Value) -> Value:
        """Return which part holds an address, one bit each."""
        below = Const(1, 1)  # it is not in the parts before
        parts = []
        for size in self._sizes[:-1]:
            bit = address[size.bit_length() - 1]
            parts.append(below & ~bit)
            below = below & bit
        return Cat(*parts, below)
