"""Builds small `.tflite` models without TensorFlow and runs models in TensorFlow Lite Micro."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.compression import model_editor as editor
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from accel.compiler.importers.tflite import read_tflite
from accel.compiler.layers import Network
from accel.compiler.network import lower_graph
from accel.compiler.reference import evaluate

_TYPES = {
    np.dtype(t): getattr(schema.TensorType, n)
    for t, n in (
        (np.int8, "INT8"),
        (np.int16, "INT16"),
        (np.int32, "INT32"),
        (np.int64, "INT64"),
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
        axis: int = 0,
    ) -> Any:
        quantization = None
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            zeros = np.broadcast_to(zero, len(scales)).tolist()
            quantization = editor.Quantization(scales=scales, zero_points=zeros, axis=axis)
        return self.graph.add_tensor(
            name=name,
            shape=tuple(int(d) for d in shape),
            dtype=_TYPES[np.dtype(dtype)],
            data=None if data is None else np.asarray(data, dtype),
            quantization=quantization,
        )

    def operator(self, op: str, inputs: list[Any], output: Any, options: Any = None) -> None:
        outputs = output if isinstance(output, list) else [output]
        record = self.graph.add_operator(
            opcode=getattr(schema.BuiltinOperator, op), inputs=inputs, outputs=outputs
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
    return list(run_tflm_outputs(model, *inputs)[0])


def run_tflm_outputs(model: bytes, *inputs: np.ndarray, outputs: int = 1) -> list[np.ndarray]:
    """Return TensorFlow Lite Micro's outputs, each of them stacked for N stacked inputs."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=8 << 20)
    results: list[list[np.ndarray]] = [[] for _ in range(outputs)]
    for i in range(len(inputs[0])):
        for j, x in enumerate(inputs):
            interpreter.set_input(x[i], j)
        interpreter.invoke()
        for j, result in enumerate(results):
            result.append(interpreter.get_output(j).copy())
    return [np.array(r) for r in results]


def random_inputs(network: Network, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Return for each of a network's inputs random, small and extreme values of its type."""
    inputs = []
    for port in network.inputs:
        x = rng.integers(-128, 128, (count, *port.shape))
        x[1] = rng.integers(-3, 4, port.shape)
        x[2] = rng.choice([-128, 127])
        if port.dtype == "float32":
            # Bytes and values between them, beyond the range, and exactly halfway.
            real = x + rng.choice([0, 0.5, rng.uniform(-1, 1)], x.shape)
            inputs.append(((real - port.map.zero_point) * port.map.scale * 1.2).astype(np.float32))
        else:
            offset = 128 if port.dtype == "uint8" else 0
            inputs.append((x + offset).astype(port.dtype))
    return inputs


def compare(model: bytes, rng: np.random.Generator, message: str, count: int = 6) -> Network:
    """Compare TFLM with the reference, byte for byte, and return the network."""
    network = lower_graph(read_tflite(model))
    inputs = random_inputs(network, rng, count)
    expected = run_tflm_outputs(model, *inputs, outputs=len(network.outputs))
    results = evaluate(network, inputs)
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype
        np.testing.assert_array_equal(result.reshape(wanted.shape), wanted, err_msg=message)
    return network
