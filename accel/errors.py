"""The exceptions a user can meet, each one line that says what is wrong and what to do."""

__all__ = [
    "AccelError",
    "ConfigError",
    "DeviceError",
    "FaultError",
    "FirmwareError",
    "ImageError",
    "InputError",
    "ModelError",
]


class AccelError(Exception):
    """Base of every error caused by what the user gave; the command line exits with status 2."""


class ConfigError(AccelError):
    """A configuration that cannot be built, or a preset or file that does not exist."""


class ModelError(AccelError):
    """A model file that is damaged, or that asks for what the compiler cannot do."""


class ImageError(AccelError):
    """A compiled image that is damaged, or made for another configuration or ISA version."""


class InputError(AccelError):
    """Input data whose file, shape or type does not fit the model."""


class DeviceError(AccelError):
    """A device that cannot be opened, or that stopped with an error cause."""


class FaultError(DeviceError):
    """The accelerator stopped with a cause; the text says which, where, and what to do.

    Parameters
    ----------
    text : str
    cause : int
        `accel.regmap.Cause`.
    engine : int or None
        `accel.isa.Engine`; None for the controller.
    address, pc : int
        CAUSE_ADDRESS and CAUSE_PC.
    """

    def __init__(self, text: str, *, cause: int, engine: int | None, address: int, pc: int) -> None:
        super().__init__(text)
        self.cause = cause
        self.engine = engine
        self.address = address
        self.pc = pc


class FirmwareError(AccelError):
    """A kernel for the controller that does not exist, cannot be built, or is called wrongly."""
