"""What random models are drawn from: shapes, scales, zero points, weights, biases, input data.

Everything comes from one seed. `Draw.tags` collects which extremes a model holds; the tests assert
that the cases together hold them all.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from tests.compiler.tiny_models import ModelBuilder

__all__ = ["Draw", "T", "scale_of", "zero_of"]

T = Any
"""A tensor of the model editor."""

INT8_MIN, INT8_MAX = -128, 127
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
CHANNELS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 31, 33)
MAX_ELEMENTS = 3000
"""Of a feature map."""
MAX_MACS = 60_000
"""Of one convolution."""


def scale_of(tensor: T) -> float:
    """Return a per-tensor scale as the file holds it."""
    return float(tensor.quantization.scales[0])


def zero_of(tensor: T) -> int:
    """Return a per-tensor zero point."""
    return int(tensor.quantization.zero_points[0])


class Draw:
    """A model being drawn.

    Parameters
    ----------
    seed : int

    Members
    -------
    rng, arrays
        Scalars and arrays come from these.
    tags : set of str
        Extremes met so far.
    activations : list of tensors
        Every int8 result and input so far, for operators that read several.
    inputs : list of tensors
        The model's.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.arrays = np.random.default_rng(self.rng.getrandbits(64))
        self.build = ModelBuilder()
        self.tags: set[str] = set()
        self.activations: list[T] = []
        self.inputs: list[T] = []
        self.float_units: dict[int, float] = {}
        """Scales that float inputs are quantised with."""
        self.read: set[int] = set()
        """Identities of tensors that an operator reads."""
        self._names = 0

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability

    def log2(self, low: float, high: float) -> float:
        """Return 2 to a uniformly drawn power."""
        return float(2.0 ** self.rng.uniform(low, high))

    def scale(self) -> float:
        """Return an activation's scale, a float32 number."""
        return float(np.float32(self.log2(-7, 2)))

    def zero(self) -> int:
        """Return a zero point, often at an end."""
        value = self.rng.choice((INT8_MIN, INT8_MAX, 0, *(self.rng.randint(-128, 127),) * 3))
        if value in (INT8_MIN, INT8_MAX):
            self.tags.add(f"zero {value}")
        return value

    def name(self, stem: str) -> str:
        """Return a name that no other tensor has."""
        self._names += 1
        return f"{stem}{self._names}"

    def activation(
        self,
        shape: Sequence[int],
        *,
        scale: float | None = None,
        zero: int | None = None,
        like: T = None,
        dtype: Any = np.int8,
    ) -> T:
        """Return a new tensor that is computed; quantised at random, as given, or like another."""
        if like is not None:
            scale, zero = scale_of(like), zero_of(like)
        if np.dtype(dtype) == np.float32:
            return self.build.tensor(self.name("f"), shape, dtype=dtype)
        tensor = self.build.tensor(
            self.name("t"),
            shape,
            self.scale() if scale is None else scale,
            self.zero() if zero is None else zero,
            dtype=dtype,
        )
        if np.dtype(dtype) == np.int8:
            self.activations.append(tensor)
            self._tag_shape(shape)
        return tensor

    def _tag_shape(self, shape: Sequence[int]) -> None:
        if shape and shape[-1] in (1, 257):
            self.tags.add(f"channels {shape[-1]}")
        if len(shape) == 4 and shape[1:3] == (1, 1):
            self.tags.add("1x1 image")

    def input(self, shape: Sequence[int], **quantization: Any) -> T:
        """Return a new input of the model; arguments as of `activation`."""
        tensor = self.activation(tuple(shape), **quantization)
        self.inputs.append(tensor)
        return tensor

    def constant(
        self,
        values: npt.ArrayLike,
        dtype: Any = np.int32,
        scale: Any = None,
        zero: int = 0,
        axis: int = 0,
    ) -> T:
        """Return a constant tensor."""
        data = np.asarray(values, dtype)
        tensor = self.build.tensor(self.name("c"), data.shape, scale, zero, data, dtype)
        if tensor.quantization is not None:
            tensor.quantization.axis = axis
        return tensor

    def operator(self, op: str, inputs: Sequence[T], outputs: Any, table: Any = None) -> list[T]:
        """Append an operator; return its outputs as a list."""
        results = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        self.read.update(id(t) for t in inputs if t is not None)
        record = self.build.graph.add_operator(
            opcode=getattr(schema.BuiltinOperator, op), inputs=list(inputs), outputs=results
        )
        if table is not None:
            record._fb.builtinOptions = table
            record._fb.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(table).__name__.removesuffix("T")
            )
        return results

    def shape(self, *, small: bool = False) -> tuple[int, int, int, int]:
        """Return a feature map's shape: ordinary, one pixel, one channel, a line, or 257 deep."""
        rng = self.rng
        kind = rng.choice(("ordinary",) * 5 + ("pixel", "thin", "line", "deep", "large"))
        side = 5 if small else 9
        height, width, channels = rng.randint(2, side), rng.randint(2, side), rng.choice(CHANNELS)
        if kind == "pixel":
            height = width = 1
        elif kind == "thin":
            height, width, channels = rng.randint(2, 2 * side), rng.randint(2, 2 * side), 1
        elif kind == "line":
            length = rng.randint(2, 40)
            height, width = rng.choice(((1, length), (length, 1)))
        elif kind == "deep":
            height, width = rng.choice(((1, 1), (1, 2), (2, 2)))
            channels = rng.choice((257, 257, 64, 65, 100, 128))
        elif kind == "large" and not small:
            height, width, channels = rng.randint(14, 30), rng.randint(14, 30), rng.randint(1, 3)
        while height * width * channels > MAX_ELEMENTS:
            channels = max(1, channels // 2)
        return 1, height, width, channels

    def choose_activation(self) -> int:
        """Return a fused activation's number, NONE half of the time."""
        name = self.rng.choice(("NONE", "NONE", "NONE", *ACTIVATIONS)[:6] + ("RELU6",))
        self.tags.add(f"fused {name}")
        return ACTIVATIONS[name]

    def weights(self, shape: Sequence[int]) -> npt.NDArray[np.int8]:
        """Return int8 weights: uniform, small, mostly zero, or at the ends so that sums saturate."""
        kind = self.rng.choice(("uniform",) * 4 + ("small", "sparse", "ends"))
        values = self.arrays.integers(-127, 128, shape)
        if kind == "small":
            values = self.arrays.integers(-3, 4, shape)
        elif kind == "sparse":
            values = np.where(self.arrays.random(shape) < 0.9, 0, values)
        elif kind == "ends":
            values = np.where(values < 0, -128 if self.chance(0.5) else -127, 127)
        return values.astype(np.int8)

    def ratios(self, count: int, depth: int) -> npt.NDArray[np.float64]:
        """Return effective scales (sums to results) for `count` channels of `depth` products."""
        typical = 60 / (math.sqrt(depth) * 74 * 74)
        kind = self.rng.choice(("typical",) * 5 + ("left", "right", "wild", "wild"))
        powers = self.arrays.uniform(-2, 2, count)
        if kind == "typical":
            return typical * 2.0**powers
        if kind == "left":
            top = self.rng.choice((4, 12, 29.9))
            return 2.0 ** self.arrays.uniform(0, top, count)
        if kind == "right":
            return 2.0 ** self.arrays.uniform(-33, -16, count)
        return 2.0 ** self.arrays.uniform(-32, 6, count)

    def bias(self, ratios: npt.NDArray[np.float64], depth: int) -> npt.NDArray[np.int64]:
        """Return biases: as large as results are, or as large as sums can be without wrapping."""
        limit = (1 << 31) - 1 - 2 * 128 * 128 * depth
        kind = self.rng.choice(("results", "results", "ends", "small"))
        if kind == "results":
            values = self.arrays.uniform(-200, 200, len(ratios)) / ratios
        elif kind == "ends":
            self.tags.add("saturating sums")
            values = self.arrays.choice((-1.0, 1.0), len(ratios)) * limit
        else:
            values = self.arrays.integers(-5000, 5000, len(ratios)).astype(np.float64)
        return np.clip(values, -limit, limit).astype(np.int64)

    def tag_ratios(self, ratios: Sequence[float]) -> None:
        """Record shifts of effective scales."""
        shifts = [math.frexp(r)[1] for r in ratios]
        if max(shifts) > 0:
            self.tags.add("shift left")
        if min(shifts) <= -24:
            self.tags.add("shift -24 or less")
        if -31 in shifts:
            self.tags.add("shift -31")

    def data(self, tensor: T, count: int) -> npt.NDArray[Any]:
        """Return `count` samples for an input: uniform, then only ends, then around its zero."""
        samples = []
        low, high = (0, 255) if tensor.numpy_dtype == np.uint8 else (INT8_MIN, INT8_MAX)
        for number in range(count):
            values = self.arrays.integers(low, high + 1, tensor.shape)
            if number % 3 == 1:
                values = np.where(values < (low + high) // 2, low, high)
            elif number % 3 == 2:
                values = np.clip(
                    self.arrays.normal(0, 12, tensor.shape) + (low + high) / 2, low, high
                )
            samples.append(values)
        stacked = np.array(samples)
        if tensor.numpy_dtype == np.float32:
            # Around the range that one byte covers, beyond it, and at halves of a step.
            noise = self.arrays.choice((0.0, 0.5, 0.25), stacked.shape)
            return ((stacked * 1.2 + noise) * self.float_units[id(tensor)]).astype(np.float32)
        return stacked.astype(tensor.numpy_dtype)
