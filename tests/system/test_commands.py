"""Random legal commands on the whole machine: what the golden machine makes of them."""

import random

import numpy as np
import pytest

from accel import asm
from accel.config import PRESETS
from accel.host.device import Device
from accel.isa import COMMANDS, Engine, Operation, Space
from accel.regmap import Cause, Control, Rule, address
from sim.errors import ProgramError
from tests.random_commands import CONTENT, CommandProgram, serial
from tests.wild import Outcome, same_kind

CONFIG = PRESETS["test"]
MEMORY_BYTES = 1 << 16
BASES = (0, 0x5A5A0000, 0xFFFF0000)
CAUSES = ("CAUSE", "CAUSE_ENGINE", "CAUSE_ADDRESS", "CAUSE_PC")
COUNTS = ("STATUS", "EXIT_CODE", "INSTRUCTIONS", "STAMP_COUNT", "READ_BEATS", "WRITE_BEATS")


def run(
    device: Device, words: list[int], content: bytes, watchdog: int = 1 << 16
) -> tuple[Outcome, list[int], bytes]:
    """Run a program; return how it ended, what was counted, and all of memory."""
    base = device.memory_base
    device.write_memory(base, np.zeros(MEMORY_BYTES, np.uint8))
    device.write_memory(base + CONTENT, content)
    device.write_memory(base, np.array(words, "<u4"))
    for name, value in (
        ("CONTROL", Control.CLEAR),
        ("IRQ_ENABLE", 1),
        ("MEMORY_BASE", base),
        ("PROGRAM_WORDS", len(words)),
        ("WATCHDOG", watchdog),
        ("READ_BASE", base),
        ("WRITE_BASE", base + 0xA000),
        ("READ_LIMIT", base + MEMORY_BYTES - 1),
        ("WRITE_LIMIT", base + MEMORY_BYTES - 1),
    ):
        device.write_register(address(name), value)
    for control in (Control.LOAD, Control.CLEAR, Control.START):
        device.write_register(address("CONTROL"), control)
        if control != Control.CLEAR:
            device.wait(4 * watchdog)
    cause, *place = (device.read_register(address(name)) for name in CAUSES)
    counts = [device.read_register(address(name)) for name in COUNTS]
    return Outcome(Cause(cause), *place), counts, device.read_memory(base, MEMORY_BYTES)


@pytest.mark.parametrize("base", BASES, ids=hex)
@pytest.mark.parametrize("number", [16, pytest.param(400, marks=pytest.mark.full)])
def test_random_programs_of_commands(device, base, number):
    options = {"memory_bytes": MEMORY_BYTES, "memory_base": base}
    golden = device("model", CONFIG, **options)
    rtl = device("verilator", CONFIG, stalls=("never", "sometimes")[base > 0], seed=9, **options)
    ended, causes = 0, set()
    for seed in range(number):
        r = random.Random(f"{base} {seed}")
        tokens, parameters, products = (seed >> bit & 1 > 0 for bit in range(3))
        stray = seed % 3 > 1
        program = CommandProgram(CONFIG, r, 16, tokens, parameters, products, stray)
        words, content = program.words(), program.content()
        try:
            expected, counts, memory = run(golden, words, content)
        except ProgramError:
            # It has no defined result: a command reads what it writes.
            continue
        outcome, counted, found = run(rtl, words, content)
        assert same_kind(expected, outcome), (seed, expected, outcome)
        causes.add(outcome.cause)
        if outcome.cause == Cause.NONE:
            # Otherwise what the other engines have done is for the hardware to say.
            assert counted == counts, seed
            differing = np.flatnonzero(np.frombuffer(memory, "u1") != np.frombuffer(found, "u1"))
            assert not len(differing), (seed, len(differing), hex(differing[0]))
            ended += 1
    assert ended > number // 3
    assert causes & {Cause.READ_WINDOW, Cause.WRITE_WINDOW}


@pytest.mark.parametrize("base", BASES, ids=hex)
def test_error_responses_anywhere(device, base):
    options = {"memory_bytes": MEMORY_BYTES, "memory_base": base}
    golden = device("model", CONFIG, **options)
    rtl = device("verilator", CONFIG, stalls="sometimes", seed=4, **options)
    r = random.Random(f"errors {base}")
    program = CommandProgram(CONFIG, r, 16, False, True, True)
    words, content = program.words(), program.content()
    _, counts, _ = run(golden, words, content)
    beats = dict(zip(COUNTS, counts, strict=True))
    assert beats["WRITE_BEATS"]
    for number in range(12):
        direction = ("read", "write")[number % 2]
        # Those of the program itself come first.
        first = len(words) if direction == "read" else 0
        beat = first + r.randrange(beats[f"{direction.upper()}_BEATS"])
        for one in (golden, rtl):
            one.inject_error(direction, beat)
        (expected, *_), (found, *_) = (run(one, words, content) for one in (golden, rtl))
        assert expected.cause == Cause[f"{direction.upper()}_RESPONSE"]
        assert found == expected, (direction, beat)


WHOLE = {"words": CONFIG.scratchpad_words, "rows": 1, "planes": 1, "memory_address": CONTENT}
ONCE = dict.fromkeys(
    ("slices", "count_col", "count_row", "window_col", "window_row", "uniform", "dst_address"), 1
)
SUMS = ONCE | {"operation": Operation.SUM, "multiplier": 1 << 30, "shift": -14, "clamp_max": 127}
LONG = [
    *(
        (engine, {"words": 1, "rows": 1, "planes": 1, "memory_address": place} | {count: 0x3FFF})
        for engine, place in ((Engine.LOAD, CONTENT), (Engine.STORE, 0xA000))
        for count in ("rows", "planes")
    ),
    *(
        (Engine.VECTOR, SUMS | {count: 0x3FFF})
        for count in ("count_col", "count_row", "window_col", "window_row")
    ),
]


@pytest.mark.parametrize("engine", [Engine.LOAD, Engine.VECTOR, Engine.STORE])
def test_long_loops(device, engine):
    options = {"memory_bytes": MEMORY_BYTES, "latency": 1}
    golden, rtl = (device(name, CONFIG, **options) for name in ("model", "verilator"))
    content = random.Random(1).randbytes(0x1000)
    for _, fields in (one for one in LONG if one[0] == engine):
        commands = [(Engine.LOAD, WHOLE), (engine, fields)]
        store = WHOLE | {"memory_address": 0xC000}
        words = serial([*commands, (Engine.STORE, store)])
        expected, found = (run(one, words, content, 1 << 20) for one in (golden, rtl))
        assert found[0].cause == Cause.NONE
        assert found == expected, fields


@pytest.mark.parametrize("uniform", [0, 1])
def test_a_command_again_and_again(device, uniform):
    """The same one, in place: each needs what the one before it has written."""
    # Parameters of a group: bias 1, multiplier 1 << 30, shift 1.
    group = b"".join(bytes([byte] * CONFIG.cols) for byte in (1, 0, 0, 0, 0, 0, 0, 0x40, 1))
    content = bytes(range(CONFIG.rows)) + group
    line = {"memory_address": CONTENT, "words": 1, "rows": 1, "planes": 1}
    parameters = line | {"memory_address": CONTENT + CONFIG.rows, "words": 9, "space": 1}
    more = SUMS | {"shift": 1, "bias": 1, "a_address": 0, "dst_address": 0, "uniform": uniform}
    more |= {"slices": CONFIG.rows // CONFIG.lanes}
    first = [(Engine.LOAD, line), (Engine.LOAD, parameters), (Engine.VECTOR, more)]
    words = serial(first)[:-1]
    words += [asm.tpush(Engine.VECTOR, wait=1 << Engine.VECTOR)] * 9 + [asm.twait(15)]
    words += serial([(Engine.STORE, line | {"memory_address": 0xC000})])
    golden, rtl = (
        device(name, CONFIG, memory_bytes=MEMORY_BYTES) for name in ("model", "verilator")
    )
    expected, found = (run(one, words, content) for one in (golden, rtl))
    assert found == expected and found[0].cause == Cause.NONE
    assert expected[2][0xC000 : 0xC000 + CONFIG.rows] == bytes(10 + n for n in range(CONFIG.rows))


def test_edges_of_the_largest_images(device):
    """Coordinates have 16 bits with a sign, sizes 16 without."""
    ends = [(at, size) for at in (32767, 32766, 0, -1, -32768) for size in (1, 32767, 32768, 65535)]
    once = dict.fromkeys([f"count_{n}" for n in ("col", "row", "k0", "k1", "k2")], 1)
    once |= {"input_y": 0, "input_x": 0, "input_height": 1, "input_width": 1}
    weights = {"words": CONFIG.rows, "rows": 1, "planes": 1, "memory_address": CONTENT}
    commands = [(Engine.LOAD, WHOLE), (Engine.LOAD, weights | {"space": int(Space.WEIGHTS)})]
    for number, (at, size) in enumerate(ends):
        for axis, length in (("y", "height"), ("x", "width")):
            fields = {f"input_{axis}": at, f"input_{length}": size, "pad_value": 77}
            place = {"acc_address": number + CONFIG.acc_depth * (axis == "x")}
            commands.append((Engine.MATMUL, once | {"input_address": 9} | fields | place))
    show = ONCE | {"operation": Operation.ACC, "slices": CONFIG.cols // CONFIG.lanes}
    show |= {"multiplier": 1 << 30, "shift": -7, "clamp_min": -128, "clamp_max": 127}
    show |= {"count_col": len(ends), "dst_step_col": 1}
    for half in range(2):
        place = {"a_address": half * CONFIG.acc_depth, "dst_address": 100 * half}
        commands.append((Engine.VECTOR, show | place))
    words = serial([*commands, (Engine.STORE, WHOLE | {"memory_address": 0xC000})])
    content = random.Random(2).randbytes(0x1000)
    golden, rtl = (
        device(name, CONFIG, memory_bytes=MEMORY_BYTES) for name in ("model", "verilator")
    )
    expected, found = (run(one, words, content) for one in (golden, rtl))
    assert found == expected and found[0].cause == Cause.NONE
    # What is inside and what is not give two results, on both axes.
    shown = np.frombuffer(expected[2], "<u4")[0xC000 // 4 :]
    assert [len({*shown[first : first + len(ends)]}) for first in (0, 100)] == [2, 2]


def test_accumulators_that_are_not_there(device):
    """The rule is told, whichever register was written last."""
    golden, rtl = (
        device(name, CONFIG, memory_bytes=MEMORY_BYTES) for name in ("model", "verilator")
    )
    legal = dict.fromkeys([f"count_{n}" for n in ("col", "row", "k0", "k1", "k2")], 2)
    legal |= {"input_height": 9, "input_width": 9}
    begin = serial([(Engine.LOAD, WHOLE), (Engine.LOAD, WHOLE | {"words": 512, "space": 1})])[:-1]
    for bit in range(6, 16):
        registers = COMMANDS[Engine.MATMUL].encode(legal | {"acc_address": 1 << bit})
        for last in range(3):
            code = []
            for pair in sorted(
                range(len(registers) // 2), key=lambda pair, last=last: pair == last
            ):
                code += asm.li(1, registers[2 * pair]) + asm.li(2, registers[2 * pair + 1])
                code.append(asm.tset(Engine.MATMUL, pair, 1, 2))
            words = [*begin, *code, asm.tpush(Engine.MATMUL), asm.twait(15), asm.tdone(0)]
            (expected, *_), (found, *_) = (run(one, words, bytes(4096)) for one in (golden, rtl))
            assert found == expected, (bit, last)
            assert (found.cause, found.address) == (Cause.CHIP_ADDRESS, Rule.ACCUMULATORS)
