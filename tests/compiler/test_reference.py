"""The layers' integer constants against TensorFlow Lite Micro, byte for byte."""

import numpy as np
import pytest

from accel.compiler.importers.tflite import read_tflite
from accel.compiler.network import lower_graph
from accel.compiler.reference import evaluate
from accel.errors import InputError
from tests.compiler.tiny_models import ModelBuilder, compare, options, run_tflm

MODELS = [
    "ad_toycar_fc",
    "hello_world_sine",
    "kws_dscnn",
    "micro_kws_m_maxpool",
    "micro_speech",
    "mnist_conv_mean",
    "mnist_dw_mean",
    "mnist_resnet_add",
    "person_detect",
    "resnet8_cifar10",
    "vww_mobilenetv1_96",
]


@pytest.mark.parametrize("name", MODELS)
def test_recorded_outputs(models, name):
    network = lower_graph(read_tflite(models / "models" / f"{name}.tflite"))
    files = sorted((models / "data").glob(f"{name}__*.npz"))
    assert files
    for file in files:
        arrays = np.load(file)
        (result,) = evaluate(network, [arrays["x"]])
        np.testing.assert_array_equal(
            result.reshape(arrays["y_tflm_0"].shape), arrays["y_tflm_0"], err_msg=file.name
        )


def test_macs(models):
    network = lower_graph(read_tflite(models / "models" / "resnet8_cifar10.tflite"))
    assert network.macs == 12_501_632


def test_single_layers(models):
    rng = np.random.default_rng(5)
    files = sorted((models / "layers").glob("*.tflite"))
    assert files
    for file in files:
        compare(file.read_bytes(), rng, file.name)


def zero_point(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, 127, int(rng.integers(-128, 128))]))


def image(builder, rng, height, width, channels, name="x"):
    return builder.tensor(name, (1, height, width, channels), rng.uniform(0.01, 1), zero_point(rng))


def out_size(size: int, reach: int, stride: int, padding: int) -> int:
    return -(-size // stride) if padding == 0 else (size - reach) // stride + 1


def output_scale(rng: np.random.Generator, spread: float) -> float:
    """Return a scale with which results fill the range, or mostly saturate, or mostly vanish."""
    return spread * 2.0 ** rng.uniform(-4, 3) / 64


@pytest.mark.parametrize("seed", range(30))
def test_random_convolution(seed):
    rng = np.random.default_rng(seed)
    kernel, stride = rng.integers(1, 8, 2), rng.integers(1, 4, 2)
    dilation, padding = rng.integers(1, 3, 2), int(rng.integers(2))
    reach = (kernel - 1) * dilation + 1
    size = rng.integers(1, 12, 2) + (reach - 1 if padding else 0)
    inputs, outputs = (int(n) for n in rng.integers(1, 10, 2))
    b = ModelBuilder()
    x = image(b, rng, *size, inputs)
    w = rng.integers(-127, 128, (outputs, *kernel, inputs))
    scales = rng.uniform(0.001, 0.1, outputs if seed % 3 else 1)
    weights = b.tensor("w", w.shape, scales, 0, data=w)
    spread = float(x.quantization.scales[0] * scales.max() * 8000 * np.sqrt(w[0].size))
    biases = b.tensor(
        "b", (outputs,), 1.0, 0, data=rng.integers(-30000, 30000, outputs), dtype=np.int32
    )
    out = [out_size(n, r, s, padding) for n, r, s in zip(size, reach, stride, strict=True)]
    y = b.tensor("y", (1, *out, outputs), output_scale(rng, spread), zero_point(rng))
    b.operator(
        "CONV_2D",
        [x, weights, biases] if seed % 5 else [x, weights],
        y,
        options(
            "Conv2D",
            padding=padding,
            strideH=int(stride[0]),
            strideW=int(stride[1]),
            dilationHFactor=int(dilation[0]),
            dilationWFactor=int(dilation[1]),
            fusedActivationFunction=int(rng.choice([0, 1, 2, 3])),
        ),
    )
    compare(b.build([x], [y]), rng, f"seed {seed}")


@pytest.mark.parametrize("seed", range(12))
def test_random_fully_connected(seed):
    rng = np.random.default_rng(seed)
    inputs, outputs = (int(n) for n in rng.integers(1, 40, 2))
    rows = 1 if seed % 3 else 6
    b = ModelBuilder()
    shape = (1, 2, 3, inputs) if rows > 1 else (1, inputs)
    x = b.tensor("x", shape, float(np.float32(rng.uniform(0.01, 1))), zero_point(rng))
    w = rng.integers(-127, 128, (outputs, inputs))
    scales = rng.uniform(0.001, 0.1, outputs if seed % 2 else 1).astype(np.float32)
    weights = b.tensor("w", w.shape, scales, 0, data=w)
    product = np.float32(x.quantization.scales[0]) * scales
    spread = float(product.max() * 8000 * np.sqrt(inputs))
    biases = b.tensor(
        "b", (outputs,), product, 0, data=rng.integers(-9000, 9000, outputs), dtype=np.int32
    )
    y = b.tensor("y", (*shape[:-1], outputs), output_scale(rng, spread), zero_point(rng))
    b.operator(
        "FULLY_CONNECTED",
        [x, weights, biases] if seed % 4 else [x, weights, None],
        y,
        options(
            "FullyConnected", keepNumDims=rows > 1, fusedActivationFunction=int(rng.integers(4))
        ),
    )
    compare(b.build([x], [y]), rng, f"seed {seed}")


def test_fully_connected_scales_are_multiplied_in_double():
    """Biases next to every rounding step tell a multiplier's last bits."""
    scales = np.float32(0.0713), np.float32(0.00937)
    real = float(scales[0]) * float(scales[1]) / 2.0**13
    steps = np.floor((np.arange(-120, 120) + 0.5) / real).astype(np.int64)
    biases = np.concatenate([steps - 1, steps, steps + 1, steps + 2])
    b = ModelBuilder()
    x = b.tensor("x", (1, 1), scales[0])
    w = b.tensor("w", (len(biases), 1), scales[1], data=np.zeros((len(biases), 1)))
    c = b.tensor("b", biases.shape, scales[0] * scales[1], data=biases, dtype=np.int32)
    y = b.tensor("y", (1, len(biases)), 2.0**13)
    b.operator("FULLY_CONNECTED", [x, w, c], y, options("FullyConnected"))
    compare(b.build([x], [y]), np.random.default_rng(0), "double", count=3)


@pytest.mark.parametrize("seed", range(16))
def test_random_add(seed):
    rng = np.random.default_rng(seed)
    b = ModelBuilder()
    x, z = (image(b, rng, 3, 50, 7, name) for name in ("x", "z"))
    z.quantization.scales = [x.quantization.scales[0] * 2.0 ** rng.uniform(-8, 8)]
    largest = max(x.quantization.scales[0], z.quantization.scales[0])
    y = b.tensor("y", x.shape, largest * 2.0 ** rng.uniform(-4, 4), zero_point(rng))
    b.operator("ADD", [x, z], y, options("Add", fusedActivationFunction=int(rng.integers(4))))
    compare(b.build([x, z], [y]), rng, f"seed {seed}")


@pytest.mark.parametrize(
    ("scale_a", "scale_b", "scale_y"),
    [
        (0.0714, 0.0392, 0.0931),
        (0.05, 0.05, 0.1),
        # Small steps of b become large steps of y: every bit of the operand's shift counts.
        (1.0, 2.3e-6, 7e-6),
        (1.0, 1e-12, 1.0),
    ],
)
def test_add_of_every_pair(scale_a, scale_b, scale_y):
    b = ModelBuilder()
    shape = (1, 256, 256)
    tensors = [b.tensor("a", shape, scale_a, -3), b.tensor("b", shape, scale_b, 5)]
    y = b.tensor("y", shape, scale_y, -128 if scale_a == 0.05 else 7)
    b.operator("ADD", tensors, y, options("Add"))
    model = b.build(tensors, [y])
    every = np.arange(-128, 128, dtype=np.int8)
    inputs = [np.broadcast_to(v, (1, *shape)).copy() for v in (every[:, None], every)]
    network = lower_graph(read_tflite(model))
    expected = np.array(run_tflm(model, *inputs))
    np.testing.assert_array_equal(evaluate(network, inputs)[0], expected.reshape(1, 256, 256))


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("seed", range(10))
def test_random_pool(kind, seed):
    rng = np.random.default_rng(seed)
    window, stride, padding = rng.integers(1, 7, 2), rng.integers(1, 4, 2), int(rng.integers(2))
    size = rng.integers(1, 12, 2) + (window - 1 if padding else 0)
    out = [out_size(n, w, s, padding) for n, w, s in zip(size, window, stride, strict=True)]
    b = ModelBuilder()
    x = image(b, rng, *size, 9)
    y = b.tensor("y", (1, *out, 9), x.quantization.scales[0], x.quantization.zero_points)
    b.operator(
        kind,
        [x],
        y,
        options(
            "Pool2D",
            padding=padding,
            strideH=int(stride[0]),
            strideW=int(stride[1]),
            filterHeight=int(window[0]),
            filterWidth=int(window[1]),
            fusedActivationFunction=int(rng.integers(4)),
        ),
    )
    compare(b.build([x], [y]), rng, f"seed {seed}")


@pytest.mark.parametrize("seed", range(16))
def test_random_mean(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 14, 2))
    b = ModelBuilder()
    x = image(b, rng, height, width, 40)
    axes = b.tensor("axes", (2,), data=[1, 2] if seed % 3 else [-2, 1], dtype=np.int32)
    keep = bool(seed % 2)
    y = b.tensor(
        "y",
        (1, 1, 1, 40) if keep else (1, 40),
        x.quantization.scales[0] * (1 if seed % 4 == 0 else 2.0 ** rng.uniform(-5, 5)),
        x.quantization.zero_points if seed % 4 == 0 else zero_point(rng),
    )
    b.operator("MEAN", [x, axes], y, options("Reducer", keepDims=keep))
    compare(b.build([x], [y]), rng, f"seed {seed}")


def test_inputs_are_checked(models):
    network = lower_graph(read_tflite(models / "models" / "mnist_resnet_add.tflite"))
    with pytest.raises(InputError, match=r"has 1 inputs, not 2"):
        evaluate(network, [np.zeros((1, 28, 28, 1), np.int8)] * 2)
    with pytest.raises(InputError, match=r"takes int8 arrays of N x \[28, 28, 1\]"):
        evaluate(network, [np.zeros((1, 28, 27, 1), np.int8)])
    with pytest.raises(InputError, match=r"not float64"):
        evaluate(network, [np.zeros((1, 28, 28, 1))])
    flat = evaluate(network, [np.zeros((2, 28, 28, 1), np.int8)])[0]
    led = evaluate(network, [np.zeros((2, 1, 28, 28, 1), np.int8)])[0]
    assert flat.shape == (2, 10)
    np.testing.assert_array_equal(flat, led)
