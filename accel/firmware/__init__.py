"""Kernels that run on the controller: shipped blobs, and those a user adds.

A kernel is position-independent RISC-V code, built from C by `accel.firmware.build` and called as
`accel.firmware.call` says. `docs/firmware.md` shows how to write one.
"""

import struct
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from accel.errors import FirmwareError
from accel.firmware.gather import gather_arguments

__all__ = ["KERNELS", "gather_arguments", "load_kernel", "register"]

KERNELS = ("softmax", "gather")
"""Shipped kernels; `accel/firmware/NAME.c` says what each does with which arguments."""

Code = Sequence[int] | str | Path
"""A kernel as its words, or as the file that holds its blob."""

_registered: dict[tuple[str, bool], list[int]] = {}


def register(name: str, rv32i: Code, rv32im: Code | None = None) -> None:
    """Make a kernel known, so that a ControllerLayer can name it.

    Parameters
    ----------
    name : str
        Replaces what was registered under it before.
    rv32i : words or path
        For controllers without the M extension, and with it where `rv32im` is not given.
    rv32im : words or path, optional
        For controllers with multiplication.

    Raises
    ------
    FirmwareError
        When the name is a shipped kernel's, or a blob cannot be read or is empty.
    """
    if name in KERNELS:
        raise FirmwareError(f"kernel '{name}' is a shipped one: register yours under another name")
    plain = _words(name, rv32i)
    _registered[name, True] = plain if rv32im is None else _words(name, rv32im)
    _registered[name, False] = plain


def load_kernel(name: str, multiply: bool) -> list[int]:
    """Return the words of a kernel; its entry is the first.

    Parameters
    ----------
    name : str
    multiply : bool
        For a controller with the M extension.

    Raises
    ------
    FirmwareError
        When there is no such kernel.
    """
    if name in KERNELS:
        blob = resources.files(__name__).joinpath(blob_name(name, multiply)).read_bytes()
        return _unpack(blob)
    if (name, multiply) not in _registered:
        known = ", ".join(sorted({*KERNELS, *(n for n, _ in _registered)}))
        raise FirmwareError(
            f"there is no kernel '{name}': add it with accel.firmware.register (known: {known})"
        )
    return list(_registered[name, multiply])


def blob_name(name: str, multiply: bool) -> str:
    """Return the file name of a kernel's blob."""
    return f"{name}.rv32{'im' if multiply else 'i'}.bin"


def _words(name: str, code: Code) -> list[int]:
    if isinstance(code, str | Path):
        try:
            blob = Path(code).read_bytes()
        except OSError as error:
            raise FirmwareError(f"kernel '{name}': cannot read {code}: {error.strerror}") from None
        if len(blob) % 4:
            raise FirmwareError(
                f"kernel '{name}': {code} is not whole words: build it with accel.firmware.build"
            )
        words = _unpack(blob)
    else:
        words = list(code)
    if not words:
        raise FirmwareError(f"kernel '{name}' is empty: give the words or the file of its blob")
    return words


def _unpack(blob: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(blob) // 4}I", blob))
