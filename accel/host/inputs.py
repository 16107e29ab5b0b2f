"""Inputs of a model: what a file or caller gives, brought to one array per inference and input."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from accel.errors import InputError
from accel.image import Tensor

__all__ = ["Inputs", "batches", "random_inputs", "read_inputs"]

Array = npt.NDArray[Any]

Inputs: TypeAlias = Array | Sequence[Array] | Mapping[str, Array]
"""One array for a model with one input; else arrays in the model's order or by input name."""


def _describe(tensor: Tensor) -> str:
    return f"input {tensor.name} ({tensor.dtype} {list(tensor.shape)})"


def _stack(tensor: Tensor, values: Array) -> Array:
    """Return `values` as [N, *shape]: one tensor or N stacked, with or without the leading 1."""
    array = np.asarray(values)
    if tensor.dtype == "float32" and array.dtype.kind == "f":
        array = array.astype(np.float32)
    if array.dtype != np.dtype(tensor.dtype):
        raise InputError(
            f"{_describe(tensor)}: the data has type {array.dtype}; quantise it to {tensor.dtype} "
            f"(scale {tensor.scale:g}, zero point {tensor.zero_point})"
        )
    shape = tensor.shape
    inner = shape[1:] if shape[:1] == (1,) else shape
    if array.shape in (shape, inner):
        return array.reshape(1, *shape)
    if array.ndim and array.shape[1:] in (shape, inner):
        return array.reshape(array.shape[0], *shape)
    raise InputError(
        f"{_describe(tensor)}: the data has shape {list(array.shape)}; give {list(inner)} or "
        f"{['N', *inner]}".replace("'", "")
    )


def _by_tensor(tensors: Sequence[Tensor], inputs: Inputs) -> list[Array]:
    names = [t.name for t in tensors]
    if isinstance(inputs, Mapping):
        if len(tensors) == 1 and names[0] not in inputs and "x" in inputs:
            return [np.asarray(inputs["x"])]
        for name in names:
            if name not in inputs:
                found = ", ".join(inputs) or "none"
                wanted = f"{name} (or x)" if len(tensors) == 1 else name
                raise InputError(f"there is no array {wanted} in the input; found: {found}")
        return [np.asarray(inputs[name]) for name in names]
    if isinstance(inputs, np.ndarray):
        if len(tensors) != 1:
            raise InputError(f"the model has {len(tensors)} inputs, by name: {', '.join(names)}")
        return [inputs]
    if len(inputs) != len(tensors):
        raise InputError(f"the model has {len(tensors)} inputs, not {len(inputs)}")
    return [np.asarray(values) for values in inputs]


def batches(
    tensors: Sequence[Tensor], inputs: Inputs, limit: int | None = None
) -> list[list[Array]]:
    """Return the inputs of each inference: one array per tensor, in its shape.

    Parameters
    ----------
    tensors : sequence of Tensor
        The image's inputs.
    inputs : array, sequence or mapping
        See Inputs. Each is one input of the model's shape, or N of them stacked, with or without
        the leading 1.
    limit : int, optional
        Take no more than so many.

    Raises
    ------
    InputError
        When a shape, a type, a name or the number of stacked inputs does not fit.
    """
    stacked = [_stack(t, v) for t, v in zip(tensors, _by_tensor(tensors, inputs), strict=True)]
    counts = {len(values) for values in stacked}
    if len(counts) != 1:
        numbers = ", ".join(f"{t.name}: {len(v)}" for t, v in zip(tensors, stacked, strict=True))
        raise InputError(f"the inputs hold different numbers of samples ({numbers})")
    number = counts.pop()
    if number == 0:
        raise InputError("the input holds no samples")
    number = number if limit is None else min(number, limit)
    return [[values[i] for values in stacked] for i in range(number)]


def read_inputs(path: str | Path) -> Inputs:
    """Return the array of a .npy file, or all arrays of a .npz file by name.

    Raises
    ------
    InputError
        When the file cannot be read or is neither.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return {name: content[name] for name in content.files}
    except OSError as error:
        raise InputError(f"cannot read input {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, BadZipFile):
        raise InputError(f"input {path} is not a .npy or .npz file") from None


def random_inputs(tensors: Sequence[Tensor], seed: int, number: int) -> list[list[Array]]:
    """Return uniformly random inputs of `number` inferences; the same seed gives the same."""
    generator = np.random.default_rng(seed)

    def one(tensor: Tensor) -> Array:
        dtype = np.dtype(tensor.dtype)
        if dtype == np.float32:
            # Over the range that int8 can represent.
            low, high = (tensor.scale * (q - tensor.zero_point) for q in (-128, 127))
            return generator.uniform(low, high, tensor.shape).astype(dtype)
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, tensor.shape, dtype, endpoint=True)

    return [[one(tensor) for tensor in tensors] for _ in range(number)]
