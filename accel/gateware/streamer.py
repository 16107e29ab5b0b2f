"""The streamer: walks a matmul command's input words and accumulator entries."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.accumulators import AccumulatorControl
from accel.gateware.delay import delayed
from accel.gateware.loopnest import LoopNest
from accel.gateware.ports import SCRATCHPAD_LATENCY, CommandLayout, ReadPort
from accel.isa import COMMANDS, Engine

__all__ = ["Streamer"]

_LEVELS = ("col", "row", "k0", "k1", "k2")


class Streamer(wiring.Component):
    """Reads one input word per cycle and replaces those outside the image by padding.

    Parameters
    ----------
    rows : int
    address_width : int
        Of the scratchpad.
    acc_depth : int
        Entries of an accumulator half: the most pixels of a command.
    tiles : int
        The most tiles of a command: what the weight memory holds.

    Members
    -------
    command : In(stream.Signature(CommandLayout(MATMUL)))
        Taken when the last word of the command before has been requested.
    loaded : In(1)
        The next tile's first word may be requested in this cycle.
    start, last : Out(1)
        It is requested; it belongs to the command's last tile.
    scratchpad : Out(ReadPort(address_width, 8 * rows))
        `request.ready` must always be high. Words outside the image are read too, and ignored.
    control : Out(AccumulatorControl)
        What the word's sums are for, in the cycle of the request.
    swap, activations : Out(1), Out(ArrayLayout(signed(8), rows))
        To the array, SCRATCHPAD_LATENCY + 1 cycles after the request.

    Latency
    -------
    Two cycles from an accepted command to its first request: three cycles from one command's last
    request to the next one's first, the two between are idle.

    Throughput
    ----------
    One word per cycle.
    """

    def __init__(self, *, rows: int, address_width: int, acc_depth: int, tiles: int) -> None:
        self._rows = rows
        self._address_width = address_width
        self._acc_depth = acc_depth
        self._tiles = tiles
        self._control = AccumulatorControl(ceil_log2(2 * acc_depth))
        super().__init__(
            {
                "command": In(stream.Signature(CommandLayout(COMMANDS[Engine.MATMUL]))),
                "loaded": In(1),
                "start": Out(1),
                "last": Out(1),
                "scratchpad": Out(ReadPort(address_width, unsigned(8 * rows))),
                "control": Out(self._control),
                "swap": Out(1),
                "activations": Out(data.ArrayLayout(signed(8), rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixel_bits, tile_bits = self._acc_depth.bit_length(), self._tiles.bit_length()
        m.submodules.nest = nest = LoopNest(
            counts=[pixel_bits] * 2 + [tile_bits] * 3,
            values={"address": self._address_width, "y": signed(16), "x": signed(16)},
        )
        # The queue goes on rewriting its registers once the command is taken: keep a copy.
        fields = self.command.payload.fields
        held = {
            name: Signal(width, name=name, reset_less=True)
            for name, width in {
                "acc_address": ceil_log2(2 * self._acc_depth),
                "accumulate": 1,
                "pad_value": 8,
                "input_height": 16,
                "input_width": 16,
                "post": 4,
                "stamp": 1,
            }.items()
        }
        idle = Signal(init=1)
        load = Signal()
        taken = Signal()
        m.d.comb += [self.command.ready.eq(idle), taken.eq(self.command.valid & idle)]
        m.d.sync += load.eq(taken)
        with m.If(taken):
            m.d.sync += idle.eq(0)
            for name, signal in held.items():
                whole = self.command.payload if name in ("post", "stamp") else fields
                m.d.sync += signal.eq(whole[name])
        self._hold_loops(m, nest, taken)

        # `first`, `replace` and `entry` belong to the word that `nest` points at.
        running = Signal()
        first = Signal()
        replace = Signal()
        entry = Signal.like(held["acc_address"], name="entry", reset_less=True)
        step = Signal()
        tile_end = nest.last[:2].all()
        end = nest.last.all()
        m.d.comb += [
            nest.load.eq(load),
            nest.step.eq(step),
            step.eq(running & (~first | self.loaded)),
            self.start.eq(running & first & self.loaded),
            self.last.eq(nest.last[2:].all()),
        ]
        with m.If(step):
            m.d.sync += [first.eq(tile_end), entry.eq(entry + 1)]
            with m.If(tile_end):
                m.d.sync += [entry.eq(held["acc_address"]), replace.eq(0)]
            with m.If(end):
                m.d.sync += [running.eq(0), idle.eq(1)]
        with m.If(load):
            m.d.sync += [
                running.eq(1),
                first.eq(1),
                entry.eq(held["acc_address"]),
                replace.eq(~held["accumulate"]),
            ]
        m.d.comb += [
            self.scratchpad.request.valid.eq(step),
            self.scratchpad.request.payload.eq(nest.values.address),
            self.control.valid.eq(step),
            self.control.address.eq(entry),
            self.control.replace.eq(replace),
            self.control.completion.valid.eq(end),
            self.control.completion.post.eq(held["post"]),
            self.control.completion.stamp.eq(held["stamp"]),
        ]
        self._respond(m, nest, held)
        return m

    def _hold_loops(self, m: Module, nest: LoopNest, taken: Signal) -> None:
        """Connect the nest to a copy of the command's counts, starts and steps."""
        fields = self.command.payload.fields
        ports = [(nest.counts[f"c{i}"], f"count_{level}") for i, level in enumerate(_LEVELS)]
        for value in ("address", "y", "x"):
            ports.append((nest.start[value], f"input_{value}"))
            suffix = "" if value == "address" else f"_{value}"
            ports += [
                (nest.steps[value][f"s{i}"], f"step_{level}{suffix}")
                for i, level in enumerate(_LEVELS)
            ]
        for port, name in ports:
            copy = Signal.like(port, name=name, reset_less=True)
            m.d.comb += port.eq(copy)
            with m.If(taken):
                m.d.sync += copy.eq(fields[name])

    def _respond(self, m: Module, nest: LoopNest, held: dict[str, Signal]) -> None:
        """Decide on padding while the memory reads, and pass the word on."""
        inside = []
        for value, limit in (("y", "input_height"), ("x", "input_width")):
            flag = Signal(name=f"{value}_inside", reset_less=True)
            coordinate = nest.values[value]
            m.d.sync += flag.eq((coordinate >= 0) & (coordinate < held[limit]))
            inside.append(flag)
        outside = delayed(
            m, ~(inside[0] & inside[1]), SCRATCHPAD_LATENCY - 1, name="outside", reset_less=True
        )
        # The next command's value may be here before this command's last word.
        pad = delayed(m, held["pad_value"], SCRATCHPAD_LATENCY, name="pad", reset_less=True)
        word = Signal.like(self.activations, reset_less=True)
        for r, byte in enumerate(word):
            with m.If(outside):
                m.d.sync += byte.eq(pad)
            with m.Else():
                m.d.sync += byte.eq(self.scratchpad.response.data[8 * r : 8 * r + 8])
        swap = delayed(m, self.start, SCRATCHPAD_LATENCY + 1, name="swap_q")
        m.d.comb += [self.activations.eq(word), self.swap.eq(swap)]
