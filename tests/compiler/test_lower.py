"""Programs do exactly the steps they are made from, whatever loops and segments they become."""

import dataclasses
import random

import numpy as np
import pytest

from accel.compiler.lower import lower
from accel.compiler.schedule import Span, Step, order
from accel.config import PRESETS, Config
from accel.host.driver import Driver
from accel.image import Image, Segment, Tensor
from accel.isa import Engine, Space
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


def run(targets: list[tuple[int, int]], config: Config) -> tuple[np.ndarray, list[int]]:
    """Return the words that the copies left, and the sizes of the program's segments."""
    address = 2 * SOURCE_BYTES
    program = lower(copies([(0, w) for w in range(WORDS)] + targets), config.program_words, address)
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
