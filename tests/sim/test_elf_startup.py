"""Programs as public test suites for RISC-V write them, on the golden controller and its RTL.

The order of things is that of riscv-tests' environment p (https://github.com/riscv/riscv-test-env)
and of riscv-arch-test's macros.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from accel import asm
from accel.riscv import Csr, Trap
from sim.elf import main
from tests.sim.elffile import write_elf

BASE = 0x80000000
TOHOST, SIGNATURE, DATA = BASE + 0x1000, BASE + 0x2000, BASE + 0x3000
SYMBOLS = {"tohost": TOHOST, "begin_signature": SIGNATURE, "end_signature": SIGNATURE + 64}
DEVICES = ("model", "verilator")
PMPADDR0, PMPCFG0, SATP, MEDELEG, MIDELEG, MCOUNTINHIBIT = 0x3B0, 0x3A0, 0x180, 0x302, 0x303, 0x320
GP, T0, T5, T6, A0, A7 = 3, 5, 30, 31, 10, 17

Body = Callable[["Source"], None]


class Source(asm.Program):
    """A program that knows the addresses that its labels had in the last pass."""

    def __init__(self, known: dict[str, int]) -> None:
        super().__init__()
        self._known = known
        self.seen: dict[str, int] = {}

    def mark(self, name: str) -> None:
        """Define a label for `la` and for branches."""
        self.seen[name] = BASE + self.address
        self.label(name)

    def la(self, register: int, name: str) -> None:
        """Load the address of a label, in two instructions."""
        address = self._known.get(name, BASE)
        high = (address + 0x800) >> 12
        low = (address - (high << 12) + 0x800 & 0xFFF) - 0x800
        self.emit([asm.lui(register, high & 0xFFFFF), asm.addi(register, register, low)])

    def try_csr(self, name: str, *instructions: int) -> None:
        """Write CSRs that may be missing: a trap goes on behind them."""
        self.la(T0, name)
        self.emit([asm.csrrw(0, Csr.MTVEC, T0), *instructions])
        self.mark(name)

    def finish(self, number: int) -> None:
        """Pass (0), or fail in test `number`, by ECALL."""
        self.emit([asm.fence(), *asm.li(GP, number << 1 | 1), *asm.li(A7, 93), asm.ecall()])


def assemble(body: Body, handler: Body | None = None) -> list[int]:
    """Return the words of a program with the start-up and the trap vector of environment p."""
    known: dict[str, int] = {}
    while True:
        source = Source(known)
        start(source)
        body(source)
        trap_vector(source, handler)
        if source.seen == known:
            return source.words()
        known = source.seen


def start(s: Source) -> None:
    s.emit(asm.addi(number, 0, 0) for number in range(1, 32))
    s.emit(asm.csrrs(A0, Csr.MHARTID, 0))
    s.label("other hart")
    s.branch("bne", A0, 0, "other hart")
    s.try_csr("satp", asm.csrrwi(0, SATP, 0))
    pmp = [*asm.li(T0, 0xFFFFFFFF), asm.csrrw(0, PMPADDR0, T0), *asm.li(T0, 0x1F)]
    s.try_csr("pmp", *pmp, asm.csrrw(0, PMPCFG0, T0))
    s.emit(asm.csrrwi(0, Csr.MIE, 0))
    s.try_csr("delegation", asm.csrrwi(0, MEDELEG, 0), asm.csrrwi(0, MIDELEG, 0))
    s.emit(asm.csrrwi(0, Csr.MSTATUS, 0))
    s.la(T0, "trap vector")
    s.emit(asm.csrrw(0, Csr.MTVEC, T0))
    s.emit([*asm.li(A0, 1), asm.slli(A0, A0, 31)])
    s.branch("blt", A0, 0, "32 bits")
    s.finish(0)
    s.label("32 bits")
    s.emit([*asm.li(A0, 0x1800), asm.csrrs(0, Csr.MSTATUS, A0)])
    s.la(T0, "begin")
    s.emit([asm.csrrw(0, Csr.MEPC, T0), asm.csrrs(A0, Csr.MHARTID, 0), asm.mret()])
    s.mark("begin")


def trap_vector(s: Source, handler: Body | None) -> None:
    s.emit([asm.nop()] * (-s.address // 4 % 16))
    s.mark("trap vector")
    s.emit([asm.csrrs(T5, Csr.MCAUSE, 0), *asm.li(T6, Trap.ENVIRONMENT_CALL)])
    s.branch("beq", T5, T6, "write tohost")
    if handler is not None:
        handler(s)
    s.emit(asm.ori(GP, GP, 1337))
    s.label("write tohost")
    s.emit([asm.lui(T5, TOHOST >> 12), asm.sw(GP, T5, 0), asm.sw(0, T5, 4)])
    s.jump("write tohost")


def run(words: list[int], device: str, path: Path, *options: str) -> int:
    file = write_elf(path / "test.elf", words, SYMBOLS, extra_bytes=0x4000)
    return main([str(file), "--device", device, "--config", "test", *options])


@pytest.mark.parametrize("device", DEVICES)
def test_environment_p(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CSRs that are not there trap and are stepped over; ECALL in the end tells the result."""

    def body(number: int) -> Body:
        return lambda s: s.finish(number)

    assert run(assemble(body(0)), device, tmp_path) == 0
    assert run(assemble(body(5)), device, tmp_path) == 1
    assert "failure of test 5" in capsys.readouterr().err


def causes() -> list[tuple[list[int], int, int | None]]:
    """Return instructions, mcause, and mtval: None for the instruction's own address."""
    jump = asm.jalr(0, 8, 2)
    return [
        ([asm.lw(1, 8, 1)], Trap.LOAD_MISALIGNED, DATA + 1),
        ([asm.lh(1, 8, 3)], Trap.LOAD_MISALIGNED, DATA + 3),
        ([asm.sw(1, 8, 2)], Trap.STORE_MISALIGNED, DATA + 2),
        ([asm.sh(1, 8, 1)], Trap.STORE_MISALIGNED, DATA + 1),
        ([asm.lw(1, 0, 16)], Trap.LOAD_FAULT, 16),
        ([asm.sb(1, 0, 17)], Trap.STORE_FAULT, 17),
        ([jump], Trap.FETCH_MISALIGNED, DATA + 2),
        ([asm.csrrs(1, MCOUNTINHIBIT, 0)], Trap.ILLEGAL_INSTRUCTION, 0),
        ([asm.csrrs(1, 0xC00, 0)], Trap.ILLEGAL_INSTRUCTION, 0),
        ([asm.csrrw(0, Csr.MHARTID, 0)], Trap.ILLEGAL_INSTRUCTION, 0),
        ([asm.csrrsi(0, Csr.MVENDORID, 1)], Trap.ILLEGAL_INSTRUCTION, 0),
        ([0x10200073], Trap.ILLEGAL_INSTRUCTION, 0),  # sret
        ([0x12000073], Trap.ILLEGAL_INSTRUCTION, 0),  # sfence.vma
        ([0x00000000], Trap.ILLEGAL_INSTRUCTION, 0),
        ([asm.ebreak()], Trap.BREAKPOINT, 0),
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_traps_with_handler(device: str, tmp_path: Path) -> None:
    """Each trap reports its cause, address and mepc, and the program goes on behind it."""

    def body(s: Source) -> None:
        s.emit([asm.lui(8, DATA >> 12), asm.lui(9, SIGNATURE >> 12)])
        for number, (instructions, cause, value) in enumerate(causes(), 2):
            s.emit([*asm.li(GP, number << 1 | 1), *asm.li(20, cause), *asm.li(21, value or 0)])
            s.emit([*asm.li(25, 0), *asm.li(1, 7)])
            s.la(22, f"at {number}")
            s.mark(f"at {number}")
            s.emit(instructions)
            s.emit(asm.addi(26, 0, 1))
            s.branch("bne", 25, 26, "fail")  # the handler was not there
            s.emit(asm.addi(26, 0, 7))
            s.branch("bne", 1, 26, "fail")  # the destination was written
        # Without interrupts enabled WFI does nothing; reads of what is read-only are no writes.
        s.emit([asm.wfi(), asm.csrrs(1, Csr.MVENDORID, 0), asm.csrrc(1, Csr.MHARTID, 0)])
        s.emit([asm.csrrs(11, Csr.MINSTRET, 0), asm.nop(), asm.csrrs(12, Csr.MINSTRET, 0)])
        s.emit([asm.sub(11, 12, 11), asm.addi(12, 0, 2)])
        s.branch("bne", 11, 12, "fail")
        s.emit([asm.csrrs(11, Csr.MCYCLE, 0), asm.nop(), asm.csrrs(12, Csr.MCYCLE, 0)])
        s.branch("bgeu", 11, 12, "fail")
        s.finish(0)
        s.label("fail")
        s.emit(asm.ecall())

    def handler(s: Source) -> None:
        s.branch("bne", T5, 20, "write tohost")
        s.emit(asm.csrrs(T6, Csr.MTVAL, 0))
        s.branch("bne", T6, 21, "write tohost")
        s.emit(asm.csrrs(T6, Csr.MEPC, 0))
        s.branch("bne", T6, 22, "write tohost")
        s.emit([asm.addi(T6, T6, 4), asm.csrrw(0, Csr.MEPC, T6), asm.addi(25, 25, 1), asm.mret()])

    assert run(assemble(body, handler), device, tmp_path) == 0


@pytest.mark.parametrize("device", DEVICES)
def test_signature_of_an_architecture_test(device: str, tmp_path: Path) -> None:
    """Results go to the signature, then RVMODEL_HALT writes 1 to tohost for ever."""
    out = tmp_path / "signature"

    def body(s: Source) -> None:
        s.emit([asm.lui(8, SIGNATURE >> 12), *asm.li(5, 0x80000000), *asm.li(6, 31)])
        for place, word in enumerate((asm.sra(7, 5, 6), asm.srl(7, 5, 6), asm.sub(7, 6, 5))):
            s.emit([word, asm.sw(7, 8, 4 * place)])
        s.emit([*asm.li(1, 1), asm.lui(T0, TOHOST >> 12)])
        s.label("halt")
        s.emit(asm.sw(1, T0, 0))
        s.jump("halt")

    assert run(assemble(body), device, tmp_path, "--isa", "rv32im", "--signature", str(out)) == 0
    expected = [0xFFFFFFFF, 1, 0x8000001F, *[0] * 13]
    assert out.read_text() == "".join(f"{word:08x}\n" for word in expected)
