"""TensorFlow Lite Micro's requantisation of chosen numbers, seen through two of its operators.

CONV_2D with zero weights requantises its biases, each with its channel's own scale, to 8 bits:
many (value, multiplier, shift) triples in one run. QUANTIZE from int16 to int32 shows all 32 bits
of a result; its input's zero point, which a file may choose, moves the values to any part of int32.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from tflite_micro.python.tflite_micro import runtime

from accel.numerics import quantize_multiplier
from tests.compiler.tiny_models import ModelBuilder, options

__all__ = ["ConvOracle", "QuantizeOracle", "factors_of", "scales_for"]

Int64Array = npt.NDArray[np.int64]

_MARK = {"x": 1.5, "y": 1.25}
"""Scales that the template of `QuantizeOracle` is patched at."""


def scales_for(multiplier: int, shift: int) -> tuple[np.float32, np.float32]:
    """Return float32 (input, output) scales whose ratio gives this multiplier and shift.

    Ratios of 24-bit numbers reach all multipliers but those next to simple fractions, as 2**30 + 1:
    there one nearby results, 128 away from it at most.

    Parameters
    ----------
    multiplier : int
        2**30 .. 2**31 - 1.
    shift : int
        -31 .. 30.
    """
    fraction = Fraction(multiplier, 1 << 31).limit_denominator((1 << 24) - 1)
    fraction = min(fraction, 1 - Fraction(1, 1 << 24))
    input_scale, output_scale = np.float32(fraction.numerator), np.float32(fraction.denominator)
    return np.float32(np.ldexp(input_scale, shift)), output_scale


def factors_of(multiplier: int) -> tuple[np.float32, np.float32]:
    """Return float32 scales whose product in double gives exactly this multiplier, and shift 0.

    Parameters
    ----------
    multiplier : int
        2**30 .. 2**31 - 1.
    """
    # The product has 47 or 48 bits and is rounded to 31: of 24-bit factors one in a hundred has a
    # fellow. Close to 2**31 one of them must be more than a half of it.
    for a in range(1 << 23, 1 << 24):
        for extra in (16, 17):
            b = ((multiplier << extra) + a // 2) // a
            scale = 2.0 ** -(31 + extra)
            if 1 << 23 <= b < 1 << 24 and quantize_multiplier(a * b * scale) == (multiplier, 0):
                return np.float32(a * scale * 2.0**24), np.float32(b / 2.0**24)
    raise ValueError(f"no two factors give {multiplier}")


class ConvOracle:
    """TFLM's int8 results of up to `channels` triples at once.

    Parameters
    ----------
    channels : int
    input_scale : float
        Effective scales are its products with the channels' scales, in double.
    """

    def __init__(self, channels: int, input_scale: float) -> None:
        self.channels = channels
        self.input_scale = np.float32(input_scale)

    def __call__(
        self, values: Int64Array, scales: npt.NDArray[np.float32], zero: int
    ) -> npt.NDArray[np.int8]:
        """Return clamp(zero + requantised values) for int32 values."""
        b = ModelBuilder()
        count = self.channels
        x = b.tensor("x", (1, 1, 1, 1), self.input_scale, 0)
        w = b.tensor("w", (count, 1, 1, 1), 1.0, 0, np.zeros((count, 1, 1, 1)))
        w.quantization.scales = scales
        w.quantization.zero_points = np.zeros(count, np.int64)
        c = b.tensor("b", (count,), None, 0, values, np.int32)
        y = b.tensor("y", (1, 1, 1, count), 1.0, zero)
        b.operator("CONV_2D", [x, w, c], y, options("Conv2D", strideH=1, strideW=1, **_UNDILATED))
        interpreter = runtime.Interpreter.from_bytes(b.build([x], [y]), arena_size=1 << 22)
        interpreter.set_input(np.zeros((1, 1, 1, 1), np.int8), 0)
        interpreter.invoke()
        return np.array(interpreter.get_output(0), np.int8).reshape(-1)


_UNDILATED = {"dilationHFactor": 1, "dilationWFactor": 1}


class QuantizeOracle:
    """TFLM's 32-bit results for values that share a multiplier and a shift.

    Parameters
    ----------
    count : int
        Values per call, 65536 apart at most.
    """

    def __init__(self, count: int) -> None:
        b = ModelBuilder()
        x = b.tensor("x", (1, count), _MARK["x"], 0x1234567, dtype=np.int16)
        y = b.tensor("y", (1, count), _MARK["y"], 0, dtype=np.int32)
        b.operator("QUANTIZE", [x], y, options("Quantize"))
        self.count = count
        self.template = b.build([x], [y])
        self.places = {
            name: self._place(np.float32(mark).tobytes()) for name, mark in _MARK.items()
        }
        self.zero_place = self._place((0x1234567).to_bytes(8, "little"))

    def _place(self, mark: bytes) -> int:
        if self.template.count(mark) != 1:
            raise ValueError("the template holds a mark more than once")
        return self.template.index(mark)

    def __call__(
        self, values: Int64Array, input_scale: np.float32, output_scale: np.float32
    ) -> Int64Array:
        """Return the requantised int32 values."""
        # x - zero point is computed in int32, and both must be in their type's range.
        zero = int(np.clip(-((int(values.min()) + int(values.max())) // 2), -(1 << 31), _INT32_MAX))
        model = bytearray(self.template)
        model[self.places["x"] : self.places["x"] + 4] = np.float32(input_scale).tobytes()
        model[self.places["y"] : self.places["y"] + 4] = np.float32(output_scale).tobytes()
        model[self.zero_place : self.zero_place + 8] = zero.to_bytes(8, "little", signed=True)
        inputs = values + zero
        if inputs.min() < -32768 or inputs.max() > 32767:
            raise ValueError("values must be within 65536 of one another")
        interpreter = runtime.Interpreter.from_bytes(bytes(model), arena_size=1 << 18)
        interpreter.set_input(inputs.astype(np.int16).reshape(1, -1), 0)
        interpreter.invoke()
        return np.array(interpreter.get_output(0), np.int64).reshape(-1)


_INT32_MAX = (1 << 31) - 1
