"""Networks of nothing but depthwise convolutions: what their inner layers reach is the steady state.

    .venv/bin/python scripts/depthwise.py [--device model]

The first layer waits for the input, the last one for the output; those between have everything on
chip. Each image row has kernel - 1 positions without a result, so wide images show what the array
does in the steady state, narrow ones what a network gets.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import accel
from accel.compiler.backend import build_image
from accel.compiler.layers import ConvLayer, FeatureMap, Network, Port
from accel.config import Config
from accel.host.inputs import random_inputs
from accel.image import Image

__all__ = ["CASES", "Case", "depthwise_image", "steady_utilization"]

LAYERS = 5


@dataclass(frozen=True)
class Case:
    """An array, a kernel and an image.

    Parameters
    ----------
    config : str
    kernel : int
    height, width : int
        Of the image.
    groups : int
        Its channels, as column groups of the array.
    goal : float
        What the steady state should reach, as a share of rows x cols; 0 where rows are too short.
    """

    config: str
    kernel: int
    height: int
    width: int
    groups: int
    goal: float


CASES = tuple(
    Case(config, kernel, height, width, groups, goal if width > 100 else 0.0)
    for config in ("base", "small")
    for kernel, goal in ((3, 0.5), (5, 0.6))
    for height, width, groups in ((16, 16, 4), (16, 32, 4), (8, 192, 2))
)
"""What is measured."""


def depthwise_image(config: Config, case: Case) -> Image:
    """Return the image of LAYERS convolutions of stride 1 behind one another."""
    channels, kernel = case.groups * config.cols, case.kernel
    height, width = case.height, case.width
    rng = np.random.default_rng(1)
    maps = [FeatureMap(n, f"map{n}", height, width, channels) for n in range(LAYERS + 1)]
    layers = []
    for index in range(LAYERS):
        weights = np.zeros((channels, kernel, kernel, channels), np.int8)
        diagonal = range(channels)
        weights[diagonal, :, :, diagonal] = rng.integers(-127, 128, (channels, kernel, kernel))
        output = maps[index + 1]
        layers.append(
            ConvLayer(
                index=index,
                name=output.name,
                op="DEPTHWISE_CONV_2D",
                macs=height * width * channels * kernel**2,
                output=output,
                sources=(maps[index],),
                weights=weights,
                bias=np.zeros(channels, np.int32),
                multiplier=np.full(channels, 1 << 30, np.int32),
                shift=np.full(channels, -7, np.int8),
                padding=(kernel // 2, kernel // 2),
                output_zero=0,
                clamp_min=-128,
                clamp_max=127,
                results=(height, width),
            )
        )
    first, last = (Port(m.name, (1, *m.shape), m) for m in (maps[0], maps[-1]))
    return build_image(Network("depthwise", tuple(layers), (first,), (last,)), config)


def steady_utilization(case: Case, device: str) -> float:
    """Return the multiply-accumulates per cycle of the inner layers, as a share of the array's."""
    image = depthwise_image(Config.load(case.config), case)
    (inputs,) = random_inputs(image.inputs, 0, 1)
    report = accel.run(image, inputs, device=device).report
    inner = report["layers"][1:-1]
    cycles = sum(layer["cycles"] for layer in inner)
    macs = sum(layer["macs"] for layer in inner)
    return float(macs / (cycles * report["peak_macs_per_cycle"]))


def lines(device: str) -> Iterator[str]:
    """Return a line per case."""
    for case in CASES:
        value = steady_utilization(case, device)
        config = Config.load(case.config)
        goal = f" (goal {case.goal:.0%})" if case.goal else ""
        kernel = f"{case.kernel}x{case.kernel}"
        size = f"{case.height}x{case.width}x{case.groups * config.cols}"
        yield f"{config.rows}x{config.cols} {kernel} {size:9} {value:6.1%}{goal}"


def main() -> int:
    """Print what each case reaches."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="verilator", help="default: verilator")
    for line in lines(parser.parse_args().device):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
