"""Every command against loops that follow docs/architecture.md word by word."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from accel.config import PRESETS, Config
from accel.isa import Engine, Operation, Space
from sim.engines import run_command
from sim.errors import ProgramError
from sim.spaces import Spaces
from tests.random_commands import CHIP, random_dma, random_matmul, random_vector

CONFIGS = {
    "4x4": PRESETS["test"],
    "16x8": Config(rows=16, cols=8, lanes=4, scratchpad_bytes=2048, weight_bytes=2048),
    "12x4": Config(rows=12, cols=4, lanes=2, scratchpad_bytes=2048, weight_bytes=1024),
}


def filled(config: Config, seed: int) -> Spaces:
    """Return memories full of random bytes; the shifts in the weight memory are legal."""
    rng = np.random.default_rng(seed)
    spaces = Spaces(config, 1 << 16)
    for array in (spaces.scratchpad, spaces.weights, spaces.accumulators, spaces.memory):
        info = np.iinfo(array.dtype)
        array[...] = rng.integers(info.min, info.max, array.shape, array.dtype, endpoint=True)
    spaces.table[...] = rng.integers(-(1 << 31), 1 << 31, 512)
    return spaces


def nest(counts: list[int]) -> Iterator[int]:
    """Yield per iteration the level that advances afterwards, innermost 0; -1 after the last."""
    at = [0] * len(counts)
    while True:
        for level, count in enumerate(counts):
            at[level] += 1
            if at[level] < count:
                yield level
                break
            at[level] = 0
        else:
            yield -1
            return


def walk(counts: list[int], start: int, steps: list[int], modulus: int) -> list[int]:
    values, value = [], start
    for advanced in nest(counts):
        values.append(value % modulus)
        value += steps[advanced] if advanced >= 0 else 0
    return values


def signed16(value: int) -> int:
    return (value + (1 << 15)) % (1 << 16) - (1 << 15)


def wrap32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def requantise(x: int, multiplier: int, shift: int) -> int:
    """TFLM's MultiplyByQuantizedMultiplier on one int."""
    x = wrap32(x << max(shift, 0))
    product = x * multiplier
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)
    exponent = max(-shift, 0)
    mask = (1 << exponent) - 1
    return (high >> exponent) + ((high & mask) > (mask >> 1) + (high < 0))


def same(a: Spaces, b: Spaces) -> None:
    for name in ("scratchpad", "weights", "accumulators", "table", "program", "memory"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def matmul_by_loops(c: Config, s: Spaces, f: dict[str, int]) -> None:
    levels = ("col", "row", "k0", "k1", "k2")
    counts = [f[f"count_{level}"] for level in levels]
    pixels = counts[0] * counts[1]
    address, y, x = (
        walk(counts, f[start], [f.get(f"step_{level}{tail}", 0) for level in levels], modulus)
        for start, tail, modulus in (
            ("input_address", "", CHIP),
            ("input_y", "_y", 1 << 16),
            ("input_x", "_x", 1 << 16),
        )
    )
    for i in range(len(address)):
        tile, pixel = divmod(i, pixels)
        inside = 0 <= signed16(y[i]) < f["input_height"] and 0 <= signed16(x[i]) < f["input_width"]
        word = s.scratchpad[address[i] % len(s.scratchpad)]
        values = [int(v) if inside else f["pad_value"] for v in word]
        entry = f["acc_address"] + pixel
        for column in range(c.cols):
            old = int(s.accumulators[entry, column])
            total = old if tile or f["accumulate"] else 0
            for row in range(c.rows):
                weight = s.weights[(f["weight_address"] + tile * c.rows + row) % len(s.weights)]
                total += values[row] * int(weight[column])
            s.accumulators[entry, column] = wrap32(total)


def vector_by_loops(c: Config, s: Spaces, f: dict[str, int]) -> None:
    operation, slots, lanes = f["operation"], c.rows // c.lanes, c.lanes
    before = s.scratchpad.copy()
    counts = [f["window_col"], f["window_row"], f["count_col"], f["count_row"]]
    window = counts[0] * counts[1]
    for number in range(f["slices"]):

        def place(name: str, number: int = number) -> tuple[int, int]:
            wraps, slot = divmod(f[f"{name}_slot"] + number, slots)
            return f[f"{name}_address"] + wraps * f[f"{name}_plane"], slot

        def addresses(name: str) -> list[int]:
            steps = [f.get(f"{name}_step_{n}", 0) for n in ("wcol", "wrow", "col", "row")]
            return walk(counts, place(name)[0], steps, CHIP)

        a, b, dst = (addresses(name) for name in ("a", "b", "dst"))
        for result in range(counts[2] * counts[3]):
            for lane in range(lanes):

                def byte(name: str, address: int, lane: int = lane) -> int:
                    word = before[address % len(before)]
                    return int(word[place(name)[1] * lanes + lane])

                first = result * window
                elements = [byte("a", a[first + i]) for i in range(window)]
                if operation == Operation.ACC:
                    column = (f["a_slot"] + number) * lanes + lane
                    x = int(s.accumulators[f["a_address"] + result, column])
                elif operation == Operation.ADD:
                    x = int(s.table[elements[0] + 128])
                    x += int(s.table[256 + 128 + byte("b", b[first])])
                elif operation == Operation.SUM:
                    x = sum(elements)
                elif operation == Operation.MAX:
                    x = max(elements)
                elif operation == Operation.MIN:
                    x = min(elements)
                elif operation == Operation.MUL:
                    x = int(s.table[elements[0] + 128])
                    x *= int(s.table[256 + 128 + byte("b", b[first])])
                else:
                    x = int(s.table[elements[0] + 128])
                bias, multiplier, shift = f["bias"], f["multiplier"], f["shift"]
                if not f["uniform"]:
                    slice_number = number + (f["a_slot"] if operation == Operation.ACC else 0)
                    group, part = divmod(slice_number, c.cols // lanes)
                    word = f["param_address"] + 9 * group
                    stored = [
                        int(s.weights[(word + k) % len(s.weights), part * lanes + lane])
                        for k in range(9)
                    ]
                    raw = bytes(v % 256 for v in stored)
                    bias = int.from_bytes(raw[:4], "little", signed=True)
                    multiplier = int.from_bytes(raw[4:8], "little")
                    shift = stored[8]
                value = f["output_zero"] + requantise(wrap32(x + bias), multiplier, shift)
                value = min(max(value, f["clamp_min"]), f["clamp_max"])
                targets = [lane]
                if f["upper"]:
                    targets = [lane, lane - lanes // 2] if lane >= lanes // 2 else []
                for target in targets:
                    column = place("dst")[1] * lanes + target
                    s.scratchpad[dst[first] % len(before), column] = value


def dma_by_loops(c: Config, s: Spaces, engine: Engine, f: dict[str, int]) -> None:
    counts = [f["rows"], f["planes"]]
    steps = [[f[f"{side}_step_{n}"] for n in ("row", "plane")] for side in ("memory", "chip")]
    slot = {Space.SCRATCHPAD: c.word_slot, Space.WEIGHTS: c.weight_slot}.get(f["space"], 4)
    chip_memory = (s.scratchpad, s.weights, s.table, s.program)[f["space"]]
    width = {Space.SCRATCHPAD: c.rows, Space.WEIGHTS: c.cols}.get(f["space"], 4)
    starts = zip(
        walk(counts, f["memory_address"], steps[0], 1 << 32),
        walk(counts, f["chip_address"], steps[1], CHIP),
        strict=True,
    )
    for memory, chip in starts:
        if f.get("pack_step"):
            pad = bytes([f["pack_value"] & 0xFF])
            at = s.memory_offset + memory
            row = f["pack_lead"] * pad + s.memory[at : at + f["pack_bytes"]].tobytes()
            row += f["pack_tail"] * pad
            for i in range(f["words"]):
                word = row[i * f["pack_step"] :][: c.rows]
                chip_memory[(chip + i) % len(chip_memory)] = np.frombuffer(word, np.int8)
            continue
        for i in range(f["words"]):
            at = s.memory_offset + memory + i * slot
            index = (chip + i) % len(chip_memory)
            if engine == Engine.STORE:
                content = s.scratchpad[index].tobytes().ljust(slot, b"\0")
                s.memory[at : at + slot] = np.frombuffer(content, np.uint8)
            else:
                content = s.memory[at : at + width].tobytes()
                chip_memory[index] = np.frombuffer(content, chip_memory.dtype).reshape(
                    chip_memory[index].shape
                )


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("engine", list(Engine), ids=lambda e: e.name.lower())
def test_random_commands_equal_loops(name: str, engine: Engine) -> None:
    config = CONFIGS[name]
    executed = 0
    for seed in range(60):
        r = random.Random(f"{name} {engine} {seed}")
        spaces, expected = filled(config, seed), filled(config, seed)
        for s in (spaces, expected):
            s.memory_offset = 64 * (seed % 3)
        if engine == Engine.MATMUL:
            fields = random_matmul(config, r)
            matmul_by_loops(config, expected, fields)
        elif engine == Engine.VECTOR:
            fields = random_vector(config, r)
            if not fields["uniform"]:
                for s in (spaces, expected):
                    s.weights[...] %= 31  # multipliers are positive, shifts legal
            if fields["operation"] == Operation.MUL:
                for s in (spaces, expected):
                    s.table[...] >>= 23
            vector_by_loops(config, expected, fields)
        else:
            fields = random_dma(config, r, engine)
            dma_by_loops(config, expected, engine, fields)
        try:
            run_command(config, spaces, engine, fields)
        except ProgramError as error:
            # Random walks may read what the same command writes: legal fields, no defined result.
            assert "same command" in str(error)
            continue
        executed += 1
        same(spaces, expected)
    assert executed >= 45


def test_matmul_wraps_at_32_bits() -> None:
    config = PRESETS["test"]
    spaces = Spaces(config, 64)
    spaces.accumulators[3] = (1 << 31) - 1
    spaces.scratchpad[0], spaces.weights[:4] = 127, 127
    fields = dict.fromkeys(("count_col", "count_row", "count_k0", "count_k1", "count_k2"), 1)
    fields |= {"acc_address": 3, "accumulate": 1, "input_height": 1, "input_width": 1}
    run_command(config, spaces, Engine.MATMUL, fields)
    assert spaces.accumulators[3].tolist() == [-(1 << 31) - 1 + 4 * 127 * 127] * 4


@pytest.mark.parametrize("tiles", [64, 128], ids=["float32", "float64"])
def test_long_reductions_are_exact(tiles: int) -> None:
    config = PRESETS["base"]
    spaces = Spaces(config, 64)
    spaces.scratchpad[...] = 127
    spaces.weights[...] = 127
    spaces.weights[1, 5] = 126
    spaces.weights[:, 7] = -128
    fields = dict.fromkeys(("count_col", "count_row", "count_k1", "count_k2"), 1)
    fields |= {"count_k0": tiles, "input_height": 1, "input_width": 1}
    run_command(config, spaces, Engine.MATMUL, fields)
    assert spaces.accumulators[0, 0] == tiles * 16 * 127 * 127
    assert spaces.accumulators[0, 5] == tiles * 16 * 127 * 127 - 127
    assert spaces.accumulators[0, 7] == -tiles * 16 * 127 * 128


ONE_PIXEL = dict.fromkeys(("count_col", "count_row", "count_k0", "count_k1", "count_k2"), 1)
ONE_RESULT = dict.fromkeys(("slices", "count_col", "count_row", "window_col", "window_row"), 1)
ONE_RESULT |= {"uniform": 1, "operation": Operation.TABLE}
ONE_WORD = dict.fromkeys(("words", "rows", "planes"), 1)


@pytest.mark.parametrize(
    ("engine", "fields", "message"),
    [
        (Engine.LOAD, ONE_WORD | {"words": 0}, "words must be at least 1"),
        (Engine.LOAD, ONE_WORD | {"space": 4}, "space must be from 0 to 3, not 4"),
        (Engine.LOAD, ONE_WORD | {"memory_address": 2}, "memory_address must be a multiple of"),
        (
            Engine.LOAD,
            ONE_WORD | {"rows": 2, "memory_step_row": 2},
            "memory_step_row must be a multiple of the slot of 4 bytes, not 2",
        ),
        (Engine.LOAD, ONE_WORD | {"pack_lead": 1}, "pack_lead and pack_tail must be 0 where"),
        (Engine.LOAD, ONE_WORD | {"pack_step": 1}, "pack_bytes must be at least 1, not 0"),
        (Engine.LOAD, ONE_WORD | {"pack_step": 1, "space": 1}, "only loads of the scratchpad can"),
        (
            Engine.LOAD,
            ONE_WORD | {"pack_step": 1, "pack_bytes": 3},
            "1 words take 4 bytes, which is not from 3 to 3",
        ),
        (Engine.STORE, ONE_WORD | {"space": 1}, "space of a store must be 0"),
        (Engine.MATMUL, ONE_PIXEL | {"count_k1": 0}, "count_k1 must be at least 1"),
        (Engine.MATMUL, ONE_PIXEL | {"acc_address": 30, "count_col": 3}, "cross from one accumul"),
        (Engine.MATMUL, ONE_PIXEL | {"count_k0": 60000, "count_k1": 9}, "540000 tiles are"),
        (Engine.VECTOR, ONE_RESULT | {"slices": 0}, "slices must be at least 1"),
        (Engine.VECTOR, ONE_RESULT | {"operation": 7}, "operation must be from 0 to 6, not 7"),
        (Engine.VECTOR, ONE_RESULT | {"window_row": 2}, "window_row must be 1 for TABLE, not 2"),
        (Engine.VECTOR, ONE_RESULT | {"dst_slot": 2}, "dst_slot must be less than 2, not 2"),
        (
            Engine.VECTOR,
            ONE_RESULT | {"operation": Operation.ACC, "a_slot": 1, "slices": 2},
            r"a_slot \+ slices must be at most 2, not 3",
        ),
        (Engine.VECTOR, ONE_RESULT | {"clamp_min": 1}, "clamp_min 1 is larger than clamp_max 0"),
        (Engine.VECTOR, ONE_RESULT | {"operation": Operation.MUL}, "entries outside -256 .. 255"),
        (Engine.VECTOR, ONE_RESULT | {"shift": 31}, "shift must be from -31 to 30, not 31"),
        (Engine.VECTOR, ONE_RESULT | {"uniform": 0}, "a negative multiplier, or a shift outside"),
        (
            Engine.VECTOR,
            ONE_RESULT | {"count_col": 2, "dst_address": 1, "a_step_col": 1, "dst_step_col": 1},
            "reads as operand a what an earlier iteration of the same command writes",
        ),
    ],
)
def test_fields_without_meaning(engine: Engine, fields: dict[str, int], message: str) -> None:
    config = PRESETS["test"]
    spaces = Spaces(config, 1 << 12)
    spaces.weights[8] = 31
    spaces.table[256 + 128] = 256
    with pytest.raises(ProgramError, match=message):
        run_command(config, spaces, engine, fields)


def test_in_place_is_legal() -> None:
    config = PRESETS["test"]
    spaces = Spaces(config, 64)
    spaces.table[:256] = np.arange(-128, 128) * 2
    spaces.scratchpad[:4] = np.arange(16).reshape(4, 4)
    fields = ONE_RESULT | {
        "slices": 2,
        "count_col": 4,
        "a_step_col": 1,
        "dst_step_col": 1,
        "multiplier": 1 << 30,
        "shift": 1,
        "clamp_max": 127,
    }
    run_command(config, spaces, Engine.VECTOR, fields)
    assert spaces.scratchpad[:4].ravel().tolist() == [2 * i for i in range(16)]


def test_a_window_may_be_replaced_by_its_result() -> None:
    config = PRESETS["test"]
    spaces = Spaces(config, 64)
    spaces.scratchpad[:2] = 10, 20, 30, 40
    fields = ONE_RESULT | {
        "operation": Operation.SUM,
        "slices": 2,
        "window_col": 2,
        "a_step_wcol": 1,
        "dst_address": 1,
        "multiplier": 1 << 30,
        "shift": 1,
        "clamp_max": 127,
    }
    run_command(config, spaces, Engine.VECTOR, fields)
    assert spaces.scratchpad[:2].tolist() == [[10, 20, 30, 40], [20, 40, 60, 80]]
