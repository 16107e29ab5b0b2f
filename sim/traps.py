"""Machine mode of the golden controller: control and status registers, traps."""

from accel.isa import Engine
from accel.riscv import ALL_BITS, CAUSES, CSRS, MEI_BIT, MIE_BIT, MPIE_BIT, Csr, Trap
from sim.errors import Fault

__all__ = ["ALL_ENGINES", "MachineMode", "Trapped"]

ALL_ENGINES = (1 << len(Engine)) - 1

_COUNTERS = {
    Csr.MCYCLE: ("cycle", 0),
    Csr.MCYCLEH: ("cycle", 32),
    Csr.MINSTRET: ("instret", 0),
    Csr.MINSTRETH: ("instret", 32),
}
_READ_ONLY = 3 << 10
"""Bits of a CSR's number that are set where writing is illegal."""


class Trapped(Fault):
    """A trap; it stops the machine when there is no handler.

    Parameters
    ----------
    trap : Trap
    address : int
        What CAUSE_ADDRESS shows.
    value : int
        What mtval becomes.
    pc : int, optional
        Where it trapped, if not at the instruction that is running.
    retires : bool
        The running instruction is complete: a jump to where there is no memory.
    """

    def __init__(
        self,
        trap: Trap,
        address: int,
        value: int = 0,
        pc: int | None = None,
        retires: bool = False,
    ) -> None:
        super().__init__(CAUSES[trap], address, pc)
        self.trap = trap
        self.value = value
        self.retires = retires


class MachineMode:
    """The CSRs and what traps do to them.

    Parameters
    ----------
    base, size : int
        Program memory: first byte address and bytes.
    multiply : bool
        Shown in misa.

    Members
    -------
    interrupt : bool
        mip's MEIP: all engines are idle. Constant here, where commands complete as they are pushed.
    """

    def __init__(self, *, base: int, size: int, multiply: bool) -> None:
        self._base, self._size = base, size
        self._misa = CSRS[Csr.MISA].reset | (multiply << 12)
        self.interrupt = False
        self.reset()

    def reset(self) -> None:
        """Set all registers to their values at start."""
        self._values = {csr: entry.reset for csr, entry in CSRS.items()}
        self._values[Csr.MISA] = self._misa
        self._offsets = {"cycle": 0, "instret": 0}

    @property
    def handler(self) -> int | None:
        """Address of the trap handler, when there is one."""
        address = self._values[Csr.MTVEC]
        inside = self._base <= address < self._base + self._size
        return address if address and inside else None

    @property
    def pending(self) -> bool:
        """Whether the interrupt is to be taken."""
        enabled = self._values[Csr.MSTATUS] & MIE_BIT and self._values[Csr.MIE] & MEI_BIT
        return bool(enabled) and self.interrupt and self.handler is not None

    def exists(self, number: int, writes: bool) -> bool:
        """Return whether an access is legal."""
        return number in CSRS and not (writes and number & _READ_ONLY == _READ_ONLY)

    def read(self, number: int, cycles: int, retired: int) -> int:
        """Return a register; `cycles` and `retired` count from the start, without this one."""
        csr = Csr(number)
        if csr in _COUNTERS:
            return self._count(csr, cycles, retired) >> _COUNTERS[csr][1] & ALL_BITS
        if csr == Csr.MIP:
            return MEI_BIT if self.interrupt else 0
        return self._values[csr]

    def write(self, number: int, value: int, cycles: int, retired: int) -> None:
        """Write a register; minstret is what the next instruction reads."""
        csr = Csr(number)
        if csr in _COUNTERS:
            counter, shift = _COUNTERS[csr]
            count = self._count(csr, cycles, retired)
            count = (count & ~(ALL_BITS << shift)) | value << shift
            self._offsets[counter] = count - (cycles if counter == "cycle" else retired + 1)
            return
        writable = CSRS[csr].writable
        self._values[csr] = (self._values[csr] & ~writable) | (value & writable)

    def _count(self, csr: Csr, cycles: int, retired: int) -> int:
        counter = _COUNTERS[csr][0]
        count = cycles if counter == "cycle" else retired
        return (count + self._offsets[counter]) & ((1 << 64) - 1)

    def enter(self, cause: int, pc: int, value: int) -> None:
        """Trap: `handler` is where execution goes on."""
        status = self._values[Csr.MSTATUS]
        self._values |= {
            Csr.MSTATUS: status & ~(MIE_BIT | MPIE_BIT) | (MPIE_BIT if status & MIE_BIT else 0),
            Csr.MCAUSE: cause,
            Csr.MEPC: pc & ~3,
            Csr.MTVAL: value,
        }

    def leave(self) -> int:
        """MRET: return the address to go to."""
        status = self._values[Csr.MSTATUS]
        enabled = MIE_BIT if status & MPIE_BIT else 0
        self._values[Csr.MSTATUS] = status & ~MIE_BIT | MPIE_BIT | enabled
        return self._values[Csr.MEPC]
