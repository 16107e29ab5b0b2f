"""The address generator of all engines: a nested affine loop counter."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LoopNest"]


class LoopNest(wiring.Component):
    """Nested loops that carry running values; level 0 is the innermost.

    When a step advances level `l` (all lower levels were at their last iteration and return to
    their first), every value grows by its step for that level: `value += steps[l]`. Steps are
    therefore *composite*: they undo what the inner levels added.

    Parameters
    ----------
    counts : sequence of int
        Bits of each level's iteration count, level 0 first. A count must be at least 1.
    values : mapping of str to shape-like
        The values carried: their names and shapes (modulo arithmetic).
    moving : mapping of str to sequence of int, optional
        Levels that move a value; the others leave it alone and have no step port. All by default.

    Members
    -------
    load : In(1)
        Take `start` and go to the first iteration of every level; wins over `step`.
    step : In(1)
        Advance. After the very last iteration the nest wraps to its first, with the values
        advanced by the outermost level's step.
    counts : In({c0, c1, ...})
        Must hold still from `load` to the last step.
    start : In({name: shape})
    steps : In({name: {s0, s1, ...}})
    values : Out({name: shape})
        Values of the current iteration.
    last : Out(levels)
        Bit `l`: level `l` is at its last iteration. All ones: the last iteration of all.

    Latency
    -------
    One cycle from `load` or `step` to `values` and `last`. One step per cycle.
    """

    def __init__(
        self,
        *,
        counts: Sequence[int],
        values: Mapping[str, ShapeLike],
        moving: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        if not counts:
            raise ValueError("LoopNest needs at least one level")
        self._widths = list(counts)
        levels = range(len(counts))
        self._shapes = {name: Shape.cast(shape) for name, shape in values.items()}
        self._moving = {name: list((moving or {}).get(name, levels)) for name in self._shapes}
        super().__init__(
            {
                "load": In(1),
                "step": In(1),
                "counts": In(
                    data.StructLayout(
                        {f"c{i}": unsigned(w) for i, w in zip(levels, counts, strict=True)}
                    )
                ),
                "start": In(data.StructLayout(dict(self._shapes))),
                "steps": In(
                    data.StructLayout(
                        {
                            name: data.StructLayout({f"s{i}": shape for i in self._moving[name]})
                            for name, shape in self._shapes.items()
                        }
                    )
                ),
                "values": Out(data.StructLayout(dict(self._shapes))),
                "last": Out(len(counts)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        levels = len(self._widths)
        advance = Signal(levels, init=1)  # one-hot: the level that a step would advance
        inner_last = [self.last[:i].all() if i else 1 for i in range(levels)]
        begins = Signal(levels)  # `last` after a load
        goes_on = Signal(levels)  # `last` after a step

        for i, width in enumerate(self._widths):
            # Iterations left with the current one; `last` is a register that says when it is 1.
            left = Signal(width, name=f"left{i}")
            count = self.counts[f"c{i}"]
            one, only = Signal(name=f"one_left{i}"), Signal(name=f"only{i}")
            m.d.comb += [one.eq(left == 2), only.eq(count == 1)]
            restart = Signal(name=f"restart{i}")
            after = Mux(self.last[i], only, one)
            m.d.comb += [
                restart.eq(self.load | (inner_last[i] & self.last[i])),
                begins[i].eq(only),
                goes_on[i].eq(Mux(inner_last[i], after, self.last[i])),
            ]
            with m.If(self.load | (self.step & inner_last[i])):
                m.d.sync += left.eq(Mux(restart, count, left - 1))

        # A register like `last`, so that a step's way to the values is short; `load` and `step`
        # come late, and choose between what is ready.
        with m.If(self.load):
            m.d.sync += [self.last.eq(begins), advance.eq(_advancing(begins))]
        with m.Elif(self.step):
            m.d.sync += [self.last.eq(goes_on), advance.eq(_advancing(goes_on))]

        for name, shape in self._shapes.items():
            value = self.values[name]
            increment = Signal(shape, name=f"{name}_increment")
            moving = self._moving[name]
            m.d.comb += increment.eq(
                _one_hot_select([(advance[i], self.steps[name][f"s{i}"]) for i in moving])
            )
            with m.If(self.load):
                m.d.sync += value.eq(self.start[name])
            with m.Elif(self.step):
                m.d.sync += value.eq(value + increment)
        return m


def _advancing(last):
    """Return the level that a step advances, one-hot: the lowest that is not at its last."""
    top = len(last) - 1
    levels = range(top + 1)
    return Cat((last[:i].all() if i else 1) & (~last[i] if i < top else 1) for i in levels)


def _one_hot_select(cases):
    """OR of the values whose select bit is set: no priority chain."""
    result = 0
    for select, value in cases:
        raw = value.as_unsigned() if value.shape().signed else value
        result = result | (raw & select.replicate(len(raw)))
    return result
