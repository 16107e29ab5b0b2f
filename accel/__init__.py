"""systolite: a generator of int8 neural accelerators, their compiler and their simulators.

`Config` describes an accelerator, `compile_model` makes an image of a `.tflite` model for it,
`open_device` opens a simulator or board and `run` runs the image there. The component itself is
`accel.gateware.Accelerator`. The names are loaded when first used: importing `accel` is cheap and
pulls in no hardware.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel.api import Config, Image, RunResult, compile_model, open_device, run

__all__ = ["Config", "Image", "RunResult", "compile_model", "open_device", "run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        import accel.api

        return getattr(accel.api, name)
    raise AttributeError(f"module 'accel' has no attribute {name!r}")
