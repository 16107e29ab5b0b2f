"""The hardware, one unit per file; `Accelerator` is the whole of it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel.gateware.top import Accelerator

__all__ = ["Accelerator"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for, so that a single unit can be used without the rest.
    if name == "Accelerator":
        from accel.gateware.top import Accelerator

        return Accelerator
    raise AttributeError(f"module 'accel.gateware' has no attribute {name!r}")
