"""Configurations: the frozen parameters of one accelerator, named presets, TOML files."""

import dataclasses
import hashlib
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel.errors import ConfigError

__all__ = ["PRESETS", "Config", "slot_bytes"]

TARGETS = ("generic", "ecp5", "ice40")
ARRAY_SIZES = (4, 8, 12, 16, 32)
WEIGHT_STEP = 512
"""Weight words by which a memory may be larger or smaller than a power of two."""


def slot_bytes(width: int) -> int:
    """Bytes that an on-chip word of `width` bytes takes in external memory: a power of two."""
    return 1 << (width - 1).bit_length()


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ConfigError(message)


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of one accelerator; everything else is derived from them.

    Parameters
    ----------
    rows : int
        Array rows, the reduction: input channels taken per cycle. One of 4, 8, 12, 16, 32.
    cols : int
        Array columns: output channels computed at once. One of 4, 8, 12, 16, 32.
    scratchpad_bytes : int
        Activation memory; a power of two. A word of 12 bytes counts as 16.
    scratchpad_banks : int
        Banks of the scratchpad, interleaved by word address: 1, 2, 4 or 8.
    weight_bytes : int
        Weight memory; a power of two, or a multiple of 512 words. A word of 12 bytes counts as 16.
    acc_depth : int
        Output pixels that each of the two accumulator halves holds; a power of two, 16 to 4096.
    lanes : int
        Results per cycle of the vector engine; divides rows and cols.
    multiply : bool
        RV32M multiply and divide in the controller.
    bus_bits : int
        Data width of the memory port: 32, 64 or 128.
    program_bytes : int
        Program memory of the controller; a power of two, 1 KiB to 64 KiB.
    queue_depth : int
        Register writes that each engine's command queue holds; a power of two, 4 to 64. The load
        engine's holds four times as many, so that loads can be issued well ahead of their use.
    reads_in_flight : int
        Read bursts that the load engine keeps outstanding, 1 to 16.
    counters : bool
        Counters of what each cycle of a run, and of each layer, went to.
    target : str
        Blocks: "ecp5" names the MULT18X18D with its registers, "ice40" the UltraPlus' SB_MAC16 and
        SPRAM (in a `serial` machine; simulators see plain Verilog), "generic" leaves all to the
        synthesis tool.
    dsp_cells : int
        Cells of the array that may have a DSP block, on target "ecp5"; the others multiply in
        lookup tables, for parts with fewer blocks than rows * cols.
    parity : bool
        Parity bits on scratchpad, weight memory, accumulators and program memory: a flipped bit
        stops the machine where it is read.
    memory_rate : int
        Bytes a cycle that the memory behind the port moves, 1 to those of the port; 0: as many as
        the port. What the compiler and the golden machine's estimates count with; no part of the
        hardware, nor of the fingerprint.
    serial : bool
        One datapath with microcode in place of controller and engines: small enough for an iCE40
        UP5K, and one command at a time (docs/tiny.md). Its sizes are fixed, or have limits.
    name : str
        Preset or file name; not part of the fingerprint.

    Raises
    ------
    ConfigError
        When a value, or a combination of them, cannot be built.
    """

    rows: int = 8
    cols: int = 8
    scratchpad_bytes: int = 65536
    scratchpad_banks: int = 4
    weight_bytes: int = 32768
    acc_depth: int = 512
    lanes: int = 4
    multiply: bool = True
    bus_bits: int = 64
    program_bytes: int = 16384
    queue_depth: int = 16
    reads_in_flight: int = 8
    counters: bool = True
    target: str = "generic"
    dsp_cells: int = 1024
    parity: bool = False
    memory_rate: int = 0
    serial: bool = False
    name: str = "custom"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _require(
                type(value) is type(field.default),
                f"{field.name} must be {type(field.default).__name__}, not {value!r}",
            )
        sizes = ", ".join(map(str, ARRAY_SIZES))
        _require(self.rows in ARRAY_SIZES, f"rows must be one of {sizes}, not {self.rows}")
        _require(self.cols in ARRAY_SIZES, f"cols must be one of {sizes}, not {self.cols}")
        _require(
            self.lanes > 0 and math.gcd(self.rows, self.cols) % self.lanes == 0,
            f"lanes must divide rows ({self.rows}) and cols ({self.cols}), and {self.lanes} "
            "does not",
        )
        _require(
            self.scratchpad_banks in (1, 2, 4, 8),
            f"scratchpad_banks must be one of 1, 2, 4, 8, not {self.scratchpad_banks}",
        )
        for name, low, high in (
            ("scratchpad_bytes", 2048, 1 << 22),
            ("acc_depth", 16, 4096),
            ("program_bytes", 1024, 1 << 16),
            ("queue_depth", 4, 64),
        ):
            value = getattr(self, name)
            _require(
                _is_power_of_two(value) and low <= value <= high,
                f"{name} must be a power of two from {low} to {high}, not {value}",
            )
        step = WEIGHT_STEP * slot_bytes(self.cols)
        _require(
            1024 <= self.weight_bytes <= 1 << 22
            and (_is_power_of_two(self.weight_bytes) or self.weight_bytes % step == 0),
            f"weight_bytes must be a power of two or a multiple of {step}, from 1024 to "
            f"{1 << 22}, not {self.weight_bytes}",
        )
        _require(
            self.bus_bits in (32, 64, 128), f"bus_bits must be 32, 64 or 128, not {self.bus_bits}"
        )
        _require(
            0 <= self.memory_rate <= self.bus_bytes,
            f"memory_rate must be from 0 to the port's {self.bus_bytes} bytes, not "
            f"{self.memory_rate}",
        )
        _require(
            1 <= self.reads_in_flight <= 16,
            f"reads_in_flight must be from 1 to 16, not {self.reads_in_flight}",
        )
        _require(
            self.target in TARGETS,
            f"target must be one of {', '.join(TARGETS)}, not {self.target}",
        )
        most = max(ARRAY_SIZES) ** 2
        _require(
            0 <= self.dsp_cells <= most,
            f"dsp_cells must be from 0 to {most}, not {self.dsp_cells}",
        )
        for name, words in (
            ("scratchpad_bytes", self.scratchpad_words),
            ("weight_bytes", self.weight_words),
        ):
            # One more bit of an address's 20 tells that it is past the end.
            _require(words <= 1 << 19, f"{name} must hold at most {1 << 19} words, not {words}")
        least = 4 * max(self.rows, 12)
        _require(
            self.weight_words >= least,
            f"weight_bytes must hold {least} words of {self.cols} bytes (four tiles), "
            f"at least {least * slot_bytes(self.cols)}, not {self.weight_bytes}",
        )
        _require(
            self.scratchpad_words >= 128,
            f"scratchpad_bytes must hold 128 words of {self.rows} bytes, at least "
            f"{128 * slot_bytes(self.rows)}, not {self.scratchpad_bytes}",
        )
        if self.serial:
            self._check_serial()

    def _check_serial(self) -> None:
        """Refuse what the serial machine is not made for."""
        fixed: dict[str, int] = {
            **{"rows": 4, "cols": 4, "lanes": 1, "scratchpad_banks": 1, "acc_depth": 64},
            **{"bus_bits": 32, "multiply": False, "counters": False, "parity": False},
        }
        for name, value in fixed.items():
            found = getattr(self, name)
            _require(
                found == value,
                f"{name} must be {value!r} where serial is true, not {found!r}",
            )
        for name, most in (
            ("scratchpad_bytes", 32768),
            ("weight_bytes", 8192),
            ("program_bytes", 16384),
        ):
            found = getattr(self, name)
            _require(
                found <= most, f"{name} must be at most {most} where serial is true, not {found}"
            )
        _require(
            self.target != "ecp5", "target must be generic or ice40 where serial is true, not ecp5"
        )

    @property
    def bus_bytes(self) -> int:
        """Bytes per beat of the memory port."""
        return self.bus_bits // 8

    @property
    def bytes_per_cycle(self) -> int:
        """Bytes that the memory behind the port moves in a cycle at most."""
        return self.memory_rate or self.bus_bytes

    @property
    def word_slot(self) -> int:
        """Bytes of one scratchpad word (one pixel, `rows` channels) in external memory."""
        return slot_bytes(self.rows)

    @property
    def weight_slot(self) -> int:
        """Bytes of one weight word (`cols` weights) in external memory."""
        return slot_bytes(self.cols)

    @property
    def scratchpad_words(self) -> int:
        """Words of `rows` bytes in the scratchpad."""
        return self.scratchpad_bytes // self.word_slot

    @property
    def weight_words(self) -> int:
        """Words of `cols` bytes in the weight memory."""
        return self.weight_bytes // self.weight_slot

    @property
    def program_words(self) -> int:
        """32-bit words in the program memory."""
        return self.program_bytes // 4

    @property
    def macs_per_cycle(self) -> int:
        """Peak multiply-accumulates per cycle."""
        return self.rows * self.cols

    @property
    def load_queue_depth(self) -> int:
        """Register writes that the load engine's command queue holds."""
        return 4 * self.queue_depth

    @property
    def groups(self) -> int:
        """Scratchpad words that the matmul engine can read at once, each from another bank."""
        return max(1, min(3, self.rows // 3, self.scratchpad_banks - 1))

    @property
    def depthwise(self) -> bool:
        """Whether the array has a depthwise mode: byte c of a word then goes to column c."""
        return self.rows == self.cols and not self.serial

    @property
    def packs(self) -> bool:
        """Whether the load engine can pack a network's input."""
        return not self.serial

    @property
    def fingerprint(self) -> int:
        """32 bits that differ whenever the hardware would; the driver compares them."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["name"], values["memory_rate"]
        if not self.parity:
            # The hardware, and its number, from before there was the choice.
            del values["parity"]
        if not self.serial:
            del values["serial"]
        text = json.dumps(values, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    def to_toml(self) -> str:
        """Return the content of a file that `load` makes this configuration of."""
        lines = [f"# {self.name}, fingerprint {self.fingerprint:#010x}"]
        for field in dataclasses.fields(self):
            if field.name != "name":
                lines.append(f"{field.name} = {json.dumps(getattr(self, field.name))}")
        return "\n".join(lines) + "\n"

    @classmethod
    def load(cls, source: "str | Path | Config") -> "Config":
        """Return the configuration that a preset name or a TOML file describes.

        A TOML file holds field names of this class and optionally `preset` to start from.

        Raises
        ------
        ConfigError
            When there is no such preset or file, or the file's content does not fit.
        """
        if isinstance(source, Config):
            return source
        if str(source) in PRESETS:
            return PRESETS[str(source)]
        path = Path(source)
        if path.suffix != ".toml":
            known = ", ".join(PRESETS)
            raise ConfigError(f"unknown configuration {source}: use {known} or a .toml file")
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not a TOML file: {error}") from None
        preset = values.pop("preset", "small")
        if preset not in PRESETS:
            raise ConfigError(f"{path}: unknown preset {preset}: use {', '.join(PRESETS)}")
        known_fields = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known_fields:
                raise ConfigError(
                    f"{path}: unknown field {key}: use {', '.join(sorted(known_fields))}"
                )
        return dataclasses.replace(PRESETS[preset], **{"name": path.stem, **values})


PRESETS: dict[str, Config] = {
    config.name: config
    for config in (
        Config(
            name="test",
            rows=4,
            cols=4,
            scratchpad_bytes=4096,
            scratchpad_banks=2,
            weight_bytes=2048,
            acc_depth=32,
            lanes=2,
            multiply=False,
            bus_bits=32,
            program_bytes=16384,
        ),
        Config(
            name="tiny",
            rows=4,
            cols=4,
            scratchpad_bytes=32768,
            scratchpad_banks=1,
            weight_bytes=8192,
            acc_depth=64,
            lanes=1,
            multiply=False,
            bus_bits=32,
            counters=False,
            target="ice40",
            serial=True,
        ),
        Config(name="small", target="ecp5"),
        Config(
            name="base",
            rows=16,
            cols=16,
            scratchpad_bytes=131072,
            weight_bytes=65536,
            lanes=16,
            program_bytes=32768,
            target="ecp5",
            # Of 156 blocks in an ECP5-85F the lanes take 64, the controller one.
            dsp_cells=90,
        ),
        Config(
            name="ulx3s",
            rows=16,
            cols=16,
            # Of 208 blocks in an ECP5-85F, 32 and 100; all else of it takes 72, the link two.
            scratchpad_bytes=65536,
            weight_bytes=204800,
            lanes=16,
            program_bytes=32768,
            target="ecp5",
            dsp_cells=90,
            # An SDRAM of 16 bits at the accelerator's clock.
            memory_rate=2,
        ),
        Config(
            name="large",
            rows=32,
            cols=32,
            scratchpad_bytes=524288,
            weight_bytes=262144,
            lanes=32,
            bus_bits=128,
        ),
    )
}
