"""Random legal commands: for the memories of a machine on its own, and as programs."""

import random
from dataclasses import dataclass

import numpy as np

from accel import asm
from accel.config import Config
from accel.isa import COMMANDS, Engine, Operation, Space

__all__ = [
    "CHIP",
    "CONTENT",
    "TABLE",
    "CommandProgram",
    "random_dma",
    "random_matmul",
    "random_vector",
    "serial",
]

CHIP = 1 << 20
"""Chip addresses are modulo this."""


def random_matmul(c: Config, r: random.Random) -> dict[str, int]:
    counts = {f"count_{n}": r.randint(1, 3) for n in ("col", "row", "k0", "k1", "k2")}
    pixels = counts["count_col"] * counts["count_row"]
    steps = {}
    for level in ("col", "row", "k0", "k1", "k2"):
        steps[f"step_{level}"] = r.randint(0, CHIP - 1) if r.random() < 0.3 else r.randint(0, 20)
        steps[f"step_{level}_y"] = r.randint(-3, 3)
        steps[f"step_{level}_x"] = r.randint(-3, 3) if r.random() < 0.9 else -(1 << 15)
    half = r.randint(0, 1) * c.acc_depth
    return (
        counts
        | steps
        | {
            "input_address": r.randint(0, CHIP - 1),
            "input_y": r.randint(-2, 3),
            "input_x": r.randint(-2, 3),
            "weight_address": r.randint(0, c.weight_words - 1),
            "acc_address": half + r.randint(0, c.acc_depth - pixels),
            "accumulate": r.randint(0, 1),
            "pad_value": r.randint(-128, 127),
            "input_height": r.choice((1, 3, 5, 65535)),
            "input_width": r.choice((1, 3, 5, 65535)),
        }
    )


def random_vector(c: Config, r: random.Random) -> dict[str, int]:
    operation = r.choice(list(Operation))
    windowed = operation in (Operation.SUM, Operation.MAX, Operation.MIN)
    slots = c.rows // c.lanes
    columns = c.cols // c.lanes
    a_slot = r.randrange(columns if operation == Operation.ACC else slots)
    limit = columns - a_slot if operation == Operation.ACC else 2 * slots
    low = r.randint(-128, 127)
    fields = {
        "operation": operation,
        "slices": r.randint(1, limit),
        "a_slot": a_slot,
        "b_slot": r.randrange(slots),
        "dst_slot": r.randrange(slots),
        "count_col": r.randint(1, 4),
        "count_row": r.randint(1, 3),
        "window_col": r.randint(1, 3) if windowed else 1,
        "window_row": r.randint(1, 3) if windowed else 1,
        "uniform": r.randint(0, 1),
        "upper": r.randint(0, 1) if c.lanes % 2 == 0 else 0,
        "output_zero": r.randint(-128, 127),
        "clamp_min": low,
        "clamp_max": r.randint(low, 127),
        "param_address": r.randint(0, c.weight_words - 1),
        "multiplier": r.randint(0, (1 << 31) - 1),
        "bias": r.choice((-(1 << 31), (1 << 31) - 1, r.randint(-(1 << 12), 1 << 12))),
        "shift": r.choice((-31, 30, r.randint(-8, 2))),
        # Operands and result lie in different thirds of the scratchpad.
        "a_address": r.randint(0, 20),
        "b_address": 20,
        "dst_address": 100 + CHIP - (c.scratchpad_words if r.randint(0, 1) else 0),
    }
    fields["dst_address"] %= CHIP
    for name, top in (("a_step_wcol", 2), ("a_step_wrow", 2), ("a_step_col", 3), ("a_step_row", 3)):
        fields[name] = r.randint(0, top)
    for name in ("b_step_col", "b_step_row", "dst_step_col", "dst_step_row"):
        fields[name] = r.randint(-1, 2) % CHIP
    for name in ("a_plane", "b_plane", "dst_plane"):
        fields[name] = r.randint(0, 3)
    return fields


def random_dma(c: Config, r: random.Random, engine: Engine) -> dict[str, int]:
    space = Space.SCRATCHPAD if engine == Engine.STORE else r.choice(list(Space))
    slot = {Space.SCRATCHPAD: c.word_slot, Space.WEIGHTS: c.weight_slot}.get(space, 4)
    packing = {}
    if engine == Engine.LOAD and space == Space.SCRATCHPAD and r.random() < 0.6:
        words, step, slot = r.randint(1, 9), r.randint(1, 63), c.word_slot
        stream = (words - 1) * step + slot
        lead = r.randint(0, min(63, stream - 1))
        tail = r.randint(0, 63)
        packing = {
            "words": words,
            "memory_address": (1 << 14) + r.randint(0, 4096),
            "memory_step_row": r.randint(-500, 500) % (1 << 32),
            "memory_step_plane": r.randint(-500, 500) % (1 << 32),
            "pack_bytes": max(1, stream - lead - r.choice([tail, 0])),
            "pack_lead": lead,
            "pack_tail": tail,
            "pack_step": step,
            "pack_value": r.randint(-128, 127),
        }
    return {
        "space": space,
        "words": r.randint(1, 9),
        "rows": r.randint(1, 4),
        "planes": r.randint(1, 3),
        "memory_address": (1 << 14) + slot * r.randint(0, 64),
        "memory_step_row": slot * r.randint(-8, 16) % (1 << 32),
        "memory_step_plane": slot * r.randint(-8, 16) % (1 << 32),
        "chip_address": r.randint(0, CHIP - 1),
        "chip_step_row": r.randint(-8, 16) % CHIP,
        "chip_step_plane": r.randint(-8, 16) % CHIP,
        **packing,
    }


CONTENT, TABLE, RESULT = 0x4000, 0x5000, 0xC000
"""Offsets of what a program fills the memories with, and of what it shows at its end."""
_PARAMETERS = 9
"""Weight words of a channel group's parameters: bias, multiplier, shift."""
_ROUNDS = (
    *((1 << 30, shift) for shift in (1, -7, -15, -23)),
    *((0x1555555 >> bits, 0) for bits in (0, 2, 4)),
)
"""Multipliers and shifts with which the accumulators are shown: all of their bits, and products
that every bit of both factors has a part in."""


def _image(c: Config, r: random.Random) -> dict[str, int]:
    """Return fields of a matmul command that reads an image, and nothing beyond it."""
    height, width = r.randint(1, 5), r.randint(1, 5)
    first = r.randrange(c.scratchpad_words - height * width)
    y, x = r.randint(-2, height), r.randint(-2, width)
    # Some begin far outside, and come in by a step of one of the loops.
    far, entry = 0, r.choice(("col", "row", "k0", "k1", "k2"))
    if r.random() < 0.3:
        far = r.randint(-(1 << 14), 1 << 14)
        y += far
    fields = random_matmul(c, r) | {"input_height": height, "input_width": width}
    fields |= {"input_y": y, "input_x": x, "input_address": (first + y * width + x) % CHIP}
    for level in ("col", "row", "k0", "k1", "k2"):
        dy, dx = r.randint(-2, 2), r.randint(-2, 2)
        if level == entry:
            dy -= far
        steps = {"": (dy * width + dx) % CHIP, "_y": dy, "_x": dx}
        fields |= {f"step_{level}{tail}": value for tail, value in steps.items()}
    if r.random() < 0.3:
        # Many tiles in one of the loops.
        long = dict.fromkeys(("count_k0", "count_k1", "count_k2"), 1)
        long[r.choice(list(long))] = r.randint(1, c.weight_words // c.rows)
        fields |= long
    tiles = fields["count_k0"] * fields["count_k1"] * fields["count_k2"]
    return fields | {"weight_address": r.randrange(c.weight_words - c.rows * tiles + 1)}


def _results(c: Config, r: random.Random, parameters: bool) -> dict[str, int]:
    """Return fields of a vector command whose operands and results are inside the memories."""
    fields = random_vector(c, r)
    third = c.scratchpad_words // 3
    fields |= {"b_address": third + r.randrange(20, 99), "dst_address": r.randrange(520, 990)}
    if fields["operation"] == Operation.ACC:
        room = 2 * c.acc_depth - fields["count_col"] * fields["count_row"]
        fields["a_address"] = r.randint(0, room)
    else:
        fields["a_address"] = r.randrange(third // 2)
        if r.random() < 0.2:
            # Many results in one place.
            fields |= dict.fromkeys(("a_step_col", "b_step_col", "dst_step_col"), 0)
            fields |= {"count_col": r.getrandbits(11) + 1, "count_row": 1}
    # Products of all sizes: most of those of random factors are beyond what can be told apart.
    fields["multiplier"] = r.getrandbits(r.randint(8, 31))
    fields["shift"] = r.choice((-31, 30, *range(-8, 3)))
    fields["param_address"] = _PARAMETERS * r.randrange(c.weight_words // _PARAMETERS - 8)
    return fields | ({} if parameters else {"uniform": 1})


def _move(c: Config, r: random.Random, engine: Engine) -> dict[str, int]:
    """Return fields of a load or store that stays inside the memories."""
    fields = random_dma(c, r, engine)
    if fields["space"] in (Space.PROGRAM, Space.TABLE, Space.WEIGHTS):
        # A program's own code, and what has to be legal in the others, stay as they are.
        fields |= {"space": Space.SCRATCHPAD, "words": min(fields["words"], 9)}
    fields["chip_address"] = r.randrange(100, c.scratchpad_words - 150)
    if engine == Engine.STORE:
        fields["memory_address"] = 0xA800 + c.word_slot * r.randrange(500)
    return fields


@dataclass
class CommandProgram:
    """A program that fills the memories, runs random commands and shows what they hold.

    Parameters
    ----------
    config : Config
    r : random.Random
    count : int
        Of the commands in the middle.
    tokens : bool
        They are ordered by tokens; otherwise the controller waits for each.
    parameters : bool
        The weights are such that they are legal parameters too.
    products : bool
        The table's entries are such that they can be multiplied.
    stray : bool
        One command in the middle goes to any address of external memory.
    """

    config: Config
    r: random.Random
    count: int
    tokens: bool
    parameters: bool
    products: bool
    stray: bool = False

    def content(self) -> bytes:
        """Return what is to be at CONTENT, and behind it at TABLE."""
        weights = np.frombuffer(self.r.randbytes(TABLE - CONTENT), np.int8).copy()
        table = np.frombuffer(self.r.randbytes(4 * 512), "<i4")
        if self.parameters:
            words = weights.reshape(-1, self.config.weight_slot)
            part = np.arange(len(words)) % _PARAMETERS
            # The bias is small, the multiplier positive.
            words[part == 2] >>= 5
            words[part == 3] >>= 7
            words[part == 7] &= 0x7F >> self.r.randrange(8)
            words[part == 8] = words[part == 8] % 11 - 8
        if self.products:
            table = table >> 23
        return weights.tobytes() + table.tobytes()

    def words(self) -> list[int]:
        """Return the program."""
        c, r = self.config, self.r
        commands: list[tuple[Engine, dict[str, int]]] = []
        for space, size in (
            (Space.WEIGHTS, c.weight_words),
            (Space.TABLE, 512),
            (Space.SCRATCHPAD, c.scratchpad_words),
        ):
            first = TABLE if space == Space.TABLE else CONTENT
            fields = {"memory_address": first, "words": size, "rows": 1, "planes": 1}
            commands.append((Engine.LOAD, fields | {"space": int(space)}))
        commands += [(Engine.MATMUL, self._fill(half)) for half in range(2)]
        for _ in range(self.count):
            engine = r.choice(list(Engine))
            if engine == Engine.MATMUL:
                commands.append((engine, _image(c, r)))
            elif engine == Engine.VECTOR:
                fields = _results(c, r, self.parameters)
                if fields["operation"] == Operation.MUL and not self.products:
                    fields["operation"] = Operation.ADD
                commands.append((engine, fields))
            else:
                commands.append((engine, _move(c, r, engine)))
        if self.stray:
            engine = r.choice((Engine.LOAD, Engine.STORE))
            where = {"memory_address": c.word_slot * r.randrange((1 << 32) // c.word_slot)}
            place = r.randrange(len(commands) - self.count, len(commands) + 1)
            commands.insert(place, (engine, _move(c, r, engine) | where))
        whole = {"words": c.scratchpad_words, "rows": 1, "planes": 1}
        commands.append((Engine.STORE, whole | {"memory_address": RESULT}))
        for number, (multiplier, shift) in enumerate(_ROUNDS):
            commands.append((Engine.VECTOR, self._show(100 * number, multiplier, shift)))
        commands.append((Engine.STORE, whole | {"memory_address": RESULT + 0x1000}))
        return self._code(commands)

    def _fill(self, half: int) -> dict[str, int]:
        """Return a matmul command that writes every accumulator of a half."""
        counts = {f"count_{n}": 1 for n in ("row", "k0", "k1", "k2")}
        image = {"input_height": 1, "input_width": self.config.scratchpad_words}
        steps = {"step_col": 1, "step_col_x": 1}
        first = {"acc_address": half * self.config.acc_depth, "weight_address": 7 * half}
        return counts | image | steps | first | {"count_col": self.config.acc_depth}

    def _show(self, place: int, multiplier: int, shift: int) -> dict[str, int]:
        """Return a vector command that shows all accumulators, as they are shifted."""
        counts = dict.fromkeys(("count_row", "window_col", "window_row", "uniform"), 1)
        size = {"count_col": 2 * self.config.acc_depth, "dst_step_col": 1}
        slices = {"slices": self.config.cols // self.config.lanes, "dst_plane": 1}
        values = {"multiplier": multiplier, "shift": shift, "clamp_min": -128, "clamp_max": 127}
        return counts | size | slices | values | {"dst_address": place}

    def _code(self, commands: list[tuple[Engine, dict[str, int]]]) -> list[int]:
        if not self.tokens:
            return serial(commands)
        code: list[int] = []
        for index, (engine, fields) in enumerate(commands):
            before = commands[index - 1][0] if index else engine
            behind = commands[index + 1][0] if index + 1 < len(commands) else engine
            post = 1 << behind if behind != engine else 0
            # Its own bit: for its earlier commands.
            wait = 1 << before if index else 0
            stamp = self.r.random() < 0.3
            code += [*_set(engine, fields), asm.tpush(engine, wait, post, stamp)]
        return [*code, asm.twait(15), asm.tdone(1)]


def _set(engine: Engine, fields: dict[str, int]) -> list[int]:
    """Return what writes the registers of an engine."""
    registers = COMMANDS[engine].encode(fields)
    code = []
    for pair in range(len(registers) // 2):
        code += asm.li(1, registers[2 * pair]) + asm.li(2, registers[2 * pair + 1])
        code.append(asm.tset(engine, pair, 1, 2))
    return code


def serial(commands: list[tuple[Engine, dict[str, int]]]) -> list[int]:
    """Return a program that runs one command after the other."""
    code: list[int] = []
    for engine, fields in commands:
        code += [*_set(engine, fields), asm.tpush(engine), asm.twait(15)]
    return [*code, asm.tdone(1)]
