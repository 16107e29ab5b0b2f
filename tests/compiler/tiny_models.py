"""Builds small `.tflite` models without TensorFlow and runs models in TensorFlow Lite Micro."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.compression import model_editor as editor
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

_TYPES = {
    np.dtype(t): getattr(schema.TensorType, n)
    for t, n in (
        (np.int8, "INT8"),
        (np.int16, "INT16"),
        (np.int32, "INT32"),
        (np.uint8, "UINT8"),
        (np.float32, "FLOAT32"),
    )
}


class ModelBuilder:
    """A model with one subgraph, filled tensor by tensor and operator by operator."""

    def __init__(self) -> None:
        self.model = editor.Model()
        self.graph = self.model.add_subgraph(name="main")

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        scale: float | Sequence[float] | None = None,
        zero: int | Sequence[int] = 0,
        data: Any = None,
        dtype: Any = np.int8,
    ) -> Any:
        quantization = None
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            zeros = np.broadcast_to(zero, len(scales)).tolist()
            quantization = editor.Quantization(scales=scales, zero_points=zeros, axis=0)
        return self.graph.add_tensor(
            name=name,
            shape=tuple(int(d) for d in shape),
            dtype=_TYPES[np.dtype(dtype)],
            data=None if data is None else np.asarray(data, dtype),
            quantization=quantization,
        )

    def operator(self, op: str, inputs: list[Any], output: Any, options: Any = None) -> None:
        record = self.graph.add_operator(
            opcode=getattr(schema.BuiltinOperator, op), inputs=inputs, outputs=[output]
        )
        if options is not None:
            record._fb.builtinOptions = options
            record._fb.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )

    def build(self, inputs: list[Any], outputs: list[Any]) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        return bytes(self.model.build())


def options(kind: str, **values: Any) -> Any:
    """Return an options table with its default fields replaced."""
    table = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        assert hasattr(table, name), name
        setattr(table, name, value)
    return table


def run_tflm(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Return TensorFlow Lite Micro's first output for each of N stacked inputs."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=4 << 20)
    results = []
    for i in range(len(inputs[0])):
        for j, x in enumerate(inputs):
            interpreter.set_input(x[i], j)
        interpreter.invoke()
        results.append(interpreter.get_output(0).copy())
    return results
