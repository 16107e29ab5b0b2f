"""The matmul engine against the golden machine: sums, and the cycle of every request."""

from itertools import pairwise

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.config import Config
from accel.gateware.matmul import MatmulEngine
from accel.gateware.ports import ACCUMULATOR_LATENCY, SCRATCHPAD_LATENCY, WEIGHT_LATENCY
from accel.isa import MATMUL, Engine
from sim.engines import run_command
from sim.spaces import Spaces

LEVELS = ("col", "row", "k0", "k1", "k2")


def make_config(rows, cols, acc_depth=16):
    return Config(
        rows=rows,
        cols=cols,
        lanes=2,
        acc_depth=acc_depth,
        scratchpad_bytes=4096,
        weight_bytes=8192,
    )


def command(counts, strides, **fields):
    """Return a command's fields for plain strides: per level (address, y, x)."""
    values = dict(fields)
    inner = np.zeros(3, int)
    for level, count, stride in zip(LEVELS, counts, strides, strict=True):
        step = np.array(stride) - inner
        values[f"count_{level}"] = count
        values[f"step_{level}"], values[f"step_{level}_y"], values[f"step_{level}_x"] = map(
            int, step
        )
        inner = inner + (count - 1) * np.array(stride)
    return values


def convolution(size, kernel=3, stride=1, dilation=1, groups=1, pad=1, at=100, **fields):
    """Return one chunk: all output pixels of a square image of `size`, SAME-like padding."""
    out = (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    d, s = dilation, stride
    return command(
        (out, out, kernel, kernel, groups),
        [(s, 0, s), (s * size, s, 0), (d, 0, d), (d * size, d, 0), (size * size, 0, 0)],
        input_address=at - pad * size - pad,
        input_y=-pad,
        input_x=-pad,
        input_height=size,
        input_width=size,
        **fields,
    )


def flat(pixels, tiles, at=0, **fields):
    """Return a chunk without padding: `pixels` words a tile, as in FULLY_CONNECTED or 1x1."""
    return command(
        (pixels, 1, tiles, 1, 1),
        [(1, 0, 1), (0, 0, 0), (pixels, 0, 0), (0, 0, 0), (0, 0, 0)],
        input_address=at,
        input_height=1,
        input_width=max(pixels, 1),
        **fields,
    )


class Bench:
    """The engine between model memories; `offers` is each command's earliest cycle on offer."""

    def __init__(self, config, commands, *, seed=1, contention=0.0, gap=2, reads=()):
        self.config = config
        self.commands = commands
        self.contention = contention
        self.gap = gap
        self.reads = list(reads)  # (earliest cycle or command to complete, address, slot)
        self.rng = np.random.default_rng(seed)
        self.spaces = Spaces(config)
        for array in (self.spaces.scratchpad, self.spaces.weights):
            array[:] = self.rng.integers(-128, 128, array.shape)
        self.inputs = []  # cycles with a scratchpad request
        self.tiles = []  # cycles with a tile's first weight request
        self.accepted, self.completed, self.busy, self.responses = [], [], [], []
        self.read_cycles = []

    def run(self, limit=6000):
        dut = MatmulEngine(
            rows=self.config.rows,
            cols=self.config.cols,
            lanes=self.config.lanes,
            acc_depth=self.config.acc_depth,
            scratchpad_words=self.config.scratchpad_words,
            weight_words=self.config.weight_words,
        )

        async def testbench(ctx):
            await self._play(ctx, dut, limit)

        simulator = Simulator(dut)
        simulator.add_clock(1e-8)
        simulator.add_testbench(testbench)
        simulator.run()
        return self

    async def _play(self, ctx, dut, limit):
        words = [0] * SCRATCHPAD_LATENCY
        weights = [0] * WEIGHT_LATENCY
        pending = [self._payload(i, fields) for i, fields in enumerate(self.commands)]
        wait = 0
        sums = []
        for cycle in range(limit):
            offer = bool(pending) and wait == 0
            wait = max(wait - 1, 0)
            ctx.set(dut.command.valid, offer)
            # The registers change while nothing is on offer.
            payload = pending[0] if offer else self.rng.bytes(120)
            ctx.set(
                dut.command.payload.as_value(),
                payload if offer else int.from_bytes(payload, "little"),
            )
            burst = ctx.get(dut.weights_burst)
            ctx.set(dut.weights.request.ready, burst or self.rng.random() >= self.contention)
            ctx.set(dut.scratchpad.request.ready, 1)
            ctx.set(dut.scratchpad.response.data, words.pop(0))
            ctx.set(dut.weights.response.data, weights.pop(0))
            words.append(self._word(ctx, dut.scratchpad, self.spaces.scratchpad))
            weights.append(self._word(ctx, dut.weights, self.spaces.weights))
            if ctx.get(dut.scratchpad.request.valid):
                self.inputs.append(cycle)
            if ctx.get(dut.weights.request.valid) and ctx.get(dut.weights.request.ready):
                if not burst:
                    self.tiles.append(cycle)
            self._read(ctx, dut, cycle)
            if ctx.get(dut.acc_read.response.valid):
                lanes = range(self.config.lanes)
                sums.append([ctx.get(dut.acc_read.response.data[i]) for i in lanes])
            self.busy.append(ctx.get(dut.busy))
            if ctx.get(dut.complete.valid):
                self.completed.append(
                    (cycle, ctx.get(dut.complete.post), ctx.get(dut.complete.stamp))
                )
            if offer and ctx.get(dut.command.ready):
                self.accepted.append(cycle)
                pending.pop(0)
                wait = self.gap - 1
            if len(self.completed) == len(self.commands) and len(sums) == len(self.read_cycles):
                if not self.reads:
                    break
            await ctx.tick()
        self.responses = sums
        assert len(self.completed) == len(self.commands), "the engine did not finish"

    def _payload(self, index, fields):
        registers = MATMUL.encode(fields)
        raw = sum(value << 32 * i for i, value in enumerate(registers))
        return (
            raw | (index % 16) << (32 * len(registers)) | (index % 2) << (32 * len(registers) + 4)
        )

    def _word(self, ctx, port, memory):
        if not (ctx.get(port.request.valid) and ctx.get(port.request.ready)):
            return int(self.rng.integers(1 << 32))
        return int.from_bytes(memory[ctx.get(port.request.payload)].tobytes(), "little")

    def _read(self, ctx, dut, cycle):
        """Offer the next read once as many commands are complete as it waits for."""
        want = bool(self.reads) and len(self.completed) >= self.reads[0][0]
        ctx.set(dut.acc_read.request.valid, want)
        if want:
            ctx.set(dut.acc_read.request.payload.address, self.reads[0][1])
            ctx.set(dut.acc_read.request.payload.slot, self.reads[0][2])
            if ctx.get(dut.acc_read.request.ready):
                self.read_cycles.append(cycle)
                self.reads.pop(0)

    def check(self):
        """Compare every entry with the golden machine's."""
        for fields in self.commands:
            run_command(self.config, self.spaces, Engine.MATMUL, fields)
        got = np.array(self.responses).reshape(2 * self.config.acc_depth, self.config.cols)
        np.testing.assert_array_equal(got, self.spaces.accumulators)

    def spans(self):
        """Return each command's first and last input request."""
        spans, position = [], 0
        for f in self.commands:
            count = int(np.prod([f[f"count_{level}"] for level in LEVELS]))
            spans.append((self.inputs[position], self.inputs[position + count - 1]))
            position += count
        assert position == len(self.inputs)
        return spans


def everything(config, commands):
    """Return reads of all entries after all commands."""
    slots = range(config.cols // config.lanes)
    return [(len(commands), a, s) for a in range(2 * config.acc_depth) for s in slots]


def run(config, commands, **options):
    bench = Bench(config, commands, reads=everything(config, commands), **options).run()
    bench.check()
    latency = SCRATCHPAD_LATENCY + config.rows + config.cols + 2
    for i, ((_, last), (cycle, post, stamp)) in enumerate(
        zip(bench.spans(), bench.completed, strict=True)
    ):
        assert (cycle, post, stamp) == (last + latency, i % 16, i % 2)
    return bench


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8), (12, 12)])
def test_convolutions_with_padding_strides_and_dilation(rows, cols):
    config = make_config(rows, cols, acc_depth=32)
    commands = [
        convolution(5, groups=2, pad_value=-128, accumulate=0),
        convolution(6, stride=2, pad_value=5, acc_address=32, weight_address=3 * rows),
        convolution(5, dilation=2, pad=2, pad_value=127, accumulate=1),
        convolution(4, kernel=1, pad=0, acc_address=40),
    ]
    bench = run(config, commands)
    for fields, (first, last) in zip(commands, bench.spans(), strict=True):
        pixels = fields["count_col"] * fields["count_row"]
        tiles = fields["count_k0"] * fields["count_k1"] * fields["count_k2"]
        assert last - first + 1 <= (tiles - 1) * max(pixels, rows, cols) + pixels
        assert last - first + 1 >= tiles * pixels


def test_random_loops():
    """Any strides: addresses and coordinates wrap, words are read twice or never."""
    config = make_config(4, 4)
    rng = np.random.default_rng(11)
    commands = []
    for _ in range(12):
        col, row = rng.integers(1, 5, 2)
        counts = [int(n) for n in (col, row, *rng.integers(1, 4, 3))]
        strides = rng.integers(-3, 4, (5, 3)) * np.array([37, 1, 1])
        half = int(rng.integers(2)) * config.acc_depth
        commands.append(
            command(
                counts,
                strides,
                input_address=int(rng.integers(1 << 20)),
                input_y=int(rng.integers(-4, 5)),
                input_x=int(rng.integers(-4, 5)),
                input_height=int(rng.integers(1, 6)),
                input_width=int(rng.integers(1, 6)),
                weight_address=int(rng.integers(config.weight_words)),
                acc_address=half + int(rng.integers(config.acc_depth - col * row + 1)),
                accumulate=int(rng.integers(2)),
                pad_value=int(rng.integers(-128, 128)),
            )
        )
    run(config, commands)


def test_extreme_coordinates():
    config = make_config(4, 4)
    commands = [
        command(
            (4, 1, 1, 1, 1),
            [(1, y_step, x_step), *[(0, 0, 0)] * 4],
            input_y=y,
            input_x=x,
            input_height=65535,
            input_width=height,
            acc_address=4 * i,
            pad_value=77,
        )
        for i, (y, x, y_step, x_step, height) in enumerate(
            [
                (32766, 0, 1, 0, 1),
                (-32768, 0, -1, 0, 1),
                (0, -2, 0, 1, 65535),
                (0, 32765, 0, 1, 40000),
            ]
        )
    ]
    run(config, commands)


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8), (12, 12)])
def test_tiles_of_one_pixel_follow_without_bubble(rows, cols):
    tiles = 6
    bench = run(make_config(rows, cols), [flat(1, tiles, acc_address=3)])
    period = {following - start for start, following in pairwise(bench.inputs)}
    assert max(period) == max(rows, cols)
    assert bench.inputs[-1] - bench.inputs[1] == (tiles - 2) * max(rows, cols)
    # With weights to load first, an idle engine takes one cycle more than with them loaded.
    assert bench.inputs[0] - bench.accepted[0] <= 3


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8)])
def test_commands_follow_with_two_idle_cycles(rows, cols):
    config = make_config(rows, cols, acc_depth=32)
    pixels = 2 * max(rows, cols)
    commands = [
        flat(pixels, tiles, at=7 * i, acc_address=32 * (i % 2), weight_address=rows * i)
        for i, tiles in enumerate((1, 2, 3, 1, 1))
    ]
    bench = run(config, commands)
    for (first, last), fields in zip(bench.spans(), commands, strict=True):
        assert last - first + 1 == pixels * fields["count_k0"]
    for (_, last), (first, _) in pairwise(bench.spans()):
        assert first - last == 3


@pytest.mark.parametrize("pixels", [1, 2, 3, 5])
def test_short_commands_accumulate_on_one_entry(pixels):
    """The second command's first entry is the first one's last: no update is lost."""
    config = make_config(4, 4)
    commands = [
        flat(pixels, tiles, at=i, acc_address=i * (pixels - 1), accumulate=1)
        for i, tiles in enumerate((1, 1, 2))
    ]
    commands.insert(0, flat(16, 1))
    run(config, commands, gap=1)


@pytest.mark.parametrize("contention", [0.0, 0.3, 0.9])
def test_weight_port_contention_only_delays(contention):
    config = make_config(8, 4)
    commands = [
        flat(pixels, tiles, weight_address=16 * i, acc_address=(i % 2) * 16, accumulate=i // 2 % 2)
        for i, (pixels, tiles) in enumerate([(3, 4), (12, 3), (1, 2), (16, 2), (1, 1), (1, 1)])
    ]
    bench = run(config, commands, contention=contention, seed=int(contention * 10))
    assert len(bench.tiles) == sum(f["count_k0"] for f in commands)
    assert min(following - start for start, following in pairwise(bench.tiles)) >= 8


def test_a_burst_has_no_gap_and_says_so():
    bench = run(make_config(8, 4), [flat(1, 3)])
    assert [following - start for start, following in pairwise(bench.tiles)] == [8, 8]


@pytest.mark.parametrize("gap, pixels", [(1, 1), (1, 5), (7, 5), (60, 5)])
def test_busy_covers_every_command(gap, pixels):
    """Up to five commands are in the pipeline, or one that comes late."""
    config = make_config(4, 4)
    commands = [
        flat(pixels, 1, acc_address=16 * (i % 2), weight_address=8 * i, accumulate=1)
        for i in range(8)
    ]
    bench = run(config, commands, gap=gap)
    if gap == pixels == 1:
        assert bench.accepted[5] <= bench.completed[1][0]
    start = bench.accepted[0]
    assert not any(bench.busy[: start + 1])
    running = np.zeros(len(bench.busy), bool)
    for accepted, (completed, _, _) in zip(bench.accepted, bench.completed, strict=True):
        running[accepted + 1 : completed + 1] = True
    assert bench.busy == running.astype(int).tolist()


def test_reads_between_commands():
    """The read in the cycle after a completion sees the sums, beside the next command's work."""
    config = make_config(4, 4)
    commands = [flat(8, 2), flat(16, 12, at=9, acc_address=16)]
    reads = [(1, a, s) for a in range(8) for s in range(2)] + [(1, 16, 0)]
    bench = Bench(config, commands, reads=reads).run()
    done = [cycle for cycle, _, _ in bench.completed]
    assert bench.read_cycles[:16] == list(range(done[0] + 1, done[0] + 17))
    # The entry of the running command waits for its end.
    assert bench.read_cycles[16] == done[1] + 1
    assert len(bench.responses) == 17 and ACCUMULATOR_LATENCY == 4
    for fields in commands:
        run_command(config, bench.spaces, Engine.MATMUL, fields)
    expected = [bench.spaces.accumulators[a, 2 * s : 2 * s + 2].tolist() for _, a, s in reads]
    assert bench.responses == expected
