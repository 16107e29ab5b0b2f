"""The matmul engine between model memories, and commands for it."""

import numpy as np
from amaranth.sim import Simulator

from accel.config import Config
from accel.gateware.matmul import MatmulEngine
from accel.gateware.ports import SCRATCHPAD_LATENCY, WEIGHT_LATENCY
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
            groups=self.config.groups,
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
        words = [[0] * SCRATCHPAD_LATENCY for _ in dut.scratchpad]
        weights = [0] * WEIGHT_LATENCY
        pending = [self._payload(i, fields) for i, fields in enumerate(self.commands)]
        wait = 0
        sums = []
        for cycle in range(limit):
            offer = bool(pending) and wait == 0
            # The registers change while nothing is on offer, but not in the last cycle before.
            stand = bool(pending) and wait <= 1
            wait = max(wait - 1, 0)
            ctx.set(dut.command.valid, offer)
            payload = pending[0] if stand else int.from_bytes(self.rng.bytes(120), "little")
            ctx.set(dut.command.payload.as_value(), payload)
            burst = ctx.get(dut.weights_burst)
            ctx.set(dut.weights.request.ready, burst or self.rng.random() >= self.contention)
            for port, line in zip(dut.scratchpad, words, strict=True):
                ctx.set(port.request.ready, 1)
                ctx.set(port.response.data, line.pop(0))
                line.append(self._word(ctx, port, self.spaces.scratchpad))
            ctx.set(dut.weights.response.data, weights.pop(0))
            weights.append(self._word(ctx, dut.weights, self.spaces.weights))
            if ctx.get(dut.scratchpad[0].request.valid):
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
                wait = max(self.gap - 1, 1)
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
