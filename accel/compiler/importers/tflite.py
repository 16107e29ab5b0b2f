"""Reads a TensorFlow Lite flatbuffer into the compiler's graph.

A file is never trusted: counts are checked against the file's size before anything loops over
them, arrays are views of the file, and whatever the flatbuffer reader raises on damaged content
becomes one ModelError. Source: schema.fbs of TensorFlow Lite, version 3.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tflite
from flatbuffers import number_types

from accel.compiler.graph import Graph, Node, Quantization, Tensor, shorten
from accel.compiler.importers import tflite_layout, tflite_operators
from accel.compiler.importers.tflite_operator import READERS, Operator
from accel.errors import ModelError

__all__ = ["read_tflite", "tflite_layout", "tflite_operators"]

MAX_BYTES = (1 << 31) - 1
"""A flatbuffer's offsets reach no further."""
MAX_RANK = 6
MAX_DIMENSION = (1 << 16) - 1
MAX_ELEMENTS = 1 << 28

_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.INT8: np.dtype(np.int8),
    tflite.TensorType.UINT8: np.dtype(np.uint8),
    tflite.TensorType.FLOAT32: np.dtype("<f4"),
    tflite.TensorType.INT32: np.dtype("<i4"),
    tflite.TensorType.INT64: np.dtype("<i8"),
}
_TYPE_NAMES = {v: k.lower() for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}

T = TypeVar("T")


def read_tflite(source: str | Path | bytes, name: str = "model.tflite") -> Graph:
    """Return the graph of a `.tflite` file.

    Parameters
    ----------
    source : path or bytes
        The file, or its content.
    name : str
        What messages call it when `source` is its content.

    Raises
    ------
    ModelError
        One line that names the file and what is wrong: unreadable or damaged content, an operator,
        type, shape, quantisation or option that is not supported.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    else:
        path = Path(source)
        name = path.name
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ModelError(f"{name} is too large for a .tflite file (2 GiB)")
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read model {path}: {error.strerror}") from None
    if content[4:8] != b"TFL3":
        kind = "empty" if not content else "not a TensorFlow Lite model"
        raise ModelError(f"{name} is {kind}: bytes 4 to 7 of a .tflite file are TFL3")
    try:
        return _File(content, name).graph()
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    except (
        ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
        struct.error,
    ):  # fmt: skip
        # The generated reader has no bounds checks of its own; each of these is one of its ways
        # to fail on offsets that lead nowhere.
        raise ModelError(f"{name} is damaged or truncated: its offsets lead nowhere") from None


def _builtin_code(code: Any) -> int:
    """Return an operator code's number: the larger of its old and its new field.

    `code.BuiltinCode()` reads the old field alone when the number is below 127, which files of
    newer writers leave empty.
    """
    table = code._tab
    field = table.Offset(10)
    new = table.Get(number_types.Int32Flags, field + table.Pos) if field else 0
    return max(int(new), int(code.DeprecatedBuiltinCode()))


class _File:
    """One flatbuffer being read; tensors are read when first referred to."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content = content
        self.stem = Path(name).stem
        self.model = tflite.Model.GetRootAsModel(content, 0)
        if self.model.Version() != 3:
            raise ModelError(f"schema version {self.model.Version()} is not supported; use 3")
        # Subgraphs behind the first belong to control flow, which is refused where it is met.
        if self.count(self.model.SubgraphsLength(), "subgraphs") == 0:
            raise ModelError("damaged: it has no subgraph")
        self.subgraph = self.item(self.model.Subgraphs(0), "subgraph 0")
        self.tensor_count = self.count(self.subgraph.TensorsLength(), "tensors")
        self.buffer_count = self.count(self.model.BuffersLength(), "buffers")
        self.code_count = self.count(self.model.OperatorCodesLength(), "operator codes")
        self.tensors: dict[int, Tensor] = {}

    def count(self, length: int, what: str, size: int = 4) -> int:
        """Return a vector's length if that many elements of `size` bytes fit into the file."""
        if not 0 <= length <= len(self.content) // size:
            raise ModelError(f"damaged or truncated: it claims {length} {what}")
        return length

    def item(self, value: T | None, what: str) -> T:
        """Return a table that must be there."""
        if value is None:
            raise ModelError(f"damaged or truncated: {what} is missing")
        return value

    def indices(self, length: int, get: Callable[[int], int], what: str) -> list[int]:
        """Return a vector of tensor numbers, -1 where one is left out."""
        values = [int(get(i)) for i in range(self.count(length, what))]
        for value in values:
            if not -1 <= value < self.tensor_count:
                raise ModelError(f"damaged: {what} refer to tensor {value} of {self.tensor_count}")
        return values

    def text(self, raw: bytes | None) -> str:
        """Return a name fit for one line."""
        decoded = (raw or b"")[:200].decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "?" for c in decoded)

    def tensor(self, index: int) -> Tensor:
        """Return tensor `index`, checked."""
        if index not in self.tensors:
            record = self.item(self.subgraph.Tensors(index), f"tensor {index}")
            self.tensors[index] = self._read_tensor(index, record)
        return self.tensors[index]

    def _read_tensor(self, index: int, record: Any) -> Tensor:
        name = self.text(record.Name())
        label = f"tensor {index} '{name}'"
        code = record.Type()
        if code not in _DTYPES:
            kind = _TYPE_NAMES.get(code, f"number {code}")
            raise ModelError(
                f"{label} has type {kind}, which is not supported; quantise the model fully to int8"
            )
        dtype = _DTYPES[code]
        if record.IsVariable() or record.Sparsity() is not None:
            kind = "a variable" if record.IsVariable() else "sparse"
            raise ModelError(f"{label} is {kind}, which is not supported")
        shape = self._shape(record, label, dtype)
        data = self._data(record, label, dtype, shape)
        quantization = self._quantization(record, label, shape)
        return Tensor(index, name, shape, dtype, quantization, data)

    def _shape(self, record: Any, label: str, dtype: np.dtype[Any]) -> tuple[int, ...]:
        rank = self.count(record.ShapeLength(), "dimensions")
        if rank > MAX_RANK:
            raise ModelError(f"{label} has {rank} dimensions; at most {MAX_RANK} are supported")
        shape = tuple(int(record.Shape(i)) for i in range(rank))
        if record.ShapeSignatureLength() == rank:
            for i in range(rank):
                # The batch may be left open: one inference is one batch element.
                if record.ShapeSignature(i) == -1 and (i > 0 or shape[i] != 1):
                    raise ModelError(f"{label} has a dynamic shape (dimension {i})")
        least = 0 if dtype in (np.dtype("<i4"), np.dtype("<i8")) else 1
        if any(not least <= d <= MAX_DIMENSION for d in shape):
            raise ModelError(
                f"{label} has shape {list(shape)}; dimensions must be {least} to {MAX_DIMENSION}"
            )
        if math.prod(shape) > MAX_ELEMENTS:
            raise ModelError(f"{label} has more than {MAX_ELEMENTS} elements")
        return shape

    def _data(
        self, record: Any, label: str, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> npt.NDArray[Any] | None:
        number = record.Buffer()
        if number == 0:
            return None
        if number >= self.buffer_count:
            raise ModelError(f"{label} refers to buffer {number} of {self.buffer_count}")
        buffer = self.item(self.model.Buffers(number), f"buffer {number}")
        if buffer.Offset() > 1 or buffer.Size() > 1:
            raise ModelError(f"{label} has its data behind the flatbuffer, which is not supported")
        length = self.count(buffer.DataLength(), f"bytes in buffer {number}", 1)
        if length == 0:
            return None if 0 not in shape else np.zeros(shape, dtype)
        size = math.prod(shape) * dtype.itemsize
        if length != size:
            raise ModelError(f"{label} has {length} bytes of data; its shape needs {size}")
        raw: npt.NDArray[np.uint8] = buffer.DataAsNumpy()
        # int32 data of a foreign file need not be aligned.
        data = np.frombuffer(raw.tobytes() if dtype.itemsize > 1 else raw, dtype).reshape(shape)
        data.flags.writeable = False
        return data

    def _quantization(self, record: Any, label: str, shape: tuple[int, ...]) -> Quantization | None:
        stored = record.Quantization()
        if stored is None or stored.ScaleLength() == 0:
            return None
        if stored.DetailsType() != 0:
            raise ModelError(f"{label} has a custom quantization, which is not supported")
        count = self.count(stored.ScaleLength(), "scales")
        scales = tuple(float(stored.Scale(i)) for i in range(count))
        zeros = self.count(stored.ZeroPointLength(), "zero points", 8)
        zero_points = tuple(int(stored.ZeroPoint(i)) for i in range(zeros))
        if zeros != count:
            raise ModelError(f"{label} has {count} scales and {zeros} zero points")
        if not all(math.isfinite(s) and s > 0 for s in scales):
            raise ModelError(f"{label} has a scale that is not a positive number")
        # A vector has one axis, whatever older writers store for biases.
        axis = int(stored.QuantizedDimension()) if len(shape) > 1 else 0
        if count > 1 and not (0 <= axis < len(shape) and shape[axis] == count):
            raise ModelError(f"{label} has {count} scales along axis {axis} of {list(shape)}")
        return Quantization(scales, zero_points, axis)

    def graph(self) -> Graph:
        """Return the checked graph."""
        g = self.subgraph
        inputs = self._ports(g.InputsLength(), g.Inputs, "inputs")
        known = {t.index for t in inputs}
        nodes: list[Node] = []
        for index in range(self.count(g.OperatorsLength(), "operators")):
            operator = self._operator(index)
            operator.check_order(known)
            nodes += operator.read()
            known.update(operator.outputs)
        outputs = self._ports(g.OutputsLength(), g.Outputs, "outputs")
        for tensor in outputs:
            if tensor.index not in known:
                raise ModelError(f"output tensor '{tensor.name}' is never computed")
            if tensor.data is not None:
                raise ModelError(f"output tensor '{tensor.name}' is constant")
        if not nodes:
            raise ModelError("the model has no operators")
        return Graph(self.stem, tuple(inputs), tuple(outputs), tuple(nodes))

    def _ports(self, length: int, get: Callable[[int], int], what: str) -> list[Tensor]:
        numbers = self.indices(length, get, what)
        if not numbers or -1 in numbers:
            raise ModelError(f"damaged: the model has no {what}, or one without a tensor")
        tensors = [self.tensor(i) for i in numbers]
        for tensor in tensors:
            if len(tensor.shape) > 1 and tensor.shape[0] != 1:
                raise ModelError(
                    f"{what[:-1]} '{tensor.name}' has shape {list(tensor.shape)}; batch must be 1"
                )
        return tensors

    def _fold(self, index: int, data: npt.NDArray[Any]) -> None:
        """Give tensor `index` a value known now."""
        tensor = self.tensor(index)
        data = np.ascontiguousarray(data, tensor.dtype).reshape(tensor.shape)
        data.flags.writeable = False
        self.tensors[index] = replace(tensor, data=data)

    def _operator(self, index: int) -> Operator:
        record = self.item(self.subgraph.Operators(index), f"operator {index}")
        code_index = record.OpcodeIndex()
        if code_index >= self.code_count:
            raise ModelError(
                f"damaged: operator {index} has code {code_index} of {self.code_count}"
            )
        code = self.item(self.model.OperatorCodes(code_index), f"operator code {code_index}")
        number = _builtin_code(code)
        name = tflite.BUILTIN_OPCODE2NAME.get(number, f"number {number}")
        if number == tflite.BuiltinOperator.CUSTOM:
            name = f"CUSTOM {self.text(code.CustomCode())}"
        inputs = self.indices(record.InputsLength(), record.Inputs, f"inputs of operator {index}")
        outputs = self.indices(
            record.OutputsLength(), record.Outputs, f"outputs of operator {index}"
        )
        # The tensor's name is read alone: its type may be what is not supported.
        where = (
            f" (output tensor '{shorten(self.text(self.subgraph.Tensors(outputs[0]).Name()))}')"
            if outputs and outputs[0] >= 0
            else ""
        )
        label = f"operator {index} {name}{where}"
        if name not in READERS:
            raise ModelError(f"{label} is not supported; supported: {', '.join(sorted(READERS))}")
        return Operator(index, name, label, record, inputs, outputs, self.tensor, self._fold)
