"""What several commands share: options, parsers, output files, the table of layers."""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from accel.config import PRESETS, Config
from accel.errors import AccelError, InputError, ModelError
from accel.image import MAGIC, Image, write_atomically
from accel.report import STALLS

__all__ = [
    "CommandParsers",
    "add_command",
    "add_config",
    "all_causes",
    "array_bytes",
    "check_output",
    "console",
    "largest_stall",
    "layer_table",
    "load_image",
    "natural",
    "positive",
    "resident_line",
    "save",
]

CommandParsers = Any
"""argparse's private type of what `add_subparsers` returns."""


def console() -> Console:
    """Return the console on stdout."""
    return Console(highlight=False, soft_wrap=True)


def add_command(
    parsers: CommandParsers, name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    """Return the parser of a new command; help shows `summary` and the example."""
    parser: argparse.ArgumentParser = parsers.add_parser(
        name,
        help=summary[0].lower() + summary[1:].rstrip("."),
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_config(parser: argparse.ArgumentParser, *, default: str | None = "small") -> None:
    """Add `--config`."""
    parser.add_argument(
        "--config",
        metavar="C",
        default=default,
        help=f"accelerator: {', '.join(PRESETS)}, or a .toml file with fields of accel.Config "
        "and optionally `preset` (default: small)",
    )


def natural(text: str) -> int:
    """Parse a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def check_output(path: Path | None, suffixes: tuple[str, ...] = ()) -> None:
    """Check before long work that a file can be written there.

    Raises
    ------
    AccelError
        When its suffix is not one of `suffixes`, or its directory does not exist.
    """
    if path is None:
        return
    if suffixes and path.suffix not in suffixes:
        raise AccelError(f"output {path} must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise AccelError(f"output {path} is a directory")
    if not path.parent.is_dir():
        raise AccelError(f"output {path}: there is no directory {path.parent}")


def save(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    AccelError
        When it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise AccelError(f"cannot write {path}: {error.strerror}") from None


def array_bytes(path: Path, arrays: list[npt.NDArray[Any]]) -> bytes:
    """Return a .npy file of the first array, or a .npz file of all as y0, y1, ..."""
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, arrays[0])
    else:
        np.savez(buffer, **{f"y{n}": values for n, values in enumerate(arrays)})  # type: ignore[arg-type]
    return buffer.getvalue()


def resident_line(report: dict[str, Any]) -> str:
    """Return the line on inferences with weights that had stayed; empty without any."""
    later = report["resident"]
    if later is None:
        return ""
    return (
        f"{later['weight_bytes']:,} bytes of weights stay on the chip: "
        f"{report['cycles']:,} cycles for the first inference, {later['cycles']:,} "
        f"({later['utilization']:.1%}) for the others"
    )


def load_image(path: Path, config: str | None) -> tuple[Image, bytes | None]:
    """Return the image in a file, or the one compiled from the model in it, and that model.

    Parameters
    ----------
    path : Path
    config : str or None
        For a model: what to compile for, `small` by default. For an image: it must be the one
        that it was made for.

    Raises
    ------
    ModelError, ImageError, ConfigError
        When the file is neither, or does not fit the configuration.
    """
    from accel.api import compile_model
    from accel.progress import progress

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    chosen = None if config is None else Config.load(config)
    if content.startswith(MAGIC):
        image = Image.from_bytes(content, str(path))
        if chosen is not None and chosen.fingerprint != image.config.fingerprint:
            raise InputError(
                f"{path} was compiled for configuration {image.config.name}, not for "
                f"{chosen.name}: leave --config out, or compile the model again"
            )
        return image, None
    with progress(f"compiling {path.name}"):
        return compile_model(path, chosen or "small"), content


def largest_stall(layer: dict[str, Any]) -> str:
    """Return the largest reason for which a layer's engine waited, with its share of the cycles."""
    stalls: dict[str, int | None] = layer["stalls"]
    cause = max(stalls, key=lambda name: stalls[name] or 0)
    return f"{cause} {stalls[cause] / layer['cycles']:.0%}" if stalls[cause] else ""


def layer_table(report: dict[str, Any]) -> Table:
    """Return the report's layers as a table for the terminal."""
    counted = any(layer["busy"] is not None for layer in report["layers"])
    headings = {
        "layer": "left",
        "operator": "left",
        "engine": "left",
        "MACs": "right",
        "cycles": "right",
        "util.": "right",
    }
    if counted:
        headings |= {"busy": "right", "largest stall": "left"}
    # With one space between columns it fits 80.
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for heading, justify in headings.items():
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]

    def row(name: str, op: str, engine: str, values: dict[str, Any]) -> None:
        used = f"{values['utilization']:.1%}" if values["macs"] and values["cycles"] else ""
        cycles = "" if values["cycles"] is None else f"{values['cycles']:,}"
        cells = [name, op, engine, f"{values['macs']:,}", cycles, used]
        if counted:
            busy = f"{values['busy'] / values['cycles']:.0%}" if values["cycles"] else ""
            cells += [busy, largest_stall(values)]
        table.add_row(*cells)

    for layer in report["layers"]:
        row(str(layer["index"]), layer["op"], layer["engine"], layer)
    table.add_section()
    row("all", "", "", report | all_causes(report))
    return table


def all_causes(report: dict[str, Any]) -> dict[str, Any]:
    """Return "busy" and "stalls" of all layers together."""
    layers = report["layers"]
    return {
        "busy": sum(layer["busy"] or 0 for layer in layers),
        "stalls": {name: sum(x["stalls"][name] or 0 for x in layers) for name in STALLS},
    }
