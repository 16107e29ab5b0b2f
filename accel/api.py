"""The Python interface: configuration, compiler, devices, runs. Re-exported by `accel`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.errors import DeviceError
from accel.host.device import Device
from accel.host.driver import Driver, RunStats
from accel.host.inputs import Inputs, batches
from accel.host.serial_device import is_serial, open_serial
from accel.image import Image
from accel.report import make_report

__all__ = ["Config", "Image", "RunResult", "compile_model", "open_device", "run"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What `run` returns.

    Parameters
    ----------
    outputs : tuple of array
        Per output of the model [N, shape without its leading 1], in its type.
    stats : tuple of RunStats
        Per inference.
    report : dict
        See docs/report.md.
    """

    outputs: tuple[npt.NDArray[Any], ...]
    stats: tuple[RunStats, ...]
    report: dict[str, Any]

    @property
    def cycles(self) -> int:
        """The largest number of cycles over the inferences."""
        return max(s.cycles for s in self.stats)


def compile_model(model: str | Path | bytes, config: Config | str | Path = "small") -> Image:
    """Compile a `.tflite` model.

    Parameters
    ----------
    model : path or bytes
        The model's file, or its content.
    config : Config, preset name or TOML file

    Raises
    ------
    ModelError
        When the model is damaged, or holds what the compiler or the configuration cannot do.
    ConfigError
        When the configuration does not exist or cannot be built.
    """
    from accel.compiler import compile_network

    return compile_network(model, Config.load(config))


def open_device(name: str, config: Config | str | Path = "small", **options: Any) -> Device:
    """Open a device: "model", "verilator", "icarus" or "serial:PORT[:BAUD]", a board.

    Parameters
    ----------
    name : str
    config : Config, preset name or TOML file
    options
        `latency`, `stalls`, `seed`, `memory_bytes`, `memory_base`, `trace`: see
        `sim.devices.open_device`. A board has none.

    Raises
    ------
    DeviceError
        When there is no such device, an option is out of range, or a tool is missing.
    """
    if is_serial(name):
        if options:
            raise DeviceError(f"{name} is a board and takes no options: {', '.join(options)}")
        return open_serial(name, Config.load(config))
    from sim import devices

    return devices.open_device(name, Config.load(config), **options)


def run(
    image: Image,
    inputs: Inputs,
    *,
    device: Device | str = "verilator",
    limit: int | None = None,
    on_inference: Callable[[], None] | None = None,
    **options: Any,
) -> RunResult:
    """Run an image on each of the inputs.

    Parameters
    ----------
    image : Image
    inputs : array, sequence of array, or mapping of str to array
        One input of the model's shape or N of them stacked, with or without the leading 1; for a
        model of several inputs an array for each, in the model's order or by name.
    device : Device or str
        An open device, which stays open, or the name of one to open with `options`.
    limit : int, optional
        Run no more than so many inputs.
    on_inference : callable, optional
        Called after each.

    Raises
    ------
    InputError
        When an input's shape or type does not fit the model.
    ImageError
        When the image was made for another configuration than the device's.
    DeviceError
        When the device cannot be opened, or stopped with an error.
    """
    samples = batches(image.inputs, inputs, limit)
    if isinstance(device, str):
        with open_device(device, image.config, **options) as opened:
            return _run(image, samples, opened, on_inference)
    if options:
        raise DeviceError(f"an open device takes no options: {', '.join(options)}")
    return _run(image, samples, device, on_inference)


def _run(
    image: Image,
    samples: list[list[npt.NDArray[Any]]],
    device: Device,
    on_inference: Callable[[], None] | None,
) -> RunResult:
    driver = Driver(device)
    driver.load_image(image)
    results = []
    for sample in samples:
        results.append(driver.run(sample))
        if on_inference is not None:
            on_inference()
    outputs = []
    for index, tensor in enumerate(image.outputs):
        inner = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
        outputs.append(np.stack([o[index].reshape(inner) for o, _ in results]))
    stats = tuple(s for _, s in results)
    return RunResult(
        outputs=tuple(outputs), stats=stats, report=make_report(image, stats, device.name)
    )
