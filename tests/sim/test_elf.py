"""Bare-metal ELF files on the golden controller and on its RTL."""

from pathlib import Path

import pytest

from accel import asm
from accel.riscv import Csr, Trap
from sim.elf import main
from tests.sim.elffile import write_elf

BASE = 0x80000000
TOHOST, SIGNATURE = BASE + 0x1000, BASE + 0x2000
SYMBOLS = {"tohost": TOHOST, "begin_signature": SIGNATURE, "end_signature": SIGNATURE + 16}
DEVICES = ("model", "verilator")


def program(value: int) -> list[int]:
    """Return a program that traps, notes what it sees in the signature, and writes tohost."""
    code = asm.Program()
    code.emit([asm.auipc(5, 0), asm.lui(6, SIGNATURE >> 12)])
    code.emit(asm.addi(7, 5, 4 * 32))
    code.emit([asm.csrrw(0, Csr.MTVEC, 7), asm.csrrs(8, Csr.MISA, 0), asm.sw(8, 6, 0)])
    trapped = BASE + code.address
    code.emit([asm.ecall(), asm.jal(9, 4), asm.sw(9, 6, 12)])
    code.emit([*asm.li(10, value), asm.lui(11, TOHOST >> 12), asm.sw(10, 11, 0)])
    code.label("end")
    code.jump("end")
    code.emit([asm.nop()] * (32 - code.address // 4))
    code.emit([asm.csrrs(12, Csr.MCAUSE, 0), asm.sw(12, 6, 4), asm.csrrs(12, Csr.MEPC, 0)])
    code.emit([asm.sw(12, 6, 8), asm.addi(12, 12, 4), asm.csrrw(0, Csr.MEPC, 12), asm.mret()])
    assert trapped == BASE + 24
    return code.words()


@pytest.mark.parametrize("device", DEVICES)
def test_success_with_signature(device: str, tmp_path: Path) -> None:
    file = write_elf(tmp_path / "good.elf", program(1), SYMBOLS, extra_bytes=0x4000)
    out = tmp_path / "signature"
    arguments = [str(file), "--device", device, "--config", "test", "--signature", str(out)]
    assert main(arguments) == 0
    expected = [0x40000100, Trap.ENVIRONMENT_CALL, BASE + 24, BASE + 32]
    assert out.read_text() == "".join(f"{word:08x}\n" for word in expected)


@pytest.mark.parametrize("device", DEVICES)
def test_failure_and_limit(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", device, "--config", "test", "--max-cycles", "2000"]
    assert main([str(write_elf(tmp_path / "bad.elf", program(7), SYMBOLS)), *options]) == 1
    assert "failure of test 3" in capsys.readouterr().err
    endless = write_elf(tmp_path / "endless.elf", [asm.jal(0, 0)], SYMBOLS)
    assert main([str(endless), *options]) == 3
    fault = write_elf(tmp_path / "fault.elf", [asm.nop(), asm.ebreak()], SYMBOLS)
    assert main([str(fault), *options]) == 1
    assert "stopped by BREAKPOINT at address 0x80000004" in capsys.readouterr().err


@pytest.mark.parametrize("device", DEVICES)
def test_isa_and_trace(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without M a multiplication traps; the trace shows what was executed."""
    code = [asm.addi(1, 0, 6), asm.mul(2, 1, 1), asm.tdone(0)]
    file = write_elf(tmp_path / "mul.elf", code, SYMBOLS)
    options = [str(file), "--device", device, "--isa", "rv32i", "--config", "test"]
    assert main([*options, "--trace"]) == 1
    captured = capsys.readouterr()
    assert "ILLEGAL_INSTRUCTION" in captured.err
    assert captured.out.splitlines()[0] == "80000000 00600093 addi x1, x0, 6 ; x1 = 0x6"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine": 40}, "not for little-endian RV32"),
        ({"kind": 3}, "not linked statically"),
        ({"entry": BASE + 4}, "begins at 0x80000004"),
        ({"extra_bytes": 1 << 20}, "is not in the 1048576 bytes"),
        ({"symbols": {}}, "no symbol tohost"),
        ({"symbols": {"tohost": 64}}, "tohost at 0x40 is no word"),
    ],
)
def test_files_that_cannot_run(
    changes: dict[str, object],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments: dict[str, object] = {"symbols": SYMBOLS} | changes
    file = write_elf(tmp_path / "x.elf", [asm.nop()], **arguments)  # type: ignore[arg-type]
    assert main([str(file)]) == 2
    assert message in capsys.readouterr().err


def test_other_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("no program")
    for arguments in (
        ["missing"],
        [str(tmp_path / "text")],
        [str(tmp_path / "text"), "--base", "4"],
    ):
        assert main(arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
