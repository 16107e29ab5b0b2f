"""What each cycle went to: programs with a known bottleneck, and the sums of real networks."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import accel
from accel import asm
from accel.config import PRESETS
from accel.data import digits_model, load_digits
from accel.host.device import Device
from accel.host.driver import Driver, RunStats
from accel.image import Image, Segment
from accel.isa import COMMANDS, Engine, Operation, Space
from accel.regmap import Activity

CONFIG = PRESETS["test"]
LOAD, MATMUL, VECTOR, STORE = Engine
A = Activity

DEVICES = pytest.mark.parametrize("name", ["verilator", "model"])


def push(engine: Engine, fields: dict[str, int], **options: int) -> list[int]:
    words = []
    registers = COMMANDS[engine].encode(fields)
    for pair in range(len(registers) // 2):
        words += asm.li(1, registers[2 * pair]) + asm.li(2, registers[2 * pair + 1])
        words.append(asm.tset(engine, pair, 1, 2))
    return [*words, asm.tpush(engine, **options)]


def run(device: Device, *commands: list[int]) -> tuple[dict[Activity, int], RunStats]:
    """Run commands to their end; return what their cycles went to, and all counters."""
    prepare = [
        *push(LOAD, transfer(1024)),
        *push(LOAD, transfer(512, space=Space.WEIGHTS), stamp=True),
        asm.twait(15),
    ]
    words = prepare + [word for command in commands for word in command]
    words += [asm.twait(15), asm.tdone(0)]
    image = Image(
        config=CONFIG,
        model="program",
        program_address=40960,
        program_words=len(words),
        memory_bytes=1 << 16,
        segments=(
            Segment(address=32768, data=bytes(4096)),
            Segment(address=40960, data=np.array(words, "<u4").tobytes()),
        ),
        inputs=(),
        outputs=(),
    )
    driver = Driver(device)
    driver.load_image(image)
    _, stats = driver.run([])
    check(stats)
    before = stats.stamp_activities[0]
    return {a: stats.activities[a] - before[a] for a in Activity}, stats


def check(stats: RunStats) -> None:
    assert sum(stats.activities) == stats.cycles
    assert [sum(values) for values in stats.stamp_activities] == list(stats.stamps)
    for before, after in zip(stats.stamp_activities, stats.stamp_activities[1:], strict=False):
        assert all(b <= a for b, a in zip(before, after, strict=True))
    for busy, waiting in zip(stats.engine_busy, stats.engine_waiting, strict=True):
        assert busy + waiting <= stats.cycles


def transfer(words: int, **fields: int) -> dict[str, int]:
    return {"memory_address": 32768, "words": words, "rows": 1, "planes": 1, **fields}


def convolution(tiles: int, pixels: int) -> dict[str, int]:
    counts = {"count_k0": tiles, "count_col": pixels}
    size = {"input_height": 1, "input_width": 1 << 14, "step_col": 1, "step_col_x": 1}
    size |= {"step_k0": 1 - pixels, "step_k0_x": 1 - pixels}
    return dict.fromkeys(("count_row", "count_k1", "count_k2"), 1) | counts | size


def requantise(pixels: int, **fields: int) -> dict[str, int]:
    counts = dict.fromkeys(("count_row", "window_col", "window_row", "slices", "uniform"), 1)
    place = {"count_col": pixels, "dst_address": 256, "dst_step_col": 1, "clamp_max": 127}
    return counts | place | {"operation": Operation.ACC, **fields}


@DEVICES
def test_tiles_of_many_pixels_keep_the_array_busy(device, name):
    cycles, stats = run(device(name, CONFIG), push(MATMUL, convolution(40, 32)))
    assert cycles[A.MATMUL] == 40 * 32
    assert cycles[A.WEIGHTS] <= 4
    assert stats.engine_busy[MATMUL] == pytest.approx(40 * 32 + 16, abs=8)


@DEVICES
def test_tiles_of_one_pixel_wait_for_weights(device, name):
    cycles, _ = run(device(name, CONFIG), push(MATMUL, convolution(100, 1)))
    assert cycles[A.MATMUL] == 100
    assert cycles[A.WEIGHTS] == pytest.approx(100 * 3, abs=5)


@pytest.mark.parametrize("name", ["verilator", "icarus", "model"])
@pytest.mark.parametrize("latency", [1, 200])
def test_a_chunk_waits_for_its_load(device, name, latency):
    chunk = push(MATMUL, convolution(1, 16), wait=1 << LOAD)
    opened = device(name, CONFIG, latency=latency)
    cycles, stats = run(opened, push(LOAD, transfer(400), post=1 << MATMUL), chunk)
    # From the matmul command to the last word: an instruction takes a cycle.
    assert cycles[A.MEMORY] == pytest.approx(400 + latency + 10 - len(chunk), abs=12)
    assert stats.engine_waiting[MATMUL] == pytest.approx(cycles[A.MEMORY], abs=8)
    assert cycles[A.CONTROLLER] == pytest.approx(len(chunk) + 22, abs=12)


@DEVICES
def test_a_chunk_waits_for_the_vector_engine(device, name):
    many = requantise(30, window_col=16, window_row=2, operation=Operation.MAX, dst_address=512)
    pool = push(VECTOR, many, wait=1 << LOAD, post=1 << MATMUL)
    chunk = push(MATMUL, convolution(1, 16), wait=1 << VECTOR, stamp=True)
    cycles, stats = run(
        device(name, CONFIG), push(LOAD, transfer(400), post=1 << VECTOR), pool, chunk
    )
    assert cycles[A.VECTOR] == pytest.approx(30 * 32 + 20, abs=15)
    # The vector engine waits for the load, and so the array does.
    assert cycles[A.MEMORY] == pytest.approx(400 + 30 - len(pool) - len(chunk), abs=12)
    assert stats.engine_waiting[VECTOR] == pytest.approx(400 + 30 - len(pool), abs=12)


@DEVICES
def test_what_overlaps_is_busy(device, name):
    cycles, _ = run(
        device(name, CONFIG),
        push(MATMUL, convolution(1, 16), post=1 << VECTOR),
        push(VECTOR, requantise(16, slices=2, dst_address=512), wait=1 << MATMUL),
        push(MATMUL, convolution(40, 32) | {"acc_address": CONFIG.acc_depth}),
    )
    assert cycles[A.MATMUL] + cycles[A.MATMUL_VECTOR] == 16 + 40 * 32
    assert cycles[A.CONTROLLER_VECTOR] + cycles[A.MATMUL_VECTOR] >= 32
    assert cycles[A.VECTOR] <= 4


@DEVICES
def test_code_between_commands_is_the_controllers(device, name):
    loop = [*asm.li(5, 500), asm.addi(5, 5, -1), asm.bne(5, 0, -4)]
    cycles, _ = run(
        device(name, CONFIG),
        push(MATMUL, convolution(1, 16)),
        loop,
        push(STORE, transfer(4, memory_address=0)),
    )
    assert cycles[A.CONTROLLER] > 500 * 2
    assert 20 < cycles[A.MEMORY] < 50


@DEVICES
def test_every_run_counts_anew(device, name):
    image = accel.compile_model(digits_model(), CONFIG)
    result = accel.run(image, load_digits().x[[0, 0, 0]], device=device(name, CONFIG))
    first, *others = result.stats
    assert min(*first.engine_busy, *first.engine_waiting) > 0
    for stats in others:
        assert stats == first


@cache
def compiled(path, config):
    """Return the image; the cases share it."""
    return accel.compile_model(path, PRESETS[config])


def check_report(result):
    check(max(result.stats, key=lambda s: s.cycles))
    report = result.report
    assert sum(layer["cycles"] for layer in report["layers"]) == report["cycles"]
    for layer in report["layers"]:
        assert layer["busy"] + sum(layer["stalls"].values()) == layer["cycles"]
        assert min(layer["busy"], *layer["stalls"].values()) >= 0
    return report


@pytest.mark.parametrize("stalls", ["never", "sometimes", "often"])
@DEVICES
def test_the_causes_of_a_layer_sum_to_its_cycles(device, name, stalls):
    image = compiled(digits_model(), "test")
    with device(name, CONFIG, stalls=stalls, seed=3) as opened:
        report = check_report(accel.run(image, load_digits().x[:1], device=opened))
    layers = {layer["op"]: layer for layer in report["layers"]}
    # Three convolutions: what they take is the array's work, whatever the memory does.
    macs = sum(layer["macs"] for layer in report["layers"] if layer["op"] == "CONV_2D")
    busy = sum(layer["busy"] for layer in report["layers"] if layer["op"] == "CONV_2D")
    assert busy >= macs / CONFIG.macs_per_cycle
    assert layers["SOFTMAX"]["busy"] > 0.9 * layers["SOFTMAX"]["cycles"]


@pytest.mark.parametrize(
    ("model", "config", "stalls"),
    [
        ("resnet8_cifar10", "small", "never"),
        ("ad_toycar_fc", "small", "often"),
        ("kws_dscnn", "small", "sometimes"),
    ],
)
def test_real_networks(models, device, model, config, stalls):
    image = compiled(models / "models" / f"{model}.tflite", config)
    x = np.zeros((1, *image.inputs[0].shape[1:]), np.int8)
    reports = {}
    for name in ("verilator", "model"):
        with device(name, PRESETS[config], stalls=stalls, seed=3) as opened:
            reports[name] = check_report(accel.run(image, x, device=opened))
    layers = reports["verilator"]["layers"]
    total = {c: sum(x["stalls"][c] for x in layers) for c in layers[0]["stalls"]}
    if model == "ad_toycar_fc":
        assert total["memory"] > 0.6 * reports["verilator"]["cycles"]
    if stalls == "never":
        # The estimate is of the same kind: no cause is off by more than 2 % of the run.
        for cause in total:
            estimate = sum(x["stalls"][cause] for x in reports["model"]["layers"])
            assert estimate == pytest.approx(
                total[cause], abs=0.02 * reports["verilator"]["cycles"]
            )


def test_a_configuration_without_counters_reports_null(device):
    config = replace(CONFIG, counters=False, name="bare")
    image = accel.compile_model(digits_model(), config)
    with device("model", config) as opened:
        result = accel.run(image, load_digits().x[:1], device=opened)
    assert result.stats[0].activities == result.stats[0].engine_busy == ()
    layers = result.report["layers"]
    assert sum(layer["cycles"] for layer in layers) == result.cycles
    assert all(layer["busy"] is None for layer in layers)
    assert {cause for layer in layers for cause in layer["stalls"].values()} == {None}


@DEVICES
@pytest.mark.parametrize("engine", Engine)
def test_who_waits_for_whom_and_how_long(device, name, engine):
    if engine == VECTOR:
        other, cycles = MATMUL, 40 * 32
        long = convolution(40, 32)
    else:
        other, cycles = VECTOR, 30 * 32
        long = requantise(30, window_col=16, window_row=2, operation=Operation.MAX)
    short = {
        LOAD: transfer(1),
        MATMUL: convolution(1, 1) | {"acc_address": CONFIG.acc_depth},
        VECTOR: requantise(1, dst_address=900),
        STORE: transfer(1, memory_address=0),
    }
    one, two = push(other, long, post=1 << engine), push(engine, short[engine], wait=1 << other)
    _, before = run(device(name, CONFIG), push(other, long))
    _, after = run(device(name, CONFIG), one, two)
    assert after.engine_busy[other] == pytest.approx(cycles + 20, abs=20)
    assert before.engine_waiting[engine] == 0 or engine == LOAD
    waited = after.engine_waiting[engine] - before.engine_waiting[engine]
    # From when its command is written: an instruction takes a cycle.
    assert waited == pytest.approx(cycles + 20 - len(two), abs=25)
