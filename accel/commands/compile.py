"""`accel compile`: a model becomes an image."""

import argparse
from pathlib import Path

from accel.commands.common import (
    CommandParsers,
    add_command,
    add_config,
    check_output,
    console,
    load_image,
    save,
)
from accel.errors import ModelError
from accel.report import make_report, report_bytes

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
        "--report", metavar="R.json", type=Path, help="write the layers, without cycles"
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    check_output(args.output)
    check_output(args.report)
    image, model = load_image(args.model, args.config)
    if model is None:
        raise ModelError(f"{args.model} is a compiled image already")
    save(args.output, image.to_bytes())
    if args.report:
        save(args.report, report_bytes(make_report(image, [], "none")))
    constants = sum(len(segment.data) for segment in image.segments)
    console().print(
        f"{args.output}: {len(image.layers)} layers, {image.macs:,} MACs, {constants:,} bytes of "
        f"program and constants, {image.memory_bytes:,} bytes of memory, for {image.config.name}"
    )
    return 0
