"""Cycles, utilisation and wall time of networks on a device; the figures that the docs quote.

    .venv/bin/python scripts/bench.py --config base --device verilator [--layers] MODEL.tflite ...

Without models it takes every network in the directory that ACCEL_MODELS names (`models/`), with
inputs drawn at random: cycles do not depend on the data.
"""

import argparse
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import accel
from accel.errors import AccelError


def main() -> int:
    """Print a line per network, and with --layers one per layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--config", default="base", help="preset or TOML file (default: base)")
    parser.add_argument("--device", default="verilator", help="model, verilator or icarus")
    parser.add_argument("--latency", type=int, default=20, help="of the memory, in cycles")
    parser.add_argument("--layers", action="store_true", help="a line per layer, too")
    options = parser.parse_args()
    models = options.models or sorted(Path(os.environ["ACCEL_MODELS"], "models").glob("*.tflite"))

    config = accel.Config.load(options.config)
    print(
        f"{config.name} {config.rows}x{config.cols}, {options.device}, latency {options.latency}; "
        f"verilator {version('verilator')}, "
        f"Python {platform.python_version()}"
    )
    print(f"{'network':24} {'MACs':>11} {'cycles':>9} {'util':>6} {'read':>9} {'s/inference':>11}")
    with accel.open_device(options.device, config, latency=options.latency) as device:
        for path in models:
            try:
                image = accel.compile_model(path, config)
            except AccelError as error:
                print(f"{path.stem:24} {error}")
                continue
            rng = np.random.default_rng(0)
            inputs = [rng.integers(-128, 128, t.shape, np.int8) for t in image.inputs]
            accel.run(image, inputs, device=device)
            began = time.perf_counter()
            report = accel.run(image, inputs, device=device).report
            seconds = time.perf_counter() - began
            print(
                f"{path.stem:24} {report['macs']:11,} {report['cycles']:9,} "
                f"{report['utilization']:6.1%} {report['bytes_read']:9,} {seconds:11.2f}"
            )
            if options.layers:
                for layer in report["layers"]:
                    print(
                        f"  {layer['index']:3} {layer['op']:18} {layer['engine']:10} "
                        f"{layer['macs']:9,} {layer['cycles']:9,} {layer['utilization']:6.1%}"
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
