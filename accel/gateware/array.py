"""The systolic array: rows x cols weight-stationary cells."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.cell import CELL_LATENCY, Cell, sum_width
from accel.gateware.delay import delayed

__all__ = ["Array", "array_latency"]


def array_latency(rows: int) -> int:
    """Return the cycles from an activation word to its sum at the foot of column 0."""
    return rows - 1 + CELL_LATENCY


class Array(wiring.Component):
    """Systolic matrix multiplier: `sums[c] = sum over r of activations[r] * weights[r][c]`.

    Activations move right, partial sums down. The skew of the rows is made inside; the sums leave
    skewed: column c's comes c cycles after column 0's.

    A tile's weights are `rows` words in consecutive cycles, row 0 first. They go to every column
    at once, to the shadow registers of one row per cycle, while the tile before is still computing.

    Parameters
    ----------
    rows, cols : int
        At least 1 each.
    target : str
        See Multiplier.

    Members
    -------
    load : In(1)
        `weights` is row 0's word; those of the other rows follow in the next cycles, without a gap.
    weights : In(ArrayLayout(signed(8), cols))
    swap : In(1)
        `activations` is the first word of the tile loaded last.
    activations : In(ArrayLayout(signed(8), rows))
        One word per cycle, for instance one output pixel's inputs.
    sums : Out(ArrayLayout(signed(sum_width(rows)), cols))
        Exact for all operands.

    Latency
    -------
    `array_latency(rows) + c` cycles from `activations` to `sums[c]`.

    Throughput
    ----------
    One word per cycle. With `swap` of a tile in cycle T, the `load` of the next tile may come from
    cycle T + cols - 2 on (its row r then meets each cell (r, c) at T + cols - 1 + r, no earlier
    than the swap at T + r + c), and the `swap` that uses it from two cycles after the `load` on.
    So a tile takes max(words, rows, cols) cycles (cols at least 2), and tiles follow one another
    without a bubble.
    """

    def __init__(self, *, rows: int, cols: int, target: str = "generic") -> None:
        if rows < 1 or cols < 1:
            raise ValueError(f"Rows and cols must be at least 1, not {rows} and {cols}")
        self._rows = rows
        self._cols = cols
        self._target = target
        super().__init__(
            {
                "load": In(1),
                "weights": In(data.ArrayLayout(signed(8), cols)),
                "swap": In(1),
                "activations": In(data.ArrayLayout(signed(8), rows)),
                "sums": Out(data.ArrayLayout(signed(sum_width(rows)), cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Fan out from registers: a weight bit reaches every row, an enable every column.
        weights = Signal.like(self.weights, reset_less=True)
        row_enable = Signal(self._rows)
        m.d.sync += [weights.eq(self.weights), row_enable.eq((row_enable << 1) | self.load)]

        above = None
        swap = self.swap
        for r in range(self._rows):
            activation = delayed(m, self.activations[r], r, name=f"skew_{r}", reset_less=True)
            if r:
                swap = delayed(m, swap, 1, name=f"swap_{r}")
            cells = []
            for c in range(self._cols):
                cell = Cell(row=r, target=self._target)
                m.submodules[f"cell_{r}_{c}"] = cell
                left = cells[-1] if cells else None
                m.d.comb += [
                    cell.load.eq(row_enable[r]),
                    cell.weight.eq(weights[c]),
                    cell.activation_in.eq(left.activation_out if left else activation),
                    cell.swap_in.eq(left.swap_out if left else swap),
                    cell.sum_in.eq(above[c].sum_out if above else 0),
                ]
                cells.append(cell)
            above = cells
        m.d.comb += [self.sums[c].eq(cell.sum_out) for c, cell in enumerate(above)]
        return m
