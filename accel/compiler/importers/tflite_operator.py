"""One operator of a TensorFlow Lite file: checked access to its tensors and options."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import tflite

from accel.compiler.graph import Activation, Node, Padding, Tensor
from accel.errors import ModelError

__all__ = ["READERS", "Operator", "reader"]

Reader = Callable[["Operator"], Node | list[Node]]

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


def reader(*names: str) -> Callable[[Reader], Reader]:
    """Register a function that reads operators of these names.

    It returns the nodes that the operator becomes: one, several, or none for a folded constant.
    """

    def register(function: Reader) -> Reader:
        READERS.update(dict.fromkeys(names, function))
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
    fold : callable
        Gives the tensor of a number a value that is known at compile time.
    """

    index: int
    name: str
    label: str
    record: Any
    inputs: list[int]
    outputs: list[int]
    tensor: Callable[[int], Tensor]
    fold: Callable[[int, npt.NDArray[Any]], None]

    def read(self) -> list[Node]:
        """Return the graph's nodes.

        Raises
        ------
        ModelError
        """
        found = READERS[self.name](self)
        return found if isinstance(found, list) else [found]

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
        """Return an int8 tensor quantised as a whole."""
        if number < 0:
            self.fail(f"has no {what}")
        tensor = self.tensor(number)
        if tensor.dtype != np.int8:
            self.fail(f"has {what} '{tensor.name}' of type {tensor.dtype}, not int8")
        return self._quantized(tensor, what)

    def _quantized(self, tensor: Tensor, what: str) -> Tensor:
        """Check that a tensor is quantised as a whole, within its type's range."""
        quantization = tensor.quantization
        if quantization is None or len(quantization.scales) != 1:
            self.fail(f"has {what} '{tensor.name}' that is not quantised per tensor")
        low, high = (0, 255) if tensor.dtype == np.uint8 else (-128, 127)
        if not low <= quantization.zero_points[0] <= high:
            self.fail(f"has {what} '{tensor.name}' with a zero point outside {low} .. {high}")
        return tensor

    def edge(self, number: int, what: str) -> Tensor:
        """Return an int8, uint8 or float32 tensor; quantised as a whole unless float32."""
        tensor = self.tensor(number) if number >= 0 else self.fail(f"has no {what}")
        if tensor.data is not None:
            self.fail(f"has a constant {what} '{tensor.name}', which is not supported")
        if tensor.dtype not in (np.int8, np.uint8, np.float32):
            self.fail(f"has {what} '{tensor.name}' of type {tensor.dtype}")
        return tensor if tensor.dtype == np.float32 else self._quantized(tensor, what)

    def input(self, position: int, rank: int | None = None) -> Tensor:
        """Return an input computed elsewhere, of `rank` dimensions if given."""
        tensor = self.activation_tensor(self.inputs[position], f"input {position}")
        if tensor.data is not None:
            self.fail(f"has a constant input '{tensor.name}', which is not supported")
        return self._ranked(tensor, rank)

    def operand(self, position: int) -> Tensor:
        """Return an input, computed elsewhere or constant."""
        return self.activation_tensor(self.inputs[position], f"input {position}")

    def output(self, rank: int | None = None) -> Tensor:
        """Return the output, of `rank` dimensions if given."""
        return self._ranked(self.activation_tensor(self.outputs[0], "output"), rank)

    def _ranked(self, tensor: Tensor, rank: int | None) -> Tensor:
        if rank is not None and len(tensor.shape) != rank:
            self.fail(
                f"has '{tensor.name}' of shape {list(tensor.shape)}; it must have {rank} dimensions"
            )
        if rank == 4 and tensor.shape[0] != 1 and tensor.data is None:
            self.fail(f"has '{tensor.name}' of shape {list(tensor.shape)}; batch must be 1")
        return tensor

    def constant(self, position: int, dtype: type[np.generic], what: str) -> Tensor:
        """Return an input whose value the file holds."""
        there = position < len(self.inputs) and self.inputs[position] >= 0
        tensor = self.tensor(self.inputs[position]) if there else None
        if tensor is None or tensor.data is None:
            self.fail(f"has {what} that are not constant")
        if tensor.dtype != dtype:
            self.fail(f"has {what} of type {tensor.dtype}, not {np.dtype(dtype)}")
        return tensor

    def integers(self, position: int, what: str) -> list[int]:
        """Return a constant int32 or int64 vector, or scalar, of at most 8 elements."""
        number = self.inputs[position] if position < len(self.inputs) else -1
        wide = number >= 0 and self.tensor(number).dtype == np.int64
        data = self.constant(position, np.int64 if wide else np.int32, what).data
        if data is None or data.size > 8:
            self.fail(f"has {what} of more than 8 elements")
        return [int(v) for v in data.reshape(-1)]

    def weights(self, rank: int, axis: int = 0) -> Tensor:
        """Return input 1, int8 with zero points of 0, scales along `axis` or one."""
        tensor = self._ranked(self.constant(1, np.int8, "weights"), rank)
        quantization = tensor.quantization
        if quantization is None:
            self.fail(f"has weights '{tensor.name}' without quantization")
        if any(quantization.zero_points):
            self.fail(f"has weights '{tensor.name}' with a zero point that is not 0")
        if len(quantization.scales) > 1 and quantization.axis != axis:
            self.fail(f"has weights '{tensor.name}' quantised along axis {quantization.axis}")
        return tensor

    def bias(self, channels: int, position: int = 2) -> Tensor | None:
        """Return an input, int32, one per output channel; None where it is left out."""
        if len(self.inputs) <= position or self.inputs[position] < 0:
            return None
        tensor = self.constant(position, np.int32, "biases")
        if tensor.elements != channels:
            self.fail(f"has {tensor.elements} biases for {channels} output channels")
        return tensor

    def options(self, kind: str, required: bool = True) -> Any:
        """Return the options table `kind`; None where it is left out and not required."""
        if not required and self.record.BuiltinOptionsType() == 0:
            return None
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
