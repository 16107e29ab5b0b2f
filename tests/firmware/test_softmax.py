"""The kernel `softmax` on the interpreter, byte for byte."""

import numpy as np
import pytest

from accel.firmware import load_kernel
from accel.firmware.call import STACK_BYTES
from accel.numerics import preprocess_softmax, softmax, softmax_table
from tests.firmware.kernelbench import Call, call


def run(
    x: np.ndarray, constants: tuple[int, int, int], *, rows: int, multiply: bool, **options: object
) -> Call:
    return call(
        load_kernel("softmax", multiply),
        x.shape,
        [x],
        rows=rows,
        multiply=multiply,
        arguments=[options.pop("depth", x.shape[2])],
        tables=[softmax_table(*constants)],
        **options,
    )


def draw(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Wide, narrow, equal, extreme or one-hot values."""
    match rng.integers(5):
        case 0:
            return rng.integers(-128, 128, shape).astype(np.int8)
        case 1:
            return rng.integers(-6, 7, shape).astype(np.int8)
        case 2:
            return np.full(shape, rng.integers(-128, 128), np.int8)
        case 3:
            return rng.choice(np.array([-128, -127, 126, 127], np.int8), shape)
    x = np.full(shape, -128, np.int8)
    x.flat[rng.integers(x.size)] = 127
    return x


@pytest.mark.parametrize("multiply", [False, True], ids=["rv32i", "rv32im"])
@pytest.mark.parametrize("rows", [4, 8, 12, 16])
def test_random(rows, multiply):
    rng = np.random.default_rng(1000 + rows)
    depths = [1, 2, 3, rows - 1, rows, rows + 1, 2 * rows, 10, 12, 100, 257, 300]
    for depth in depths + list(rng.integers(1, 60, 12)):
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(depth))
        shape = (1, int(rng.integers(1, 3)), int(depth)) if depth > 60 else shape
        scale = float(np.float32(rng.choice([1e-4, 0.004, 0.05, 0.18, 0.7, 3.0, 1000.0])))
        constants = preprocess_softmax(1.0, scale)
        x = draw(rng, shape)
        got = run(x, constants, rows=rows, multiply=multiply, at=int(rng.integers(9)))
        np.testing.assert_array_equal(got.output, softmax(x, *constants), f"{shape} {scale}")
        assert got.kept == []
        assert got.stack <= STACK_BYTES


@pytest.mark.parametrize("shape, depth", [((2, 3, 10), 5), ((5, 5, 10), 250), ((2, 2, 6), 12)])
def test_depth_apart_from_channels(shape, depth):
    constants = preprocess_softmax(1.0, 0.125)
    x = np.random.default_rng(3).integers(-40, 40, shape).astype(np.int8)
    got = run(x, constants, rows=4, multiply=True, depth=depth)
    expected = softmax(x.reshape(-1, depth), *constants).reshape(shape)
    np.testing.assert_array_equal(got.output, expected)


def test_in_place():
    constants = preprocess_softmax(1.0, 0.125)
    x = np.random.default_rng(4).integers(-128, 128, (2, 2, 19)).astype(np.int8)
    got = run(x, constants, rows=8, multiply=True, in_place=True)
    np.testing.assert_array_equal(got.output, softmax(x, *constants))


@pytest.mark.parametrize("multiply", [False, True], ids=["rv32i", "rv32im"])
def test_sums_that_leave_the_usual_range(multiply):
    """From 512 equal elements on, all results round to 0."""
    constants = preprocess_softmax(1.0, 0.5)
    for depth in (511, 512, 1024, 1500):
        x = np.zeros((1, 1, depth), np.int8)
        got = run(x, constants, rows=16, multiply=multiply)
        np.testing.assert_array_equal(got.output, softmax(x, *constants), f"{depth}")


@pytest.mark.parametrize(
    "multiply, classes, most_instructions, most_cycles",
    [(True, 10, 784, 1608), (True, 12, 868, 1780), (False, 10, 4745, 10397)],
)
def test_cost(multiply, classes, most_instructions, most_cycles):
    """One image's classes, close to each other, on 8 rows; cycles but for the window's stalls."""
    constants = preprocess_softmax(1.0, 0.05)
    x = np.arange(-3 * classes, 0, 3).astype(np.int8).reshape(1, 1, classes)
    got = run(x, constants, rows=8, multiply=multiply)
    assert got.instructions <= most_instructions
    assert got.cycles <= most_cycles
