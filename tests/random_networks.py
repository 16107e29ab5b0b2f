"""Random networks of device layers: what tiling, scheduling and the hardware must get right."""

import random

import numpy as np

from accel.compiler.layers import (
    ConvLayer,
    ElementwiseLayer,
    FeatureMap,
    Network,
    PoolLayer,
    Port,
    Rescale,
)
from accel.compiler.quantize import average_rescale

__all__ = ["random_network"]


class _Builder:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.arrays = np.random.default_rng(rng.randrange(1 << 32))
        self.layers: list[ConvLayer | ElementwiseLayer | PoolLayer] = []
        self.storage = 0
        self.constants: dict[int, np.ndarray] = {}

    def map(self, height: int, width: int, channels: int) -> FeatureMap:
        self.storage += 1
        return FeatureMap(self.storage, f"map{self.storage}", height, width, channels)

    def clamp(self) -> dict[str, int]:
        low = self.rng.choice([-128, -128, self.rng.randint(-128, 0)])
        return {
            "output_zero": self.rng.randint(-128, 127),
            "clamp_min": low,
            "clamp_max": self.rng.choice([127, 127, self.rng.randint(low, 127)]),
        }

    def conv(self, source: FeatureMap, channels: int, kernel: tuple[int, int]) -> FeatureMap:
        rng = self.rng
        kernel = (min(kernel[0], source.height), min(kernel[1], source.width))
        stride = rng.choice([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)])
        same = rng.random() < 0.6
        sizes, padding = [], []
        for size, k, s in zip(source.shape[:2], kernel, stride, strict=True):
            out = -(-size // s) if same else (size - k) // s + 1
            sizes.append(out)
            padding.append(max((out - 1) * s + k - size, 0) // 2 if same else 0)
        weights = self.arrays.integers(-127, 128, (channels, *kernel, source.channels), np.int8)
        output = self.map(sizes[0], sizes[1], channels)
        # Multipliers that bring typical sums into the range of a byte, some far outside it.
        shifts = self.arrays.integers(-12, -6, channels)
        shifts[self.arrays.random(channels) < 0.05] = 2
        self.layers.append(
            ConvLayer(
                index=len(self.layers),
                name=output.name,
                op="CONV_2D",
                macs=output.height * output.width * weights.size,
                sources=(source,),
                output=output,
                results=output.shape[:2],
                weights=weights,
                bias=self.arrays.integers(-5000, 5000, channels).astype(np.int32),
                multiplier=self.arrays.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32),
                shift=shifts.astype(np.int8),
                stride=stride,
                padding=(padding[0], padding[1]),
                pad_value=rng.randint(-128, 127),
                **self.clamp(),
            )
        )
        return output

    def two(self, operation: str, a: FeatureMap, b: FeatureMap) -> FeatureMap:
        """Return the map of an elementwise operation on two maps."""
        output = self.map(*a.shape)
        size = {"add": 1 << 27, "mul": 256}.get(operation, 1)
        tables = self.arrays.integers(-size + 1, size, (2, 256)).astype(np.int32)
        uses_tables = operation in ("add", "mul")
        shift = {"add": -19, "mul": -7}.get(operation, 1)
        multiplier = self.rng.randint(1 << 30, (1 << 31) - 1) if uses_tables else 1 << 30
        self.layers.append(
            ElementwiseLayer(
                index=len(self.layers),
                name=output.name,
                op=operation.upper(),
                operation=operation,
                a=a,
                b=b,
                output=output,
                table_a=tables[0] if uses_tables else None,
                table_b=tables[1] if uses_tables else None,
                rescale=Rescale(0, multiplier, shift),
                **(self.clamp() if uses_tables else {}),
            )
        )
        return output

    def pixel(self, channels: int) -> FeatureMap:
        """Return a constant map of one pixel."""
        item = self.map(1, 1, channels)
        self.constants[item.storage] = self.arrays.integers(-128, 128, item.shape, np.int8)
        return item

    def table(self, source: FeatureMap) -> FeatureMap:
        """Return the map of a random function of each byte."""
        output = self.map(*source.shape)
        self.layers.append(
            ElementwiseLayer(
                index=len(self.layers),
                name=output.name,
                op="TANH",
                operation="table",
                a=source,
                output=output,
                table_a=self.arrays.integers(-128, 128, 256).astype(np.int32),
                rescale=Rescale(0, 1 << 30, 1),
            )
        )
        return output

    def linear(
        self,
        sources: tuple[FeatureMap, ...],
        output: FeatureMap,
        weights: np.ndarray,
        results: tuple[int, int],
        **values,
    ) -> None:
        """Append a linear layer with a plain rescale."""
        channels = len(weights)
        self.layers.append(
            ConvLayer(
                index=len(self.layers),
                name=output.name,
                op="LINEAR",
                sources=sources,
                output=output,
                weights=weights,
                bias=self.arrays.integers(-500, 500, channels).astype(np.int32),
                multiplier=np.full(channels, 1 << 30, np.int32),
                shift=np.full(channels, -5, np.int8),
                pad_value=self.rng.randint(-128, 127),
                results=results,
                **self.clamp(),
                **values,
            )
        )

    def depthwise(self, source: FeatureMap) -> FeatureMap:
        """Return the map of a depthwise convolution, mostly with a multiplier of 1."""
        times = self.rng.choice([1, 1, 1, 2])
        kernel = self.rng.choice([(3, 3), (3, 3), (5, 5), (1, 4), (7, 2), (6, 9), (17, 3)])
        stride = self.rng.choice([(1, 1), (1, 1), (2, 2), (1, 3)])
        dilation = self.rng.choice([(1, 1), (1, 1), (2, 1), (2, 2)])
        channels = source.channels * times
        weights = np.zeros((channels, *kernel, source.channels), np.int8)
        for o in range(channels):
            weights[o, :, :, o // times] = self.arrays.integers(-127, 128, kernel)
        height, width = -(-source.height // stride[0]), -(-source.width // stride[1])
        output = self.map(height, width, channels)
        self.linear(
            (source,), output, weights, output.shape[:2], stride=stride, dilation=dilation,
            padding=(kernel[0] // 2, kernel[1] // 2),
        )  # fmt: skip
        return output

    def concatenate(self, a: FeatureMap, b: FeatureMap) -> FeatureMap:
        """Return two maps side by side along the channels."""
        channels = a.channels + b.channels
        output = self.map(a.height, a.width, channels)
        weights = np.eye(channels, dtype=np.int8).reshape(channels, 1, 1, channels)
        self.linear((a, b), output, weights, output.shape[:2])
        return output

    def upsample(self, source: FeatureMap) -> FeatureMap:
        """Return a map of twice the size, filled by one layer per phase."""
        channels = source.channels
        output = self.map(2 * source.height, 2 * source.width, channels)
        for phase in range(4):
            weights = np.zeros((channels, 1, 1, channels), np.int8)
            weights[range(channels), 0, 0, range(channels)] = 1 + phase
            self.linear(
                (source,), output, weights, source.shape[:2],
                origin=(phase // 2, phase % 2), step=(2, 2),
            )  # fmt: skip
        return output

    def pool(self, source: FeatureMap) -> FeatureMap:
        rng = self.rng
        window = (rng.randint(1, min(4, source.height)), rng.randint(1, min(4, source.width)))
        stride = (rng.randint(1, window[0]), rng.randint(1, window[1]))
        same = rng.random() < 0.5
        sizes, padding = [], []
        for size, k, s in zip(source.shape[:2], window, stride, strict=True):
            out = -(-size // s) if same else (size - k) // s + 1
            sizes.append(out)
            padding.append(max((out - 1) * s + k - size, 0) // 2 if same else 0)
        operation = rng.choice(["sum", "max"])
        counts = range(1, window[0] * window[1] + 1)
        identity = Rescale(bias=0, multiplier=1 << 30, shift=1)
        output = self.map(sizes[0], sizes[1], source.channels)
        self.layers.append(
            PoolLayer(
                index=len(self.layers),
                name=output.name,
                op="AVERAGE_POOL_2D" if operation == "sum" else "MAX_POOL_2D",
                input=source,
                output=output,
                operation=operation,
                window=window,
                stride=stride,
                padding=(padding[0], padding[1]),
                rescale={n: average_rescale(n) if operation == "sum" else identity for n in counts},
            )
        )
        return output


def random_network(seed: int, *, size: int = 10, channels: int = 20) -> Network:
    """Return a network with a layer of every form, up to these sizes."""
    rng = random.Random(seed)
    build = _Builder(rng)
    # Few channels more often than not: the load engine may pack such an input.
    depth = rng.choice([1, rng.randint(1, 4), rng.randint(1, channels)])
    source = build.map(rng.randint(1, size), rng.randint(1, size), depth)
    kernels = [(1, 1), (3, 3), (5, 2), (1, 7), (2, 2), (7, 7)]
    last = build.conv(source, rng.randint(1, channels), rng.choice(kernels))
    last = build.two("add", last, rng.choice([last, _like(build, last)]))
    forms = ["two", "pixel", "table", "depthwise", "concatenate", "upsample"]
    for form in rng.sample(forms, 3):
        if form == "pixel":
            last = build.two(rng.choice(["add", "mul"]), last, build.pixel(last.channels))
        elif form == "two":
            last = build.two(rng.choice(["mul", "max", "min"]), last, _like(build, last))
        elif form == "concatenate":
            last = build.concatenate(last, last)
        else:
            last = getattr(build, form)(last)
    last = build.conv(last, rng.randint(1, channels), rng.choice(kernels))
    last = build.pool(last)
    last = build.conv(last, rng.randint(1, 12), (last.height, last.width))
    port = [Port(m.name, (1, *m.shape), m) for m in (source, last)]
    return Network(f"random{seed}", tuple(build.layers), (port[0],), (port[1],), build.constants)


def _like(build: _Builder, item: FeatureMap) -> FeatureMap:
    """Return a second map of the same shape, where there is one to be made."""
    made = build.table(item)
    return made
