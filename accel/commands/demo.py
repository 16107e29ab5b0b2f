"""`accel demo`: handwritten digits through the RTL of a small accelerator."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from accel.api import RunResult, compile_model, open_device, run
from accel.commands.common import CommandParsers, add_command, console, layer_table
from accel.config import PRESETS
from accel.data import DIGITS_MODEL, Digits, digits_model, load_digits
from accel.errors import AccelError
from accel.progress import progress

__all__ = ["add_parser", "execute"]

IMAGES = 10
PER_LINE = 5
FULL_INK = 16

PICTURE = Path("build") / "demo.png"


def add_parser(parsers: CommandParsers) -> None:
    """Add the command."""
    parser = add_command(
        parsers,
        "demo",
        "Run the bundled digits network on the simulated hardware: ten images, the answers, cycles "
        f"per layer, a picture in {PICTURE}.",
        "accel demo",
    )
    parser.set_defaults(execute=execute)


def _half_blocks(image: npt.NDArray[np.uint8], line: int, colors: bool) -> Text:
    """Return two pixel rows of an image as one line of text."""
    text = Text()
    for upper, lower in zip(image[2 * line], image[2 * line + 1], strict=True):
        if colors:
            grey = [int(min(v, FULL_INK)) * 255 // FULL_INK for v in (upper, lower)]
            front, back = (Color.from_rgb(g, g, g) for g in grey)
            text.append("▀", Style(color=front.name, bgcolor=back.name))
        else:
            text.append(" ▀▄█"[(upper > FULL_INK // 2) + 2 * (lower > FULL_INK // 2)])
    return text


def _show_digits(out: Console, digits: Digits, answers: npt.NDArray[np.intp]) -> None:
    colors = out.color_system is not None
    for first in range(0, len(answers), PER_LINE):
        group = range(first, min(first + PER_LINE, len(answers)))
        for line in range(digits.image.shape[1] // 2):
            row = [_half_blocks(digits.image[n], line, colors) for n in group]
            out.print(Text("    ").join([Text(""), *row]))
        notes = []
        for n in group:
            right = answers[n] == digits.label[n]
            note = f"read {answers[n]}" if right else f"{answers[n]}, not {digits.label[n]}"
            notes.append(Text(f"{note:<8}", "green" if right else "red"))
        out.print(Text("    ").join([Text(""), *notes]))
        out.print()


def _draw(
    path: Path, digits: Digits, answers: npt.NDArray[np.intp], report: dict[str, Any]
) -> None:
    """Draw the images with their answers, and the layers' cycles, to a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(10, 4.5), layout="constrained")
    grid = figure.add_gridspec(2, len(answers), height_ratios=(1, 2))
    for n, answer in enumerate(answers):
        axes = figure.add_subplot(grid[0, n])
        axes.imshow(digits.image[n], cmap="gray_r")
        axes.set_axis_off()
        color = "tab:green" if answer == digits.label[n] else "tab:red"
        axes.set_title(str(answer), color=color)
    axes = figure.add_subplot(grid[1, :])
    layers = [layer for layer in report["layers"] if layer["cycles"]]
    names = [f"{layer['index']} {layer['op']}" for layer in layers]
    bars = axes.barh(names, [layer["cycles"] for layer in layers])
    axes.bar_label(
        bars,
        [f"{x['utilization']:.0%} of peak" if x["macs"] else "" for x in layers],
        padding=4,
    )
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("clock cycles")
    axes.set_title(
        f"{report['model']} on {report['config']}: {report['cycles']:,} cycles an image, RTL"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png", dpi=120)
    temporary.replace(path)
    pyplot.close(figure)


def _run(out: Console, digits: Digits) -> RunResult:
    config = PRESETS["small"]
    out.print(
        f"accel demo: the bundled network {DIGITS_MODEL} on the accelerator {config.name} "
        f"({config.rows} x {config.cols} array)"
    )
    image = replace(compile_model(digits_model(), config), model=Path(DIGITS_MODEL).stem)
    out.print(
        f"  compiled: {len(image.layers)} layers, {image.macs:,} multiply-accumulates an image, "
        f"{image.program_words:,} instructions"
    )
    out.print("  hardware: Verilog from the generator, simulated by Verilator")
    out.print("            (the first time it is built, for a minute or so; then it is cached)")
    with open_device("verilator", config) as device:
        out.print(f"  running {IMAGES} images through the RTL\n")
        with progress("running", IMAGES) as bar:
            return run(image, digits.x, device=device, limit=IMAGES, on_inference=bar.advance)


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    out = console()
    digits = load_digits()
    result = _run(out, digits)
    outputs = result.outputs[0].reshape(IMAGES, -1)
    answers = outputs.argmax(axis=1)
    _show_digits(out, digits, answers)
    out.print(layer_table(result.report))
    equal = int((outputs == digits.y_tflm[:IMAGES].reshape(IMAGES, -1)).all(axis=1).sum())
    right = int((answers == digits.label[:IMAGES]).sum())
    out.print(f"\n{right} of {IMAGES} digits read correctly")
    out.print(f"{equal} of {IMAGES} outputs equal TensorFlow Lite Micro")
    try:
        with progress("drawing"):
            _draw(PICTURE, digits, answers, result.report)
    except OSError as error:
        raise AccelError(f"cannot write {PICTURE}: {error.strerror}") from None
    out.print(f"picture: {PICTURE}")
    return 0 if equal == IMAGES else 1
