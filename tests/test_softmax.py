"""Softmax against TensorFlow Lite Micro, byte for byte."""

import numpy as np
import pytest

from accel.numerics import preprocess_softmax, softmax
from tests.compiler.tiny_models import ModelBuilder, options, run_tflm


def rows(rng: np.random.Generator, count: int, depth: int) -> np.ndarray:
    """Random, narrow, equal, one-hot and extreme rows."""
    x = rng.integers(-128, 128, (count, 1, depth))
    x[1::6] = rng.integers(-4, 5, x[1::6].shape)
    x[2::6] = rng.integers(-128, 128, x[2::6][:, :, :1].shape)
    x[3::6] = -128
    x[3::6, :, depth // 2] = 127
    x[4::6] = rng.choice([-128, -127, 126, 127], x[4::6].shape)
    x[5::6] = np.sort(x[5::6], axis=2)
    return x.astype(np.int8)


def tflm(x: np.ndarray, scale: float, beta: float) -> np.ndarray:
    b = ModelBuilder()
    source = b.tensor("x", x.shape[1:], scale, 0)
    target = b.tensor("y", x.shape[1:], 1 / 256, -128)
    b.operator("SOFTMAX", [source], target, options("Softmax", beta=beta))
    return np.array(run_tflm(b.build([source], [target]), x))


@pytest.mark.parametrize("depth", [1, 2, 3, 10, 100, 511])
@pytest.mark.parametrize("scale", [2e-7, 1e-4, 0.004, 0.05, 0.18, 0.7, 3.0, 31.0, 1000.0])
def test_equals_tflm(depth, scale):
    rng = np.random.default_rng(depth)
    beta = float(np.float32(rng.choice([1.0, 0.3, 7.1])))
    scale = float(np.float32(scale))
    x = rows(rng, 60 if depth < 100 else 12, depth)
    np.testing.assert_array_equal(
        softmax(x, *preprocess_softmax(beta, scale)), tflm(x, scale, beta)
    )


def test_every_difference():
    """One element at each distance from the largest, among few and among many."""
    scale = float(np.float32(0.0731))
    x = np.full((256, 1, 3), 127, np.int8)
    x[:, 0, 1] = np.arange(-128, 128)
    np.testing.assert_array_equal(softmax(x, *preprocess_softmax(1.0, scale)), tflm(x, scale, 1.0))


def test_last_axis_of_any_rank():
    x = rows(np.random.default_rng(2), 12, 5).reshape(1, 3, 4, 5)
    constants = preprocess_softmax(1.0, 0.125)
    np.testing.assert_array_equal(softmax(x, *constants)[0, 1, 2], softmax(x[0, 1, 2], *constants))


def test_too_small_a_scale():
    with pytest.raises(ValueError, match="must exceed"):
        preprocess_softmax(1.0, 2.0**-26)
