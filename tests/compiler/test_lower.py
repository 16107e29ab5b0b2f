"""Programs do exactly the steps they are made from, whatever loops and segments they become."""

import dataclasses
import random

import numpy as np
import pytest

from accel import asm
from accel.compiler.lower import lower
from accel.compiler.schedule import Call, Span, Step, order
from accel.config import PRESETS, Config
from accel.errors import ModelError
from accel.host.driver import Driver
from accel.image import Image, Segment, Tensor
from accel.isa import COMMANDS, Engine, Space
from sim.devices import open_device

CONFIG = PRESETS["test"]
WORDS = CONFIG.scratchpad_words
SOURCE_BYTES = WORDS * CONFIG.word_slot


def copies(targets: list[tuple[int, int]]) -> list[Step]:
    """Return loads of single words (source, target), then a store of the whole scratchpad."""
    steps = [
        Step(
            Engine.LOAD,
            {
                "memory_address": 4 * source,
                "chip_address": target,
                "words": 1,
                "rows": 1,
                "planes": 1,
                "space": int(Space.SCRATCHPAD),
            },
            [],
            [Span("scratchpad", target, target + 1)],
            stream=source % 2,
        )
        for source, target in targets
    ]
    whole = {"memory_address": SOURCE_BYTES, "words": WORDS, "rows": 1, "planes": 1}
    steps.append(Step(Engine.STORE, whole, [Span("scratchpad", 0, WORDS)], []))
    order(steps)
    return steps


def counting(words: int) -> Call:
    """Return controller code of a size that adds 1 to scratchpad word 0 and spoils registers."""
    code = [asm.lui(5, 0x40000), asm.lw(6, 5, 0), asm.addi(6, 6, 1), asm.sw(6, 5, 0)]
    code += [asm.addi(register, 0, -1) for register in (1, 2, 5, 6, 7, 16, 17, 28, 29, 30, 31)]
    code.append(asm.jal(0, 4 * (words - len(code))))
    return Call(tuple(code + [0] * (words - len(code))))


def run(
    targets: list[tuple[int, int]], config: Config, call: tuple[int, Call] | None = None
) -> tuple[np.ndarray, list[int]]:
    """Return the words that the copies left, and the sizes of the program's segments.

    With (n, call), the call comes before each nth of the copies.
    """
    address = 2 * SOURCE_BYTES
    first = [(0, w) for w in range(WORDS)]
    steps: list[Step | Call] = list(copies(first + targets))
    if call is not None:
        for place in range(len(steps) - 1, len(first) - 1, -1):
            if (place - len(first)) % call[0] == 0 and place < len(first) + len(targets):
                steps.insert(place, call[1])
        order(steps)
    program = lower(steps, config.program_words, address)
    tensor = Tensor(
        name="t",
        shape=(1, WORDS, 4),
        dtype="int8",
        address=0,
        height=1,
        width=WORDS,
        channels=4,
        rows=4,
        slot=4,
    )
    image = Image(
        config=config,
        model="copies",
        program_address=address,
        program_words=len(program.segments[0]),
        memory_bytes=address + len(program.data),
        segments=(Segment(address=address, data=program.data),),
        inputs=(tensor,),
        outputs=(dataclasses.replace(tensor, address=SOURCE_BYTES),),
    )
    words = np.arange(WORDS, dtype="<u4").view(np.int8).reshape(1, WORDS, 4)
    with open_device("model", config, memory_bytes=1 << 20) as device:
        driver = Driver(device)
        driver.load_image(image)
        for _ in range(2):
            result = driver.run([words])[0][0]
    return result.reshape(-1).view("<u4"), [len(s) for s in program.segments]


def expected(targets: list[tuple[int, int]]) -> np.ndarray:
    """Return the words as they should be."""
    words = np.zeros(WORDS, "<u4")
    for source, target in targets:
        words[target] = source
    return words


@pytest.mark.parametrize("program_bytes", [1024, 4096, 65536])
def test_irregular_steps(program_bytes):
    rng = random.Random(1)
    targets = [(rng.randrange(WORDS), rng.randrange(WORDS)) for _ in range(300)]
    result, sizes = run(targets, dataclasses.replace(CONFIG, program_bytes=program_bytes))
    np.testing.assert_array_equal(result, expected(targets))
    assert (len(sizes) > 1) == (program_bytes < 65536)
    assert len(sizes) == 1 or len(sizes) % 2 == 0


@pytest.mark.parametrize("program_bytes", [1024, 2048, 65536])
def test_a_loop_whose_body_is_out_of_a_branch_s_reach(program_bytes):
    rng = random.Random(2)
    body = [(rng.randrange(WORDS), rng.randrange(WORDS // 2)) for _ in range(180)]
    targets = [(s, (t + 100 * turn) % WORDS) for turn in range(3) for s, t in body]
    result, sizes = run(targets, dataclasses.replace(CONFIG, program_bytes=program_bytes))
    np.testing.assert_array_equal(result, expected(targets))
    if program_bytes == 65536:
        assert 1024 < sizes[0] < 2 * 1024 + 512, "the three turns are one loop"


def test_regular_steps_become_a_small_program():
    targets = [(5 * i + j, 16 * i + j) for i in range(40) for j in range(9)]
    result, sizes = run(targets, CONFIG)
    np.testing.assert_array_equal(result, expected(targets))
    assert sizes[0] < 200


@pytest.mark.parametrize(
    "program_bytes, words, segments", [(65536, 300, 1), (4096, 300, 4), (4096, 800, 11)]
)
def test_calls_between_steps(program_bytes, words, segments):
    rng = random.Random(3)
    targets = [(rng.randrange(WORDS), rng.randrange(1, WORDS)) for _ in range(100)]
    config = dataclasses.replace(CONFIG, program_bytes=program_bytes)
    result, sizes = run(targets, config, (10, counting(words)))
    wanted = expected(targets)
    wanted[0] = 10
    np.testing.assert_array_equal(result, wanted)
    assert len(sizes) >= segments
    assert max(sizes) <= program_bytes // 4


def test_a_call_in_a_loop_keeps_the_loop_s_registers():
    targets = [(5 * i + j, 1 + 16 * i + j) for i in range(40) for j in range(9)]
    result, sizes = run(targets, CONFIG, (3, counting(50)))
    wanted = expected(targets)
    wanted[0] = 120
    np.testing.assert_array_equal(result, wanted)
    assert sizes[0] < 1000, "the call is there a few times, not 120 times"


def test_a_call_that_does_not_fit_the_program_memory_is_refused():
    config = dataclasses.replace(CONFIG, program_bytes=2048)
    with pytest.raises(ModelError, match="kernel .* needs .* larger program_bytes"):
        run([(1, 2)], config, (1, counting(500)))


@pytest.mark.parametrize("program_bytes", [1024, 65536])
def test_registers_are_cleared_before_their_first_use_and_not_before_the_first_load(program_bytes):
    rng = random.Random(3)
    steps = copies([(rng.randrange(WORDS), rng.randrange(WORDS)) for _ in range(200)])
    program = lower(steps, program_bytes // 4, 0)
    words = [word for segment in program.segments for word in segment]
    clears = {
        engine: [
            words.index(asm.tset(engine, pair, 0, 0)) for pair in range(COMMANDS[engine].pairs)
        ]
        for engine in (Engine.LOAD, Engine.STORE)
    }
    pushes = {
        engine: next(
            i for i, word in enumerate(words)
            if word & 0xC000707F == asm.tpush(engine) & 0xC000707F
        )
        for engine in clears
    }  # fmt: skip
    assert max(clears[Engine.LOAD]) < pushes[Engine.LOAD] < min(clears[Engine.STORE])
    assert max(clears[Engine.STORE]) < pushes[Engine.STORE]
    for engine in (Engine.MATMUL, Engine.VECTOR):
        assert asm.tset(engine, 0, 0, 0) not in words
