"""Runs of networks for docs/performance.md, each made once."""

import dataclasses
import math
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import accel
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.layers import ConvLayer
from accel.compiler.network import lower_graph
from accel.config import Config
from accel.errors import AccelError
from accel.host.device import Device
from accel.host.inputs import random_inputs
from accel.isa import PARAM_WORDS

__all__ = ["MLPERF", "Measurements", "Traffic"]

MLPERF = {
    "resnet8_cifar10": "image classification (resnet8)",
    "kws_dscnn": "keyword spotting (DS-CNN)",
    "vww_mobilenetv1_96": "visual wake words (MobileNetV1 0.25)",
    "ad_toycar_fc": "anomaly detection (fully connected)",
}
"""The MLPerf Tiny networks: their task."""


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What a layer must move over the memory port: weights, parameters, network input and output.

    Parameters
    ----------
    index : int
    op : str
    macs, bytes : int
    """

    index: int
    op: str
    macs: int
    bytes: int


class Measurements:
    """Reports by network, configuration and memory; devices stay open until the end.

    Parameters
    ----------
    directory : Path
        Of the .tflite files.
    """

    def __init__(self, directory: Path) -> None:
        self.paths = {path.stem: path for path in sorted(directory.glob("*.tflite"))}
        self._devices: dict[tuple[str, Config, int], Device] = {}
        self._reports: dict[tuple[str, Config, str, int], dict[str, Any]] = {}

    def __enter__(self) -> "Measurements":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for device in self._devices.values():
            device.close()

    def image(self, network: str, config: Config) -> accel.Image:
        """Return a network's image."""
        return _compiled(self.paths[network], config)

    def report(
        self,
        network: str,
        config: str | Config = "base",
        *,
        device: str = "verilator",
        latency: int = 20,
    ) -> dict[str, Any]:
        """Return the report of one inference on a random input."""
        chosen = Config.load(config)
        key = (network, chosen, device, latency)
        if key not in self._reports:
            image = self.image(network, chosen)
            (inputs,) = random_inputs(image.inputs, 0, 1)
            opened = self._device(device, chosen, latency)
            self._reports[key] = accel.run(image, inputs, device=opened).report
        return self._reports[key]

    def variant(self, network: str, **fields: Any) -> int | None:
        """Return the golden machine's cycles on `base` with other fields; None if refused."""
        config = dataclasses.replace(Config.load("base"), name="variant", **fields)
        try:
            return int(self.report(network, config, device="model")["cycles"])
        except AccelError:
            return None

    def traffic(self, network: str) -> dict[int, Traffic]:
        """Return what each convolution of a network must move."""
        lowered = lower_graph(read_tflite(self.paths[network]))
        outside = {port.map.storage for port in (*lowered.inputs, *lowered.outputs)}
        result: dict[int, Traffic] = {}
        for layer in lowered.layers:
            if not isinstance(layer, ConvLayer) or not layer.macs:
                continue
            moved = int(np.count_nonzero(layer.weights)) + PARAM_WORDS * len(layer.weights)
            for item in (*layer.sources, layer.output):
                moved += math.prod(item.shape) * (item.storage in outside)
            result[layer.index] = Traffic(layer.index, layer.op, layer.macs, moved)
        return result

    def _device(self, name: str, config: Config, latency: int) -> Device:
        key = (name, config, latency)
        if key not in self._devices:
            self._devices[key] = accel.open_device(name, config, latency=latency)
        return self._devices[key]


@cache
def _compiled(path: Path, config: Config) -> accel.Image:
    return accel.compile_model(path, config)
