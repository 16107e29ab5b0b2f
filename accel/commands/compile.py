"""`accel compile`: a model becomes an image."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from accel.commands.common import (
    CommandParsers,
    add_command,
    add_config,
    check_output,
    console,
    layer_table,
    load_image,
    resident_line,
    save,
)
from accel.errors import ModelError
from accel.image import Image
from accel.progress import progress
from accel.report import report_bytes

__all__ = ["add_parser", "execute"]


def add_parser(parsers: CommandParsers) -> None:
    """Add the command."""
    parser = add_command(
        parsers,
        "compile",
        "Compile a .tflite model to an image that `accel run` takes.",
        "accel compile model.tflite -o model.img --config base",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="int8 .tflite file")
    parser.add_argument("-o", "--output", metavar="IMAGE", type=Path, required=True, help="image")
    add_config(parser)
    parser.add_argument(
        "--report",
        metavar="R.json",
        type=Path,
        help="estimate cycles and utilization per layer, show and write them",
    )
    parser.set_defaults(execute=execute)


def _estimate(image: Image) -> dict[str, Any]:
    """Return the report with the golden machine's estimates.

    Cycles of engines do not depend on data, those of the controller's code hardly.
    """
    from accel import api
    from accel.host.inputs import random_inputs

    samples = random_inputs(image.inputs, 0, 1 if image.resident is None else 2)
    stacked = [np.stack(values) for values in zip(*samples, strict=True)]
    with progress(f"estimating the cycles of {image.model}"):
        report = api.run(image, stacked, device="model").report
    if report["resident"] is not None:
        report["resident"]["inferences"] = 0
    return report | {"inferences": 0}


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    check_output(args.output)
    check_output(args.report)
    image, model = load_image(args.model, args.config)
    if model is None:
        raise ModelError(f"{args.model} is a compiled image already")
    save(args.output, image.to_bytes())
    if args.report:
        report = _estimate(image)
        save(args.report, report_bytes(report))
        console().print(layer_table(report))
        if line := resident_line(report):
            console().print(line)
    constants = sum(len(segment.data) for segment in image.segments)
    console().print(
        f"{args.output}: {len(image.layers)} layers, {image.macs:,} MACs, {constants:,} bytes of "
        f"program and constants, {image.memory_bytes:,} bytes of memory, for {image.config.name}"
    )
    return 0
