"""The kernel `gather` on the interpreter against numpy."""

import numpy as np
import pytest

from accel.errors import FirmwareError
from accel.firmware import gather_arguments, load_kernel
from accel.firmware.call import STACK_BYTES
from accel.firmware.gather import transpose_strides
from tests.firmware.kernelbench import Call, call


def run(
    x: np.ndarray,
    shape: tuple[int, int, int],
    dims: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    offset: int = 0,
    rows: int = 8,
    multiply: bool = True,
) -> Call:
    arguments = gather_arguments(dims, strides, x.shape[2], offset)
    kernel = load_kernel("gather", multiply)
    return call(kernel, shape, [x], rows=rows, multiply=multiply, arguments=arguments)


def split(rng: np.random.Generator, count: int) -> tuple[int, int, int]:
    """Return a random map shape of `count` elements."""
    divisors = [d for d in range(1, count + 1) if count % d == 0]
    height = int(rng.choice(divisors))
    width = int(rng.choice([d for d in divisors if count // height % d == 0]))
    return height, width, count // height // width


def numbered(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(8).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("multiply", [False, True], ids=["rv32i", "rv32im"])
@pytest.mark.parametrize("rows", [4, 8, 12, 16])
def test_transposes_between_any_shapes(rows, multiply):
    rng = np.random.default_rng(rows)
    for _ in range(30):
        dims = tuple(int(d) for d in rng.integers(1, 8, rng.integers(1, 5)))
        axes = rng.permutation(len(dims))
        x = numbered(split(rng, int(np.prod(dims))))
        expected = x.reshape(dims).transpose(axes)
        shape = split(rng, x.size)
        strides = transpose_strides(dims, axes)
        got = run(x, shape, expected.shape, strides, rows=rows, multiply=multiply)
        np.testing.assert_array_equal(got.output, expected.reshape(shape), f"{dims} {axes}")
        assert got.kept == []
        assert got.stack <= STACK_BYTES


def test_reshape_is_one_loop():
    x = numbered((3, 5, 14))
    assert gather_arguments((3, 5, 14), (70, 14, 1), 14)[2:11:3] == (1, 1, 1)
    got = run(x, (1, 7, 30), (3, 5, 14), (70, 14, 1))
    np.testing.assert_array_equal(got.output, x.reshape(1, 7, 30))


def test_offset_repetition_and_backwards():
    x = numbered((4, 6, 10))
    got = run(x, (2, 3, 20), (2, 3, 2, 10), (120, 10, 0, -1), offset=69)
    flipped = x[1::2, :3, ::-1]
    np.testing.assert_array_equal(got.output, np.concatenate([flipped, flipped], axis=2))


def test_five_loops_are_refused():
    with pytest.raises(FirmwareError, match=r"^gather: 2x2x2x2x2 .* takes 5 nested loops; .*two"):
        gather_arguments((2,) * 5, (1, 2, 4, 8, 16), 4)


def test_dimension_of_nothing_is_refused():
    with pytest.raises(FirmwareError, match="at least 1, not 0"):
        gather_arguments((2, 0), (1, 1), 4)


def test_cost():
    """Instructions and cycles per element, but for the window's stalls."""
    x = numbered((8, 8, 16))
    got = run(x, (8, 8, 16), (8, 8, 16), (16, 128, 1))
    assert got.instructions <= 25 * x.size
    assert got.cycles <= 43 * x.size
