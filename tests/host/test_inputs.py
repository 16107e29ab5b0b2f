"""Inputs: which shapes, types, names and files fit a model, and what is said of others."""

import numpy as np
import pytest

from accel.errors import InputError
from accel.host.inputs import batches, random_inputs, read_inputs
from accel.image import Tensor


def tensor(name="a", shape=(1, 2, 3, 4)):
    height, width, channels = shape[1:] if len(shape) == 4 else (1, 1, shape[-1])
    return Tensor(
        name=name,
        shape=shape,
        dtype="int8",
        address=0,
        height=height,
        width=width,
        channels=channels,
        rows=4,
        slot=4,
    )


A = tensor()


@pytest.mark.parametrize(
    ("shape", "number"),
    [((2, 3, 4), 1), ((1, 2, 3, 4), 1), ((5, 2, 3, 4), 5), ((5, 1, 2, 3, 4), 5)],
)
def test_one_or_stacked_with_or_without_the_leading_one(shape, number):
    values = np.arange(np.prod(shape)).astype(np.int8).reshape(shape)
    samples = batches([A], values)
    assert len(samples) == number
    assert all(sample[0].shape == A.shape for sample in samples)
    assert np.array_equal(np.concatenate([s[0] for s in samples]).reshape(-1), values.reshape(-1))


@pytest.mark.parametrize("shape", [(10,), (1, 10), (1, 1, 10)])
def test_a_vector_once(shape):
    assert len(batches([tensor(shape=(1, 10))], np.zeros(shape, np.int8))) == 1


@pytest.mark.parametrize("shape", [(2, 3, 5), (24,), (5, 2, 2, 3, 4), (4, 3, 2), ()])
def test_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"input a \(int8 \[1, 2, 3, 4\]\): the data has shape"):
        batches([A], np.zeros(shape, np.int8))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int32])
def test_another_type_is_refused(dtype):
    with pytest.raises(InputError, match=f"the data has type {np.dtype(dtype)}; quantise it"):
        batches([A], np.zeros(A.shape, dtype))


def test_no_samples_are_refused():
    with pytest.raises(InputError, match="holds no samples"):
        batches([A], np.zeros((0, 2, 3, 4), np.int8))


def test_the_limit_takes_the_first():
    values = np.arange(5, dtype=np.int8)[:, None, None, None] + np.zeros(A.shape, np.int8)
    assert [int(s[0][0, 0, 0, 0]) for s in batches([A], values, limit=3)] == [0, 1, 2]


def test_several_inputs_by_order_and_by_name():
    tensors = [A, tensor("b", (1, 3))]
    a, b = np.zeros((2, 2, 3, 4), np.int8), np.ones((2, 3), np.int8)
    for inputs in ([a, b], {"b": b, "a": a, "other": b}):
        samples = batches(tensors, inputs)
        assert [[v.shape for v in s] for s in samples] == [[(1, 2, 3, 4), (1, 3)]] * 2
    with pytest.raises(InputError, match="there is no array b in the input; found: a, x"):
        batches(tensors, {"a": a, "x": b})
    with pytest.raises(InputError, match="the model has 2 inputs, by name: a, b"):
        batches(tensors, a)
    with pytest.raises(InputError, match="the model has 2 inputs, not 1"):
        batches(tensors, [a])
    with pytest.raises(InputError, match="different numbers of samples"):
        batches(tensors, [a, b[:1]])


def test_a_single_input_is_called_x_or_by_its_name():
    values = np.zeros(A.shape, np.int8)
    assert len(batches([A], {"x": values})) == len(batches([A], {"a": values})) == 1
    with pytest.raises(InputError, match=r"there is no array a \(or x\) in the input; found: z"):
        batches([A], {"z": values})


def test_files(tmp_path):
    values = np.arange(24, dtype=np.int8).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", x=values, label=values)
    assert np.array_equal(read_inputs(tmp_path / "x.npy"), values)
    assert set(read_inputs(tmp_path / "x.npz")) == {"x", "label"}


@pytest.mark.parametrize("content", [b"", b"some text\n", b"PK\3\4 not a zip", b"\x93NUMPY\1\0"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npy is not a \.npy or \.npz file"):
        read_inputs(path)


def test_a_missing_file_and_pickles_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read input .*none.npy: No such file"):
        read_inputs(tmp_path / "none.npy")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="is not a"):
        read_inputs(tmp_path / "object.npy")


def test_random_inputs_repeat_and_fill_the_range():
    first, second = random_inputs([A], 1, 50), random_inputs([A], 1, 50)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, random_inputs([A], 2, 50))
    assert (np.min(first), np.max(first)) == (-128, 127)
