"""Programs that nobody would write: random instructions, and commands with random fields."""

import random
from dataclasses import dataclass

import numpy as np

from accel import asm
from accel.config import Config
from accel.host.device import Device
from accel.isa import COMMANDS, Engine, Operation, Space
from accel.regmap import Cause, Control, Status, address
from accel.riscv import INSTRUCTIONS, STORE
from sim.errors import ProgramError

__all__ = [
    "READ",
    "WRITE",
    "Outcome",
    "WildBench",
    "command_program",
    "random_command",
    "random_program",
    "same_kind",
    "stores",
]

PROGRAM = 0x1000
READ = (0x1000, 0x8FFF)
WRITE = (0x6000, 0x7FFF)
WATCHDOG = 8192
REGISTERS = range(1, 32)


@dataclass(frozen=True)
class Outcome:
    """How a program ended: `cause` is NONE where it came to TDONE."""

    cause: Cause
    engine: int = 0
    address: int = 0
    pc: int = 0


class WildBench:
    """Runs programs on a device whose memory windows are narrow, and reads how they ended.

    Parameters
    ----------
    device : Device
        With memory from 0 on.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._program_words = device.config.program_words
        rng = np.random.default_rng(1)
        self.content = rng.integers(0, 256, READ[1] + 1 - PROGRAM, np.uint8)
        self.open()

    def open(self) -> None:
        """Set the registers as a host does after reset."""
        for name, value in (
            ("IRQ_ENABLE", 1),
            ("PROGRAM_ADDRESS", PROGRAM),
            ("READ_BASE", READ[0]),
            ("READ_LIMIT", READ[1]),
            ("WRITE_BASE", WRITE[0]),
            ("WRITE_LIMIT", WRITE[1]),
            ("WATCHDOG", WATCHDOG),
        ):
            self.write(name, value)
        self.device.write_memory(PROGRAM, self.content)

    def start(self, words: list[int]) -> None:
        """Load and run a program, and leave what became of it in the registers."""
        self._load(words)
        self.write("CONTROL", Control.START)
        self.device.wait(4 * WATCHDOG)

    def transfer(self, posts: int = 0) -> list[int]:
        """Return a program that loads a word, and again so often with a token for the store."""
        fields = {"memory_address": READ[0], "words": 1, "rows": 1, "planes": 1}
        words = _set_registers(Engine.LOAD, COMMANDS[Engine.LOAD].encode(fields))
        pushes = [asm.tpush(Engine.LOAD), *[asm.tpush(Engine.LOAD, post=1 << Engine.STORE)] * posts]
        return [*words, *pushes, asm.twait(15), asm.tdone(0)]

    def run(self, words: list[int]) -> Outcome | None:
        """Load and run a program; None where the golden machine says that it breaks a rule.

        Raises
        ------
        AssertionError
            When a stop has no cause, or nothing stops it.
        """
        try:
            self.start(words)
        except ProgramError:
            self.write("CONTROL", Control.CLEAR)
            return None
        status = Status(self.read("STATUS"))
        cause, engine, at, pc = (
            self.read(n) for n in ("CAUSE", "CAUSE_ENGINE", "CAUSE_ADDRESS", "CAUSE_PC")
        )
        self.clear()
        if status & Status.DONE:
            assert status == Status.DONE | Status.IRQ and cause == Cause.NONE
            return Outcome(Cause.NONE)
        assert status == Status.ERROR | Status.IRQ and cause != Cause.NONE
        return Outcome(Cause(cause), engine, at, pc)

    def forget(self) -> None:
        """Fill program memory with zeros, whatever programs left there."""
        self._load([0] * self._program_words)

    def clear(self) -> None:
        """Clear what the last program left."""
        self.write("CONTROL", Control.CLEAR)
        assert self.read("STATUS") == 0

    def _load(self, words: list[int]) -> None:
        self.device.write_memory(PROGRAM, np.array(words, "<u4"))
        self.write("PROGRAM_WORDS", len(words))
        self.write("CONTROL", Control.LOAD)
        self.device.wait(4 * WATCHDOG)
        assert self.read("STATUS") == Status.DONE | Status.IRQ
        self.write("CONTROL", Control.CLEAR)

    def read(self, name: str) -> int:
        """Return the register of that name."""
        return self.device.read_register(address(name))

    def write(self, name: str, value: int) -> None:
        """Write the register of that name."""
        self.device.write_register(address(name), int(value))


def random_program(rng: random.Random, size: int) -> list[int]:
    """Return instructions, most of which exist, behind some that set all registers."""
    words = [asm.addi(r, 0, rng.randrange(-2048, 2048)) for r in REGISTERS]
    instructions = list(INSTRUCTIONS.values())
    for _ in range(size):
        word = rng.getrandbits(32)
        if rng.random() < 0.9:
            pattern = rng.choice(instructions).pattern
            word = int("".join(c if c in "01" else rng.choice("01") for c in pattern), 2)
        words.append(word)
    return words


def _legal(rng: random.Random, engine: Engine, config: Config) -> dict[str, int]:
    """Return fields of a small command that is legal, or nearly so."""

    def below(limit: int) -> int:
        return rng.randrange(limit)

    pads, lanes = config.scratchpad_words, config.lanes
    if engine in (Engine.LOAD, Engine.STORE):
        slot = config.word_slot
        low = READ[0] if engine == Engine.LOAD else WRITE[0]
        return {
            "memory_address": low + slot * below(256),
            "chip_address": below(256),
            "words": 1 + below(9),
            "rows": 1 + below(3),
            "planes": 1 + below(2),
            "memory_step_row": slot * below(64),
            "memory_step_plane": slot * below(64),
            "chip_step_row": below(20) - 5,
            "chip_step_plane": below(20) - 5,
            "space": int(Space.SCRATCHPAD) if engine == Engine.STORE else below(3),
        }
    if engine == Engine.MATMUL:
        counts = {f"count_{n}": 1 + below(3) for n in ("col", "row", "k0", "k1", "k2")}
        steps = {f"step_{n}": below(8) - 2 for n in ("col", "row", "k0", "k1", "k2")}
        steps |= {f"{n}_{axis}": below(3) - 1 for n in list(steps) for axis in "yx"}
        return {
            **counts,
            **steps,
            "input_address": below(pads // 2),
            "weight_address": below(config.weight_words // 2),
            "acc_address": below(2 * config.acc_depth),
            "input_height": 1 + below(8),
            "input_width": 1 + below(8),
        }
    operation = rng.choice(list(Operation))
    windowed = operation in (Operation.SUM, Operation.MAX, Operation.MIN)
    fields = {
        "operation": int(operation),
        "uniform": below(2),
        "upper": below(2) if lanes % 2 == 0 else 0,
        "slices": 1 if operation == Operation.ACC else 1 + below(3),
        "count_col": 1 + below(4),
        "count_row": 1 + below(4),
        "window_col": 1 + below(3) * windowed,
        "window_row": 1 + below(3) * windowed,
        "clamp_min": -128,
        "clamp_max": 127,
        "multiplier": 1 << 30,
        "a_address": below(2 * config.acc_depth if operation == Operation.ACC else pads),
        "b_address": below(pads),
        "dst_address": below(pads),
        "param_address": below(config.weight_words),
    }
    for name in ("a", "b", "dst"):
        fields[f"{name}_slot"] = below(config.rows // lanes)
        fields[f"{name}_plane"] = below(9) - 4
        for level in ("col", "row"):
            fields[f"{name}_step_{level}"] = below(9) - 4
    return fields


def random_command(rng: random.Random, config: Config) -> list[int]:
    """Return a program with one command of any engine, some of whose fields are anything."""
    engine = rng.choice(list(Engine))
    command = COMMANDS[engine]
    fields = _legal(rng, engine, config)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, len(command.fields)))):
        field = rng.choice(command.fields)
        span = 1 << field.width
        value = rng.choice(
            (0, 1, span - 1, span // 2, rng.randrange(span), 1 << rng.randrange(field.width))
        )
        if field.signed and value > field.high:
            value -= span
        fields[field.name] = value
    return command_program(engine, fields)


def command_program(engine: Engine, fields: dict[str, int]) -> list[int]:
    """Return a program with one command."""
    words = _set_registers(engine, COMMANDS[engine].encode(fields))
    return [*words, asm.tpush(engine), asm.twait(15), asm.tdone(0)]


def _set_registers(engine: Engine, registers: list[int]) -> list[int]:
    words = []
    for pair in range(COMMANDS[engine].pairs):
        values = [*registers[2 * pair : 2 * pair + 2], 0]
        words += asm.li(1, values[0]) + asm.li(2, values[1])
        words.append(asm.tset(engine, pair, 1, 2))
    return words


def stores(words: list[int]) -> bool:
    """Return whether a program might write its own code, which the RTL may have fetched."""
    return any(word & 0x7F == STORE for word in words)


def same_kind(golden: Outcome, found: Outcome) -> bool:
    """Return whether both stopped for the same reason, as far as both can know it."""
    if golden.cause in (Cause.ILLEGAL_COMMAND, Cause.CHIP_ADDRESS):
        # The hardware sees the rows one after the other, and may find something else first.
        same = golden.engine == found.engine and golden.pc == found.pc
        return same and found.cause >= Cause.READ_RESPONSE
    if golden.cause == Cause.WATCHDOG:
        return found.cause == Cause.WATCHDOG
    return golden == found
