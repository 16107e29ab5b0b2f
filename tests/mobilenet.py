"""MobileNetV2 of any size with random weights, as an int8 `.tflite` file.

Scales are calibrated as a converter would, by a float pass over one random image: no activation
dies or saturates on the way, so that every layer's arithmetic shows in the outputs.

Source of the architecture: Sandler et al., MobileNetV2 (arXiv:1801.04381), table 2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.compiler.tiny_models import ModelBuilder, options

__all__ = ["BLOCKS", "mobilenet_v2", "random_images"]

FloatArray = npt.NDArray[np.float32]

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repetitions, first stride of each group of bottlenecks."""

SAME, RELU6 = 0, 3
INPUT_SCALE, INPUT_ZERO = 1 / 128, 0


def random_images(size: int, count: int, seed: int) -> npt.NDArray[np.int8]:
    """Return int8 images [count, size, size, 3] with structure of every size, and noise."""
    rng = np.random.default_rng(seed)
    total = rng.normal(0, 20, (count, size, size, 3))
    for cell in (4, 16, 64):
        coarse = rng.normal(0, 45, (count, -(-size // cell), -(-size // cell), 3))
        total += coarse.repeat(cell, 1).repeat(cell, 2)[:, :size, :size]
    return np.clip(np.rint(total), -128, 127).astype(np.int8)


def _scaled(channels: int, width: float) -> int:
    """Return channels times width: a multiple of 8, and not less than nine tenths."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class _Network:
    """The network so far: the builder, the last tensor, and its real values for one image."""

    def __init__(self, size: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.build = ModelBuilder()
        self.last = self.build.tensor("image", (1, size, size, 3), INPUT_SCALE, INPUT_ZERO)
        self.scale = np.float32(INPUT_SCALE)
        image = random_images(size, 1, seed)[0].astype(np.float32)
        self.real: FloatArray = (image - INPUT_ZERO) * self.scale

    def emit(self, op: str, inputs: list[Any], real: FloatArray, table: Any, **kept: float) -> None:
        """Append an operator whose output has these real values, on a scale that fits them."""
        low, high = min(float(real.min()), 0.0), max(float(real.max()), 0.0)
        scale = np.float32(kept.get("scale", (high - low) / 255))
        zero = int(kept.get("zero", round(-128 - low / float(scale))))
        shape = (1, *real.shape)
        output = self.build.tensor(f"{op}_{len(self.build.graph.operators)}", shape, scale, zero)
        self.build.operator(op, inputs, output, table)
        steps = np.clip(np.rint(real / scale) + zero, -128, 127)
        self.real = ((steps - zero) * scale).astype(np.float32)
        self.last, self.scale = output, scale

    def weights(
        self, shape: tuple[int, ...], sums: FloatArray, spread: float, axis: int, data: Any
    ) -> tuple[list[Any], FloatArray]:
        """Return weight and bias tensors, and the real results: their deviation is `spread`.

        `sums` [..., channels] are the products of real inputs and `data`.
        """
        channels = sums.shape[-1]
        deviations = sums.reshape(-1, channels).std(axis=0)
        scales = (spread / np.maximum(deviations, 0.2 * np.median(deviations))).astype(np.float32)
        unit = self.scale.astype(np.float64) * scales.astype(np.float64)
        means = sums.reshape(-1, channels).mean(axis=0) * scales
        wanted = self.rng.normal(0.4 * spread, 0.5 * spread, channels) - means
        bias = np.rint(wanted / unit)
        name = f"weights_{len(self.build.graph.operators)}"
        w = self.build.tensor(name, shape, scales.tolist(), 0, data, axis=axis)
        b = self.build.tensor(f"{name}_bias", (channels,), unit.tolist(), 0, bias, np.int32)
        return [w, b], (sums * scales + bias * unit).astype(np.float32)

    def taps(self, kernel: int, stride: int) -> list[FloatArray]:
        """Return the input shifted by each element of a SAME-padded kernel, row by row."""
        size = self.real.shape[0]
        out = -(-size // stride)
        total = max((out - 1) * stride + kernel - size, 0)
        edges = (total // 2, total - total // 2)
        padded = np.pad(self.real, (edges, edges, (0, 0)))
        reach = (out - 1) * stride + 1
        return [
            padded[i : i + reach : stride, j : j + reach : stride]
            for i in range(kernel)
            for j in range(kernel)
        ]

    def conv(self, channels: int, kernel: int = 1, stride: int = 1, *, linear: bool) -> None:
        """Append CONV_2D, with RELU6 unless linear."""
        shape = (channels, kernel, kernel, self.real.shape[2])
        data = self.rng.normal(0, 40, shape).clip(-127, 127).astype(np.int8)
        columns = np.concatenate(self.taps(kernel, stride), axis=2)
        sums = columns @ data.reshape(channels, -1).T.astype(np.float32)
        table = options(
            "Conv2D", strideH=stride, strideW=stride, dilationHFactor=1, dilationWFactor=1,
            padding=SAME, fusedActivationFunction=0 if linear else RELU6,
        )  # fmt: skip
        self._window("CONV_2D", shape, sums, 0, data, table, linear=linear)

    def depthwise(self, stride: int) -> None:
        """Append a 3x3 DEPTHWISE_CONV_2D with RELU6."""
        shape = (1, 3, 3, self.real.shape[2])
        data = self.rng.normal(0, 40, shape).clip(-127, 127).astype(np.int8)
        products = zip(self.taps(3, stride), data.reshape(9, -1).astype(np.float32), strict=True)
        sums = np.asarray(sum(tap * w for tap, w in products), np.float32)
        table = options(
            "DepthwiseConv2D", strideH=stride, strideW=stride, depthMultiplier=1,
            dilationHFactor=1, dilationWFactor=1, padding=SAME, fusedActivationFunction=RELU6,
        )  # fmt: skip
        self._window("DEPTHWISE_CONV_2D", shape, sums, 3, data, table, linear=False)

    def _window(
        self, op: str, shape: tuple[int, ...], sums: FloatArray, axis: int, data: Any, table: Any,
        *, linear: bool,
    ) -> None:  # fmt: skip
        constants, real = self.weights(shape, sums, 1.0 if linear else 2.0, axis, data)
        inputs = [self.last, *constants]
        if linear:
            self.emit(op, inputs, real, table)
        else:
            self.emit(op, inputs, real.clip(0, 6), table, scale=6 / 255, zero=-128)

    def bottleneck(self, expansion: int, channels: int, stride: int) -> None:
        """Append an inverted residual."""
        before, real = self.last, self.real
        if expansion > 1:
            self.conv(expansion * real.shape[2], linear=False)
        self.depthwise(stride)
        self.conv(channels, linear=True)
        if self.real.shape == real.shape:
            self.emit("ADD", [before, self.last], real + self.real, options("Add"))

    def head(self, classes: int, pooling: str) -> tuple[Any, Any]:
        """Append pooling, classifier and SOFTMAX; return the outputs of the last two."""
        mean = self.real.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        if pooling == "MEAN":
            axes = self.build.tensor("axes", (2,), None, 0, [1, 2], np.int32)
            self.emit("MEAN", [self.last, axes], mean, options("Reducer", keepDims=False))
        else:
            size = self.real.shape[0]
            table = options(
                "Pool2D", filterHeight=size, filterWidth=size, strideH=1, strideW=1, padding=1
            )
            self.emit(
                pooling, [self.last], mean[None, None], table, scale=float(self.scale), zero=-128
            )
            flat = self.real.reshape(-1)
            size_of = self.build.tensor("shape", (2,), None, 0, [1, len(flat)], np.int32)
            table = options("Reshape", newShape=[1, len(flat)])
            kept = {"scale": float(self.scale), "zero": -128}
            self.emit("RESHAPE", [self.last, size_of], flat, table, **kept)
        depth = len(self.real)
        data = self.rng.normal(0, 40, (classes, depth)).clip(-127, 127).astype(np.int8)
        sums = data.astype(np.float32) @ self.real
        scale = np.float32(3 / sums.std())
        w = self.build.tensor("classifier", (classes, depth), scale, 0, data)
        bias = np.rint(-sums.mean() / self.scale + self.rng.normal(0, 20, classes))
        unit = float(self.scale) * float(scale)
        b = self.build.tensor("classifier_bias", (classes,), unit, 0, bias, np.int32)
        real = (sums + bias * self.scale) * scale
        # Room on both sides: other images have other extremes.
        low, high = float(real.min()), float(real.max())
        step = (high - low) / 200
        kept = {"scale": step, "zero": round(-0.5 - (low + high) / 2 / step)}
        self.emit("FULLY_CONNECTED", [self.last, w, b], real, options("FullyConnected"), **kept)
        logits = self.last
        y = self.build.tensor("probabilities", (1, classes), 1 / 256, -128)
        self.build.operator("SOFTMAX", [logits], y, options("Softmax", beta=1.0))
        return y, logits


def mobilenet_v2(
    size: int = 224,
    width: float = 1.0,
    *,
    classes: int = 1000,
    blocks: tuple[tuple[int, int, int, int], ...] = BLOCKS,
    pooling: str = "AVERAGE_POOL_2D",
    seed: int = 0,
) -> bytes:
    """Return the file; its outputs are the probabilities and, to see more bits, their logits.

    Parameters
    ----------
    size : int
        Pixels of the image's sides.
    width : float
        Factor of all channels.
    classes : int
    blocks : tuple
        As `BLOCKS`.
    pooling : "AVERAGE_POOL_2D" or "MEAN"
    seed : int
    """
    network = _Network(size, seed)
    image = network.last
    network.conv(_scaled(32, width), 3, 2, linear=False)
    for expansion, channels, count, stride in blocks:
        for number in range(count):
            network.bottleneck(expansion, _scaled(channels, width), 1 if number else stride)
    network.conv(_scaled(1280, max(width, 1.0)) if blocks == BLOCKS else 64, linear=False)
    y, logits = network.head(classes, pooling)
    return network.build.build([image], [y, logits])
