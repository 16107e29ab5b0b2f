"""The report of a run: per-layer cycles and utilisation, as R.json (docs/report.md)."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from accel.host.driver import RunStats
from accel.image import Image
from accel.isa import Engine
from accel.regmap import Activity

__all__ = ["CAUSES", "STALLS", "make_report", "report_bytes"]

STALLS = ("memory", "weights", "vector", "tokens", "controller")
"""Reasons for which a layer's engine waits."""

_ARRAY = {
    Activity.CONTROLLER: "controller",
    Activity.CONTROLLER_VECTOR: "controller",
    Activity.MATMUL: "busy",
    Activity.MATMUL_VECTOR: "busy",
    Activity.WEIGHTS: "weights",
    Activity.TOKENS: "tokens",
    Activity.MEMORY: "memory",
    Activity.VECTOR: "vector",
}
_OTHERS = _ARRAY | {Activity.MATMUL: "tokens", Activity.MATMUL_VECTOR: "tokens"}
_VECTOR_WORKS = (Activity.CONTROLLER_VECTOR, Activity.MATMUL_VECTOR, Activity.VECTOR)

CAUSES: dict[str, dict[Activity, str]] = {
    "matmul": _ARRAY,
    "vector": _OTHERS | dict.fromkeys(_VECTOR_WORKS, "busy"),
    "controller": _OTHERS | {Activity.CONTROLLER: "busy", Activity.CONTROLLER_VECTOR: "busy"},
    "load": _OTHERS | {Activity.MEMORY: "busy"},
    "store": _OTHERS | {Activity.MEMORY: "busy"},
}
"""By a layer's engine: what the cycles of an Activity were for it, "busy" or one of STALLS."""


def _layer_shares(image: Image, stats: RunStats) -> list[list[int]]:
    """Return each layer's share of the cycles and, where they are counted, of each Activity.

    That is up to its stamp, from the last one before. What is behind the last stamp goes to the
    last layer that has one; without any stamp all goes to the first layer that an engine computes.
    So the layers always sum to the run.
    """
    stamps = [
        (time, *(stats.stamp_activities[n] if stats.activities else ()))
        for n, time in enumerate(stats.stamps)
    ]
    shares = np.zeros((len(image.layers), 1 + len(stats.activities)), np.int64)
    before = np.zeros(shares.shape[1], np.int64)
    counted = None
    # Layers of different branches need not complete in the model's order.
    by_stamp = sorted(enumerate(image.layers), key=lambda pair: pair[1].stamp or 0)
    for index, layer in by_stamp:
        if layer.stamp is not None and layer.stamp < len(stamps):
            now = np.array(stamps[layer.stamp])
            # Never back in time: a stretch belongs to one layer.
            if now[0] > before[0]:
                shares[index] += now - before
                before = now
            counted = index
    if counted is None:
        engines = (n for n, x in enumerate(image.layers) if x.engine != "none")
        counted = next(engines, 0)
    if len(shares):
        shares[counted] += np.array((stats.cycles, *stats.activities)) - before
    rows: list[list[int]] = shares.tolist()
    return rows


def _causes(engine: str, activities: Sequence[int]) -> dict[str, int | None]:
    """Return a layer's cycles by "busy" and STALLS; None where they are not counted."""
    names = ("busy", *STALLS)
    if not activities:
        return dict.fromkeys(names)
    causes = CAUSES.get(engine, _ARRAY)
    pairs = list(zip(Activity, activities, strict=True))
    return {name: sum(cycles for a, cycles in pairs if causes[a] == name) for name in names}


def _engines(stats: RunStats | None) -> dict[str, dict[str, int | None]]:
    """Return for each engine the cycles in which it worked, and in which it waited for others."""
    busy: Sequence[int | None] = (None,) * len(Engine)
    waiting = busy
    if stats is not None and stats.engine_busy:
        busy, waiting = stats.engine_busy, stats.engine_waiting
    return {e.name.lower(): {"busy": busy[e], "waiting": waiting[e]} for e in Engine}


def _utilization(macs: int, cycles: int | None, peak: int) -> float | None:
    if cycles is None:
        return None
    return macs / (cycles * peak) if cycles else 0.0


def make_report(image: Image, stats: Sequence[RunStats], device: str) -> dict[str, Any]:
    """Return the report of inferences, as docs/report.md describes it; without any, its frame.

    Parameters
    ----------
    image : Image
    stats : sequence of RunStats
        One per inference. The longest one gives the cycles, also of the layers. Empty: what is
        measured is None.
    device : str
        Name of the device.
    """
    config = image.config
    peak = config.macs_per_cycle
    worst = max(stats, key=lambda s: s.cycles, default=None)
    return {
        "model": image.model,
        "config": config.name,
        "device": device,
        "inferences": len(stats),
        "cycles": None if worst is None else worst.cycles,
        "macs": image.macs,
        "peak_macs_per_cycle": peak,
        "utilization": _utilization(image.macs, None if worst is None else worst.cycles, peak),
        "bytes_read": None if worst is None else worst.read_beats * config.bus_bytes,
        "bytes_written": None if worst is None else worst.write_beats * config.bus_bytes,
        "engines": _engines(worst),
        "layers": _layers(image, worst),
        "resident": _resident(image, stats),
    }


def _layers(image: Image, stats: RunStats | None) -> list[dict[str, Any]]:
    """Return a row for each layer of an inference; without one, None for what is measured."""
    rows = []
    shares: list[list[int]]
    shares = [[]] * len(image.layers) if stats is None else _layer_shares(image, stats)
    for layer, share in zip(image.layers, shares, strict=True):
        cycles = share[0] if share else None
        causes = _causes(layer.engine, share[1:])
        rows.append(
            {
                "index": layer.index,
                "name": layer.name,
                "op": layer.op,
                "engine": layer.engine,
                "macs": layer.macs,
                "cycles": cycles,
                "busy": causes["busy"],
                "stalls": {name: causes[name] for name in STALLS},
                "utilization": _utilization(layer.macs, cycles, image.config.macs_per_cycle),
                "bytes_read": None,
                "bytes_written": None,
            }
        )
    return rows


def _resident(image: Image, stats: Sequence[RunStats]) -> dict[str, Any] | None:
    """Return what later inferences took, with weights that had stayed; None without any."""
    worst = max((s for s in stats if s.resident), key=lambda s: s.cycles, default=None)
    if worst is None or image.resident is None:
        return None
    config = image.config
    return {
        "inferences": sum(s.resident for s in stats),
        "weight_bytes": image.resident.words * config.weight_slot,
        "cycles": worst.cycles,
        "utilization": _utilization(image.macs, worst.cycles, config.macs_per_cycle),
        "bytes_read": worst.read_beats * config.bus_bytes,
        "bytes_written": worst.write_beats * config.bus_bytes,
        "engines": _engines(worst),
        "layers": [
            {name: row[name] for name in ("index", "cycles", "busy", "stalls", "utilization")}
            for row in _layers(image, worst)
        ],
    }


def report_bytes(report: dict[str, Any]) -> bytes:
    """Return the report's file content."""
    return (json.dumps(report, indent=2) + "\n").encode()
