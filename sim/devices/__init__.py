"""The simulated devices, by the names that the command line uses."""

from collections.abc import Callable
from typing import Any

from accel.config import Config
from accel.errors import DeviceError
from accel.host.device import Device

__all__ = ["DEVICES", "open_device"]


def _model(config: Config, **options: Any) -> Device:
    from sim.devices.model import ModelDevice

    # The golden machine has no clock: it estimates cycles from the latency, and ignores the rest.
    for name in ("stalls", "seed", "trace"):
        options.pop(name, None)
    return ModelDevice(config, **options)


def _verilator(config: Config, **options: Any) -> Device:
    from sim.devices.verilator import VerilatorDevice

    return VerilatorDevice(config, **options)


def _icarus(config: Config, **options: Any) -> Device:
    from sim.devices.icarus import IcarusDevice

    return IcarusDevice(config, **options)


DEVICES: dict[str, Callable[..., Device]] = {
    "model": _model,
    "verilator": _verilator,
    "icarus": _icarus,
}


def open_device(name: str, config: Config, **options: Any) -> Device:
    """Return a simulated device.

    Parameters
    ----------
    name : str
        "model": the golden machine; "verilator", "icarus": the RTL.
    config : Config
    options
        Of the device: `latency`, `stalls`, `seed`, `memory_bytes`, `memory_base`, `trace`. The
        golden machine, which has no clock, ignores `stalls`, `seed` and `trace`.

    Raises
    ------
    DeviceError
        When there is no such device, an option is out of range, or a tool is missing.
    """
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name}: use {', '.join(DEVICES)}")
    return DEVICES[name](config, **options)
