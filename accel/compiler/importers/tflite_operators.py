"""What each TensorFlow Lite operator becomes in the graph: one reader per operator.

To add an operator: a node class in `accel.compiler.graph`, and a function here under `_reader`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import tflite

from accel.compiler import graph
from accel.compiler.graph import Activation, Node, Padding, Tensor
from accel.errors import ModelError

__all__ = ["READERS", "Operator"]

Reader = Callable[["Operator"], Node]

READERS: dict[str, Reader] = {}
"""Readers by the operator's TFLite name."""

_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: Activation.NONE,
    tflite.ActivationFunctionType.RELU: Activation.RELU,
    tflite.ActivationFunctionType.RELU_N1_TO_1: Activation.RELU_N1_TO_1,
    tflite.ActivationFunctionType.RELU6: Activation.RELU6,
}
_ACTIVATION_NAMES = {
    v: k for k, v in vars(tflite.ActivationFunctionType).items() if isinstance(v, int)
}


def _reader(name: str) -> Callable[[Reader], Reader]:
    def register(function: Reader) -> Reader:
        READERS[name] = function
        return function

    return register


@dataclass(frozen=True)
class Operator:
    """One operator of a file, with checked access to its tensors and options.

    Parameters
    ----------
    index : int
    name : str
        TFLite name, a key of READERS.
    label : str
        How messages name it.
    record : tflite.Operator
    inputs, outputs : list of int
        Tensor numbers, -1 for one left out.
    tensor : callable
        Returns the tensor of a number.
    """

    index: int
    name: str
    label: str
    record: Any
    inputs: list[int]
    outputs: list[int]
    tensor: Callable[[int], Tensor]

    def read(self) -> Node:
        """Return the graph's node.

        Raises
        ------
        ModelError
        """
        return READERS[self.name](self)

    def fail(self, message: str) -> NoReturn:
        """Refuse the operator."""
        raise ModelError(f"{self.label} {message}")

    def check_order(self, known: set[int]) -> None:
        """Refuse an operator that reads what no earlier one computes, or computes it again."""
        for number in self.inputs:
            if number >= 0 and number not in known and self.tensor(number).data is None:
                self.fail(f"reads tensor '{self.tensor(number).name}' before it is computed")
        for number in self.outputs:
            if number in known or (number >= 0 and self.tensor(number).data is not None):
                self.fail("writes a tensor that already has a value")

    def arity(self, least: int, most: int) -> None:
        """Refuse another number of inputs, or other than one output."""
        if not least <= len(self.inputs) <= most or len(self.outputs) != 1:
            self.fail(f"has {len(self.inputs)} inputs and {len(self.outputs)} outputs")

    def activation_tensor(self, number: int, what: str) -> Tensor:
        """Return an int8 tensor of batch 1 quantised as a whole."""
        if number < 0:
            self.fail(f"has no {what}")
        tensor = self.tensor(number)
        if tensor.dtype != np.int8:
            self.fail(f"has {what} '{tensor.name}' of type {tensor.dtype}, not int8")
        if not tensor.shape or (len(tensor.shape) > 1 and tensor.shape[0] != 1):
            self.fail(f"has {what} '{tensor.name}' of shape {list(tensor.shape)}; batch must be 1")
        quantization = tensor.quantization
        if quantization is None or len(quantization.scales) != 1:
            self.fail(f"has {what} '{tensor.name}' that is not quantised per tensor")
        if not -128 <= quantization.zero_points[0] <= 127:
            self.fail(f"has {what} '{tensor.name}' with a zero point outside -128 .. 127")
        return tensor

    def input(self, position: int, rank: int | None = None) -> Tensor:
        """Return an input computed elsewhere, of `rank` dimensions if given."""
        tensor = self.activation_tensor(self.inputs[position], f"input {position}")
        if tensor.data is not None:
            self.fail(f"has a constant input '{tensor.name}', which is not supported")
        return self._ranked(tensor, rank)

    def output(self, rank: int | None = None) -> Tensor:
        """Return the output, of `rank` dimensions if given."""
        return self._ranked(self.activation_tensor(self.outputs[0], "output"), rank)

    def _ranked(self, tensor: Tensor, rank: int | None) -> Tensor:
        if rank is not None and len(tensor.shape) != rank:
            self.fail(
                f"has '{tensor.name}' of shape {list(tensor.shape)}; it must have {rank} dimensions"
            )
        return tensor

    def constant(self, position: int, dtype: type[np.generic], what: str) -> Tensor:
        """Return an input whose value the file holds."""
        tensor = self.tensor(self.inputs[position]) if self.inputs[position] >= 0 else None
        if tensor is None or tensor.data is None:
            self.fail(f"has {what} that are not constant")
        if tensor.dtype != dtype:
            self.fail(f"has {what} of type {tensor.dtype}, not {np.dtype(dtype)}")
        return tensor

    def weights(self, rank: int) -> Tensor:
        """Return input 1, int8 with zero points of 0, scales along axis 0 or one."""
        tensor = self._ranked(self.constant(1, np.int8, "weights"), rank)
        quantization = tensor.quantization
        if quantization is None:
            self.fail(f"has weights '{tensor.name}' without quantization")
        if any(quantization.zero_points):
            self.fail(f"has weights '{tensor.name}' with a zero point that is not 0")
        if len(quantization.scales) > 1 and quantization.axis != 0:
            self.fail(f"has weights '{tensor.name}' quantised along axis {quantization.axis}")
        return tensor

    def bias(self, channels: int) -> Tensor | None:
        """Return input 2, int32, one per output channel; None where it is left out."""
        if len(self.inputs) < 3 or self.inputs[2] < 0:
            return None
        tensor = self.constant(2, np.int32, "biases")
        if tensor.elements != channels:
            self.fail(f"has {tensor.elements} biases for {channels} output channels")
        return tensor

    def options(self, kind: str) -> Any:
        """Return the options table `kind`."""
        table = self.record.BuiltinOptions()
        if table is None or self.record.BuiltinOptionsType() != getattr(
            tflite.BuiltinOptions, kind
        ):
            self.fail("has no options of its own; the file is damaged")
        options = getattr(tflite, kind)()
        options.Init(table.Bytes, table.Pos)
        return options

    def fused(self, options: Any) -> Activation:
        """Return the fused activation."""
        code = options.FusedActivationFunction()
        if code not in _ACTIVATIONS:
            name = _ACTIVATION_NAMES.get(code, f"number {code}")
            known = ", ".join(a.value for a in Activation)
            self.fail(f"has fused activation {name}, which is not supported; supported: {known}")
        return _ACTIVATIONS[code]

    def steps(self, what: str, rows: int, columns: int) -> tuple[int, int]:
        """Return a stride, dilation or window if it is at least 1 x 1 and not absurd."""
        if not (1 <= rows < 1 << 15 and 1 <= columns < 1 << 15):
            self.fail(f"has {what} {rows}x{columns}")
        return rows, columns

    def window_padding(
        self,
        options: Any,
        tensor: Tensor,
        output: Tensor,
        window: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int] = (1, 1),
    ) -> Padding:
        """Return the padding, and refuse an output whose size does not follow.

        Source: ComputePaddingHeightWidth of TensorFlow Lite's kernels/padding.h.
        """
        mode = options.Padding()
        if mode not in (tflite.Padding.SAME, tflite.Padding.VALID):
            self.fail(f"has padding number {mode}; supported: SAME, VALID")
        before, after, sizes = [], [], []
        for axis in range(2):
            size, step = tensor.shape[1 + axis], stride[axis]
            reach = (window[axis] - 1) * dilation[axis] + 1
            same = mode == tflite.Padding.SAME
            out = (size + step - 1) // step if same else (size + step - reach) // step
            total = max(0, (out - 1) * step + reach - size)
            before.append(total // 2)
            after.append(total - total // 2)
            sizes.append(out)
        if list(output.shape[1:3]) != sizes:
            self.fail(
                f"has output shape {list(output.shape)}; its input and options give "
                f"{sizes[0]}x{sizes[1]}"
            )
        return Padding(before[0], before[1], after[0], after[1])


@_reader("CONV_2D")
def _conv_2d(op: Operator) -> Node:
    op.arity(2, 3)
    options = op.options("Conv2DOptions")
    tensor, output, weights = op.input(0, 4), op.output(4), op.weights(4)
    channels, height, width, depth = weights.shape
    if depth != tensor.shape[3] or channels != output.shape[3]:
        op.fail(
            f"has weights {list(weights.shape)} for {tensor.shape[3]} input and "
            f"{output.shape[3]} output channels"
        )
    stride = op.steps("stride", options.StrideH(), options.StrideW())
    dilation = op.steps("dilation", options.DilationHFactor(), options.DilationWFactor())
    return graph.Conv2D(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        weights=weights,
        bias=op.bias(channels),
        stride=stride,
        dilation=dilation,
        padding=op.window_padding(options, tensor, output, (height, width), stride, dilation),
        activation=op.fused(options),
    )


@_reader("FULLY_CONNECTED")
def _fully_connected(op: Operator) -> Node:
    op.arity(2, 3)
    options = op.options("FullyConnectedOptions")
    if options.WeightsFormat() != 0:
        op.fail("has shuffled weights, which are not supported")
    tensor, output, weights = op.input(0), op.output(), op.weights(2)
    channels, depth = weights.shape
    rows, rest = divmod(tensor.elements, depth)
    if rest or output.shape[-1] != channels or output.elements != rows * channels:
        op.fail(
            f"has weights {list(weights.shape)} between shapes {list(tensor.shape)} and "
            f"{list(output.shape)}"
        )
    return graph.FullyConnected(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        weights=weights,
        bias=op.bias(channels),
        activation=op.fused(options),
    )


@_reader("ADD")
def _add(op: Operator) -> Node:
    op.arity(2, 2)
    options = op.options("AddOptions")
    a, b, output = op.input(0), op.input(1), op.output()
    if not a.shape == b.shape == output.shape:
        op.fail(f"broadcasts {list(a.shape)} and {list(b.shape)}, which is not supported")
    return graph.Add(
        index=op.index, op=op.name, output=output, a=a, b=b, activation=op.fused(options)
    )


def _pool(op: Operator, kind: type[graph.AveragePool2D] | type[graph.MaxPool2D]) -> Node:
    op.arity(1, 1)
    options = op.options("Pool2DOptions")
    tensor, output = op.input(0, 4), op.output(4)
    if tensor.shape[3] != output.shape[3]:
        op.fail(f"has {tensor.shape[3]} input and {output.shape[3]} output channels")
    window = op.steps("window", options.FilterHeight(), options.FilterWidth())
    stride = op.steps("stride", options.StrideH(), options.StrideW())
    return kind(
        index=op.index,
        op=op.name,
        output=output,
        input=tensor,
        window=window,
        stride=stride,
        padding=op.window_padding(options, tensor, output, window, stride),
        activation=op.fused(options),
    )


@_reader("AVERAGE_POOL_2D")
def _average_pool_2d(op: Operator) -> Node:
    return _pool(op, graph.AveragePool2D)


@_reader("MAX_POOL_2D")
def _max_pool_2d(op: Operator) -> Node:
    return _pool(op, graph.MaxPool2D)


@_reader("MEAN")
def _mean(op: Operator) -> Node:
    op.arity(2, 2)
    options = op.options("ReducerOptions")
    tensor, output = op.input(0, 4), op.output()
    data = op.constant(1, np.int32, "axes").data
    axes = sorted(int(a) % 4 if -4 <= a < 4 else 9 for a in np.ravel(data)[:5]) if (
        data is not None
    ) else []  # fmt: skip
    if axes != [1, 2]:
        op.fail("is supported over height and width (axes 1 and 2) only")
    keep = bool(options.KeepDims())
    channels = tensor.shape[3]
    if output.shape != ((1, 1, 1, channels) if keep else (1, channels)):
        op.fail(f"has output shape {list(output.shape)} for {channels} channels")
    return graph.Mean(index=op.index, op=op.name, output=output, input=tensor, keep_dims=keep)


@_reader("RESHAPE")
def _reshape(op: Operator) -> Node:
    op.arity(1, 2)
    tensor, output = op.input(0), op.output()
    if tensor.elements != output.elements:
        op.fail(f"makes {list(output.shape)} of {list(tensor.shape)}")
    return graph.Reshape(index=op.index, op=op.name, output=output, input=tensor)


@_reader("SOFTMAX")
def _softmax(op: Operator) -> Node:
    op.arity(1, 1)
    options = op.options("SoftmaxOptions")
    tensor, output = op.input(0), op.output()
    if tensor.shape != output.shape:
        op.fail(f"makes {list(output.shape)} of {list(tensor.shape)}")
    if (output.scale, output.zero_point) != (1 / 256, -128):
        op.fail("must have an output scale of 1/256 and a zero point of -128")
    return graph.Softmax(
        index=op.index, op=op.name, output=output, input=tensor, beta=float(options.Beta())
    )
