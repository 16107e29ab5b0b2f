"""With parity every bit that flips in an on-chip memory stops the machine where it is read.

On the RTL under Verilator, whose memory arrays are changed while it runs; tests/flipbench.py says
which flips are read. That it is right about what counts as a read is compared with the golden
machine here.
"""

import dataclasses
import random
import re
from collections import defaultdict
from itertools import groupby, pairwise

import numpy as np
import pytest

from accel import asm
from accel.asm import Encoder
from accel.config import PRESETS
from accel.errors import DeviceError
from accel.host.driver import Driver
from accel.isa import WINDOW_BASE, Engine
from accel.regmap import CONTROLLER, PARITY_WORD_SHIFT, Cause, Rule
from sim.devices.build import accelerator_verilog
from sim.devices.model import ModelDevice
from sim.devices.probing import ProbingDevice
from sim.spaces import Memory
from tests.faultbench import digits
from tests.flipbench import Flip, FlipBench
from tests.wild import Outcome, WildBench

CONFIG = dataclasses.replace(PRESETS["test"], parity=True, name="parity")
READERS = {
    # The store engine reads a few words at the end of the run: hardly ever drawn.
    Rule.SCRATCHPAD: {Engine.MATMUL, Engine.VECTOR, None},
    Rule.WEIGHTS: {Engine.MATMUL, Engine.VECTOR},
    Rule.ACCUMULATORS: {Engine.MATMUL, Engine.VECTOR},
    Rule.PROGRAM: {None},
}


@pytest.fixture(scope="module")
def bench() -> FlipBench:
    return FlipBench(CONFIG, digits(CONFIG))


@pytest.fixture(scope="module")
def core() -> WildBench:
    return WildBench(ProbingDevice(CONFIG, memory_bytes=1 << 16))


def amounts(sample: int, full: int) -> pytest.MarkDecorator:
    """Return the parameter `number`: a sample, and with test-full as many as the issue asks for."""
    values = [sample, pytest.param(full, id="full", marks=pytest.mark.full)]
    return pytest.mark.parametrize("number", values)


@amounts(10, 250)
@pytest.mark.parametrize("rule", READERS, ids=lambda rule: rule.name.lower())
def test_every_flip_that_is_read_is_found(bench: FlipBench, rule: Rule, number: int):
    rng = random.Random(f"{rule} {number}")
    for _ in range(number):
        flip = bench.draw(rng, rule, live=True)
        error = bench.expect_found(flip)
        word = flip.stored.address(flip.word)
        assert error.cause == Cause.PARITY, flip
        assert error.address == rule | word << PARITY_WORD_SHIFT, flip
        stores = {Engine.STORE} if rule == Rule.SCRATCHPAD else set()
        assert error.engine in READERS[rule] | stores, flip
        name = "controller" if error.engine is None else Engine(error.engine).name.lower()
        place = f"PARITY in {name} ({rule.name.lower()} word {word:#x}), pc"
        assert re.search(re.escape(place), str(error)), flip
        bench.check()


def test_what_matmul_adds_to_is_looked_at(bench: FlipBench):
    memory = next(memory for memory in bench.memories if memory.rule == Rule.ACCUMULATORS)
    engines = set()
    for word, uses in memory.uses.items():
        later = [use for before, use in pairwise(uses) if use - before > 12]
        if later:
            error = bench.expect_found(
                Flip(memory, word, word % memory.bits, later[0] - 4, later[0])
            )
            assert error.address >> PARITY_WORD_SHIFT == memory.address(word)
            engines.add(error.engine)
            bench.check()
    assert engines == {Engine.MATMUL}


def test_what_the_store_engine_reads_is_looked_at(bench: FlipBench):
    arrays = [memory for memory in bench.memories if memory.rule == Rule.SCRATCHPAD]
    # The result goes out last.
    use, memory, word = max(
        ((uses[-1], m, word) for m in arrays for word, uses in m.uses.items()),
        key=lambda item: item[0],
    )
    for bit in (0, 16, 17, memory.bits - 1):
        error = bench.expect_found(Flip(memory, word, bit, use - 4, use))
        assert (error.cause, error.engine) == (Cause.PARITY, Engine.STORE)
        assert error.address >> PARITY_WORD_SHIFT == memory.address(word)
        bench.check()


def test_it_is_in_the_memories_or_nowhere():
    plain, protected = (
        accelerator_verilog(config).read_text(encoding="utf-8")
        for config in (PRESETS["test"], CONFIG)
    )
    assert "parity" not in plain[plain.index("module") :]
    for bits in (33, 34, 36):
        memory = f"reg [{bits - 1}:0] memory ["
        assert memory in protected and memory not in plain


@amounts(5, 50)
@pytest.mark.parametrize("rule", READERS, ids=lambda rule: rule.name.lower())
def test_a_flip_that_is_not_read_changes_nothing(bench: FlipBench, rule: Rule, number: int):
    rng = random.Random(f"not {rule} {number}")
    for _ in range(number):
        bench.expect_unseen(bench.draw(rng, rule, live=False))
        bench.recover()


PROGRAM, SCRATCHPAD = "controller.memory.memory", "scratchpad.bank1.memory"
DATA = 100
"""Word of program memory that the programs below load."""


def program(*words: int) -> list[int]:
    """Return a program that counts to 600 first; then it does this, ends, and has some data."""
    head = [asm.addi(1, 0, 600), asm.addi(1, 1, -1), asm.bne(1, 0, -4)]
    body = [*head, *words, asm.tdone(0), asm.tdone(0)]
    return [*body, *[asm.nop()] * (DATA - len(body)), 0x8C31F7A5]


def run_flipped(core: WildBench, memory: str, word: int, bit: int, words: list[int]) -> Outcome:
    """Run a program; the bit changes while it counts, and changes back when it has ended."""
    core.device.flip(memory, word, bit, 1200)
    outcome = core.run(words)
    core.device.flip(memory, word, bit)
    core.device.advance(1)
    return outcome


def found(rule: Rule, word: int, pc: int) -> Outcome:
    """Return what the controller's own reads lead to."""
    return Outcome(Cause.PARITY, CONTROLLER, rule | word << PARITY_WORD_SHIFT, 4 * pc)


@pytest.mark.parametrize("load", [asm.lw, asm.lbu, asm.lh], ids=["lw", "lbu", "lh"])
def test_every_bit_of_a_word_that_the_controller_loads(core: WildBench, load: Encoder):
    words = program(load(2, 0, 4 * DATA))
    for bit in range(36):
        assert run_flipped(core, PROGRAM, DATA, bit, words) == found(Rule.PROGRAM, DATA, 3)
    assert core.run(words) == Outcome(Cause.NONE)
    # Not loaded, it does not matter.
    assert run_flipped(core, PROGRAM, DATA + 1, 5, words) == Outcome(Cause.NONE)


def test_every_bit_of_an_instruction(core: WildBench):
    words = program(asm.addi(2, 1, 5))
    for bit in range(36):
        assert run_flipped(core, PROGRAM, 3, bit, words) == found(Rule.PROGRAM, 3, 3)
        assert run_flipped(core, PROGRAM, 4, bit, words) == found(Rule.PROGRAM, 4, 4)
        # Fetched behind TDONE, never executed.
        assert run_flipped(core, PROGRAM, 5, bit, words) == Outcome(Cause.NONE)


@pytest.mark.parametrize("access", [asm.lw, asm.sb], ids=["load", "store"])
def test_every_bit_of_scratchpad_words_in_the_window(core: WildBench, access: Encoder):
    # A store of a byte reads the word and rewrites it, with its new parity: each bit has a word of
    # its own, row r of bank 1.
    for bit in range(34):
        row = bit + 1 + 40 * (access == asm.sb)
        word = 2 * row + 1
        core.device.flip(SCRATCHPAD, row, bit, 1200)
        outcome = core.run(program(asm.lui(3, WINDOW_BASE >> 12), access(2, 3, 4 * word)))
        assert outcome == found(Rule.SCRATCHPAD, word, 4)


def test_what_a_program_writes_has_its_parity(core: WildBench):
    window = asm.lui(3, WINDOW_BASE >> 12)
    stores = [asm.sb(1, 0, 4 * DATA + 1), asm.sh(3, 0, 4 * DATA + 2), asm.sw(3, 3, 8)]
    words = program(window, *stores, asm.lw(2, 0, 4 * DATA), asm.lw(2, 3, 8))
    assert core.run(words) == Outcome(Cause.NONE)


def test_what_counts_as_read_is_what_the_golden_machine_reads(bench: FlipBench):
    golden: dict[tuple[Memory, int], str] = defaultdict(str)
    with ModelDevice(CONFIG) as model:
        driver = Driver(model)
        driver.load_image(bench.image)
        ordering = model.machine.ordering
        access, read, write = ordering.access, ordering.controller_read, ordering.controller_write

        def note(memory, words, kind):
            numbers = range(words.start, words.stop) if isinstance(words, slice) else words.flat
            for word in numbers:
                golden[memory, int(word)] += kind

        def note_access(record, action, offset):
            sums = record.engine == Engine.MATMUL
            for item in action.reads:
                if not (sums and item.memory == Memory.ACCUMULATORS):
                    note(item.memory, item.words, "r")
            for item in action.writes:
                note(item.memory, item.words, "w")
            access(record, action, offset)

        def note_read(word):
            golden[Memory.SCRATCHPAD, word] += "r"
            read(word)

        def note_write(word, defines):
            golden[Memory.SCRATCHPAD, word] += "rw"
            write(word, defines)

        ordering.access, ordering.controller_read = note_access, note_read
        ordering.controller_write = note_write
        driver.run(bench.inputs)

    events: dict[tuple[Memory, int], list[tuple[int, str]]] = defaultdict(list)
    for stored in bench.memories:
        if stored.rule in (Rule.SCRATCHPAD, Rule.WEIGHTS):
            memory = Memory[str(stored.rule.name)]
            for word, uses in stored.uses.items():
                events[memory, stored.address(word)] += [(cycle, "r") for cycle in uses]
            for word, writes in stored.writes.items():
                events[memory, stored.address(word)] += [(cycle, "w") for cycle, _ in writes]
    for cycle, written, entry in bench.sums:
        events[Memory.ACCUMULATORS, entry].append((cycle, "w" if written else "r"))
    rtl = {place: "".join(kind for _, kind in sorted(found)) for place, found in events.items()}

    compared = (Memory.SCRATCHPAD, Memory.WEIGHTS, Memory.ACCUMULATORS)
    expected = {place: kinds for place, kinds in golden.items() if place[0] in compared}
    assert len(expected) > 800
    assert {p: _once(k) for p, k in rtl.items()} == {p: _once(k) for p, k in expected.items()}


def _once(kinds: str) -> str:
    """Return it without repetitions."""
    return "".join(kind for kind, _ in groupby(kinds))


def test_parity_takes_no_cycle(bench: FlipBench, device):
    with device("verilator", PRESETS["test"], memory_bytes=1 << 20) as plain:
        driver = Driver(plain)
        driver.load_image(digits(PRESETS["test"]))
        _, stats = driver.run(bench.inputs)
    assert stats.cycles == bench.cycles


def test_icarus_agrees(bench: FlipBench, device):
    dut = device("icarus", CONFIG, memory_bytes=1 << 16)
    driver = Driver(dut)
    driver.load_image(bench.image)
    outputs, stats = driver.run(bench.inputs)
    assert stats.cycles == bench.cycles
    for got, expected in zip(outputs, bench.expected, strict=True):
        assert np.array_equal(got, expected)


def test_only_bits_that_are_there_can_be_flipped(bench: FlipBench):
    with pytest.raises(DeviceError, match=r"there is no variable weights\.none within reach"):
        bench.device.flip("weights.none", 0, 0)
    with pytest.raises(DeviceError, match=r"memory has no bit 33 of word 0"):
        bench.device.flip("weights.memory.memory", 0, 33)
