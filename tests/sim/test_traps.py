"""Every trap, CSR and interrupt, on the golden controller and on its RTL."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from accel import asm
from accel.isa import WINDOW_BASE, StatusWord
from accel.regmap import Cause
from accel.riscv import CAUSES, CSRS, INTERRUPT, Csr, Trap
from sim.devices.core import CoreSimulator
from sim.errors import Fault
from sim.lockstep import GoldenCore, compare

PROGRAM_BYTES, WINDOW_BYTES = 8192, 2048
HANDLER = 0x400
MASK = 0xFFFFFFFF

Run = Callable[[list[int]], list[int]]


@pytest.fixture(scope="module")
def simulator() -> CoreSimulator:
    return CoreSimulator(multiply=True, program_bytes=PROGRAM_BYTES, window_bytes=WINDOW_BYTES)


@pytest.fixture
def shown(simulator: CoreSimulator) -> Run:
    """Run a program on the RTL and, in lock step, on the golden machine; return what TSETs show."""

    def run(words: list[int]) -> list[int]:
        memory = np.zeros(PROGRAM_BYTES // 4, np.uint32)
        memory[: len(words)] = words
        simulator.memory[:] = memory
        simulator.window[:] = 0
        simulator.load()
        done = simulator.run(cycles=10_000, records=1000)
        assert done.end == "done", done
        golden = GoldenCore(memory, multiply=True, window=bytearray(WINDOW_BYTES))
        golden.core.x[1:32] = [0] * 31
        assert compare(done.records, golden) == done.retired + int(done.records["trap"].sum())
        return [int(value) for operation in done.operations for value in operation[3:]]

    return run


def show(a: int, b: int) -> int:
    return asm.tset(0, 0, a, b)


def clear() -> list[int]:
    """All registers are 0: the golden machine's are."""
    return [asm.addi(number, 0, 0) for number in range(1, 32)]


def with_handler(code: Iterable[int], handler: Iterable[int]) -> list[int]:
    words = [*clear(), *asm.li(1, HANDLER), asm.csrrw(0, Csr.MTVEC, 1), *code, asm.tdone(0)]
    words += [0] * (HANDLER // 4 - len(words))
    return [*words, *handler]


LOOK = [
    asm.csrrs(10, Csr.MCAUSE, 0),
    asm.csrrs(11, Csr.MEPC, 0),
    asm.csrrs(12, Csr.MTVAL, 0),
    asm.csrrs(13, Csr.MSTATUS, 0),
    show(10, 11),
    show(12, 13),
    asm.tdone(0),
]
START = 4 * (31 + 1 + 1 + 4)
"""Address of the instruction that traps."""

OUTSIDE = WINDOW_BASE + WINDOW_BYTES
TRAPS = {
    "illegal": (0, Trap.ILLEGAL_INSTRUCTION, 0),
    "csr": (asm.csrrs(9, 0x7C0, 0), Trap.ILLEGAL_INSTRUCTION, 0),
    "read-only csr": (asm.csrrsi(9, Csr.MIMPID, 1), Trap.ILLEGAL_INSTRUCTION, 0),
    "breakpoint": (asm.ebreak(), Trap.BREAKPOINT, 0),
    "call": (asm.ecall(), Trap.ENVIRONMENT_CALL, 0),
    "misaligned load": (asm.lw(9, 2, -2), Trap.LOAD_MISALIGNED, OUTSIDE - 2),
    "misaligned half": (asm.lhu(9, 2, -1), Trap.LOAD_MISALIGNED, OUTSIDE - 1),
    "load": (asm.lb(9, 2, 0), Trap.LOAD_FAULT, OUTSIDE),
    "misaligned store": (asm.sh(3, 2, -1), Trap.STORE_MISALIGNED, OUTSIDE - 1),
    "store": (asm.sw(3, 2, 4), Trap.STORE_FAULT, OUTSIDE + 4),
    "misaligned jal": (asm.jal(9, -2), Trap.FETCH_MISALIGNED, START - 2),
    "misaligned branch": (asm.beq(0, 0, 6), Trap.FETCH_MISALIGNED, START + 6),
    "misaligned jalr": (asm.jalr(9, 2, 3), Trap.FETCH_MISALIGNED, OUTSIDE + 2),
    "jal": (asm.jal(9, -0x100000), Trap.FETCH_FAULT, (START - 0x100000) & MASK),
    "branch": (asm.bne(2, 0, -4000), Trap.FETCH_FAULT, (START - 4000) & MASK),
    "jalr": (asm.jalr(9, 2, 1), Trap.FETCH_FAULT, OUTSIDE),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name: str, shown: Run) -> None:
    """The handler sees cause, address and value; a bad jump alone has written its register."""
    word, cause, value = TRAPS[name]
    code = [*asm.li(2, OUTSIDE), asm.addi(9, 0, 77), asm.csrrsi(0, Csr.MSTATUS, 8)]
    pc = value if cause == Trap.FETCH_FAULT else START
    jumped = cause == Trap.FETCH_FAULT and name != "branch"
    words = with_handler([*code, word], [show(9, 0), *LOOK])
    assert shown(words) == [START + 4 if jumped else 77, 0, cause, pc, value, 0x1880]


BEHIND = {
    "shift": asm.slli(9, 1, 3),
    "jal": asm.jal(9, 8),
    "jalr": asm.jalr(9, 1, 0),
    "load": asm.lw(9, 1, 0),
    "mul": asm.mul(9, 1, 1),
    "csr": asm.csrrs(9, Csr.MCYCLE, 0),
    "engines": asm.tread(9, StatusWord.IDLE),
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("name", ["illegal", "misaligned branch", "load"])
def test_what_is_fetched_behind_a_trap(name: str, behind: str, shown: Run) -> None:
    """At whatever distance it follows, its result does not meet the handler's address."""
    word, cause, _ = TRAPS[name]
    for distance in range(24):
        follows = [*[asm.addi(9, 9, 1)] * distance, BEHIND[behind], asm.addi(9, 9, 1)]
        words = with_handler([*asm.li(2, OUTSIDE), word, *follows], LOOK)
        assert shown(words)[0] == cause, distance


@pytest.mark.parametrize("name", TRAPS)
def test_trap_without_a_handler(name: str, simulator: CoreSimulator) -> None:
    word, cause, value = TRAPS[name]
    code = [*asm.li(2, OUTSIDE), asm.addi(9, 0, 77), asm.csrrsi(0, Csr.MSTATUS, 8)]
    words = with_handler([*code, word], [])
    words[32] = asm.csrrw(0, Csr.MTVEC, 0)
    memory = np.zeros(PROGRAM_BYTES // 4, np.uint32)
    memory[: len(words)] = words
    simulator.memory[:] = memory
    simulator.load()
    done = simulator.run(cycles=1000, records=100)
    pc = value if cause == Trap.FETCH_FAULT else START
    assert done.fault == (CAUSES[cause], value or START, pc)
    golden = GoldenCore(memory, multiply=True, window=bytearray(WINDOW_BYTES))
    with pytest.raises(Fault) as caught:
        golden.core.run(1000)
    fault = caught.value
    assert (fault.cause, fault.address) == done.fault[:2]
    assert (golden.core.pc if fault.pc is None else fault.pc) == pc
    assert golden.core.retired == done.retired


def test_return(shown: Run) -> None:
    """MRET restores the interrupt enable; the handler may move mepc."""
    handler = [
        asm.csrrs(11, Csr.MEPC, 0),
        asm.addi(11, 11, 8),
        asm.csrrw(0, Csr.MEPC, 11),
        asm.mret(),
    ]
    code = [asm.csrrsi(0, Csr.MSTATUS, 8), asm.ecall(), show(0, 0), asm.csrrs(12, Csr.MSTATUS, 0)]
    assert shown(with_handler([*code, show(12, 11)], handler)) == [0x1888, 4 * (31 + 2 + 3)]


def test_return_to_nowhere(shown: Run) -> None:
    """Right behind program memory, where the fetch traps."""
    code = [*asm.li(2, 0x12345678), asm.csrrw(0, Csr.MEPC, 2), asm.mret()]
    place = PROGRAM_BYTES + 0x12345678 % PROGRAM_BYTES
    assert shown(with_handler(code, LOOK)) == [Trap.FETCH_FAULT, place, place, 0x1800]


def test_falling_off_the_end(shown: Run) -> None:
    words = with_handler([asm.jal(0, PROGRAM_BYTES - 4 - 4 * 33)], LOOK)
    words += [asm.nop()] * (PROGRAM_BYTES // 4 - len(words))
    assert shown(words) == [Trap.FETCH_FAULT, PROGRAM_BYTES, PROGRAM_BYTES, 0x1800]


@pytest.mark.parametrize("csr", [csr for csr in CSRS if csr not in (Csr.MCYCLE, Csr.MCYCLEH)])
def test_csr(csr: Csr, shown: Run) -> None:
    """Reset value, the bits that can be written, all six instructions."""
    entry = CSRS[csr]
    writable = entry.writable
    reset = entry.reset | (1 << 12 if csr == Csr.MISA else 0)
    if csr >> 10 == 3:
        assert shown([*clear(), asm.csrrs(5, csr, 0), show(5, 0), asm.tdone(0)]) == [0, 0]
        return
    counts = csr == Csr.MINSTRET
    value, bits = 0xA5A5A5A5, 0x0FF00FF0
    code = [*clear(), *asm.li(1, value), *asm.li(2, bits)]
    code += [
        asm.csrrw(5, csr, 1),
        asm.csrrs(6, csr, 2),
        asm.csrrc(7, csr, 1),
        asm.csrrwi(8, csr, 31),
    ]
    code += [
        asm.csrrsi(9, csr, 0),
        asm.csrrsi(10, csr, 9),
        asm.csrrci(11, csr, 3),
        asm.csrrs(12, csr, 0),
    ]
    code += [show(5, 6), show(7, 8), show(9, 10), show(11, 12), asm.tdone(0)]
    current, expected = (35 if counts else reset), []

    def step(written: int | None) -> None:
        nonlocal current
        expected.append(current)
        if written is not None:
            current = (current & ~writable) | (written & writable)
        elif counts:
            current += 1

    step(value)
    step(current | bits)
    step(current & ~value)
    step(31)
    step(None)
    step(current | 9)
    step(current & ~3)
    step(None)
    assert shown(code) == [word & MASK for word in expected]


def test_minstret_counts_across_both_words(shown: Run) -> None:
    code = [*clear(), asm.csrrwi(0, Csr.MINSTRETH, 5), asm.addi(1, 0, -2)]
    code += [asm.csrrw(0, Csr.MINSTRET, 1), asm.nop(), asm.nop(), asm.nop()]
    code += [asm.csrrs(2, Csr.MINSTRET, 0), asm.csrrs(3, Csr.MINSTRETH, 0), show(2, 3)]
    assert shown([*code, asm.tdone(0)]) == [1, 6]


def test_mcycle(simulator: CoreSimulator) -> None:
    """It counts cycles, carries, and goes on from what is written."""
    code = [asm.csrrs(1, Csr.MCYCLE, 0), *[asm.nop()] * 40, asm.csrrs(2, Csr.MCYCLE, 0)]
    code += [asm.addi(5, 0, -9), asm.csrrw(0, Csr.MCYCLE, 5), asm.csrrs(3, Csr.MCYCLEH, 0)]
    code += [asm.csrrs(4, Csr.MCYCLE, 0), show(1, 2), show(3, 4), asm.tdone(0)]
    simulator.memory[: len(code)] = code
    simulator.load()
    done = simulator.run(cycles=1000)
    first, second, high, low = done.operations[:, 3:].ravel().tolist()
    # What is read is up to ten cycles old.
    assert 5 <= first <= 40
    assert 40 <= second - first <= 60
    assert (high, low < 30) == (1, True)


def test_interrupt(simulator: CoreSimulator) -> None:
    """Taken when enabled, at an instruction's border; the handler sees its cause."""
    handler = [*LOOK[:4], show(10, 11), asm.csrrwi(0, Csr.MIE, 0), asm.addi(14, 0, 1), asm.mret()]
    code = [*asm.li(2, 1 << 11), asm.csrrw(0, Csr.MIE, 2), asm.csrrsi(0, Csr.MSTATUS, 8)]
    wait = [asm.addi(15, 15, 1), asm.wfi(), asm.beq(14, 0, -8), show(15, 14)]
    words = with_handler([*code, *wait], handler)
    memory = np.zeros(PROGRAM_BYTES // 4, np.uint32)
    memory[: len(words)] = words
    for seed in range(20):
        simulator.memory[:] = memory
        simulator.load()
        done = simulator.run(cycles=4000, records=500, seed=seed, interrupt_percent=1)
        assert done.end == "done"
        cause, pc = done.operations[0, 3:].tolist()
        assert cause == INTERRUPT
        assert 4 * 36 <= pc <= 4 * (36 + len(wait) + 1)
        golden = GoldenCore(memory.copy(), multiply=True, window=bytearray(WINDOW_BYTES))
        assert done.records["interrupt"].sum() == 1
        golden.core.x[1:32] = [0] * 31
        compare(done.records, golden)


def test_interrupt_of_the_golden_machine() -> None:
    """Its level is constant: what enables it is followed by the trap."""
    code = [*asm.li(2, 1 << 11), asm.csrrw(0, Csr.MIE, 2), asm.csrrsi(0, Csr.MSTATUS, 8), asm.wfi()]
    memory = np.zeros(PROGRAM_BYTES // 4, np.uint32)
    words = with_handler(code, [*LOOK[:4], asm.csrrs(14, Csr.MIP, 0), asm.tdone(0)])
    memory[: len(words)] = words
    core = GoldenCore(memory, multiply=True).core
    core.mode.interrupt = True
    core.run(100)
    assert core.x[10:14] == [INTERRUPT, 4 * 37, 0, 0x1880]
    assert core.x[14] == 1 << 11


def test_csrs_start_anew(shown: Run) -> None:
    """All that is left of a run is in x1 to x31: CSRs start anew."""
    first = with_handler([asm.csrrwi(0, Csr.MSCRATCH, 9), asm.ecall()], LOOK)
    assert shown(first)[0] == Trap.ENVIRONMENT_CALL
    code = [*clear()]
    for number, csr in enumerate((Csr.MTVEC, Csr.MSCRATCH, Csr.MCAUSE, Csr.MEPC), 5):
        code.append(asm.csrrs(number, csr, 0))
    assert shown([*code, show(5, 6), show(7, 8), asm.tdone(0)]) == [0, 0, 0, 0]


def test_every_trap_has_a_case() -> None:
    assert {cause for _, cause, _ in TRAPS.values()} == set(Trap)
    assert set(CAUSES) == set(Trap)
    assert set(CAUSES.values()) <= set(Cause)
