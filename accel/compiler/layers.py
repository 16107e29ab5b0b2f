"""Device layers: a network as integer constants on feature maps, ready for tiling.

`accel.compiler.network.lower_graph` makes a `Network` of them, `accel.compiler.reference` is their
exact meaning in numpy. Nothing here depends on a configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "ControllerLayer",
    "ConvLayer",
    "ElementwiseLayer",
    "FeatureMap",
    "Layer",
    "Network",
    "PoolLayer",
    "Port",
    "Rescale",
    "ReshapeLayer",
]

Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True)
class FeatureMap:
    """One int8 tensor as the device keeps it: height x width pixels of `channels` bytes.

    Parameters
    ----------
    storage : int
        Maps with the same number are the same bytes under another shape; allocate by it. They
        have the same `channels` and the same height * width.
    name : str
        The tensor's name in the model; not unique.
    height, width, channels : int
    scale : float
    zero_point : int
    """

    storage: int
    name: str
    height: int
    width: int
    channels: int
    scale: float = 1.0
    zero_point: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class Port:
    """An input or output of the network: a feature map, and what its user sees.

    Parameters
    ----------
    name : str
    shape : tuple of int
        The model's shape, the leading 1 included. Its elements in C order are the map's
        (height, width, channels) elements in C order.
    map : FeatureMap
        The int8 tensor on the device; its scale and zero point are those of the conversion.
    dtype : str
        "int8", "uint8" or "float32": the type of the user's arrays. The host converts float32 by
        `accel.numerics.quantize` or `dequantize` with the map's scale and zero point.
    table : array [256] or None
        For "uint8": what each byte becomes. An input's int8 value by its uint8 value; an output's
        uint8 value by its int8 value + 128.
    """

    name: str
    shape: tuple[int, ...]
    map: FeatureMap
    dtype: Literal["int8", "uint8", "float32"] = "int8"
    table: npt.NDArray[np.int8] | npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Rescale:
    """The requantiser's constants for all channels: requantise(x + bias, multiplier, shift)."""

    bias: int
    multiplier: int
    shift: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _LayerBase:
    """What every layer has.

    Parameters
    ----------
    index : int
        Place of its operator in the model.
    name : str
        Name of the operator's output tensor.
    op : str
        The operator's TFLite name, as CONV_2D.
    macs : int
        Multiply-accumulates of one inference, padding included.
    output : FeatureMap
    """

    index: int
    name: str
    op: str
    macs: int = 0
    output: FeatureMap


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvLayer(_LayerBase):
    """Everything that is a linear map of windows: convolutions of all kinds, copies, shuffles.

    With `input` standing for the sources side by side along their channels, result (y, x) is, for
    output channel o,

    clamp(output_zero + requantise(bias[o] + sum over (i, j, c) of weights[o, i, j, c] *
    input[y*stride[0] + i*dilation[0] - padding[0], x*stride[1] + j*dilation[1] - padding[1], c],
    multiplier[o], shift[o]))

    and lies at output pixel (origin[0] + y*step[0], origin[1] + x*step[1]). Elements outside the
    input read `pad_value`. Input channel groups whose weights are all zero cost nothing, so a
    depthwise convolution is one with diagonal weights, and concatenation, slicing and padding are
    1 x 1 convolutions with one-hot weights, multiplier 2**30 and shift 1.

    Parameters
    ----------
    sources : tuple of FeatureMap
        Same height and width each.
    weights : int8 array [out_channels, kernel height, kernel width, channels of all sources]
    bias : int32 array [out_channels]
        With -zero_point * sum(weights) of the input folded in. No sum leaves int32.
    multiplier : int32 array [out_channels]
        0 .. 2**31 - 1.
    shift : int8 array [out_channels]
        -31 (right) .. 30 (left).
    stride, dilation : (rows, columns)
    padding : (top, left)
        May be negative: the first window then begins inside. Bottom and right padding follow from
        `results`.
    pad_value : int
        The input's zero point.
    output_zero, clamp_min, clamp_max : int
    results : (rows, columns)
        How many results there are.
    origin, step : (rows, columns)
        Where they lie in the output. Several layers may fill one output between them.
    pixels : int
        Results side by side in a row that are computed as one of as many times the channels:
        weights, bias, multiplier, shift and `results` are those of that one; the channels of each
        begin at an equal share of the weights' output channels. Given by `accel.compiler.packing`
        to layers whose outputs fill half of the array's columns or less.
    """

    sources: tuple[FeatureMap, ...]
    weights: Int8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: Int8Array
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    pad_value: int = 0
    output_zero: int
    clamp_min: int
    clamp_max: int
    results: tuple[int, int]
    origin: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)
    pixels: int = 1

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return self.sources

    @property
    def kernel(self) -> tuple[int, int]:
        """(height, width) of the kernel."""
        return self.weights.shape[1], self.weights.shape[2]


@dataclass(frozen=True, kw_only=True, eq=False)
class ElementwiseLayer(_LayerBase):
    """Functions of one or two bytes: ADD, SUB, MUL, MINIMUM, MAXIMUM, activations, requantisation.

    result = clamp(output_zero + requantise(x + bias, multiplier, shift)), with x by `operation`:
    "add": table_a[a + 128] + table_b[b + 128]; "mul": table_a[a + 128] * table_b[b + 128];
    "max", "min": of the bytes a and b themselves; "table": table_a[a + 128].

    Parameters
    ----------
    operation : str
    a : FeatureMap
        Same shape as the output.
    b : FeatureMap or None
        Same shape as the output, or for "add" and "mul" 1 x 1 pixels of as many channels: the same
        for all pixels. May be the same map as `a`. None for "table".
    table_a, table_b : int32 array [256] or None
        Each operand's value by its byte; for "mul" from -256 to 255. None for "max" and "min".
    rescale : Rescale
    output_zero, clamp_min, clamp_max : int
    """

    operation: Literal["add", "mul", "max", "min", "table"]
    a: FeatureMap
    b: FeatureMap | None = None
    table_a: Int32Array | None = None
    table_b: Int32Array | None = None
    rescale: Rescale
    output_zero: int = 0
    clamp_min: int = -128
    clamp_max: int = 127

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return (self.a,) if self.b is None else (self.a, self.b)


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolLayer(_LayerBase):
    """AVERAGE_POOL_2D, MEAN over height and width ("sum"), MAX_POOL_2D ("max").

    result[y, x, c] = clamp(output_zero + requantise(v + bias, multiplier, shift)), where v is the
    sum or the largest of the window's elements inside the input and the constants are
    `rescale[n]` for n such elements. A window's first element is
    (y*stride[0] - padding[0], x*stride[1] - padding[1]).

    Parameters
    ----------
    input : FeatureMap
    operation : "sum" or "max"
    window, stride : (rows, columns)
    padding : (top, left)
    rescale : mapping of int to Rescale
        By the number of elements inside; has every number that occurs.
    output_zero, clamp_min, clamp_max : int
    """

    input: FeatureMap
    operation: Literal["sum", "max"]
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    rescale: Mapping[int, Rescale]
    output_zero: int = 0
    clamp_min: int = -128
    clamp_max: int = 127

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return (self.input,)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReshapeLayer(_LayerBase):
    """RESHAPE that moves nothing: input.storage == output.storage. Kept for the report."""

    input: FeatureMap

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return (self.input,)


@dataclass(frozen=True, kw_only=True, eq=False)
class ControllerLayer(_LayerBase):
    """What no engine does: a compiled kernel on the controller, on maps in the scratchpad.

    Parameters
    ----------
    kernel : str
        Name of the kernel in the firmware, for instance "softmax".
    sources : tuple of FeatureMap
    arguments : tuple of int
        32-bit values handed to the kernel behind its maps.
    tables : tuple of int32 array
        Constants handed to the kernel by address.
    pixelwise : bool
        Maps are of one size, and each pixel of the output depends on that pixel of the sources
        alone: the kernel may be called for one part of the pixels after another.
    """

    kernel: str
    sources: tuple[FeatureMap, ...]
    arguments: tuple[int, ...] = ()
    tables: tuple[Int32Array, ...] = ()
    pixelwise: bool = False

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return self.sources


Layer = ConvLayer | ElementwiseLayer | PoolLayer | ReshapeLayer | ControllerLayer


@dataclass(frozen=True, eq=False)
class Network:
    """A lowered model.

    Parameters
    ----------
    name : str
        The model file's name without its suffix.
    layers : tuple of Layer
        In execution order: a layer's inputs are network inputs or outputs of earlier layers.
    inputs, outputs : tuple of Port
    constants : mapping of storage to int8 array [height, width, channels]
        Maps whose contents are part of the model.
    """

    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    constants: Mapping[int, Int8Array] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)
