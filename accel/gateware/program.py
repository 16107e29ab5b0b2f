"""The controller's program memory: code and data in one simple dual-port block RAM."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.parity import parity_of
from accel.gateware.ports import WritePort

__all__ = ["ProgramMemory", "ProgramPort"]


class ProgramPort(wiring.Signature):
    """The controller's side of the program memory, seen from the controller.

    Parameters
    ----------
    address_width : int
        Bits of a word address.
    parity : bool

    Members
    -------
    read : Out(1), address : Out(address_width)
        Word to read.
    data : In(32)
        The word, one cycle later and late in that cycle: register it before use. It stays until
        the next read.
    parity : In(4)
        With `parity`: a bit for each of its bytes.
    write : Out(stream.Signature({address, data, mask}))
        Bytes to write. A read in a later cycle than the transfer sees them.
    """

    def __init__(self, address_width: int, parity: bool = False) -> None:
        payload = StructLayout({"address": unsigned(address_width), "data": 32, "mask": 4})
        super().__init__(
            {
                "read": Out(1),
                "address": Out(address_width),
                "data": In(32),
                **({"parity": In(4)} if parity else {}),
                "write": Out(stream.Signature(payload)),
            }
        )


class ProgramMemory(wiring.Component):
    """One read port and one write port; the load engine's writes go before the controller's.

    Parameters
    ----------
    depth : int
        32-bit words; a power of two.
    parity : bool
        Keep a parity bit with each byte.

    Members
    -------
    core : In(ProgramPort(address_width))
    load : In(WritePort(address_width, 32))
        From the load engine: always ready.

    Latency
    -------
    Read: one cycle, and the reader's register. Write: one word per cycle; the controller's write
    waits while the load engine writes. Reading a word in the cycle in which it is written returns
    anything.
    """

    def __init__(self, *, depth: int, parity: bool = False) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two, not {depth!r}")
        self._depth = depth
        self._parity = parity
        width = (depth - 1).bit_length()
        super().__init__({"core": In(ProgramPort(width, parity)), "load": In(WritePort(width, 32))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = 9 if self._parity else 8
        m.submodules.memory = memory = Memory(
            shape=4 * bits, depth=self._depth, init=[], attrs={"no_rw_check": 1}
        )
        write = memory.write_port(granularity=bits)
        read = memory.read_port()
        load, store = self.load.request, self.core.write
        written = Signal(32) if self._parity else write.data
        m.d.comb += [
            read.en.eq(self.core.read),
            read.addr.eq(self.core.address),
            *self._split(read.data),
            load.ready.eq(1),
            store.ready.eq(~load.valid),
            write.addr.eq(store.payload.address),
            written.eq(store.payload.data),
        ]
        with m.If(load.valid):
            m.d.comb += [
                write.addr.eq(load.payload.address),
                written.eq(load.payload.data),
                write.en.eq(load.payload.mask.replicate(4)),
            ]
        with m.Elif(store.valid):
            m.d.comb += write.en.eq(store.payload.mask)
        if self._parity:
            parity = parity_of(written, 4)
            m.d.comb += write.data.eq(
                Cat(Cat(written.word_select(i, 8), parity[i]) for i in range(4))
            )
        return m

    def _split(self, read: Signal) -> list:
        """Return the assignments of a word and its parity bits."""
        if not self._parity:
            return [self.core.data.eq(read)]
        stored = [read.word_select(i, 9) for i in range(4)]
        return [
            self.core.data.eq(Cat(byte[:8] for byte in stored)),
            self.core.parity.eq(Cat(byte[8] for byte in stored)),
        ]
