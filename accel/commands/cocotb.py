"""`accel cocotb`: the shipped test benches on the emitted Verilog."""

import argparse

from accel.commands.common import CommandParsers, add_command, add_config, console
from accel.config import Config
from accel.errors import DeviceError
from accel.progress import progress

__all__ = ["add_parser", "execute"]


def add_parser(parsers: CommandParsers) -> None:
    """Add the command."""
    from sim.benches.registry import BENCHES

    parser = add_command(
        parsers,
        "cocotb",
        "Run the shipped cocotb test benches on the emitted Verilog.",
        "accel cocotb --config test --simulator icarus --bench array --waves",
    )
    add_config(parser)
    add = parser.add_argument
    add(
        "--simulator",
        choices=("verilator", "icarus"),
        default="verilator",
        help="default: verilator",
    )
    benches = "; ".join(f"{b.name}: {b.description}" for b in BENCHES.values())
    add("--bench", metavar="NAME", help=f"only this one of: {benches}")
    add("--waves", action="store_true", help="write waves, below build/cocotb")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    from sim.benches.registry import BENCHES, find_bench
    from sim.benches.runner import run_bench, simulator_problem

    config = Config.load(args.config)
    names = [find_bench(args.bench).name] if args.bench else list(BENCHES)
    problem = simulator_problem(args.simulator)
    if problem:
        raise DeviceError(problem)
    out = console()
    failed = 0
    for name in names:
        with progress(f"bench {name} under {args.simulator}"):
            result = run_bench(name, config, args.simulator, waves=args.waves)
        failed += result.failed
        passed = result.tests - result.failed
        out.print(f"{name}: {passed} of {result.tests} tests passed; log: {result.log}")
        if result.waves:
            out.print(f"{name}: waves: {result.waves}")
    return 1 if failed else 0
