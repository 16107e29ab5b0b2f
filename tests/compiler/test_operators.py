"""Every operator in random single-operator models, against TensorFlow Lite Micro byte for byte."""

import numpy as np
import pytest

from accel.compiler.layers import ElementwiseLayer
from tests.compiler.tiny_models import ModelBuilder, compare, options


def zero_point(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, 127, int(rng.integers(-128, 128))]))


def like(b: ModelBuilder, name: str, shape, tensor):
    """Return a tensor quantised as another one is."""
    q = tensor.quantization
    return b.tensor(name, shape, q.scales[0], q.zero_points)


def out_sizes(size, reach, stride, padding):
    return [
        -(-n // s) if padding == 0 else (n - r) // s + 1
        for n, r, s in zip(size, reach, stride, strict=True)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_depthwise(seed):
    rng = np.random.default_rng(seed)
    kernel = (
        rng.integers(1, 6, 2) if seed % 5 else np.array([(15, 15), (9, 1), (1, 11)][seed // 5 % 3])
    )
    stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 3 if seed % 5 else 2, 2)
    padding = int(rng.integers(2))
    reach = (kernel - 1) * dilation + 1
    size = rng.integers(1, 12, 2) + (reach - 1 if padding else 0)
    inputs = 1 if seed % 7 == 0 else int(rng.integers(1, 37))
    outputs = inputs * int(rng.choice([1, 1, 2, 5]))
    b = ModelBuilder()
    x = b.tensor("x", (1, *size, inputs), rng.uniform(0.01, 1), zero_point(rng))
    w = rng.integers(-127, 128, (1, *kernel, outputs))
    scales = rng.uniform(0.001, 0.1, outputs if seed % 3 else 1)
    weights = b.tensor("w", w.shape, scales, 0, data=w, axis=3)
    spread = float(x.quantization.scales[0] * scales.max() * 8000 * np.sqrt(kernel.prod()))
    biases = b.tensor(
        "b", (outputs,), 1.0, 0, data=rng.integers(-30000, 30000, outputs), dtype=np.int32
    )
    out = out_sizes(size, reach, stride, padding)
    y = b.tensor("y", (1, *out, outputs), spread * 2.0 ** rng.uniform(-4, 3) / 64, zero_point(rng))
    b.operator(
        "DEPTHWISE_CONV_2D",
        [x, weights, biases] if seed % 4 else [x, weights],
        y,
        options(
            "DepthwiseConv2D",
            padding=padding,
            strideH=int(stride[0]),
            strideW=int(stride[1]),
            dilationHFactor=int(dilation[0]),
            dilationWFactor=int(dilation[1]),
            depthMultiplier=outputs // inputs,
            fusedActivationFunction=int(rng.integers(4)),
        ),
    )
    compare(b.build([x], [y]), rng, f"seed {seed}")


@pytest.mark.parametrize("seed", range(20))
def test_transpose_conv(seed):
    rng = np.random.default_rng(seed)
    kernel, stride, padding = rng.integers(1, 6, 2), rng.integers(1, 4, 2), int(rng.integers(2))
    size = rng.integers(1, 6, 2)
    if padding == 0:
        out = size * stride - rng.integers(0, stride)
    else:
        out = (size - 1) * stride + kernel + np.where(stride > 1, rng.integers(0, stride), 0)
    inputs, outputs = (int(n) for n in rng.integers(1, 9, 2))
    b = ModelBuilder()
    x = b.tensor("x", (1, *size, inputs), rng.uniform(0.01, 1), zero_point(rng))
    w = rng.integers(-127, 128, (outputs, *kernel, inputs))
    scales = rng.uniform(0.001, 0.1, outputs if seed % 3 else 1)
    weights = b.tensor("w", w.shape, scales, 0, data=w)
    shape = b.tensor("shape", (4,), None, data=[1, *out, outputs], dtype=np.int32)
    biases = b.tensor(
        "b", (outputs,), 1.0, 0, data=rng.integers(-30000, 30000, outputs), dtype=np.int32
    )
    spread = float(x.quantization.scales[0] * scales.max() * 8000 * np.sqrt(w[0].size))
    y = b.tensor("y", (1, *out, outputs), spread * 2.0 ** rng.uniform(-4, 3) / 64, zero_point(rng))
    b.operator(
        "TRANSPOSE_CONV",
        [shape, weights, x, biases] if seed % 4 else [shape, weights, x],
        y,
        options("TransposeConv", padding=padding, strideH=int(stride[0]), strideW=int(stride[1])),
    )
    compare(b.build([x], [y]), rng, f"seed {seed}")


EVERY = np.arange(-128, 128).reshape(1, 16, 16)


def every_byte(b: ModelBuilder, scale: float, zero: int):
    """Return an input of 256 elements; the comparison's inputs hold every byte."""
    return b.tensor("x", (1, 16, 16), scale, zero)


class Every(np.random.Generator):
    """A generator whose integers are every byte, in order."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def integers(self, *args, **kwargs):
        size = args[2] if len(args) > 2 else kwargs.get("size")
        if isinstance(size, tuple) and size[-2:] == (16, 16):
            return np.broadcast_to(EVERY, size).copy()
        return super().integers(*args, **kwargs)


SCALES = [1e-6, 0.003, 0.0117, 0.0235, 0.0471, 0.1, 0.37, 1.7, 8.0, 31.0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero", [-128, -5, 0, 127])
@pytest.mark.parametrize("op", ["LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU", "QUANTIZE"])
def test_function_of_every_byte(op, scale, zero):
    rng = np.random.default_rng(int(scale * 1000) + zero + 128)
    for attempt in range(3):
        b = ModelBuilder()
        x = every_byte(b, scale * (1 + 0.3 * attempt), zero)
        target = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(op)
        if target is None:
            least = 0.02 if op == "HARD_SWISH" else 0.3
            target = scale * rng.uniform(least, 3), zero_point(rng)
        y = b.tensor("y", x.shape, *target)
        kind = {
            "LEAKY_RELU": options("LeakyRelu", alpha=float(rng.choice([0.1, 0.3, -0.2, 1.7]))),
            "HARD_SWISH": options("HardSwish"),
            "QUANTIZE": options("Quantize"),
        }.get(op)
        b.operator(op, [x], y, kind)
        compare(b.build([x], [y]), Every(), f"{op} {scale} {zero} {attempt}", count=3)


@pytest.mark.parametrize("scale", [0.003, 0.0235, 0.1, 8.0, 31.0])
def test_relu6_passes_bytes(scale):
    for zero in (-128, -7, 100):
        b = ModelBuilder()
        x = every_byte(b, scale, zero)
        y = b.tensor("y", x.shape, scale, zero)
        b.operator("RELU6", [x], y)
        compare(b.build([x], [y]), Every(), f"{scale} {zero}", count=3)


SHAPES = [
    ((1, 5, 6, 7), (1, 5, 6, 7)),
    ((1, 5, 6, 7), (1, 1, 1, 7)),
    ((1, 1, 1, 7), (1, 5, 6, 7)),
    ((1, 5, 6, 7), (7,)),
    ((1, 5, 6, 7), (1,)),
    ((1, 5, 6, 7), (1, 5, 6, 1)),
    ((1, 5, 1, 7), (1, 1, 6, 7)),
    ((1, 1, 6, 1), (1, 5, 6, 7)),
    ((1, 9), (1, 9)),
    ((1, 3, 4), (4,)),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM"])
@pytest.mark.parametrize("constant", [None, 0, 1])
def test_binary(op, shapes, constant):
    rng = np.random.default_rng(len(op) + sum(map(sum, shapes)))
    b = ModelBuilder()
    scales = rng.uniform(0.01, 1, 2)
    if op in ("MINIMUM", "MAXIMUM"):
        scales[1] = scales[0]
    operands = []
    for i in range(2):
        data = rng.integers(-128, 128, shapes[i]) if constant == i else None
        operands.append(b.tensor("ab"[i], shapes[i], scales[i], zero_point(rng), data))
    result = np.broadcast_shapes(*shapes)
    if op in ("MINIMUM", "MAXIMUM"):
        y = b.tensor("y", result, scales[0], operands[0].quantization.zero_points)
        kind = options("MaximumMinimum")
    else:
        scale = scales.prod() * 50 if op == "MUL" else scales.max()
        y = b.tensor("y", result, scale * 2.0 ** rng.uniform(-1, 2), zero_point(rng))
        kind = options(op.capitalize(), fusedActivationFunction=int(rng.integers(4)))
    b.operator(op, operands, y, kind)
    inputs = [t for i, t in enumerate(operands) if i != constant]
    network = compare(b.build(inputs, [y]), rng, f"{op} {shapes} {constant}")
    if constant is not None and np.prod(shapes[constant]) == 1:
        assert [layer.operation for layer in network.layers if isinstance(layer, ElementwiseLayer)]


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_binary_of_every_pair(op):
    """256 x 256 pairs; scales whose ratio needs every bit."""
    rng = np.random.default_rng(3)
    every = np.arange(-128, 128)
    for scale_b in (0.05, 0.0037, 0.9):
        b = ModelBuilder()
        x = b.tensor("a", (1, 256, 256), 0.0413, 11)
        z = b.tensor("b", (1, 256, 256), scale_b, -3, np.broadcast_to(every, (1, 256, 256)))
        y = b.tensor("y", x.shape, 0.0413 * scale_b * 100 if op == "MUL" else 0.07, 5)
        b.operator(op, [x, z], y, options(op.capitalize()))

        class Rows(np.random.Generator):
            def integers(self, *args, **kwargs):
                if len(args) > 2 and args[2][-1] == 256:
                    return np.broadcast_to(every[:, None], args[2]).copy()
                return super().integers(*args, **kwargs)

        compare(b.build([x], [y]), Rows(rng.bit_generator), f"{op} {scale_b}", count=3)
