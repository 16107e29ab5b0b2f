"""What makes int8 of sums, on the whole machine: each of its parts at all of its values.

The table gives each of 256 pixels any 32-bit number, so that every bit decides some result.
"""

import numpy as np
import pytest

from accel.config import PRESETS
from accel.isa import Engine, Operation, Space
from accel.regmap import Cause
from tests.random_commands import CONTENT, serial
from tests.system.test_commands import MEMORY_BYTES, ONCE, run

CONFIG = PRESETS["test"]
PIXELS = 256
BATCH = 8
RESULTS = 0xA000
ONE = {"multiplier": 1 << 30, "shift": 1, "clamp_min": -128, "clamp_max": 127}
"""Results are the numbers themselves."""

Job = tuple[np.ndarray, dict[str, int]]
"""All of the table's entries, and fields of the command."""


def near(numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers, and some next to them."""
    return numbers + rng.integers(-1, 2, len(numbers))


def whole(entries: np.ndarray) -> np.ndarray:
    """Return a table with these for both operands."""
    return np.resize(entries, 2 * PIXELS).astype(np.int64).astype("<i4")


def shifts_right(rng: np.random.Generator) -> list[Job]:
    """Return the middle between two results, and next to it, for every shift."""
    jobs = []
    for shift in range(32):
        # Doubled, since the multiplier halves them.
        results = rng.integers(-128, 128, PIXELS)
        middle = (results << shift) + ((1 << shift) >> 1)
        numbers = np.clip(near(middle, rng), -(1 << 30), (1 << 30) - 1)
        jobs.append((whole(2 * numbers), ONE | {"shift": -shift}))
    return jobs


def shifts_left(rng: np.random.Generator) -> list[Job]:
    """Return every shift, with a multiplier that takes it back."""
    jobs = []
    for shift in range(1, 31):
        limit = min(128, 1 << (30 - shift))
        numbers = rng.integers(-limit, limit, PIXELS)
        jobs.append((whole(numbers), ONE | {"shift": shift, "multiplier": 1 << (31 - shift)}))
    return jobs


def multipliers(rng: np.random.Generator) -> list[Job]:
    """Return products that lie close to the middle between two results."""
    jobs = []
    for bits in [*range(12, 31)]:
        multiplier = int(rng.integers(1 << bits, 2 << bits)) | 1
        limit = 127 * (1 << 31) // multiplier
        if limit < 1 << 20:
            factors = np.arange(-limit, limit)
            off = (factors * multiplier + (1 << 30)) % (1 << 31)
            factors = factors[np.argsort(np.minimum(off, (1 << 31) - off))]
        else:
            off = np.arange(1 << 17)
            off = np.where(off % 2, -off // 2, off // 2)
            factors = ((1 << 30) + off) * pow(multiplier, -1, 1 << 31) % (1 << 31)
            factors = np.where(factors < 1 << 30, factors, factors - (1 << 31))
            factors = factors[np.abs(factors) < limit]
        jobs.append((whole(factors[:PIXELS]), ONE | {"multiplier": multiplier, "shift": 0}))
    return jobs


def biases(rng: np.random.Generator) -> list[Job]:
    """Return numbers of 32 bits that biases bring back, modulo 2**32."""
    jobs = []
    for _ in range(16):
        bias = int(rng.integers(-(1 << 31), 1 << 31))
        jobs.append((whole(rng.integers(-128, 128, PIXELS) - bias), ONE | {"bias": bias}))
    return jobs


def clamps(rng: np.random.Generator) -> list[Job]:
    """Return any limits and any zero point, and every number between them."""
    jobs = []
    for _ in range(24):
        low, high = sorted(rng.integers(-128, 128, 2).tolist())
        zero = int(rng.integers(-128, 128))
        limits = {"clamp_min": low, "clamp_max": high, "output_zero": zero}
        jobs.append((whole(np.arange(-128, 128) - zero), ONE | limits))
    return jobs


def products(rng: np.random.Generator) -> list[Job]:
    """Return products of two factors near one number, which the bias takes away."""
    jobs = []
    for _ in range(24):
        target = int(rng.integers(-50_000, 50_000))
        least = abs(target) // 250 + 1
        a = rng.integers(least, 256, PIXELS) * rng.choice([-1, 1], PIXELS)
        b = np.clip(np.round(target / a), -256, 255)
        fields = {"operation": Operation.MUL, "bias": -target}
        jobs.append((np.concatenate([a, b]).astype("<i4"), ONE | fields))
    return jobs


@pytest.mark.parametrize("draw", [shifts_right, shifts_left, multipliers, biases, clamps, products])
def test_every_result(device, draw):
    golden, rtl = (
        device(name, CONFIG, memory_bytes=MEMORY_BYTES) for name in ("model", "verilator")
    )
    jobs = draw(np.random.default_rng(1))
    for first in range(0, len(jobs), BATCH):
        batch = jobs[first : first + BATCH]
        line = {"memory_address": CONTENT, "words": PIXELS, "rows": 1, "planes": 1}
        commands = [(Engine.LOAD, line)]
        content = np.repeat(np.arange(PIXELS, dtype=np.uint8) ^ 0x80, CONFIG.rows).tobytes()
        for number, (table, fields) in enumerate(batch):
            place = CONTENT + len(content)
            content += table.tobytes()
            entries = {"memory_address": place, "words": len(table), "space": int(Space.TABLE)}
            command = ONCE | {"operation": Operation.TABLE, "count_col": PIXELS}
            command |= dict.fromkeys(("a_step_col", "b_step_col", "dst_step_col"), 1)
            command |= {"slices": CONFIG.rows // CONFIG.lanes, "dst_address": 512}
            result = {"memory_address": RESULTS + 1024 * number, "chip_address": 512}
            commands += [
                (Engine.LOAD, line | entries),
                (Engine.VECTOR, command | fields),
                (Engine.STORE, line | result),
            ]
        expected, found = (run(one, serial(commands), content) for one in (golden, rtl))
        assert found[0].cause == Cause.NONE
        assert found == expected, first
        shown = np.frombuffer(expected[2], np.uint8)[RESULTS : RESULTS + 1024 * len(batch)]
        assert all(len(np.unique(one)) > 1 for one in shown.reshape(len(batch), -1))
