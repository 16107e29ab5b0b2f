"""Random programs in lock step: RTL against golden machine, golden machine against unicorn."""

import random

import numpy as np
import pytest

from sim.devices.core import CoreSimulator
from sim.lockstep import GoldenCore, Mismatch, compare
from sim.randomcode import RandomProgram
from sim.unicorn import checkpoints

INSTRUCTIONS = 500
UNITS = 450
PROGRAM_BYTES = 8192
WINDOW_BYTES = 2048
PROGRAMS = 200
ALL_PROGRAMS = 5000


@pytest.fixture(scope="module")
def cores() -> dict[bool, CoreSimulator]:
    return {
        multiply: CoreSimulator(
            multiply=multiply, program_bytes=PROGRAM_BYTES, window_bytes=WINDOW_BYTES
        )
        for multiply in (False, True)
    }


def run_in_lockstep(core: CoreSimulator, multiply: bool, seed: int) -> tuple[int, int, int]:
    """Run one program; return its instructions, traps and interrupts."""
    rng = random.Random(seed)
    interrupts = seed % 3 == 0
    program = RandomProgram(
        rng,
        units=UNITS,
        program_bytes=PROGRAM_BYTES,
        window_bytes=WINDOW_BYTES,
        interrupts=interrupts,
    )
    window = bytearray(rng.randbytes(WINDOW_BYTES))
    core.memory[:] = program.words
    core.window[:] = np.frombuffer(bytes(window), np.uint8)
    core.load()
    run = core.run(
        cycles=40_000,
        records=INSTRUCTIONS,
        seed=seed,
        stall_percent=(0, 0, 30)[seed // 3 % 3],
        interrupt_percent=5 if interrupts else 0,
    )
    golden = GoldenCore(np.array(program.words, np.uint32), multiply=multiply, window=window)
    try:
        agreed = compare(run.records, golden)
    except Mismatch as error:
        raise AssertionError(f"seed {seed}: {error}") from None
    assert run.end in ("records full", "done"), f"seed {seed}: {run}"
    check_operations(run.operations, golden, seed)
    traps, taken = (int(run.records[name].sum()) for name in ("trap", "interrupt"))
    return agreed, traps, taken


def check_operations(operations: np.ndarray, golden: GoldenCore, seed: int) -> None:
    """Compare the tensor operations; the last ones may be of instructions without a record."""
    for mine, (funct3, funct7, fields, a, b) in zip(
        golden.operations, operations.tolist(), strict=False
    ):
        values = (fields & 15, fields >> 5 & 15) if funct3 == 2 else (a, b)
        assert mine == (funct3, funct7, *values), f"seed {seed}"
    assert len(operations) >= len(golden.operations), f"seed {seed}"


def test_rtl_against_golden_machine(cores: dict[bool, CoreSimulator]) -> None:
    totals = np.zeros(3, np.int64)
    for seed in range(PROGRAMS):
        multiply = bool(seed % 2)
        totals += run_in_lockstep(cores[multiply], multiply, seed)
    assert totals[0] > 0.9 * PROGRAMS * INSTRUCTIONS
    assert totals[1] > 10 * PROGRAMS
    assert totals[2] > PROGRAMS


@pytest.mark.full
@pytest.mark.parametrize("part", range(10))
def test_rtl_against_golden_machine_at_length(cores: dict[bool, CoreSimulator], part: int) -> None:
    size = ALL_PROGRAMS // 10
    for seed in range(1_000_000 + part * size, 1_000_000 + (part + 1) * size):
        multiply = bool(seed % 2)
        run_in_lockstep(cores[multiply], multiply, seed)


def test_a_difference_is_found(cores: dict[bool, CoreSimulator]) -> None:
    """Each field of a record that is wrong is named."""
    core = cores[True]
    program = RandomProgram(random.Random(5), units=UNITS, program_bytes=PROGRAM_BYTES)
    core.memory[:] = program.words
    core.load()
    records = core.run(cycles=40_000, records=INSTRUCTIONS).records
    words = np.array(program.words, np.uint32)
    for name in ("pc", "insn", "next", "rs1", "rd", "address", "stored", "write_mask", "trap"):
        changed = records.copy()
        at = 60 + int(np.flatnonzero(changed["write_mask"][60:])[0])
        changed[at][name] ^= 4 if name != "trap" else 1
        with pytest.raises(Mismatch, match=f"{name} 0x"):
            compare(changed, GoldenCore(words.copy(), multiply=True))
    changed = records.copy()
    changed["interrupt"][100] = 1
    with pytest.raises(Mismatch, match="where none is enabled"):
        compare(changed, GoldenCore(words.copy(), multiply=True))


def agree_with_unicorn(seed: int) -> None:
    program = RandomProgram(
        random.Random(seed), units=UNITS, program_bytes=PROGRAM_BYTES, traps=False
    )
    words = np.array(program.words, np.uint32)
    core = GoldenCore(words, multiply=True).core
    distance = 50
    states = checkpoints(words.copy(), INSTRUCTIONS, distance)
    for number, (pc, registers, memory) in enumerate(states):
        for _ in range(distance):
            core.step()
        where = f"seed {seed}, instructions up to {(number + 1) * distance}"
        assert core.pc == pc, where
        assert core.x[1:32] == registers, where
        assert (memory == words).all(), where


def test_golden_machine_against_unicorn() -> None:
    pytest.importorskip("unicorn")
    for seed in range(PROGRAMS):
        agree_with_unicorn(seed)


@pytest.mark.full
def test_golden_machine_against_unicorn_at_length() -> None:
    pytest.importorskip("unicorn")
    for seed in range(1_000_000, 1_000_000 + ALL_PROGRAMS):
        agree_with_unicorn(seed)
