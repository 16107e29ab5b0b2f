"""The report's keys and sums (docs/report.md)."""

import dataclasses
import json

import pytest

from accel.config import PRESETS
from accel.host.driver import RunStats
from accel.image import Image, Layer, Resident, WeightBlock
from accel.regmap import Activity
from accel.report import CAUSES, STALLS, make_report, report_bytes

LAYERS = (
    Layer(index=0, name="a", op="CONV_2D", engine="matmul", macs=800, stamp=0),
    Layer(index=1, name="b", op="RESHAPE", engine="none"),
    Layer(index=2, name="c", op="FULLY_CONNECTED", engine="matmul", macs=200, stamp=1),
    Layer(index=3, name="d", op="SOFTMAX", engine="none"),
)
IMAGE = Image(
    config=PRESETS["test"],
    model="toy",
    program_address=0,
    program_words=1,
    memory_bytes=64,
    segments=(),
    inputs=(),
    outputs=(),
    layers=LAYERS,
)


def stats(cycles, *stamps):
    return RunStats(cycles=cycles, stamps=stamps, read_beats=10, write_beats=3, instructions=1)


def test_keys_and_values_are_those_that_scripts_rely_on():
    report = make_report(IMAGE, [stats(90, 50, 80), stats(100, 60, 95)], "model")
    layers = report.pop("layers")
    assert report == {
        "model": "toy",
        "config": "test",
        "device": "model",
        "inferences": 2,
        "cycles": 100,
        "macs": 1000,
        "peak_macs_per_cycle": 16,
        "utilization": 1000 / 1600,
        "bytes_read": 40,
        "bytes_written": 12,
        "engines": dict.fromkeys(
            ("load", "matmul", "vector", "store"), {"busy": None, "waiting": None}
        ),
        "resident": None,
    }
    assert list(layers[0]) == [
        *("index", "name", "op", "engine", "macs", "cycles", "busy", "stalls", "utilization"),
        *("bytes_read", "bytes_written"),
    ]
    assert list(layers[0]["stalls"]) == list(STALLS)
    assert [layer["cycles"] for layer in layers] == [60, 0, 40, 0]
    assert layers[0]["utilization"] == 800 / (60 * 16)
    assert layers[1]["utilization"] == 0.0


def test_later_inferences_stand_apart_from_the_first():
    block = WeightBlock(address=0, word=0, words=5, rows=3, pitch=64)
    resident = Resident(program_address=64, program_words=1, blocks=(block,))
    image = dataclasses.replace(IMAGE, resident=resident)
    runs = [stats(100, 60, 95), *(later(n, 30, n - 1) for n in (70, 75, 72))]
    report = make_report(image, runs, "model")
    assert (report["cycles"], report["inferences"]) == (100, 4)
    later_ones = report["resident"]
    layers = later_ones.pop("layers")
    assert later_ones == {
        "inferences": 3,
        "weight_bytes": 15 * 4,
        "cycles": 75,
        "utilization": 1000 / (75 * 16),
        "bytes_read": 8,
        "bytes_written": 4,
        "engines": report["engines"],
    }
    assert [layer["cycles"] for layer in layers] == [30, 0, 45, 0]
    assert list(layers[0]) == ["index", "cycles", "busy", "stalls", "utilization"]
    assert make_report(image, runs[:1], "model")["resident"] is None


def later(cycles, *stamps):
    return RunStats(
        cycles=cycles, stamps=stamps, read_beats=2, write_beats=1, instructions=1, resident=True
    )


@pytest.mark.parametrize(
    ("run", "cycles"),
    [
        (stats(100, 60, 95), [60, 0, 40, 0]),
        (stats(100, 60), [100, 0, 0, 0]),
        (stats(100), [100, 0, 0, 0]),
        (stats(100, 100, 100), [100, 0, 0, 0]),
        # Engines overlap: a layer's last command may complete before the last one's of the one
        # in front of it.
        (stats(100, 60, 50), [60, 0, 40, 0]),
    ],
)
def test_layers_sum_to_the_run(run, cycles):
    layers = make_report(IMAGE, [run], "model")["layers"]
    assert [layer["cycles"] for layer in layers] == cycles
    assert sum(cycles) == run.cycles


def counted(cycles, totals, *stamps):
    """Return a run with the counters' totals at its end and at its stamps."""
    return RunStats(
        cycles=cycles,
        stamps=tuple(map(sum, stamps)),
        read_beats=10,
        write_beats=3,
        instructions=1,
        activities=totals,
        stamp_activities=stamps,
        engine_busy=(1, 2, 3, 4),
        engine_waiting=(5, 6, 7, 8),
    )


def test_a_layers_cycles_are_charged_by_its_engine():
    # CONTROLLER, CONTROLLER_VECTOR, MATMUL, MATMUL_VECTOR, WEIGHTS, TOKENS, MEMORY, VECTOR
    first = (1, 2, 30, 4, 5, 6, 7, 8)
    second = (1, 3, 30, 6, 5, 10, 16, 24)
    end = (2, 5, 30, 6, 5, 10, 16, 24)
    shares = {
        # Of the second layer: 0 + 1 at the first stamp, and what is behind the last stamp.
        "matmul": (2, {"controller": 4, "memory": 9, "vector": 16, "tokens": 4}),
        "vector": (2 + 16 + 3, {"controller": 1, "memory": 9, "tokens": 4}),
        "controller": (4, {"memory": 9, "tokens": 6, "vector": 16}),
        "store": (9, {"tokens": 6, "vector": 16, "controller": 4}),
    }
    for engine, (busy, stalls) in shares.items():
        layers = (LAYERS[0], dataclasses.replace(LAYERS[2], engine=engine))
        image = dataclasses.replace(IMAGE, layers=layers)
        report = make_report(image, [counted(98, end, first, second)], "model")
        one, two = report["layers"]
        assert (one["cycles"], one["busy"]) == (63, 34)
        assert one["stalls"] == {
            "memory": 7, "weights": 5, "vector": 8, "tokens": 6, "controller": 3
        }  # fmt: skip
        assert (two["cycles"], two["busy"]) == (35, busy)
        assert two["stalls"] == dict.fromkeys(STALLS, 0) | stalls
        assert two["busy"] + sum(two["stalls"].values()) == 35
    assert report["engines"]["vector"] == {"busy": 3, "waiting": 7}


def test_every_engine_charges_every_activity():
    for causes in CAUSES.values():
        assert set(causes) == set(Activity)
        assert "busy" in causes.values()
        assert set(causes.values()) <= {"busy", *STALLS}


def test_what_is_not_measured_is_null():
    report = make_report(IMAGE, [], "none")
    assert (report["inferences"], report["cycles"], report["utilization"]) == (0, None, None)
    assert report["macs"] == 1000
    layer = json.loads(report_bytes(report))["layers"][0]
    assert (layer["cycles"], layer["busy"], layer["bytes_read"]) == (None, None, None)
    assert layer["stalls"] == dict.fromkeys(STALLS)


def test_an_image_without_layers_has_a_report():
    report = make_report(dataclasses.replace(IMAGE, layers=()), [stats(10)], "model")
    assert (report["layers"], report["utilization"]) == ([], 0.0)
