"""`accel info`: what a configuration amounts to."""

import argparse
import dataclasses

from rich.table import Table

from accel.commands.common import CommandParsers, add_command, add_config, console
from accel.config import Config
from accel.isa import COMMANDS, ISA_VERSION
from accel.regmap import REGISTERS

__all__ = ["add_parser", "execute"]


def add_parser(parsers: CommandParsers) -> None:
    """Add the command."""
    parser = add_command(
        parsers,
        "info",
        "Show a configuration: its fields, the sizes they give, registers and limits.",
        "accel info --config base",
    )
    add_config(parser)
    parser.set_defaults(execute=execute)


def _table(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table


def _derived(config: Config) -> list[tuple[str, str]]:
    words = config.scratchpad_words
    protected = "parity on scratchpad, weights, accumulators and program memory"
    return [
        ("fingerprint", f"{config.fingerprint:#010x}"),
        ("ISA version", str(ISA_VERSION)),
        ("array", f"{config.macs_per_cycle:,} multiply-accumulates per cycle"),
        ("scratchpad", f"{words:,} words of {config.rows} bytes, {config.scratchpad_banks} banks"),
        ("weight memory", f"{config.weight_words:,} words of {config.cols} bytes"),
        ("weight tiles held", f"{config.weight_words // config.rows:,}"),
        ("accumulators", f"2 x {config.acc_depth:,} pixels of {config.cols} int32"),
        ("program memory", f"{config.program_words:,} words"),
        ("memory port", f"{config.bus_bytes} bytes a beat, bursts up to 256 beats"),
        ("word in memory", f"{config.word_slot} bytes a pixel and {config.rows} channels"),
        ("weight word in memory", f"{config.weight_slot} bytes"),
        ("memory protection", protected if config.parity else "none"),
    ]


def _limits(config: Config) -> list[tuple[str, str]]:
    fields = {(e, f.name): f.high for e, c in COMMANDS.items() for f in c.fields}
    highest = {name: high for (_, name), high in fields.items()}
    return [
        ("output pixels of a command", f"{config.acc_depth:,}"),
        ("image height and width", f"{highest['input_height']:,}"),
        ("channel slices of a vector command", f"{highest['slices']:,}"),
        ("memory an image can address", "4 GiB"),
    ]


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    config = Config.load(args.config)
    out = console()
    fields = [(f.name, str(getattr(config, f.name))) for f in dataclasses.fields(config)]
    out.print(_table("Configuration", fields))
    out.print(_table("\nWhat it gives", _derived(config)))
    out.print(_table("\nLimits", _limits(config)))
    registers = [(f"{r.offset:#04x}", f"{r.name} ({r.access})", r.doc) for r in REGISTERS]
    table = Table(title="\nRegisters", title_justify="left", box=None, show_header=False)
    for row in registers:
        table.add_row(*row)
    out.print(table, markup=False)
    return 0
