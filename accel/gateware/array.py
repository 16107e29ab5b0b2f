"""The systolic array: rows x cols weight-stationary cells."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.cell import CELL_LATENCY, Cell, sum_width
from accel.gateware.delay import delayed
from accel.gateware.shadow import ShadowColumn
from accel.gateware.skew import DelayRing, Skew

__all__ = ["GROUP_TAPS", "Array", "array_latency", "group_rows", "inject_layout"]

GROUP_TAPS = (3, 5)
"""Rows from one group's first row to the next group's that the depthwise mode has wires for."""


def array_latency(rows: int) -> int:
    """Return the cycles from an activation word to its sum at the foot of column 0."""
    return rows - 1 + CELL_LATENCY


def group_rows(rows: int, groups: int) -> dict[int, tuple[int, int]]:
    """Return where groups of the depthwise mode enter: row to (group, taps)."""
    return {t * g: (g, t) for t in GROUP_TAPS for g in range(1, groups) if t * (g + 1) <= rows}


def inject_layout(rows: int, groups: int) -> data.StructLayout:
    """Return a flag for each entry of `group_rows`: g<group>t<taps>."""
    return data.StructLayout(
        {f"g{g}t{t}": unsigned(1) for g, t in group_rows(rows, groups).values()}
    )


class Array(wiring.Component):
    """Systolic matrix multiplier: `sums[c] = sum over r of activations[r] * weights[r][c]`.

    Activations move right, partial sums down. The skew of the rows is made inside; the sums leave
    skewed: column c's comes c cycles after column 0's.

    A tile's weights are `rows` words in consecutive cycles, row 0 first. They go to every column
    at once, to the shadow registers of one row per cycle, while the tile before is still computing.

    With `taps` the array is in depthwise mode for this word: byte c of the word enters column c
    from above and moves down at half the speed of the sums. Column c is then a filter over the
    words of consecutive cycles: with group g in rows `taps * g` up to the next group's first,
    `sums[c] = sum over g, j of words_g[n - j][c] * weights[taps * g + j][c]`, where words_0 are
    `activations`, words_g the others. Rows behind the last group's first belong to it.

    Parameters
    ----------
    rows, cols : int
        At least 1 each.
    groups : int
        Words per position, at most 3. The depthwise mode exists where rows == cols.
    target : str
        See Multiplier.
    dsp_cells : int, optional
        Cells whose multiplier may be a DSP block, row 0's first; all by default.

    Members
    -------
    load : In(1)
        `weights` is row 0's word; those of the other rows follow in the next cycles, without a gap.
    weights : In(ArrayLayout(signed(8), cols))
    swap : In(1)
        `activations` is the first word of the tile loaded last.
    activations : In(ArrayLayout(signed(8), rows))
        One word per cycle, for instance one output pixel's inputs.
    fir : In(1)
        Depthwise mode.
    inject : In(inject_layout(rows, groups))
        In depthwise mode: group g enters at row taps * g.
    words : In(ArrayLayout(ArrayLayout(signed(8), rows), groups - 1))
        Those of groups 1 and 2, together with `activations`.
    taps_5 : In(1)
        Groups are 5 rows apart, not 3. Holds still while words are on their way to their rows:
        `5 * (groups - 1) + cols` cycles.
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

    def __init__(
        self,
        *,
        rows: int,
        cols: int,
        groups: int = 1,
        target: str = "generic",
        dsp_cells: int | None = None,
    ) -> None:
        if rows < 1 or cols < 1:
            raise ValueError(f"Rows and cols must be at least 1, not {rows} and {cols}")
        if not 1 <= groups <= 3:
            raise ValueError(f"Groups must be from 1 to 3, not {groups}")
        self._rows = rows
        self._cols = cols
        self._depthwise = rows == cols
        self._target = target
        self._dsp_cells = rows * cols if dsp_cells is None else dsp_cells
        self._entries = group_rows(rows, groups) if self._depthwise else {}
        word = data.ArrayLayout(signed(8), rows)
        super().__init__(
            {
                "load": In(1),
                "weights": In(data.ArrayLayout(signed(8), cols)),
                "swap": In(1),
                "activations": In(word),
                "fir": In(1),
                "taps_5": In(1),
                "inject": In(inject_layout(rows, groups)),
                "words": In(data.ArrayLayout(word, max(groups - 1, 1))),
                "sums": Out(data.ArrayLayout(signed(sum_width(rows)), cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Fan out from registers: a weight bit reaches every row, an enable every column.
        weights = Signal.like(self.weights, reset_less=True)
        row_enable = Signal(self._rows)
        m.d.sync += [weights.eq(self.weights), row_enable.eq((row_enable << 1) | self.load)]
        # A column's rows swap in different cycles, unless a tile can be shorter than it has rows.
        memory = 2 <= self._rows <= self._cols
        columns = self._shadow_columns(m, weights) if memory else []

        m.submodules.skew = skew = Skew(width=self._rows)
        m.d.comb += skew.word.eq(self.activations)
        # Row r's activation, r cycles late; in depthwise mode also column r's.
        skewed = [skew.skewed[r] for r in range(self._rows)]
        words = self._skew_words(m)
        above = None
        swap, fir = self.swap, self.fir
        for r in range(self._rows):
            if r:
                swap = delayed(m, swap, 1, name=f"swap_{r}")
                fir = delayed(m, fir, 1, name=f"fir_{r}", reset_less=True)
            cells = []
            for c in range(self._cols):
                cell = Cell(
                    row=r,
                    target=self._target,
                    dsp=r * self._cols + c < self._dsp_cells,
                    depthwise=self._depthwise,
                    shadow=not memory,
                )
                m.submodules[f"cell_{r}_{c}"] = cell
                left = cells[-1] if cells else None
                m.d.comb += [
                    cell.load.eq(row_enable[r]),
                    cell.weight.eq(columns[c].active if memory else weights[c]),
                    cell.activation_in.eq(left.activation_out if left else skewed[r]),
                    cell.swap_in.eq(left.swap_out if left else swap),
                    cell.sum_in.eq(above[c].sum_out if above else 0),
                ]
                if memory and r == 0:
                    m.d.comb += columns[c].swap.eq(cell.swap_in)
                cells.append(cell)
            if self._depthwise:
                tops = [cell.below_out for cell in above] if above else skewed
                if r in self._entries:
                    group, taps = self._entries[r]
                    inject = delayed(
                        m, self.inject[f"g{group}t{taps}"], r, name=f"inject_{r}", reset_less=True
                    )
                    tops = self._enter(m, r, tops, words[group - 1], inject)
                level = fir
                for c, cell in enumerate(cells):
                    if c:
                        level = delayed(m, level, 1, name=f"fir_{r}_{c}", reset_less=True)
                    m.d.comb += [cell.fir_in.eq(level), cell.above_in.eq(tops[c])]
            above = cells
        m.d.comb += [self.sums[c].eq(cell.sum_out) for c, cell in enumerate(above)]
        return m

    def _shadow_columns(self, m: Module, weights: data.View) -> list[ShadowColumn]:
        loading = Signal()
        row = Signal(range(self._rows))
        with m.If(self.load):
            m.d.sync += [loading.eq(1), row.eq(0)]
        with m.Elif(row == self._rows - 1):
            m.d.sync += loading.eq(0)
        with m.Else():
            m.d.sync += row.eq(row + 1)
        columns = []
        for c in range(self._cols):
            m.submodules[f"shadow_{c}"] = column = ShadowColumn(rows=self._rows)
            m.d.comb += [
                column.load.eq(loading),
                column.row.eq(row),
                column.weight.eq(weights[c]),
            ]
            columns.append(column)
        return columns

    def _skew_words(self, m: Module) -> list[data.View]:
        """Return the groups' words when their rows want them, byte c by c cycles later."""
        skewed = []
        for group in sorted({g for g, _ in self._entries.values()}):
            cycles = [t * group for g, t in self._entries.values() if g == group]
            ring = DelayRing(width=self._cols, cycles=cycles)
            skew = Skew(width=self._cols)
            m.submodules[f"ring_word{group}"], m.submodules[f"skew_word{group}"] = ring, skew
            m.d.comb += [
                ring.word.eq(self.words[group - 1]),
                ring.choice.eq(self.taps_5),
                skew.word.eq(ring.delayed),
            ]
            skewed.append(skew.skewed)
        return skewed

    def _enter(self, m: Module, row: int, tops: list, word: data.View, inject: Signal) -> list:
        """Let a group's word into a row in place of what comes from above."""
        entering = []
        for c, top in enumerate(tops):
            if c:
                inject = delayed(m, inject, 1, name=f"inject_{row}_{c}", reset_less=True)
            chosen = Signal(signed(8), name=f"top_{row}_{c}")
            m.d.comb += chosen.eq(Mux(inject, word[c], top))
            entering.append(chosen)
        return entering
