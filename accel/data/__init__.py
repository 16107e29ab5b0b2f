"""The bundled model and its labelled images; see README.md in this folder for their origin."""

from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

__all__ = ["DIGITS_MODEL", "Digits", "digits_model", "load_digits"]

DIGITS_MODEL = "digits.tflite"
"""The bundled model's file name, for messages and reports."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Images of handwritten digits that the bundled model was not trained on.

    Parameters
    ----------
    image : uint8 array [N, 8, 8]
        Pixels 0 (paper) .. 16 (ink).
    x : int8 array [N, 8, 8, 1]
        The same, quantised to the model's input.
    label : uint8 array [N]
        The digits.
    y_tflm : int8 array [N, 10]
        What TensorFlow Lite Micro answers.
    """

    image: npt.NDArray[np.uint8]
    x: npt.NDArray[np.int8]
    label: npt.NDArray[np.uint8]
    y_tflm: npt.NDArray[np.int8]


def digits_model() -> bytes:
    """Return the content of the bundled model's `.tflite` file."""
    return resources.files(__name__).joinpath(DIGITS_MODEL).read_bytes()


def load_digits() -> Digits:
    """Return the bundled images."""
    with resources.files(__name__).joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file)
        return Digits(**{name: arrays[name] for name in ("image", "x", "label", "y_tflm")})
