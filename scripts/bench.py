"""Cycles, utilisation and wall time of networks on a device; the figures that the docs quote.

    .venv/bin/python scripts/bench.py --config base --device verilator [--layers] [--json OUT] MODEL ...

Without models it takes every network in the directory that ACCEL_MODELS names (`models/`), with
inputs drawn at random: cycles do not depend on the data. With --layers it says what each layer's
cycles went to (docs/report.md). --json writes the reports, each with "seconds", as a list.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import accel
from accel.commands.common import all_causes
from accel.errors import AccelError
from accel.host.device import Device
from accel.host.inputs import random_inputs
from accel.report import STALLS

CAUSES = ("busy", *STALLS)
ROW = "{:24} {:>11} {:>10} {:>6} {:>10}"


def causes(layer: dict[str, Any]) -> str:
    """Return the cycles by cause as columns; nothing where they are not counted."""
    if layer["busy"] is None:
        return ""
    return "".join(f" {n:>10,}" for n in (layer["busy"], *layer["stalls"].values()))


def layer_lines(report: dict[str, Any]) -> Iterator[str]:
    """Return a line per layer, and one for all."""
    yield f"  {'layer':34} {'MACs':>11} {'cycles':>10} {'util':>6}" + "".join(
        f" {name:>10}" for name in CAUSES
    )
    total = report | all_causes(report) | {"index": "", "op": "all", "engine": ""}
    for layer in (*report["layers"], total):
        yield (
            f"  {layer['index']:>3} {layer['op']:19} {layer['engine']:10} {layer['macs']:11,} "
            f"{layer['cycles']:10,} {layer['utilization']:6.1%}{causes(layer)}"
        )


def measure(path: Path, config: accel.Config, device: Device, repeat: int) -> tuple[Any, float]:
    """Return the report of one inference and its wall time, the best of some."""
    image = accel.compile_model(path, config)
    (inputs,) = random_inputs(image.inputs, 0, 1)
    best = float("inf")
    for _ in range(repeat):
        began = time.perf_counter()
        report = accel.run(image, inputs, device=device).report
        best = min(best, time.perf_counter() - began)
    return report, best


def main() -> int:
    """Print a line per network, and with --layers one per layer; 1 when one does not compile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("models", nargs="*", type=Path)
    add("--config", default="base", help="preset or TOML file (default: base)")
    add("--device", default="verilator", help="verilator, model or icarus (default: verilator)")
    add("--latency", type=int, default=20, help="of the memory, in cycles (default: 20)")
    add("--stalls", default="never", help="of the memory: never, sometimes or often")
    add("--repeat", type=int, default=2, help="inferences; the fastest gives the time (default: 2)")
    add("--layers", action="store_true", help="a line per layer, with what its cycles went to")
    add("--json", type=Path, metavar="OUT", help="write the reports")
    options = parser.parse_args()
    models = options.models
    if not models:
        if "ACCEL_MODELS" not in os.environ:
            parser.error("name models, or the directory with models/ in ACCEL_MODELS")
        models = sorted(Path(os.environ["ACCEL_MODELS"], "models").glob("*.tflite"))

    config = accel.Config.load(options.config)
    simulator = f"verilator {version('verilator')}, " if options.device == "verilator" else ""
    print(
        f"{config.name} {config.rows}x{config.cols}, {config.bus_bits}-bit port; {options.device}, "
        f"latency {options.latency}, stalls {options.stalls}; {simulator}Python "
        f"{platform.python_version()}"
    )
    print(ROW.format("network", "MACs", "cycles", "util", "bytes read"), f"{'s/inference':>11}")
    failed = False
    reports = []
    memory = {"latency": options.latency, "stalls": options.stalls}
    with accel.open_device(options.device, config, **memory) as device:
        for path in models:
            try:
                report, seconds = measure(path, config, device, options.repeat)
            except AccelError as error:
                print(f"{path.stem:24} {error}")
                failed = True
                continue
            reports.append(report | {"seconds": seconds})
            figures = (f"{report[key]:,}" for key in ("macs", "cycles"))
            line = ROW.format(
                path.stem, *figures, f"{report['utilization']:.1%}", f"{report['bytes_read']:,}"
            )
            print(line, f"{seconds:11.2f}", flush=True)
            if options.layers:
                print(*layer_lines(report), sep="\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
