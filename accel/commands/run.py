"""`accel run`: a model or image on a device."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.commands.common import (
    CommandParsers,
    add_command,
    add_config,
    array_bytes,
    check_output,
    console,
    layer_table,
    load_image,
    natural,
    positive,
    resident_line,
    save,
)
from accel.errors import AccelError, InputError
from accel.host.inputs import batches, random_inputs, read_inputs
from accel.host.serial_device import is_serial
from accel.image import Image
from accel.progress import progress
from accel.report import report_bytes

__all__ = ["add_parser", "execute"]

SIMULATED_MEMORY = {"latency": 20, "stalls": "never", "seed": 0}
"""Options of the memory of a simulated device, and their defaults."""


def add_parser(parsers: CommandParsers) -> None:
    """Add the command."""
    parser = add_command(
        parsers,
        "run",
        "Run a model on the accelerator: the generated hardware, simulated, or its golden machine.",
        "accel run model.tflite --input x.npy --output y.npy --config base --report r.json",
    )
    add = parser.add_argument
    add("model", metavar="MODEL|IMAGE", type=Path, help=".tflite file or output of accel compile")
    add(
        "--input",
        metavar="X",
        required=True,
        help="X.npy: one input of the model's shape, or N stacked; X.npz: its array x, or arrays "
        "named like the model's inputs; random[:SEED]: random values",
    )
    add("--output", metavar="Y", type=Path, help="Y.npy: first output; Y.npz: all as y0, y1, ...")
    add_config(parser, default=None)
    add(
        "--device",
        metavar="D",
        default="verilator",
        help="verilator: the RTL, fast; icarus: the RTL, four-state, slow; model: golden machine "
        "serial:PORT[:BAUD]: a board, by default at 1000000 baud (default: verilator)",
    )
    add("--limit", metavar="N", type=positive, help="run the first N inputs (random: N inputs)")
    add("--report", metavar="R.json", type=Path, help="write cycles and utilization per layer")
    add(
        "--latency",
        metavar="CYCLES",
        type=positive,
        default=SIMULATED_MEMORY["latency"],
        help="of the simulated memory (default: 20)",
    )
    add(
        "--stalls",
        choices=("never", "sometimes", "often"),
        default=SIMULATED_MEMORY["stalls"],
        help="how often the simulated memory makes the accelerator wait (default: never)",
    )
    add(
        "--seed",
        metavar="N",
        type=natural,
        default=SIMULATED_MEMORY["seed"],
        help="of the stalls (default: 0)",
    )
    add(
        "--check",
        action="store_true",
        help="compare every output with TensorFlow Lite Micro (pip install tflite-micro)",
    )
    parser.set_defaults(execute=execute)


def _samples(image: Image, source: str, limit: int | None) -> list[list[npt.NDArray[Any]]]:
    kind, _, seed = source.partition(":")
    if kind == "random" and not Path(source).exists():
        if seed and not seed.isdecimal():
            raise InputError(f"--input {source}: the seed must be a whole number")
        return random_inputs(image.inputs, int(seed or 0), limit or 1)
    return batches(image.inputs, read_inputs(source), limit)


def _differences(
    model: bytes, samples: list[list[npt.NDArray[Any]]], outputs: tuple[npt.NDArray[Any], ...]
) -> int:
    """Return how many samples have an output that differs from TensorFlow Lite Micro's."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model)
    wrong = 0
    with progress("checking with TensorFlow Lite Micro", len(samples)) as bar:
        for number, sample in enumerate(samples):
            for index, values in enumerate(sample):
                interpreter.set_input(values, index)
            interpreter.invoke()
            expected = [interpreter.get_output(i) for i in range(len(outputs))]
            wrong += any(
                not np.array_equal(y.reshape(-1), ours[number].reshape(-1))
                for y, ours in zip(expected, outputs, strict=True)
            )
            bar.advance()
    return wrong


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    from accel import api
    from sim.devices import DEVICES

    check_output(args.output, (".npy", ".npz"))
    check_output(args.report)
    options = {"latency": args.latency, "stalls": args.stalls, "seed": args.seed}
    if is_serial(args.device):
        if options != SIMULATED_MEMORY:
            raise AccelError(
                f"--latency, --stalls and --seed are of a simulated memory: {args.device} has none"
            )
        options = {}
    elif args.device not in DEVICES:
        raise AccelError(
            f"unknown device {args.device}: use {', '.join(DEVICES)} or serial:PORT[:BAUD]"
        )
    image, model = load_image(args.model, args.config)
    if args.check and model is None:
        raise InputError(f"--check needs the .tflite model, and {args.model} is a compiled image")
    if args.check and importlib.util.find_spec("tflite_micro") is None:
        raise AccelError("--check needs TensorFlow Lite Micro: pip install tflite-micro")
    samples = _samples(image, args.input, args.limit)
    stacked = [np.stack(values) for values in zip(*samples, strict=True)]
    with (
        api.open_device(args.device, image.config, **options) as device,
        progress(f"running {image.model} on {args.device}", len(samples)) as bar,
    ):
        result = api.run(image, stacked, device=device, on_inference=bar.advance)
    if args.output:
        save(args.output, array_bytes(args.output, list(result.outputs)))
    if args.report:
        save(args.report, report_bytes(result.report))
    out = console()
    out.print(layer_table(result.report))
    out.print(
        f"{len(samples)} inference{'s' * (len(samples) > 1)} of {image.model} on {args.device}, "
        f"configuration {image.config.name}: {result.cycles:,} cycles (largest), "
        f"{result.report['utilization']:.1%} of the array's peak"
    )
    if line := resident_line(result.report):
        out.print(line)
    if args.check and model is not None:
        wrong = _differences(model, samples, result.outputs)
        equal = len(samples) - wrong
        out.print(f"{equal} of {len(samples)} outputs equal TensorFlow Lite Micro")
        return 1 if wrong else 0
    return 0
