"""cocotb bench of the load and store engines against cocotbext-axi's memory.

Every test runs with stalls never, sometimes and often, on the bus as on the chip's side.
"""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiRam

from accel.config import Config
from accel.isa import COMMANDS, TABLE_WORDS, Engine, Space
from sim.benches.axi_watch import AxiWatch, pause_channels
from sim.benches.environment import bench_config
from sim.benches.transfers import Transfer, long_row, random_packing, random_transfer

MEMORY_BYTES = 1 << 16
MEMORY_BASE = 0x1000 + 64
"""Where the tests' memory starts in the model's: commands hold offsets."""

STALLS = {"never": 0.0, "sometimes": 0.25, "often": 0.75}
PORTS = {
    Space.SCRATCHPAD: "scratchpad",
    Space.WEIGHTS: "weights",
    Space.TABLE: "table",
    Space.PROGRAM: "program",
}


class DmaBench:
    """Clock, external memory, on-chip memories, monitors and drivers around the two engines.

    Parameters
    ----------
    dut : cocotb handle
    stalls : str
        Key of `STALLS`.

    Members
    -------
    chip : dict of Space to list of int
        The on-chip memories.
    written : dict of Space to list of (address, data)
        What the load engine wrote, in order.
    complete : dict of Engine to list of (post, stamp)
    """

    def __init__(self, dut: Any, stalls: str) -> None:
        self.dut = dut
        self.config: Config = bench_config()
        self.rng = random.Random(f"{cocotb.RANDOM_SEED} {stalls}")
        self._probability = STALLS[stalls]
        config = self.config
        self.slots = {
            Space.SCRATCHPAD: config.word_slot,
            Space.WEIGHTS: config.weight_slot,
            Space.TABLE: 4,
            Space.PROGRAM: 4,
        }
        self.word_bytes = self.slots | {
            Space.SCRATCHPAD: config.rows,
            Space.WEIGHTS: config.cols,
        }
        self.chip_words = {
            Space.SCRATCHPAD: config.scratchpad_words,
            Space.WEIGHTS: config.weight_words,
            Space.TABLE: TABLE_WORDS,
            Space.PROGRAM: config.program_words,
        }
        self.chip = {
            s: [self.rng.getrandbits(8 * self.word_bytes[s]) for _ in range(n)]
            for s, n in self.chip_words.items()
        }
        self.written: dict[Space, list[tuple[int, int]]] = {s: [] for s in Space}
        self.complete: dict[Engine, list[tuple[int, int]]] = {Engine.LOAD: [], Engine.STORE: []}
        self.counted_beats = {"read": 0, "write": 0}
        self.faults = 0
        self.bus = AxiWatch(
            dut, "m_axi_", bus_bytes=config.bus_bytes, reads_in_flight=config.reads_in_flight
        )
        self.cycle = 0

    def _stall(self) -> bool:
        return self.rng.random() < self._probability

    def _pauses(self) -> Iterator[bool]:
        while True:
            yield self._stall()

    async def start(self) -> None:
        """Reset the engines and start everything around them."""
        dut = self.dut
        Clock(dut.clk, 10, "ns").start()
        dut.rst.value = 1
        dut.memory_base.value = MEMORY_BASE
        for valid in ("load_command", "store_command", "load_boot"):
            getattr(dut, f"{valid}_valid").value = 0
        dut.store_scratchpad_response_valid.value = 0
        self.ram = AxiRam(
            AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=MEMORY_BASE + MEMORY_BYTES
        )
        self.ram.write(0, self.rng.randbytes(MEMORY_BASE + MEMORY_BYTES))
        if self._probability:
            pause_channels(self.ram, self._pauses)
        await ClockCycles(dut.clk, 4)
        dut.rst.value = 0
        for task in (self._watch(), self._serve_writes(), self._serve_reads()):
            cocotb.start_soon(task)
        await RisingEdge(dut.clk)

    async def _watch(self) -> None:
        """Feed the burst monitors and collect completions."""
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            self.bus.sample()
            for engine, name in ((Engine.LOAD, "load"), (Engine.STORE, "store")):
                if self._value(f"{name}_complete_valid"):
                    post = self._value(f"{name}_complete_post")
                    self.complete[engine].append((post, self._value(f"{name}_complete_stamp")))
                self.faults += self._value(f"{name}_fault_valid")
            self.counted_beats["read"] += self._value("load_read_beat")
            self.counted_beats["write"] += self._value("store_write_beat")

    async def _serve_writes(self) -> None:
        """Be the four memories that the load engine writes."""
        ready = {s: getattr(self.dut, f"load_{PORTS[s]}_request_ready") for s in Space}
        while True:
            for space in Space:
                stall = space is Space.SCRATCHPAD and self._stall()
                ready[space].value = int(not stall)
            await RisingEdge(self.dut.clk)
            for space in Space:
                port = f"load_{PORTS[space]}_request"
                if self._value(f"{port}_valid") and ready[space].value:
                    address, data = self._value(f"{port}_address"), self._value(f"{port}_data")
                    assert self._value(f"{port}_mask") == 1
                    self.written[space].append((address, data))
                    self.chip[space][address] = data

    async def _serve_reads(self) -> None:
        """Be the scratchpad's read port: a response three cycles after its request."""
        dut = self.dut
        pipeline: list[int | None] = [None, None]
        while True:
            dut.store_scratchpad_request_ready.value = int(not self._stall())
            response = pipeline.pop(0)
            dut.store_scratchpad_response_valid.value = int(response is not None)
            dut.store_scratchpad_response_data.value = response or 0
            await RisingEdge(dut.clk)
            accepted = self._transfers("store_scratchpad_request_")
            address = self._value("store_scratchpad_request") if accepted else 0
            pipeline.append(self.chip[Space.SCRATCHPAD][address] if accepted else None)

    def _value(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    def _transfers(self, name: str) -> bool:
        """Return whether the channel whose signals' names begin with `name` transfers."""
        return bool(self._value(f"{name}valid") and self._value(f"{name}ready"))

    async def push(self, engine: Engine, transfer: Transfer, post: int, stamp: int) -> None:
        """Offer a command, and check that the engine is busy in the cycle after it took it."""
        dut, name = self.dut, engine.name.lower()
        registers = COMMANDS[engine].encode(transfer.fields)
        for field, value in COMMANDS[engine].decode(registers).items():
            getattr(dut, f"{name}_command_fields_{field}").value = value
        getattr(dut, f"{name}_command_post").value = post
        getattr(dut, f"{name}_command_stamp").value = stamp
        getattr(dut, f"{name}_command_valid").value = 1
        await RisingEdge(dut.clk)
        while not self._value(f"{name}_command_ready"):
            await RisingEdge(dut.clk)
        getattr(dut, f"{name}_command_valid").value = 0
        await RisingEdge(dut.clk)
        assert self._value(f"{name}_busy"), "not busy in the cycle after a command was taken"

    async def run(self, engine: Engine, transfers: list[Transfer]) -> None:
        """Run commands one after another and wait until the last is complete."""
        tags = [(self.rng.randrange(16), self.rng.randrange(2)) for _ in transfers]
        before = len(self.complete[engine])
        for transfer, (post, stamp) in zip(transfers, tags, strict=True):
            await self.push(engine, transfer, post, stamp)
        while len(self.complete[engine]) < before + len(transfers):
            await RisingEdge(self.dut.clk)
        assert self.complete[engine][before:] == tags
        await RisingEdge(self.dut.clk)
        assert not self._value(f"{engine.name.lower()}_busy"), "busy after its last completion"

    def transfers(self, space: Space, count: int, memory_bytes: int) -> list[Transfer]:
        """Return `count` random commands, one of them a long row."""
        draw = partial(
            random_transfer,
            self.rng,
            slot=self.slots[space],
            chip_words=self.chip_words[space],
            memory_bytes=memory_bytes,
            space=space,
        )
        result = [draw() for _ in range(count - 1)]
        long = long_row(
            self.rng,
            slot=self.slots[space],
            bus_bytes=self.config.bus_bytes,
            chip_words=self.chip_words[space],
            memory_bytes=memory_bytes,
            space=space,
        )
        result.insert(self.rng.randrange(count), long)
        return result

    def packings(self, count: int, memory_bytes: int) -> list[Transfer]:
        """Return `count` random loads that pack."""
        return [
            random_packing(
                self.rng,
                slot=self.slots[Space.SCRATCHPAD],
                chip_words=self.chip_words[Space.SCRATCHPAD],
                memory_bytes=memory_bytes,
            )
            for _ in range(count)
        ]

    def loaded(self, transfer: Transfer) -> list[tuple[int, int]]:
        """Return the (address, data) that a load must write, from memory as it is now."""
        size = self.word_bytes[Space(transfer.fields["space"])]
        return transfer.loaded(lambda at, count: self.ram.read(MEMORY_BASE + at, count), size)

    def check_loads(self, transfers: list[Transfer]) -> None:
        """Compare everything that was written since the start with what `transfers` must write."""
        for space in Space:
            wanted = [w for t in transfers if t.fields["space"] == space for w in self.loaded(t)]
            assert self.written[space] == wanted, f"wrong words in {space.name}"

    def stored(self, transfers: list[Transfer], memory: bytearray) -> bytearray:
        """Return what stores of the scratchpad's words make of `memory`."""
        slot = self.slots[Space.SCRATCHPAD]
        for transfer in transfers:
            for address, chip in transfer.moves:
                word = self.chip[Space.SCRATCHPAD][chip].to_bytes(slot, "little")
                memory[MEMORY_BASE + address : MEMORY_BASE + address + slot] = word
        return memory

    def memory(self) -> bytearray:
        """Return external memory."""
        return bytearray(self.ram.read(0, MEMORY_BASE + MEMORY_BYTES))

    async def finish(self) -> None:
        """Check that the bus is at rest, and that the engines counted its beats."""
        await ClockCycles(self.dut.clk, 4)
        assert self.bus.idle(), "bursts left unfinished"
        counted = {"read": self.bus.reads.beats, "write": self.bus.writes.beats}
        assert self.counted_beats == counted
        assert self.faults == 0


async def _within(task: Any, microseconds: int = 2000) -> None:
    await with_timeout(cocotb.start_soon(task), microseconds, "us")


@cocotb.test()
@cocotb.parametrize(stalls=list(STALLS))
async def loads_random_commands(dut: Any, stalls: str) -> None:
    """Random loads into all four memories, in random order."""
    bench = DmaBench(dut, stalls)
    await bench.start()
    transfers = [t for s in Space for t in bench.transfers(s, 6, MEMORY_BYTES)]
    transfers += bench.packings(12, MEMORY_BYTES)
    bench.rng.shuffle(transfers)
    await _within(bench.run(Engine.LOAD, transfers))
    bench.check_loads(transfers)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=list(STALLS))
async def stores_random_commands(dut: Any, stalls: str) -> None:
    """Random stores; every byte of memory that they do not touch stays as it was."""
    bench = DmaBench(dut, stalls)
    await bench.start()
    transfers = bench.transfers(Space.SCRATCHPAD, 12, MEMORY_BYTES)
    wanted = bench.stored(transfers, bench.memory())
    await _within(bench.run(Engine.STORE, transfers))
    assert bench.memory() == wanted
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=list(STALLS))
async def loads_while_storing(dut: Any, stalls: str) -> None:
    """Both directions at once: loads from the lower half of memory, stores to the upper."""
    bench = DmaBench(dut, stalls)
    await bench.start()
    half = MEMORY_BYTES // 2
    loads = [t for s in (Space.WEIGHTS, Space.PROGRAM) for t in bench.transfers(s, 5, half)]
    stores = [
        Transfer({**t.fields, "memory_address": t.fields["memory_address"] + half}, t.slot)
        for t in bench.transfers(Space.SCRATCHPAD, 8, half)
    ]
    wanted = bench.stored(stores, bench.memory())
    storing = cocotb.start_soon(bench.run(Engine.STORE, stores))
    await _within(bench.run(Engine.LOAD, loads))
    await with_timeout(storing, 2000, "us")
    bench.check_loads(loads)
    assert bench.memory() == wanted
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=list(STALLS))
async def boots(dut: Any, stalls: str) -> None:
    """Fill program memory by a boot request, which completes as such only."""
    bench = DmaBench(dut, stalls)
    await bench.start()
    words = 300
    dut.load_boot_memory_address.value = 0xFE8
    dut.load_boot_words.value = words
    dut.load_boot_valid.value = 1

    async def boot() -> None:
        await RisingEdge(dut.clk)
        while not dut.load_boot_ready.value:
            await RisingEdge(dut.clk)
        dut.load_boot_valid.value = 0
        while not dut.load_boot_complete.value:
            await RisingEdge(dut.clk)

    await _within(boot())
    fields = {"memory_address": 0xFE8, "chip_address": 0, "words": words, "rows": 1, "planes": 1}
    steps = {f"{side}_step_{level}": 0 for side in ("memory", "chip") for level in ("row", "plane")}
    bench.check_loads([Transfer({**fields, **steps, "space": int(Space.PROGRAM)}, 4)])
    assert not bench.complete[Engine.LOAD]
    await bench.finish()
