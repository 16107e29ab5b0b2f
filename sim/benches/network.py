"""cocotb bench of the whole accelerator: the driver runs compiled networks through its ports.

The registers are behind cocotbext-axi's AXI4-Lite master, external memory is its AXI4 memory, and
`accel.host.driver.Driver`, in a thread of its own, waits for the interrupt as it would on a board.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiResp

from accel.compiler import compile_network
from accel.compiler.backend import build_image
from accel.compiler.reference import evaluate
from accel.config import Config
from accel.data import digits_model, load_digits
from accel.errors import DeviceError
from accel.host.device import Buffer, Device
from accel.host.driver import Driver, RunStats
from accel.image import Image
from accel.regmap import Control
from accel.regmap import address as register_address
from sim.benches.axi_watch import AxiWatch, pause_channels
from sim.benches.environment import bench_config
from sim.benches.tiny_network import tiny_network

Array = npt.NDArray[Any]

CLOCK_NS = 10
MEMORY_BASE = 0x1000 + 64
"""Where the accelerator's memory starts: images hold offsets from it."""
MARGIN_BYTES = 4096
"""Memory past an image, which nothing may touch."""
TIMEOUT_CYCLES = 100_000
STALLS = {"never": 0.0, "sometimes": 0.25, "often": 0.75}


class BenchDevice(Device):
    """The device under test, for code in a thread that `cocotb.task.bridge` started.

    Parameters
    ----------
    config : Config
    dut : cocotb handle
    registers : AxiLiteMaster
    ram : AxiRam
    memory_bytes : int
        From `MEMORY_BASE` on.

    Members
    -------
    watch : AxiWatch
        To be set before the first start.
    begun : int
        Programs loaded and runs started.
    beats : tuple of int
        Beats read and written before the last of them.
    """

    name = "cocotb"
    memory_base = MEMORY_BASE

    def __init__(
        self, config: Config, *, dut: Any, registers: Any, ram: Any, memory_bytes: int
    ) -> None:
        super().__init__(config)
        self.memory_bytes = memory_bytes
        self._dut = dut
        self._registers = registers
        self._ram = ram
        self.watch: AxiWatch
        self.begun = 0
        self.beats = 0, 0

    def read_memory(self, address: int, length: int) -> bytes:
        """Read external memory behind the accelerator's back."""
        self.check_range(address, length)
        return bytes(self._ram.read(address, length))

    def write_memory(self, address: int, data: Buffer) -> None:
        """Write external memory behind the accelerator's back."""
        content = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
        self.check_range(address, len(content))
        self._ram.write(address, content)

    def read_register(self, offset: int) -> int:
        """Read a register over AXI4-Lite."""
        answer = resume(self._registers.read)(offset, 4)
        self._check(answer.resp, offset)
        return int.from_bytes(answer.data, "little")

    def write_register(self, offset: int, value: int) -> None:
        """Write a register over AXI4-Lite."""
        if offset == register_address("CONTROL") and value & (Control.LOAD | Control.START):
            self.begun += 1
            self.beats = self.watch.reads.beats, self.watch.writes.beats
        data = (value & 0xFFFF_FFFF).to_bytes(4, "little")
        answer = resume(self._registers.write)(offset, data)
        self._check(answer.resp, offset)

    def _check(self, response: AxiResp, offset: int) -> None:
        if response != AxiResp.OKAY:
            raise DeviceError(f"{self.name}: register {offset:#x} answers {response.name}")

    def wait(self, timeout_cycles: int) -> None:
        """Wait for `irq`."""
        resume(self._interrupt)(timeout_cycles)

    async def _interrupt(self, timeout_cycles: int) -> None:
        if self._dut.irq.value:
            return
        try:
            await with_timeout(RisingEdge(self._dut.irq), timeout_cycles * CLOCK_NS, "ns")
        except SimTimeoutError:
            raise self.timeout_error(timeout_cycles) from None


class NetworkBench:
    """Clock, external memory, register master, monitors and the driver around the accelerator.

    Parameters
    ----------
    dut : cocotb handle
    stalls : str
        Key of `STALLS`: how often each channel of both ports pauses.
    image_bytes : int
        Memory of the largest image to be run.

    Members
    -------
    interrupts : int
        Rising edges of `irq`.
    """

    def __init__(self, dut: Any, stalls: str, image_bytes: int) -> None:
        self._dut = dut
        self._config = bench_config()
        self._rng = random.Random(f"{cocotb.RANDOM_SEED} {stalls}")
        self._probability = STALLS[stalls]
        self._image_bytes = image_bytes
        self.interrupts = 0

    def _pauses(self) -> Iterator[bool]:
        while True:
            yield self._rng.random() < self._probability

    async def start(self) -> None:
        """Reset the accelerator and start everything around it."""
        dut, config = self._dut, self._config
        Clock(dut.clk, CLOCK_NS, "ns").start()
        dut.rst.value = 1
        size = MEMORY_BASE + self._image_bytes + MARGIN_BYTES
        self._ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=size)
        self._ram.write(0, self._rng.randbytes(size))
        registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        if self._probability:
            pause_channels(self._ram, self._pauses)
            pause_channels(registers, self._pauses)
        device = BenchDevice(
            config, dut=dut, registers=registers, ram=self._ram, memory_bytes=self._image_bytes
        )
        self._device = device
        self._driver = Driver(device, timeout_cycles=TIMEOUT_CYCLES)
        self._bus = AxiWatch(
            dut, "m_axi_", bus_bytes=config.bus_bytes, reads_in_flight=config.reads_in_flight
        )
        device.watch = self._bus
        await ClockCycles(dut.clk, 4)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        cocotb.start_soon(self._watch_bus())
        cocotb.start_soon(self._count_interrupts())

    async def _watch_bus(self) -> None:
        while True:
            await RisingEdge(self._dut.clk)
            self._bus.sample()

    async def _count_interrupts(self) -> None:
        while True:
            await RisingEdge(self._dut.irq)
            self.interrupts += 1

    def _memory(self) -> bytearray:
        return bytearray(self._ram.read(0, self._ram.size))

    async def load(self, image: Image) -> None:
        """Load a program, and check that nothing but the driver wrote to memory."""
        expected = self._memory()
        for segment in image.segments:
            start = MEMORY_BASE + segment.address
            expected[start : start + len(segment.data)] = segment.data
        self._bus.window = _bytes_of(0, image.memory_bytes)
        await bridge(self._driver.load_image)(image)
        assert self._memory() == expected, "loading the program changed memory"
        assert self._bus.idle(), "loading ended with bursts unfinished"
        self._image = image

    async def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs of one inference, and check everything else that it did."""
        image, bus = self._image, self._bus
        expected = self._memory()
        for tensor, values in zip(image.inputs, inputs, strict=True):
            packed = tensor.pack(values)
            start = MEMORY_BASE + tensor.address
            expected[start : start + len(packed)] = packed
        expected_interrupts = self.interrupts - self._device.begun
        outputs: list[Array]
        stats: RunStats
        outputs, stats = await bridge(self._driver.run)(inputs)
        self._check_memory(expected)
        # A run behind another one of the same image may load its second program first.
        expected_interrupts += self._device.begun
        assert self.interrupts == expected_interrupts, "not one interrupt for each start"
        await RisingEdge(self._dut.clk)  # CONTROL takes effect the cycle after its write
        assert not self._dut.irq.value, "CONTROL.CLEAR left the interrupt high"
        assert bus.idle(), "the run ended with bursts unfinished"
        beats = self._device.beats
        counted = beats[0] + stats.read_beats, beats[1] + stats.write_beats
        assert counted == (bus.reads.beats, bus.writes.beats), "wrong beats counted"
        assert len(stats.stamps) == sum(layer.stamp is not None for layer in image.layers)
        assert list(stats.stamps) == sorted(stats.stamps)
        assert stats.stamps[-1] <= stats.cycles
        self._dut._log.info("%s: %d cycles", image.model, stats.cycles)
        return outputs

    def _check_memory(self, expected: bytearray) -> None:
        """Compare memory, outputs and scratch areas excepted, with what it held before the run."""
        image, memory = self._image, self._memory()
        kept = [_bytes_of(t.address, t.memory_bytes) for t in image.inputs]
        kept += [_bytes_of(s.address, len(s.data)) for s in image.segments]
        end = MEMORY_BASE + image.memory_bytes
        kept += [range(MEMORY_BASE), range(end, len(memory))]
        for part in kept:
            before, after = (m[part.start : part.stop] for m in (expected, memory))
            if before != after:
                where = next(a for a in part if expected[a] != memory[a])
                raise AssertionError(f"the run changed memory at {where:#x}")


def _bytes_of(offset: int, length: int) -> range:
    return range(MEMORY_BASE + offset, MEMORY_BASE + offset + length)


def _differing(outputs: Array, expected: Array) -> str:
    return f"{np.count_nonzero(outputs != expected)} of {expected.size} bytes differ"


class Digits:
    """The bundled model for the bench's configuration, its images and the recorded answers."""

    def __init__(self) -> None:
        self.image = compile_network(digits_model(), bench_config())
        self._data = load_digits()

    async def check(self, bench: NetworkBench, index: int) -> None:
        """Run one image and compare with what TensorFlow Lite Micro answered."""
        (output,) = await bench.run([self._data.x[index]])
        expected = self._data.y_tflm[index].reshape(output.shape)
        assert np.array_equal(output, expected), f"image {index}: {_differing(output, expected)}"


class Tiny:
    """A tiny network for the bench's configuration, with random constants."""

    def __init__(self) -> None:
        self._network = tiny_network(cocotb.RANDOM_SEED)
        self._rng = np.random.default_rng(cocotb.RANDOM_SEED)
        self.image = build_image(self._network, bench_config())

    async def check(self, bench: NetworkBench) -> None:
        """Run random inputs and compare with the reference evaluation."""
        shape = self._network.inputs[0].shape
        values = self._rng.integers(-128, 128, shape, np.int8)
        outputs = await bench.run([values])
        for port, output, wanted in zip(
            self._network.outputs, outputs, evaluate(self._network, [values]), strict=True
        ):
            assert np.array_equal(output, wanted), f"{port.name}: {_differing(output, wanted)}"


@cocotb.test()
@cocotb.parametrize(stalls=["never", "sometimes"])
async def recognises_a_digit(dut: Any, stalls: str) -> None:
    """One image of the bundled model."""
    digits = Digits()
    bench = NetworkBench(dut, stalls, digits.image.memory_bytes)
    await bench.start()
    await bench.load(digits.image)
    await digits.check(bench, 0)


@cocotb.test()
@cocotb.parametrize(stalls=list(STALLS))
async def runs_a_tiny_network_twice(dut: Any, stalls: str) -> None:
    """Two runs of a tiny network without a reset between them."""
    tiny = Tiny()
    bench = NetworkBench(dut, stalls, tiny.image.memory_bytes)
    await bench.start()
    await bench.load(tiny.image)
    for _ in range(2):
        await tiny.check(bench)


@cocotb.test()
async def changes_networks_without_a_reset(dut: Any) -> None:
    """Another program between two runs of the first one."""
    digits, tiny = Digits(), Tiny()
    bench = NetworkBench(dut, "never", max(digits.image.memory_bytes, tiny.image.memory_bytes))
    await bench.start()
    await bench.load(digits.image)
    await digits.check(bench, 1)
    await bench.load(tiny.image)
    await tiny.check(bench)
    await bench.load(digits.image)
    await digits.check(bench, 2)
