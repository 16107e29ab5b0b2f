"""The top of a board, as it is built, in Verilator: with its oscillator, serial port and memory."""

import ctypes
import dataclasses
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

import boards
from accel.config import Config
from accel.errors import DeviceError
from accel.gateware.export import tool_versions
from accel.gateware.sdram_parts import SdramPart
from accel.gateware.uart import MIN_BIT_CYCLES, bit_cycles
from accel.progress import progress
from boards.base import Board, emit
from sim.devices.build import build_library, sources_digest
from sim.devices.cache import cached_file, digest_of
from sim.devices.sdram import SdramCounts, SdramParameters
from sim.serial_port import SerialSimulation

__all__ = ["SDRAM_SIGNALS", "BoardSimulation", "BoardTop", "board_top"]

HARNESS = Path(__file__).with_name("board.cpp")
PRIMITIVES = Path(__file__).parents[1] / "primitives"
TOP = "simulation"

COMPLAINT_BITS = 640
"""For what a model of a primitive has to say."""

SDRAM_SIGNALS = ("clk", "cke", "cs_n", "ras_n", "cas_n", "we_n", "ba", "a", "dqm", "dq")
"""Pins of the part, as board.cpp knows them after `sdram_`; the levels are those at the part."""

HOLD_NS = 4.5
"""From an edge of the memory's clock to the end of the old word, tOH of 2.5 ns, pads and wires."""

ACCESS_NS = 9.5
"""From there to its word at a register: tAC of 6.5 ns, pads and wires."""


@dataclass(frozen=True, kw_only=True)
class BoardTop:
    """What there is to know of a board's top to simulate it.

    Parameters
    ----------
    name : str
        What messages call it.
    verilog : str
        The top and all modules in it but the FPGA's primitives.
    module : str
        The top's name.
    ports : mapping of str to str
        For each port of the top what it is connected to: `oscillator`, `phase` (the accelerator's
        clock itself, where a top has no clock primitive), `rx`, `tx`, `sdram_` and one of
        SDRAM_SIGNALS, or a constant. Others are left open.
    primitives : tuple of str
        Files of sim/primitives that it needs, without `.v`.
    clock_hz, oscillator_hz : int
        Of the accelerator, and of the board's oscillator.
    bit_cycles : int
        Cycles of the accelerator's clock that a bit of the serial port takes.
    part : SdramPart, optional
        The memory at its pins.
    phases : int
        Of a cycle: 4 where a clock is a quarter of a cycle late.
    """

    name: str
    verilog: str
    module: str
    ports: Mapping[str, str]
    primitives: tuple[str, ...] = ()
    clock_hz: int
    oscillator_hz: int
    bit_cycles: int
    part: SdramPart | None = None
    phases: int = 2
    widths: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        part = self.part
        widths = {"phase": 1, "oscillator": 1, "rx": 1, "tx": 1}
        if part is not None:
            sizes = {
                "ba": 2,
                "a": max(part.row_bits, 11),
                "dqm": part.data_bits // 8,
                "dq": part.data_bits,
            }
            widths |= {f"sdram_{name}": sizes.get(name, 1) for name in SDRAM_SIGNALS}
        object.__setattr__(self, "widths", widths)

    def wrapper(self) -> str:
        """Return module `simulation`: the top with the ports that board.cpp knows."""

        def declare(name: str, width: int) -> str:
            # A pad's model may be one that could drive its pin.
            kinds = {"phase": "input", "oscillator": "input", "rx": "inout", "sdram_dq": "inout"}
            kind = kinds.get(name, "output")
            return f"{kind} [{width - 1}:0] {name}"

        ports = ", ".join(
            [
                *(declare(name, width) for name, width in self.widths.items()),
                f"output reg [{COMPLAINT_BITS - 1}:0] complaint",
            ]
        )
        connections = ", ".join(f".\\{port} ({to})" for port, to in self.ports.items())
        return f"module {TOP}({ports});\n  \\{self.module} top({connections});\nendmodule\n"

    def build(self) -> Path:
        """Return the simulator's library, built when it is not cached."""
        defines = {
            "SIMULATION_PHASES": self.phases,
            "SIMULATION_CLOCK_KHZ": self.clock_hz // 1000,
            "SIMULATION_OSCILLATOR_KHZ": self.oscillator_hz // 1000,
        }
        models = [(PRIMITIVES / f"{name}.v").read_text("utf-8") for name in self.primitives]
        return build_library(
            "".join(
                [
                    *(f"`define {name} {value}\n" for name, value in defines.items()),
                    *models,
                    self.verilog,
                    self.wrapper(),
                ]
            ),
            top=TOP,
            defines={
                "PHASES": self.phases,
                "SDRAM": self.part.data_bits if self.part else 0,
                "COMPLAINT": COMPLAINT_BITS,
            },
            trace=False,
            name=self.name,
            harness=HARNESS,
            options=["--pins-inout-enables"],
        )


_FAMILIES = {"EHXPLLL": "ecp5", "SB_PLL40_PAD": "ice40", "rPLL": "gowin"}

_SDRAM_RESOURCE = dict(
    zip("clk clk_en cs ras cas we ba a dqm dq".split(), SDRAM_SIGNALS, strict=True)
)
"""Names of a memory's pins in amaranth-boards, and here."""


def board_top(
    board: Board, config: Config, baud: int | None = None, system_hz: int | None = None
) -> BoardTop:
    """Return a board's top as `accel build` has it, with the FPGA's primitives.

    Parameters
    ----------
    board : Board
    config : Config
    baud : int, optional
        By default the fastest at this clock.
    system_hz : int, optional
        By default the board's.

    Raises
    ------
    ConfigError
        When these do not fit the board.
    """
    clock_hz = round(board.clock(system_hz).output_hz)
    baud = clock_hz // MIN_BIT_CYCLES if baud is None else baud
    module, verilog = _emit(dataclasses.replace(board, baud=baud, system_hz=clock_hz), config)
    header = re.search(rf"^module {module} ?\(([^)]*)\);", verilog, flags=re.M)
    names = [name.strip() for name in header[1].split(",")] if header else []
    known = {
        f"{board.clock_resource}_0__io": "oscillator",
        "uart_0__rx__io": "rx",
        "uart_0__tx__io": "tx",
        **{f"sdram_0__{pin}__io": f"sdram_{signal}" for pin, signal in _SDRAM_RESOURCE.items()},
    }
    return BoardTop(
        name=f"{board.name} ({config.name})",
        verilog=verilog,
        module=module,
        ports={name: known[name] for name in names if name in known},
        primitives=(_FAMILIES[board.pll.primitive],),
        clock_hz=clock_hz,
        oscillator_hz=board.clock_hz,
        bit_cycles=bit_cycles(clock_hz, baud),
        part=getattr(board.memory, "part", None),
        # Quarters of a cycle, where a clock is so late.
        phases=4 if (board.phase or 0) % 180 else 2,
    )


def _emit(board: Board, config: Config) -> tuple[str, str]:
    """Return the name of the top module, and the Verilog; emitted when the sources have changed."""
    sources = Path(boards.__file__).parent.glob("*.py")
    parameters = [board.name, repr(config), str(board.baud), str(board.system_hz)]
    key = digest_of([*parameters, sources_digest(*sources), repr(tool_versions())])

    def make(path: Path) -> None:
        with progress(f"writing the Verilog of {board.name}, {config.name}"):
            emitted = emit(board, config)
            path.write_text(f"// {emitted.name}\n{emitted.verilog}", encoding="utf-8")

    first, _, verilog = cached_file(f"{key}.v", make).read_text("utf-8").partition("\n")
    return first.removeprefix("// "), verilog


class _Parameters(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_uint64)
            for name in (
                "bit_cycles oscillator_hz clock_hz memory_bytes hold_phases access_phases"
            ).split()
        ),
        ("part", SdramParameters),
    ]


class BoardSimulation(SerialSimulation):
    """A board's top in Verilator, and the bytes on its serial port.

    A broken rule of the SDRAM, pins that change with the memory's clock, and primitives that are
    used in another way than their models know end it.

    Parameters
    ----------
    top : BoardTop

    Members
    -------
    memory : array of uint8
        What the SDRAM holds.
    counts : SdramCounts
        What it was asked to do.
    """

    def __init__(self, top: BoardTop) -> None:
        self._top = top
        self._cycles_per_second = float(top.clock_hz)
        super().__init__(top.build(), bit_cycles=top.bit_cycles)
        self.memory: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        if top.part is not None:
            pointer = self._library.board_memory(ctypes.c_void_p(self._handle))
            cells = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint8))
            self.memory = np.ctypeslib.as_array(cells, (top.part.bytes,))

    @property
    def baud(self) -> int:
        """Bits per second that the line really carries, by the last `measure`."""
        return int(self._cycles_per_second / self.bit_cycles)

    def measure(self, cycles: int) -> None:
        """Clock the board so many times, and see how long that takes here."""
        start = time.monotonic()
        self.step(cycles)
        self._cycles_per_second = cycles / (time.monotonic() - start)

    @property
    def counts(self) -> SdramCounts:
        """What the SDRAM was asked to do."""
        counts = SdramCounts()
        self._library.board_counts(ctypes.c_void_p(self._handle), ctypes.byref(counts))
        return counts

    def _open(self) -> int:
        top, part = self._top, self._top.part
        phase_ns = 1e9 / top.clock_hz / top.phases
        parameters = _Parameters(
            bit_cycles=top.bit_cycles,
            oscillator_hz=top.oscillator_hz,
            clock_hz=top.clock_hz,
            memory_bytes=part.bytes if part else 0,
            hold_phases=int(HOLD_NS / phase_ns),
            access_phases=int(ACCESS_NS / phase_ns),
        )
        if part is not None:
            parameters.part = SdramParameters.of(part, top.clock_hz / 1e6)
        library = self._library
        library.board_open.restype = ctypes.c_void_p
        library.board_memory.restype = ctypes.c_void_p
        library.board_error.restype = ctypes.c_char_p
        return int(library.board_open(ctypes.byref(parameters)))

    def _check(self) -> None:
        if text := self._library.board_error(ctypes.c_void_p(self._handle)).decode():
            raise DeviceError(f"{self._top.name}: {text}")
