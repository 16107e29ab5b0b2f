"""Finding kernels: shipped ones, registered ones, and the documentation's example."""

import struct
from pathlib import Path

import numpy as np
import pytest

from accel import firmware
from accel.errors import FirmwareError
from accel.riscv import decode
from tests.firmware.kernelbench import call

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(autouse=True)
def _no_kernels_of_other_tests(monkeypatch):
    monkeypatch.setattr(firmware, "_registered", {})


@pytest.mark.parametrize("name", firmware.KERNELS)
def test_shipped_kernels(name):
    plain, multiplying = (firmware.load_kernel(name, multiply) for multiply in (False, True))
    for word in plain:
        found = decode(word)
        assert found is None or found[0].extension == "i"
    assert len(multiplying) < len(plain) < 512


@pytest.mark.parametrize("multiply", [False, True], ids=["rv32i", "rv32im"])
@pytest.mark.parametrize("rows", [4, 12, 16])
def test_example(rows, multiply):
    files = EXAMPLES / "clip_sum.rv32i.bin", EXAMPLES / "clip_sum.rv32im.bin"
    firmware.register("clip_sum", *files)
    rng = np.random.default_rng(rows)
    a, b = rng.integers(-128, 128, (2, 3, 4, 21)).astype(np.int8)
    got = call(
        firmware.load_kernel("clip_sum", multiply),
        a.shape,
        [a, b],
        rows=rows,
        multiply=multiply,
        arguments=[-100, 90],
    )
    expected = np.clip(a.astype(int) + b, -100, 90)
    np.testing.assert_array_equal(got.output, expected)
    assert got.kept == []


def test_one_blob_serves_both():
    firmware.register("mine", [0x8067])
    assert firmware.load_kernel("mine", True) == firmware.load_kernel("mine", False) == [0x8067]


def test_unknown_kernel():
    firmware.register("mine", [0x8067])
    with pytest.raises(FirmwareError, match=r"no kernel 'norm': .*known: gather, mine, softmax"):
        firmware.load_kernel("norm", True)


def test_shipped_names_are_taken():
    with pytest.raises(FirmwareError, match="'softmax' is a shipped one"):
        firmware.register("softmax", [0x8067])


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "cannot read .*k.bin: No such file"),
        (b"", "is empty"),
        (struct.pack("<I", 0x8067) + b"\0", "not whole words"),
    ],
)
def test_bad_files(tmp_path, content, message):
    file = tmp_path / "k.bin"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(FirmwareError, match=f"^kernel 'mine'.*{message}"):
        firmware.register("mine", file)
