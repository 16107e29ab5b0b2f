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
    "AddLayer",
    "ConvLayer",
    "FeatureMap",
    "HostLayer",
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
    """An input or output of the network: a feature map and the shape its user sees.

    Parameters
    ----------
    name : str
    shape : tuple of int
        The model's shape, the leading 1 included. Its elements in C order are the map's
        (height, width, channels) elements in C order.
    map : FeatureMap
    """

    name: str
    shape: tuple[int, ...]
    map: FeatureMap


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
    """CONV_2D, or FULLY_CONNECTED as a kernel as large as its input.

    result[y, x, o] = clamp(output_zero + requantise(bias[o] + sum over (i, j, c) of weights[o, i,
    j, c] * input[y*stride[0] + i*dilation[0] - padding[0], x*stride[1] + j*dilation[1] -
    padding[1], c], multiplier[o], shift[o])); elements outside the input read `pad_value`.

    Parameters
    ----------
    input : FeatureMap
    weights : int8 array [out_channels, kernel height, kernel width, in_channels]
    bias : int32 array [out_channels]
        With -zero_point * sum(weights) of the input folded in. No sum leaves int32.
    multiplier : int32 array [out_channels]
        0 .. 2**31 - 1.
    shift : int8 array [out_channels]
        -31 (right) .. 30 (left).
    stride, dilation : (rows, columns)
    padding : (top, left)
        Bottom and right padding follow from the output's size.
    pad_value : int
        The input's zero point.
    output_zero, clamp_min, clamp_max : int
    """

    input: FeatureMap
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

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return (self.input,)

    @property
    def kernel(self) -> tuple[int, int]:
        """(height, width) of the kernel."""
        return self.weights.shape[1], self.weights.shape[2]


@dataclass(frozen=True, kw_only=True, eq=False)
class AddLayer(_LayerBase):
    """ADD: clamp(output_zero + requantise(table_a[a + 128] + table_b[b + 128], ...)).

    Parameters
    ----------
    a, b : FeatureMap
        Same shape as the output; may be the same map.
    table_a, table_b : int32 array [256]
        Each operand's rescaled value by its byte.
    rescale : Rescale
        Bias 0.
    output_zero, clamp_min, clamp_max : int
    """

    a: FeatureMap
    b: FeatureMap
    table_a: Int32Array
    table_b: Int32Array
    rescale: Rescale
    output_zero: int
    clamp_min: int
    clamp_max: int

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return (self.a, self.b)


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
class HostLayer(_LayerBase):
    """What no engine does yet (SOFTMAX); only host layers and the network's outputs follow it.

    Parameters
    ----------
    input : FeatureMap
    shape : tuple of int
        The tensor's shape in the model, of input and output.
    parameters : mapping of str to int
        SOFTMAX, over the last axis: `multiplier`, `left_shift`, `diff_min` of
        `accel.numerics.softmax`.
    """

    input: FeatureMap
    shape: tuple[int, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[FeatureMap, ...]:
        """The maps it reads."""
        return (self.input,)


Layer = ConvLayer | AddLayer | PoolLayer | ReshapeLayer | HostLayer


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
    """

    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)
