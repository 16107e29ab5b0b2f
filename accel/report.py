"""The report of a run: per-layer cycles and utilisation, as R.json (docs/report.md)."""

import json
from collections.abc import Sequence
from typing import Any

from accel.host.driver import RunStats
from accel.image import Image

__all__ = ["STALLS", "make_report", "report_bytes"]

STALLS = ("memory", "weights", "vector", "tokens", "controller")
"""Reasons for which a layer's engine waits. The hardware does not count them yet."""


def _layer_cycles(image: Image, stats: RunStats) -> list[int]:
    """Return each layer's share of the cycles: up to its stamp, from the last one before.

    The cycles behind the last stamp go to the last layer that has one; without any stamp all go
    to the first layer that an engine computes. So the layers always sum to the run.
    """
    cycles = [0] * len(image.layers)
    last = 0
    counted = None
    stamped = [(n, x.stamp) for n, x in enumerate(image.layers) if x.stamp is not None]
    for index, stamp in stamped:
        if stamp < len(stats.stamps):
            end = max(stats.stamps[stamp], last)
            cycles[index] = end - last
            last, counted = end, index
    if counted is None:
        engines = (n for n, x in enumerate(image.layers) if x.engine != "none")
        counted = next(engines, 0)
    if cycles:
        cycles[counted] += stats.cycles - last
    return cycles


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
    layers = []
    shares = [None] * len(image.layers) if worst is None else _layer_cycles(image, worst)
    for layer, cycles in zip(image.layers, shares, strict=True):
        layers.append(
            {
                "index": layer.index,
                "name": layer.name,
                "op": layer.op,
                "engine": layer.engine,
                "macs": layer.macs,
                "cycles": cycles,
                "busy": None,
                "stalls": dict.fromkeys(STALLS),
                "utilization": _utilization(layer.macs, cycles, peak),
                "bytes_read": None,
                "bytes_written": None,
            }
        )
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
        "layers": layers,
    }


def report_bytes(report: dict[str, Any]) -> bytes:
    """Return the report's file content."""
    return (json.dumps(report, indent=2) + "\n").encode()
