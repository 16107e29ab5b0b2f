# amaranth: UnusedElaboratable=no
"""The controller's window on a real scratchpad, with and without the engines' traffic."""

import random
from collections import deque

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from accel.config import slot_bytes
from accel.gateware.ports import SCRATCHPAD_LATENCY
from accel.gateware.scratchpad import Scratchpad
from accel.gateware.window import ScratchpadWindow

WORDS = 64
CLIENTS = ("matmul", "vector", "store", "load", "result")
TRAFFIC = {"never": 0.0, "sometimes": 0.3, "often": 0.9, "always": 1.0}
MASKS = (0b0001, 0b0010, 0b0100, 0b1000, 0b0011, 0b1100, 0b1111, 0b0000)
MINE, READ_ONLY, LOADED, RESULTS = (range(n, n + 16) for n in (0, 16, 32, 48))
"""Words of the window, of the readers, and of both writers: tokens keep them apart."""
READ_CYCLES, WRITE_CYCLES = 5, 6


class Bench:
    """Window and scratchpad; readers and writers that use their ports as often as `traffic` says.

    Whoever reads the scratchpad compares with `memory`.
    """

    def __init__(self, rows, *, traffic="never", clients=CLIENTS, seed=0):
        self.rows, self.slot = rows, slot_bytes(rows)
        self.rng = random.Random(seed)
        self._probability = TRAFFIC[traffic]
        self.memory = [bytearray(self.rng.randbytes(rows)) for _ in range(WORDS)]
        self.done = dict.fromkeys(clients, 0)
        self.window = ScratchpadWindow(words=WORDS, rows=rows, banks=2)
        self.scratchpad = Scratchpad(words=WORDS, banks=2, rows=rows, lanes=2)
        self._module = m = Module()
        m.submodules.window, m.submodules.scratchpad = self.window, self.scratchpad
        connect(m, self.window.read, self.scratchpad.store)
        connect(m, self.window.write, self.scratchpad.load)
        m.d.comb += [
            self.window.reading.eq(self.scratchpad.reading),
            self.window.writing.eq(self.scratchpad.writing),
        ]

    def run(self, accesses):
        """Do accesses (write, group, data, mask) one after another; return cycles of each."""
        cycles = []

        async def core(ctx):
            await self._fill(ctx)
            for access in accesses:
                cycles.append(await self._access(ctx, *access))
            for _ in range(8):
                await ctx.tick()

        sim = Simulator(self._module)
        sim.add_clock(1e-6)
        sim.add_testbench(core)
        self._filled = False
        for name in self.done:
            port = getattr(self.window if name in ("store", "load") else self.scratchpad, name)
            port = port[0] if name == "matmul" else port
            make = self._writer if name in ("load", "result") else self._reader
            sim.add_testbench(make(name, port), background=True)
        sim.run()
        return cycles

    async def _fill(self, ctx):
        request = self.window.load.request
        for address, word in enumerate(self.memory):
            payload = {"address": address, "data": int.from_bytes(word, "little"), "mask": 1}
            ctx.set(request.payload, payload)
            ctx.set(request.valid, 1)
            assert ctx.get(request.ready)
            await ctx.tick()
        ctx.set(request.valid, 0)
        await ctx.tick().repeat(2)
        self._filled = True

    async def _access(self, ctx, write, group, data, mask):
        port = self.window.access
        ctx.set(
            port.request.payload, {"write": write, "address": group, "data": data, "mask": mask}
        )
        ctx.set(port.request.valid, 1)
        while not ctx.get(port.request.ready):
            await ctx.tick()
        await ctx.tick()
        ctx.set(port.request.valid, 0)
        ctx.set(port.request.payload, {"write": 1, "address": 0, "data": 0, "mask": 15})
        cycles = 1
        while not ctx.get(port.response.valid):
            await ctx.tick()
            cycles += 1
            assert cycles < 500, "no answer"
        word, first = divmod(4 * group, self.slot)
        stored = self.memory[word]
        if write:
            for byte in range(4):
                if mask >> byte & 1 and first < self.rows:
                    stored[first + byte] = data >> 8 * byte & 0xFF
        else:
            expected = int.from_bytes(stored[first : first + 4], "little")
            assert ctx.get(port.response.data) == expected, (group, first)
        return cycles

    def _reader(self, name, port):
        async def run(ctx):
            words = [*READ_ONLY]
            on_way = deque([None] * SCRATCHPAD_LATENCY)
            address = None
            while True:
                response = on_way.popleft()
                assert ctx.get(port.response.valid) == (response is not None), name
                if response is not None:
                    word = int.from_bytes(self.memory[response], "little")
                    assert ctx.get(port.response.data) == word, name
                if address is None and self._filled and self.rng.random() < self._probability:
                    address = self.rng.choice(words)
                    ctx.set(port.request.payload, address)
                ctx.set(port.request.valid, address is not None)
                taken = address is not None and ctx.get(port.request.ready)
                on_way.append(address if taken else None)
                if taken:
                    self.done[name] += 1
                    address = None
                await ctx.tick()

        return run

    def _writer(self, name, port):
        async def run(ctx):
            words = [*(LOADED if name == "load" else RESULTS)]
            while not self._filled:
                await ctx.tick()
            while True:
                if self.rng.random() >= self._probability:
                    await ctx.tick()
                    continue
                address = self.rng.choice(words)
                data = self.rng.randbytes(self.rows)
                masks = 1 << (self.rows // 2 if name == "result" else 1)
                payload = {"address": address, "data": int.from_bytes(data, "little")}
                ctx.set(port.request.payload, payload | {"mask": masks - 1})
                ctx.set(port.request.valid, 1)
                while not ctx.get(port.request.ready):
                    await ctx.tick()
                self.memory[address][:] = data
                self.done[name] += 1
                await ctx.tick()
                ctx.set(port.request.valid, 0)

        return run


def groups(bench, words):
    per_word = bench.slot // 4
    return [word * per_word + part for word in words for part in range(per_word)]


@pytest.mark.parametrize("rows", [4, 8, 12, 16, 32])
def test_every_mask_in_every_part_of_a_word(rows):
    """The neighbours keep their bytes; what lies past the word reads as 0."""
    bench = Bench(rows, seed=rows)
    accesses = []
    for number, group in enumerate(groups(bench, MINE)[:: 5 if rows > 16 else 1]):
        masks = MASKS if number < bench.slot // 4 else bench.rng.sample(MASKS, 1)
        for mask in masks:
            accesses.append((1, group, bench.rng.getrandbits(32), mask))
            accesses += [(0, g, 0, 0) for g in {group, group ^ 1, max(group - 1, 0)}]
    cycles = bench.run(accesses)
    taken = {
        write: {c for a, c in zip(accesses, cycles, strict=True) if a[0] == write}
        for write in (0, 1)
    }
    assert taken == {0: {READ_CYCLES}, 1: {WRITE_CYCLES}}


@pytest.mark.parametrize("traffic", ["sometimes", "often"])
@pytest.mark.parametrize("rows", [4, 12, 16])
def test_engines_and_window_share_the_ports(rows, traffic):
    """Each gets its own data, in order, and nobody waits for ever."""
    bench = Bench(rows, traffic=traffic, seed=17)
    accesses = []
    for _ in range(60):
        group = bench.rng.choice(groups(bench, MINE))
        mask = bench.rng.choice(MASKS)
        accesses.append((bench.rng.randrange(2), group, bench.rng.getrandbits(32), mask))
    accesses += [(0, group, 0, 0) for group in groups(bench, MINE)]
    cycles = bench.run(accesses)
    assert max(cycles) > WRITE_CYCLES
    assert all(count > len(accesses) / 2 for count in bench.done.values()), bench.done


def test_store_and_load_that_never_pause_do_not_stop_the_window():
    """And are themselves stopped for one cycle by each access."""
    bench = Bench(8, traffic="always", clients=("store", "load"), seed=18)
    accesses = [(n % 2, group, n, 15) for n, group in enumerate(groups(bench, MINE))]
    cycles = bench.run(accesses)
    assert cycles == [WRITE_CYCLES if write else READ_CYCLES for write, *_ in accesses]
    # Cycles from the first access to the end of `run`, less those that the window took.
    time = sum(cycles) + 8
    assert time - len(accesses) <= bench.done["store"] <= time - len(accesses) + 2
    writes = sum(access[0] for access in accesses)
    assert time - writes <= bench.done["load"] <= time - writes + 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"words": 48, "rows": 8, "banks": 2}, "Words must be a power of two, not 48"),
        ({"words": 64, "rows": 6, "banks": 2}, "Rows must be a multiple of 4, not 6"),
    ],
)
def test_impossible_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        ScratchpadWindow(**sizes)
