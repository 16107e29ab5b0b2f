"""A device, an image and its right results: what goes wrong, and that the next run is right."""

from typing import Any

import numpy as np

from accel.api import compile_model
from accel.config import Config
from accel.data import digits_model
from accel.errors import FaultError
from accel.host.driver import Driver
from accel.host.inputs import random_inputs
from accel.image import Image
from accel.regmap import Control, address
from sim.devices.model import ModelDevice
from sim.devices.verilator import VerilatorDevice

__all__ = ["FaultBench", "digits"]


class FaultBench:
    """Runs an image on the RTL, over and over, with something wrong every other time.

    Parameters
    ----------
    config : Config
    image : Image
    options
        Of the device.

    Members
    -------
    device : VerilatorDevice
    driver : Driver
    expected : list of array
        The right outputs.
    cycles, read_beats, write_beats : int
        Of a run in which nothing goes wrong.
    load_beats : int
        Read beats that loading the program takes.
    """

    device_class = VerilatorDevice

    def __init__(self, config: Config, image: Image, **options: Any) -> None:
        self.image = image
        self.device = self.device_class(config, memory_bytes=1 << 20, **options)
        base, size = self.device.memory_base, image.memory_bytes
        for direction, end in (("read", size), ("write", image.writable[1])):
            self.device.allow(direction, base, base + -(-end // 64) * 64 - 1)
        self.driver = Driver(self.device, timeout_cycles=1_000_000)
        self.inputs = random_inputs(image.inputs, 1, 1)[0]
        with ModelDevice(config) as model:
            golden = Driver(model)
            golden.load_image(image)
            self.expected, _ = golden.run(self.inputs)
        self.driver.load_image(image)
        stats = self.check()
        self.cycles, self.read_beats, self.write_beats = stats
        self.load_beats = -(-4 * image.program_words // config.bus_bytes)

    def check(self) -> tuple[int, int, int]:
        """Run once more; the results must be right."""
        outputs, stats = self.driver.run(self.inputs)
        for got, expected in zip(outputs, self.expected, strict=True):
            assert np.array_equal(got, expected)
        return stats.cycles, stats.read_beats, stats.write_beats

    def fail(self, direction: str, beat: int, response: int) -> FaultError:
        """Run with an error response to a beat; return what the driver says of it."""
        self.device.inject_error(direction, beat, response)
        try:
            self.driver.run(self.inputs)
        except FaultError as error:
            return error
        raise AssertionError(f"an error in {direction} beat {beat} went unnoticed")

    def reset_at(self, cycle: int) -> None:
        """Start a run, reset everything so many cycles later, and load the image again."""
        for tensor, values in zip(self.image.inputs, self.inputs, strict=True):
            self.device.write_memory(self.device.memory_base + tensor.address, tensor.pack(values))
        self.device.write_register(address("CONTROL"), Control.START)
        self.device.advance(cycle)
        self.device.reset()
        self.driver.load_image(self.image)


def digits(config: Config) -> Image:
    """Return the bundled model, compiled."""
    return compile_model(digits_model(), config)
