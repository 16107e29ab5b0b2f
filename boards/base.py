"""What a board is, the top level that all have, and how that becomes Verilog and constraints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from amaranth.hdl import ClockDomain, Const, Elaboratable, Module
from amaranth.lib import io

from accel.config import Config
from accel.errors import ConfigError
from accel.gateware.export import finish_verilog, provenance_header
from accel.gateware.memories import Memory
from accel.gateware.system import System
from boards.clock import ClockGenerator
from boards.devices import Device
from boards.pads import SdramPads
from boards.pll import PllKind, PllSetting, choose

__all__ = ["Board", "Emitted", "emit"]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One FPGA board.

    Parameters
    ----------
    name : str
        As in `accel build NAME`.
    title : str
    platform : callable
        Returns a new platform of amaranth-boards: pins and their electrical attributes.
    device : Device
        The FPGA, and the tools for it.
    part : str
        As its maker calls it.
    config : Config
        Built where no other is asked for.
    clock_resource, clock_hz
        Its crystal: what the platform calls it, and its frequency.
    system_hz : int
        The clock that is asked for where no other is.
    baud : int
        Of the host link.
    memory : Memory
    pll : PllKind
    pads : type of SdramPads, optional
        What joins the memory with its pins.
    phase : int, optional
        Degrees by which the memory's clock follows the system's.
    leds : sequence of str
        Members of System that the platform's LEDs show, in their order.
    ties : mapping of str to int
        Resources with one output that keeps a level.
    """

    name: str
    title: str
    platform: Callable[[], Any]
    device: Device
    part: str
    config: Config
    clock_resource: str
    clock_hz: int
    system_hz: int
    baud: int
    memory: Memory
    pll: PllKind
    pads: type[SdramPads] | None = None
    phase: int | None = None
    leds: tuple[str, ...] = ("heartbeat", "running", "error", "ready")
    ties: Mapping[str, int] = field(default_factory=dict)

    def check(self, config: Config) -> None:
        """Check that a configuration's primitives are those of the board's FPGA.

        Raises
        ------
        ConfigError
            When they are another family's.
        """
        if config.target not in ("generic", self.device.target):
            raise ConfigError(
                f"configuration {config.name} is for target {config.target}, which {self.name} is "
                f'not: choose another, or a .toml file with target = "{self.device.target}"'
            )

    def clock(self, system_hz: int | None = None) -> PllSetting:
        """Return the PLL's setting for a system clock, the board's own by default.

        Raises
        ------
        ConfigError
            When the PLL cannot make it.
        """
        return choose(self.pll, self.clock_hz, system_hz or self.system_hz)


class _Top(Elaboratable):
    """A board's top level: clock, system, pads."""

    def __init__(self, board: Board, config: Config, setting: PllSetting) -> None:
        self._board = board
        self._setting = setting
        self._system = System(
            config, clock_hz=round(setting.output_hz), baud=board.baud, memory=board.memory
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        board, system = self._board, self._system
        m.domains.sync = ClockDomain()
        if board.phase is not None:
            m.domains.memory = ClockDomain(reset_less=True)
        m.submodules.clock = ClockGenerator(
            kind=board.pll,
            setting=self._setting,
            input_hz=board.clock_hz,
            port=platform.request(board.clock_resource, dir="-"),
            phase=board.phase,
        )
        m.submodules.system = system
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]
        if board.pads is not None:
            ports = platform.request("sdram", dir="-")
            m.submodules.pads = board.pads(system.pins, ports)
        levels = {("led", i): getattr(system, name) for i, name in enumerate(board.leds)}
        levels |= {(name, 0): Const(level) for name, level in board.ties.items()}
        for (name, number), level in levels.items():
            port = platform.request(name, number, dir="-")
            m.submodules[f"{name}_{number}"] = buffer = io.Buffer("o", port)
            m.d.comb += buffer.o.eq(level)
        return m


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """A board's design as text.

    Parameters
    ----------
    name : str
        Of the top module.
    verilog, constraints : str
        The constraints as place and route for this FPGA reads them: LPF, PCF or CST.
    setting : PllSetting
    """

    name: str
    verilog: str
    constraints: str
    setting: PllSetting

    @property
    def clock_hz(self) -> Fraction:
        """The system clock that the PLL makes."""
        return self.setting.output_hz


def emit(board: Board, config: Config, *, system_hz: int | None = None) -> Emitted:
    """Return a board's top level as Verilog, with the constraints of its pins.

    Ports are called as amaranth-boards' resources: `clk25_0__io`, `uart_0__rx__io`,
    `sdram_0__dq__io`.

    Raises
    ------
    ConfigError
        When the configuration, the clock or the baud rate do not fit the board.
    """
    board.check(config)
    setting = board.clock(system_hz)
    name = f"systolite_{board.name}"
    platform = board.platform()
    plan = platform.prepare(_Top(board, config, setting), name, emit_src=False)
    hz = float(setting.output_hz)
    title = f"systolite on {board.title}, configuration {config.name}"
    header = provenance_header(config, f"{title}, {hz / 1e6:g} MHz, {board.baud} baud")
    return Emitted(
        name=name,
        verilog=finish_verilog(plan.files[f"{name}.il"], name, header=header),
        constraints=plan.files[f"{name}.{board.device.constraints}"],
        setting=setting,
    )
