"""Machine mode of the controller: its control and status registers, and its traps.

Numbers: "The RISC-V Instruction Set Manual, Volume II: Privileged Architecture", version 20211203,
chapters 2 and 3.
"""

import enum
from dataclasses import dataclass

from accel.regmap import Cause

__all__ = [
    "ALL_BITS",
    "CAUSES",
    "CSRS",
    "INTERRUPT",
    "MEI_BIT",
    "MIE_BIT",
    "MPIE_BIT",
    "Csr",
    "CsrEntry",
    "Trap",
]


class Csr(enum.IntEnum):
    """Control and status registers of the controller; every other number is illegal."""

    MSTATUS = 0x300
    """Bit 3 MIE: interrupts are taken; bit 7 MPIE: MIE before the trap; bits 12:11 MPP are 3."""
    MISA = 0x301
    """RV32I, with bit 12 where the configuration has M."""
    MIE = 0x304
    """Bit 11 MEIE: the engines' interrupt is enabled."""
    MTVEC = 0x305
    """Address of the trap handler, a multiple of 4; 0, or outside program memory: there is none."""
    MSTATUSH = 0x310
    """0."""
    MSCRATCH = 0x340
    """For the handler's use."""
    MEPC = 0x341
    """Address of the instruction that trapped, or that the interrupt came before."""
    MCAUSE = 0x342
    """See Trap; bit 31 for an interrupt."""
    MTVAL = 0x343
    """Address that trapped, of misaligned and refused accesses; 0 for other traps."""
    MIP = 0x344
    """Bit 11 MEIP: the engines' interrupt, which is high while all engines are idle."""
    MCYCLE = 0xB00
    """Clock cycles since start, bits 31:0."""
    MINSTRET = 0xB02
    """Instructions completed since start, bits 31:0."""
    MCYCLEH = 0xB80
    """Bits 63:32."""
    MINSTRETH = 0xB82
    """Bits 63:32."""
    MVENDORID = 0xF11
    """0."""
    MARCHID = 0xF12
    """0."""
    MIMPID = 0xF13
    """0."""
    MHARTID = 0xF14
    """0."""
    MCONFIGPTR = 0xF15
    """0."""


class Trap(enum.IntEnum):
    """Values of mcause."""

    FETCH_MISALIGNED = 0
    """A taken branch or a jump to an address that is no multiple of 4; the jump is not done."""
    FETCH_FAULT = 1
    """There is no program memory at mepc."""
    ILLEGAL_INSTRUCTION = 2
    """Also any CSR that does not exist, or is read-only and written."""
    BREAKPOINT = 3
    """EBREAK."""
    LOAD_MISALIGNED = 4
    """The address is no multiple of the size."""
    LOAD_FAULT = 5
    """Neither program memory nor window."""
    STORE_MISALIGNED = 6
    """The address is no multiple of the size."""
    STORE_FAULT = 7
    """Neither program memory nor window."""
    ENVIRONMENT_CALL = 11
    """ECALL."""


CAUSES = {
    Trap.FETCH_MISALIGNED: Cause.MISALIGNED,
    Trap.FETCH_FAULT: Cause.FETCH_FAULT,
    Trap.ILLEGAL_INSTRUCTION: Cause.ILLEGAL_INSTRUCTION,
    Trap.BREAKPOINT: Cause.BREAKPOINT,
    Trap.LOAD_MISALIGNED: Cause.MISALIGNED,
    Trap.LOAD_FAULT: Cause.LOAD_FAULT,
    Trap.STORE_MISALIGNED: Cause.MISALIGNED,
    Trap.STORE_FAULT: Cause.STORE_FAULT,
    Trap.ENVIRONMENT_CALL: Cause.ENVIRONMENT_CALL,
}
"""What CAUSE shows of a trap that no handler takes."""

INTERRUPT = 1 << 31 | 11
"""mcause of the engines' interrupt, MEIP."""


@dataclass(frozen=True)
class CsrEntry:
    """What a control and status register holds.

    Parameters
    ----------
    writable : int
        Bits that a write changes; the others stay.
    reset : int
        Value at start.
    """

    writable: int = 0
    reset: int = 0


ALL_BITS = 0xFFFFFFFF
MIE_BIT, MPIE_BIT, MEI_BIT = 1 << 3, 1 << 7, 1 << 11

CSRS: dict[Csr, CsrEntry] = {
    **dict.fromkeys(Csr, CsrEntry()),
    **dict.fromkeys((Csr.MSCRATCH, Csr.MCAUSE, Csr.MTVAL), CsrEntry(ALL_BITS)),
    **dict.fromkeys((Csr.MCYCLE, Csr.MCYCLEH, Csr.MINSTRET, Csr.MINSTRETH), CsrEntry(ALL_BITS)),
    **dict.fromkeys((Csr.MTVEC, Csr.MEPC), CsrEntry(ALL_BITS & ~3)),
    Csr.MSTATUS: CsrEntry(MIE_BIT | MPIE_BIT, 3 << 11),
    Csr.MISA: CsrEntry(0, 1 << 30 | 1 << 8),
    Csr.MIE: CsrEntry(MEI_BIT),
}
"""Every CSR; misa's reset value is that without M, mip's without interrupt."""
