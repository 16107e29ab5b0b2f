"""The driver: loads an image on a device and runs it, by the sequence of docs/architecture.md."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from accel.errors import DeviceError, ImageError
from accel.host.device import Device
from accel.host.faults import read_fault
from accel.image import Image
from accel.isa import ISA_VERSION, Engine
from accel.regmap import (
    ID_VALUE,
    STAMP_COUNTER,
    STAMP_COUNTER_SHIFT,
    STAMPS,
    WATCHDOG_STEP,
    WINDOW_BYTES,
    Activity,
    Control,
    Status,
    address,
)

__all__ = ["Driver", "RunStats"]

Array = npt.NDArray[Any]

DEFAULT_TIMEOUT_CYCLES = 200_000_000

GRACE_CYCLES = 100_000
"""How much longer is waited than the watchdog lets it run: its report should come first."""


@dataclass(frozen=True, kw_only=True)
class RunStats:
    """What the counters said after one inference.

    Parameters
    ----------
    cycles : int
        From START to DONE.
    stamps : tuple of int
        Value of CYCLES at each stamped completion, in order.
    read_beats, write_beats : int
        Data beats on the memory port.
    instructions : int
        Retired by the controller.
    activities : tuple of int
        Cycles of each Activity; they sum to `cycles`. Empty where the hardware has no counters.
    stamp_activities : tuple of tuple of int
        The same at each stamp: they sum to its cycles.
    engine_busy, engine_waiting : tuple of int
        By Engine: cycles with a command on offer or under way, and with none while the next one
        waited for tokens. Empty without counters.
    resident : bool
        Weights that stay on the chip were there from an inference before.
    """

    cycles: int
    stamps: tuple[int, ...]
    read_beats: int
    write_beats: int
    instructions: int
    activities: tuple[int, ...] = ()
    stamp_activities: tuple[tuple[int, ...], ...] = ()
    engine_busy: tuple[int, ...] = ()
    engine_waiting: tuple[int, ...] = ()
    resident: bool = False


class Driver:
    """Runs images on a device.

    The accelerator may read what the image has in memory, and write what of it is no constant: its
    memory windows say so.

    Where weights of the image stay on the chip, the first inference brings them, and the next ones
    run the program that expects them. Anything else than a good end of an inference - a fault, an
    error of the device, another driver's program, registers that are no longer what they were -
    and the next one brings them again.

    Parameters
    ----------
    device : Device
        An open one; it is not closed here.
    timeout_cycles : int
        Longest inference that is waited for, and the limit of the watchdog.
    """

    def __init__(self, device: Device, *, timeout_cycles: int = DEFAULT_TIMEOUT_CYCLES) -> None:
        self._device = device
        self._timeout_cycles = timeout_cycles
        self._image: Image | None = None
        self._program: tuple[int, int] | None = None
        self._weights_kept = False

    def load_image(self, image: Image) -> None:
        """Check the device, write the image's constants to memory and load its program.

        Raises
        ------
        ImageError
            When the image was made for another configuration or ISA version.
        DeviceError
            When the device is no accelerator, its memory is too small, or loading failed: then as
            FaultError, with its cause.
        """
        device = self._device
        identity = self._read("ID")
        if identity != ID_VALUE:
            raise DeviceError(f"{device.name}: ID reads {identity:#010x}: no accelerator there")
        version = self._read("VERSION")
        if image.isa_version != version or version != ISA_VERSION:
            raise ImageError(
                f"the image is for ISA version {image.isa_version}, the device has {version}, "
                f"this software {ISA_VERSION}: compile the model again"
            )
        fingerprint = self._read("FINGERPRINT")
        if image.config.fingerprint != fingerprint:
            raise ImageError(
                f"the image was made for configuration {image.config.name} "
                f"({image.config.fingerprint:#010x}), the device has {fingerprint:#010x}: compile "
                "the model for the device's configuration"
            )
        if image.memory_bytes > device.memory_bytes:
            raise DeviceError(
                f"{device.name}: the image needs {image.memory_bytes} bytes of memory, the device "
                f"has {device.memory_bytes}"
            )
        self._image = image
        self._write_constants(image)
        self._load_program(image)

    def _write_constants(self, image: Image) -> None:
        self._forget()
        for segment in image.segments:
            self._device.write_memory(self._device.memory_base + segment.address, segment.data)

    def _forget(self) -> None:
        """Take nothing for granted that was on the chip."""
        self._program, self._weights_kept = None, False

    def _wanted(self, image: Image) -> tuple[int, int]:
        """Return offset and words of the program for the next inference."""
        if image.resident is not None and self._weights_kept:
            return image.resident.program_address, image.resident.program_words
        return image.program_address, image.program_words

    def _is_ours(self, image: Image) -> bool:
        """Return whether nobody else used the device; where it matters, nor reset it."""
        if self._device.user is not self:
            return False
        if not self._weights_kept or image.resident is None:
            return True
        names = ("MEMORY_BASE", "PROGRAM_ADDRESS", "PROGRAM_WORDS")
        expected = (self._device.memory_base, *(self._program or (0, 0)))
        return tuple(map(self._read, names)) == expected

    def _load_program(self, image: Image) -> None:
        """Load the program that the next inference needs."""
        program, self._program = self._wanted(image), None
        base = self._device.memory_base
        self._device.user = self
        self._write("CONTROL", Control.CLEAR)
        self._write("IRQ_ENABLE", 1)
        self._write("MEMORY_BASE", base)
        self._write("PROGRAM_ADDRESS", program[0])
        self._write("PROGRAM_WORDS", program[1])
        self._open_window("READ", base, 0, image.memory_bytes)
        self._open_window("WRITE", base, *image.writable)
        steps = min(-(-self._timeout_cycles // WATCHDOG_STEP), (1 << 32) // WATCHDOG_STEP - 1)
        self._write("WATCHDOG", steps * WATCHDOG_STEP)
        self._go(Control.LOAD, "loading the program")
        self._program = program

    def _open_window(self, name: str, base: int, start: int, stop: int) -> None:
        """Allow the bytes from offset `start` to before `stop`, in whole granules."""
        first = base + start // WINDOW_BYTES * WINDOW_BYTES
        last = base + -(-stop // WINDOW_BYTES) * WINDOW_BYTES - 1
        if start >= stop:
            # Closed: the base is behind the limit.
            first, last = 1 << 31, 0
        self._write(f"{name}_BASE", first)
        self._write(f"{name}_LIMIT", last)

    def run(self, inputs: Sequence[Array]) -> tuple[list[Array], RunStats]:
        """Run one inference.

        Parameters
        ----------
        inputs : sequence of array
            One per input of the image, in its shape and type.

        Returns
        -------
        outputs : list of array
            In the model's shapes and types.
        stats : RunStats

        Raises
        ------
        DeviceError
            When no image is loaded, or the accelerator stopped with a fault (FaultError) or not at
            all.
        """
        image, device = self._image, self._device
        if image is None:
            raise DeviceError(f"{device.name}: no image is loaded")
        if not self._is_ours(image):
            self._write_constants(image)
        if self._program != self._wanted(image):
            self._load_program(image)
        for tensor, values in zip(image.inputs, inputs, strict=True):
            device.write_memory(device.memory_base + tensor.address, tensor.pack(values))
        kept = image.resident.blocks if self._weights_kept and image.resident else ()
        self._weights_kept = False  # until it has ended well
        device.expect_weights(kept)
        self._go(Control.START, image.model)
        self._weights_kept = True
        outputs = [
            t.unpack(device.read_memory(device.memory_base + t.address, t.memory_bytes))
            for t in image.outputs
        ]
        return outputs, replace(self._stats, resident=bool(kept))

    def _go(self, control: Control, what: str) -> None:
        self._write("CONTROL", control)
        self._device.wait(self._timeout_cycles + GRACE_CYCLES)
        status = Status(self._read("STATUS") & 0xF)
        if not status & Status.ERROR and control is Control.START:
            self._stats = self._read_stats()
        if status & Status.ERROR:
            running = self._image if control is Control.START else None
            place = f"{self._device.name}: {what}"
            error = read_fault(self._read, place, running, self._device.explain())
            self._forget()
            self._write("CONTROL", Control.CLEAR)
            raise error
        self._write("CONTROL", Control.CLEAR)
        if not status & Status.DONE:
            raise DeviceError(f"{self._device.name}: {what}: interrupt without DONE")

    def _read_stats(self) -> RunStats:
        count = min(self._read("STAMP_COUNT"), STAMPS)
        stamps = self._read_indexed("STAMP_INDEX", range(count))
        stamp_activities: tuple[tuple[int, ...], ...] = ()
        counters: tuple[int, ...] = ()
        if self._device.config.counters:
            selects = [STAMP_COUNTER | activity << STAMP_COUNTER_SHIFT for activity in Activity]
            indices = [select | index for index in range(count) for select in selects]
            values = self._read_indexed("STAMP_INDEX", indices)
            stamp_activities = tuple(zip(*[iter(values)] * len(selects), strict=True))
            counters = self._read_indexed("COUNTER_INDEX", range(len(Activity) + 2 * len(Engine)))
        engines = counters[len(Activity) :]
        return RunStats(
            cycles=self._read("CYCLES") | self._read("CYCLES_HIGH") << 32,
            stamps=stamps,
            read_beats=self._read("READ_BEATS"),
            write_beats=self._read("WRITE_BEATS"),
            instructions=self._read("INSTRUCTIONS"),
            activities=counters[: len(Activity)],
            stamp_activities=stamp_activities,
            engine_busy=engines[: len(Engine)],
            engine_waiting=engines[len(Engine) :],
        )

    def _read_indexed(self, name: str, indices: Iterable[int]) -> tuple[int, ...]:
        """Return the register behind the index register `name`, for each index."""
        return tuple(self._device.read_indexed(address(name), indices))

    def _read(self, name: str) -> int:
        return self._device.read_register(address(name))

    def _write(self, name: str, value: int) -> None:
        self._device.write_register(address(name), int(value))
