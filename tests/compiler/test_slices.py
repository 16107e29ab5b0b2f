"""SLICE, SPLIT_V and UNPACK against TensorFlow Lite Micro; the other shuffles are drawn at random."""

import numpy as np
import pytest

from accel.compiler.importers.tflite import read_tflite
from accel.errors import ModelError
from tests.compiler.tiny_models import ModelBuilder, compare, options


def constants(b, values):
    """Return int32 constant tensors."""
    return [
        b.tensor(f"c{i}", np.shape(v), None, 0, np.asarray(v), np.int32)
        for i, v in enumerate(values)
    ]


def slice_model(begin, size, shape=(1, 5, 6, 7)):
    b = ModelBuilder()
    x = b.tensor("x", shape, 0.1, 3)
    ends = [s if n == -1 else f + n for f, n, s in zip(begin, size, shape, strict=True)]
    y = b.tensor("y", [e - f for f, e in zip(begin, ends, strict=True)], 0.1, 3)
    b.operator("SLICE", [x, *constants(b, (begin, size))], y, options("Slice"))
    return b.build([x], [y])


@pytest.mark.parametrize(
    ("begin", "size"),
    [
        ((0, 1, 2, 3), (1, 3, 2, 4)),
        ((0, 0, 0, 6), (1, 5, 6, 1)),
        ((0, 2, 0, 0), (-1, -1, -1, -1)),
        ((0, 4, 5, 0), (1, 1, 1, -1)),
    ],
)
def test_slice(begin, size):
    compare(slice_model(begin, size), np.random.default_rng(1), f"{begin} {size}")


def test_a_slice_outside_its_input_is_refused():
    b = ModelBuilder()
    x, y = b.tensor("x", (1, 4), 0.1), b.tensor("y", (1, 3), 0.1)
    b.operator("SLICE", [x, *constants(b, ((0, 2), (1, 3)))], y, options("Slice"))
    with pytest.raises(ModelError, match=r"operator 0 SLICE .* begin \[0, 2\] and size \[1, 3\]"):
        read_tflite(b.build([x], [y]))


@pytest.mark.parametrize(
    ("axis", "sizes"), [(3, (1, 4, 2)), (3, (3, -1)), (1, (2, 2, 1)), (-2, (-1, 5))]
)
def test_split_into_given_sizes(axis, sizes):
    shape = (1, 5, 6, 7)
    b = ModelBuilder()
    x = b.tensor("x", shape, 0.2, -4)
    outputs = []
    for i, size in enumerate(sizes):
        part = list(shape)
        part[axis] = size if size > 0 else shape[axis] - sum(s for s in sizes if s > 0)
        outputs.append(b.tensor(f"y{i}", part, 0.2, -4))
    table = options("SplitV", numSplits=len(sizes))
    b.operator("SPLIT_V", [x, *constants(b, (sizes, axis))], outputs, table)
    compare(b.build([x], outputs), np.random.default_rng(2), f"{axis} {sizes}")


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_unpack(axis):
    shape = (1, 3, 4, 5)
    b = ModelBuilder()
    x = b.tensor("x", shape, 0.3, 9)
    rest = [n for i, n in enumerate(shape) if i != axis % 4]
    outputs = [b.tensor(f"y{i}", rest, 0.3, 9) for i in range(shape[axis])]
    table = options("Unpack", num=shape[axis], axis=axis)
    b.operator("UNPACK", [x], outputs, table)
    compare(b.build([x], outputs), np.random.default_rng(3), f"axis {axis}")
