"""What docs/operators.md says of each operator beside what the code itself tells."""

from dataclasses import dataclass

from accel.compiler.importers.tflite import MAX_DIMENSION, MAX_RANK
from accel.compiler.importers.tflite_layout import MAX_ELEMENTS
from accel.compiler.operators.convolution import MAX_WEIGHTS
from accel.compiler.quantize import MAX_AVERAGE

__all__ = ["GENERAL", "NOTES", "REFUSED", "Note"]


@dataclass(frozen=True)
class Note:
    """One operator.

    Parameters
    ----------
    engines : tuple of str
        Values of "engine" that reports may show for it.
    limits : str
        What is taken, and what is refused.
    exact : str
        Why its bytes are those of TensorFlow Lite Micro.
    """

    engines: tuple[str, ...]
    limits: str
    exact: str


_SUMS = "int32 sums, then the requantiser"
_TABLE = "one table of 256 bytes, computed with TFLM's integer arithmetic"
_MOVED = "bytes are moved as they are"
_CONV = ("matmul",)
_VECTOR = ("vector",)
_ELEMENTWISE = ("vector", "matmul", "controller")
_MOVES = ("matmul", "controller", "none")
_BROADCAST = "any two shapes that broadcast to the output's, either may be constant, not both"
_BINARY = Note(
    _ELEMENTWISE,
    f"{_BROADCAST}; fused NONE, RELU, RELU6, RELU_N1_TO_1; the output's scale must not be so "
    "small that sums have to be enlarged",
    "operand tables with TFLM's left shift of 20, then the requantiser",
)
_CHOICE = Note(_ELEMENTWISE, _BROADCAST, _MOVED)
_RENAMES = Note(("none",), "moves nothing", _MOVED)
_FUNCTION = Note(_VECTOR, "any shape", _TABLE)
_WINDOW = "any kernel, stride, SAME or VALID; fused NONE, RELU, RELU6, RELU_N1_TO_1"

NOTES: dict[str, Note] = {
    "ADD": _BINARY,
    "AVERAGE_POOL_2D": Note(
        ("vector", "matmul"),
        f"{_WINDOW}; windows of at most {MAX_AVERAGE} elements",
        "sums times a reciprocal that rounds as TFLM's division does; elements outside do not "
        "count",
    ),
    "CONCATENATION": Note(_MOVES, "any axis but the batch, constants too; no activation", _MOVED),
    "CONV_2D": Note(
        _CONV,
        f"{_WINDOW}; dilation; groups; per tensor or per channel; optional bias",
        _SUMS,
    ),
    "DEPTHWISE_CONV_2D": Note(
        _CONV,
        f"{_WINDOW}; dilation; any multiplier; per tensor or per channel; at most "
        f"{MAX_WEIGHTS:,} weights with the zeros of a dense kernel",
        _SUMS,
    ),
    "DEQUANTIZE": Note(("none",), "to float32, at an output", "the host converts, in float32"),
    "EXPAND_DIMS": _RENAMES,
    "FULLY_CONNECTED": Note(
        (*_CONV, "controller"),
        "per tensor or per channel, keep_num_dims, several rows; fused as CONV_2D; constant "
        "weights, not shuffled",
        _SUMS,
    ),
    "HARD_SWISH": _FUNCTION,
    "LEAKY_RELU": _FUNCTION,
    "LOGISTIC": Note(_VECTOR, "output scale 1/256, zero point -128", _TABLE),
    "MAXIMUM": _CHOICE,
    "MAX_POOL_2D": Note(("vector",), _WINDOW, "the largest byte"),
    "MEAN": Note(
        ("vector", "matmul"),
        "over height and width, both keep_dims",
        "the sum, with TFLM's multiplier that has 1 / count in it",
    ),
    "MINIMUM": _CHOICE,
    "MUL": Note(
        _ELEMENTWISE,
        f"{_BROADCAST}; fused NONE, RELU, RELU6, RELU_N1_TO_1",
        "products of bytes less their zero points, then the requantiser",
    ),
    "PACK": Note(_MOVES, "any axis", _MOVED),
    "PAD": Note(
        _MOVES,
        "the last three axes, scale and zero point unchanged; none of its own in front of a "
        "convolution",
        _MOVED,
    ),
    "PADV2": Note(_MOVES, "as PAD, with one constant value", _MOVED),
    "QUANTIZE": Note(
        ("vector", "none"),
        "int8 to int8 anywhere; float32 and uint8 to int8 at an input, int8 to uint8 at an output",
        f"{_TABLE}; at the edges the host converts",
    ),
    "RELU": _FUNCTION,
    "RELU6": _FUNCTION,
    "RESHAPE": _RENAMES,
    "RESIZE_NEAREST_NEIGHBOR": Note(
        _MOVES, "align_corners and half_pixel_centers as TFLM takes them", _MOVED
    ),
    "SHAPE": Note((), "known at compile time", "folded"),
    "SLICE": Note(_MOVES, "constant begin and size", _MOVED),
    "SOFTMAX": Note(
        ("controller",),
        "over the last axis; output scale 1/256, zero point -128; beta times scale above 2**-26",
        "a table of 256 exponentials and TFLM's reciprocal, in the kernel `softmax`",
    ),
    "SPLIT": Note(_MOVES, "equal parts", _MOVED),
    "SPLIT_V": Note(_MOVES, "constant sizes, one may be -1", _MOVED),
    "SQUEEZE": _RENAMES,
    "STRIDED_SLICE": Note(
        _MOVES, "constant bounds, negative strides; no ellipsis or new-axis mask", _MOVED
    ),
    "SUB": _BINARY,
    "TANH": Note(_VECTOR, "output scale 1/128, zero point 0", _TABLE),
    "TRANSPOSE": Note(_MOVES, "any order of axes", _MOVED),
    "TRANSPOSE_CONV": Note(
        _CONV, "any kernel, stride, SAME or VALID; no activation; optional bias", _SUMS
    ),
    "UNPACK": Note(_MOVES, "any axis", _MOVED),
}

GENERAL = (
    "One inference at a time: a batch of 1.",
    (
        "Activations are int8, quantised per tensor; weights int8 with a zero point of 0; biases "
        "int32."
    ),
    "Inputs and outputs of the network may be float32 or uint8 where the file converts them.",
    (
        f"Tensors have at most {MAX_RANK} dimensions, each at most {MAX_DIMENSION:,}. An operator that "
        f"moves bytes moves at most {MAX_ELEMENTS:,} of them."
    ),
    (
        "Scales of two tensors differ by less than a factor of 2**30, and no sum leaves 32 bits "
        "whatever the input: what TensorFlow Lite Micro would compute is undefined."
    ),
    (
        "A map or kernel that does not fit the memories is tiled; what cannot be tiled for a "
        "configuration is refused with the name of what is too small."
    ),
)

REFUSED = (
    "int16 activations, float weights and activations inside the network, uint8 weights",
    "dynamic shapes, variables, sparse tensors, control flow, custom operators",
    "every operator that the table does not name",
)
