"""The typed graph that every importer produces and the compiler starts from.

Attributes are resolved: padding is a number of elements, a default option is its value, a negative
axis is the axis it means. What a node is made of is checked by the importer, not again later.
"""

import enum
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "Activation",
    "AveragePool2D",
    "Binary",
    "Conv2D",
    "Convert",
    "DepthwiseConv2D",
    "FullyConnected",
    "Graph",
    "MaxPool2D",
    "Mean",
    "Node",
    "Pad",
    "Padding",
    "Quantization",
    "Rearrange",
    "Reshape",
    "Softmax",
    "Tensor",
    "TransposeConv",
    "Unary",
    "shorten",
]


def shorten(name: str) -> str:
    """Return a tensor's name for a message: converters join dozens of names into one."""
    return name if len(name) <= 64 else f"{name[:61]}..."


class Activation(enum.Enum):
    """The function fused into an operator: a range of real values."""

    NONE = "NONE"
    RELU = "RELU"
    RELU6 = "RELU6"
    RELU_N1_TO_1 = "RELU_N1_TO_1"


@dataclass(frozen=True)
class Quantization:
    """real = scale * (value - zero_point), per tensor or per index of one axis.

    Parameters
    ----------
    scales : tuple of float
        The stored float32 values, exactly; finite and positive. One, or one per index of `axis`.
    zero_points : tuple of int
        As many as scales.
    axis : int
        Meaningful when there is more than one scale.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph; compared by identity.

    Parameters
    ----------
    index : int
        The tensor's number in the file.
    name : str
        Not unique.
    shape : tuple of int
        Every dimension at least 1, but those of constants that are no activations.
    dtype : numpy dtype
        int8; int32 or int64 for biases and shapes; float32 or uint8 at the edges of the graph.
    quantization : Quantization or None
    data : array or None
        A constant's value (read-only), of `shape` and `dtype`.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: Quantization | None = None
    data: npt.NDArray[Any] | None = None

    @property
    def scale(self) -> float:
        """The scale of a tensor quantised as a whole."""
        return self.quantization.scales[0] if self.quantization else 1.0

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor quantised as a whole."""
        return self.quantization.zero_points[0] if self.quantization else 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Padding:
    """Elements that a window reads outside each edge of its input."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operator.

    Parameters
    ----------
    index : int
        Place in the file's execution order.
    op : str
        The operator's TFLite name.
    output : Tensor
    """

    index: int
    op: str
    output: Tensor

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The activations that it reads; weights and biases left out."""
        values = [getattr(self, name, None) for name in ("input", "a", "b")]
        return tuple(v for v in values if isinstance(v, Tensor))

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"operator {self.index} {self.op} (output tensor '{shorten(self.output.name)}')"


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2D(Node):
    """CONV_2D. Weights are [out, height, width, in]; stride and dilation (rows, columns)."""

    input: Tensor
    weights: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding
    activation: Activation


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthwiseConv2D(Node):
    """DEPTHWISE_CONV_2D. Weights are [1, height, width, out]; out is a multiple of in.

    Output channel o reads input channel o // (out / in).
    """

    input: Tensor
    weights: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding
    activation: Activation


@dataclass(frozen=True, kw_only=True, eq=False)
class TransposeConv(Node):
    """TRANSPOSE_CONV. Weights are [out, height, width, in].

    Input pixel (y, x) contributes weights[:, i, j] at output pixel
    (y*stride[0] + i - padding.top, x*stride[1] + j - padding.left), where there is one.
    """

    input: Tensor
    weights: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: Padding


@dataclass(frozen=True, kw_only=True, eq=False)
class FullyConnected(Node):
    """FULLY_CONNECTED. Weights are [out, in]; the input's elements are rows of `in`."""

    input: Tensor
    weights: Tensor
    bias: Tensor | None
    activation: Activation


@dataclass(frozen=True, kw_only=True, eq=False)
class Binary(Node):
    """ADD, SUB, MUL, MINIMUM, MAXIMUM; the operands broadcast to the output's shape."""

    kind: Literal["add", "sub", "mul", "min", "max"]
    a: Tensor
    b: Tensor
    activation: Activation = Activation.NONE


@dataclass(frozen=True, kw_only=True, eq=False)
class Unary(Node):
    """A function of each element: RELU, RELU6, LEAKY_RELU, LOGISTIC, TANH, HARD_SWISH, QUANTIZE.

    `alpha` is LEAKY_RELU's stored float32 slope.
    """

    input: Tensor
    alpha: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Convert(Node):
    """QUANTIZE or DEQUANTIZE between int8 and float32 or uint8: the host's work at the edges."""

    input: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pool2D(Node):
    """A pooling operator; window and stride are (rows, columns)."""

    input: Tensor
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    activation: Activation


@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool2D(_Pool2D):
    """AVERAGE_POOL_2D; elements outside the input do not count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool2D(_Pool2D):
    """MAX_POOL_2D; elements outside the input do not count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mean(Node):
    """MEAN over height and width of a [1, height, width, channels] tensor."""

    input: Tensor
    keep_dims: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Reshape(Node):
    """RESHAPE: the same elements in the same order under the output's shape."""

    input: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Pad(Node):
    """PAD and PADV2: elements of `value` (a byte) before and behind each axis."""

    input: Tensor
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Rearrange(Node):
    """Operators that only move bytes: CONCATENATION, TRANSPOSE, STRIDED_SLICE, SPLIT and the like.

    Parameters
    ----------
    sources : tuple of Tensor
    elements : int32 array of the output's shape
        Which element each is, of all elements of all sources one after another.
    """

    sources: tuple[Tensor, ...]
    elements: npt.NDArray[np.int32]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The activations that it reads."""
        return self.sources


@dataclass(frozen=True, kw_only=True, eq=False)
class Softmax(Node):
    """SOFTMAX over the last axis of beta * input; `beta` is the stored float32 value."""

    input: Tensor
    beta: float


@dataclass(frozen=True, eq=False)
class Graph:
    """A model.

    Parameters
    ----------
    name : str
        The file's name without its suffix.
    inputs, outputs : tuple of Tensor
    nodes : tuple of Node
        In execution order: each reads graph inputs and outputs of earlier nodes only, and no
        tensor is computed twice.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
