"""The next tile's weights of one column, in distributed RAM."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["ShadowColumn"]


class ShadowColumn(wiring.Component):
    """Shadow weights of a column of cells that swap one after the other, a row per cycle.

    A register in each cell would take 8 flip-flops; as only one row of a column swaps in a cycle,
    its weight can come from a memory.

    Parameters
    ----------
    rows : int
        At least 2.

    Members
    -------
    load : In(1), row : In(range(rows)), weight : In(signed(8))
        Take a weight.
    swap : In(1)
        Row 0's cell swaps in this cycle, row r's r cycles later. Not again for `rows` cycles.
    active : Out(signed(8))
        The weight of the row that swaps, as it was loaded in an earlier cycle.
    """

    def __init__(self, *, rows: int) -> None:
        if rows < 2:
            raise ValueError(f"Rows must be at least 2, not {rows}")
        self._rows = rows
        super().__init__(
            {
                "load": In(1),
                "row": In(range(rows)),
                "weight": In(signed(8)),
                "swap": In(1),
                "active": Out(signed(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=signed(8), depth=1 << ceil_log2(self._rows), init=[]
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        place = Signal(range(self._rows))
        with m.If(self.swap | (place != 0)):
            m.d.sync += place.eq(Mux(place == self._rows - 1, 0, place + 1))
        m.d.comb += [
            write.en.eq(self.load),
            write.addr.eq(self.row),
            write.data.eq(self.weight),
            read.addr.eq(place),
            self.active.eq(read.data),
        ]
        return m
