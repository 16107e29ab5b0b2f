"""Building kernels; needs ziglang, or ACCEL_ZIG with a command that runs zig."""

import importlib.util
import os
import shlex
import struct
from pathlib import Path

import numpy as np
import pytest

from accel import numerics
from accel.errors import FirmwareError
from accel.firmware.build import build, main
from scripts.build_firmware import build_all
from tests.firmware.kernelbench import call

HEADER = '#include "accel.h"\n'


@pytest.fixture
def zig() -> list[str]:
    command = shlex.split(os.environ.get("ACCEL_ZIG", ""))
    if not command and importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed (extra `firmware`), and ACCEL_ZIG is not set")
    return command


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.c"
    file.write_text(HEADER + text)
    return file


def test_blobs_are_what_the_sources_give(zig):
    assert build_all(["--check", "--zig", shlex.join(zig)]) == 0


def test_check_finds_another_blob(zig, tmp_path, capsys):
    source = written(tmp_path, "ACCEL_KERNEL(mine) { (void)block; }")
    options = [str(source), "-o", str(tmp_path), "--zig", shlex.join(zig)]
    assert main(options) == 0
    assert main([*options, "--check"]) == 0
    (tmp_path / "mine.rv32i.bin").write_bytes(b"\0\0\0\0")
    assert main([*options, "--check"]) == 1
    assert "mine.rv32i.bin is not what mine.c gives" in capsys.readouterr().err


ARITHMETIC = """
ACCEL_KERNEL(mine)
{
    const int32_t *x = accel_tables(block);
    const struct accel_map *out = &block->output;
    for (uint32_t y = 0; y < out->height; y++) {
        const int32_t a = x[2 * y], b = x[2 * y + 1];
        const uint32_t u = (uint32_t)a, v = (uint32_t)b;
        const uint64_t wide = (uint64_t)u << 32 | v;
        const uint64_t product = (wide + 5) * (wide ^ u);
        const uint32_t results[] = {
            u * v, u / v, u % v, (uint32_t)(a / b), (uint32_t)(a % b),
            (uint32_t)((uint64_t)u * v >> 32), (uint32_t)product, (uint32_t)(product >> 32),
            (uint32_t)accel_multiply_high(a, b), (uint32_t)accel_requantize(a, b & INT32_MAX, -7),
        };
        for (uint32_t c = 0; c < out->channels; c++)
            accel_write(block, out, y, 0, c, (int32_t)(results[c >> 2] >> (8 * (c & 3))));
    }
}
"""


@pytest.mark.parametrize("multiply", [False, True], ids=["rv32i", "rv32im"])
def test_arithmetic(zig, tmp_path, multiply):
    """Multiplication and division in C, with the M extension and without."""
    rng = np.random.default_rng(6)
    values = rng.integers(-(1 << 31) + 1, 1 << 31, (60, 2)) >> rng.integers(0, 31, (60, 2))
    values[values == 0] = 3
    values[:4] = [[1 << 15, -(1 << 15)], [-(1 << 15), -(1 << 15)], [3 << 14, -(1 << 16)], [-7, 2]]
    blob = build(written(tmp_path, ARITHMETIC), multiply=multiply, zig=zig)
    got = call(
        struct.unpack(f"<{len(blob) // 4}I", blob),
        (len(values), 1, 40),
        [np.zeros((1, 1, 1), np.int8)],
        rows=8,
        multiply=multiply,
        tables=[values],
    ).output.view("<u4")
    for (a, b), results in zip(values.tolist(), got[:, 0].tolist(), strict=True):
        u, v = a % (1 << 32), b % (1 << 32)
        wide = u << 32 | v
        product = (wide + 5) * (wide ^ u)
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        expected = [u * v, u // v, u % v, quotient, a - b * quotient, u * v >> 32]
        expected += [product, product >> 32]
        expected.append(int(numerics.saturating_rounding_doubling_high_mul(a, b)))
        multiplier = b & 0x7FFFFFFF
        expected.append(int(numerics.multiply_by_quantized_multiplier(a, multiplier, -7)))
        assert results == [e % (1 << 32) for e in expected], (a, b)


WRITABLE = """static int n;
ACCEL_KERNEL(mine) { n += (int)block->rows; accel_write(block, &block->output, 0, 0, 0, n); }"""
POINTERS = """static const int8_t a = 1, b = 2;
const int8_t *const volatile t[] = {&a, &b};
ACCEL_KERNEL(mine) { accel_write(block, &block->output, 0, 0, 0, *t[block->rows & 1]); }"""


@pytest.mark.parametrize(
    "text, message",
    [
        ("ACCEL_KERNEL(mine) { syntax }", r"cannot be built: .*error: "),
        (WRITABLE, "no writable globals"),
        (POINTERS, "depends on its address: avoid tables"),
        ("int far(int); ACCEL_KERNEL(mine) { far((int)block->rows); }", "undefined symbol: far"),
        ("ACCEL_KERNEL(mine) { volatile int x[99]; x[block->rows] = 0; }", "stack frame size"),
        ("int unused(void) { return 1; }", "has no kernel"),
    ],
)
def test_what_cannot_run_is_refused(zig, tmp_path, text, message):
    with pytest.raises(FirmwareError, match=message) as caught:
        build(written(tmp_path, text), multiply=True, zig=zig)
    assert "\n" not in str(caught.value)


def test_no_zig(tmp_path):
    source = written(tmp_path, "ACCEL_KERNEL(mine) { (void)block; }")
    with pytest.raises(FirmwareError, match="cannot run /nowhere/zig: No such file"):
        build(source, multiply=True, zig=["/nowhere/zig"])
