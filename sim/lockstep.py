"""Lock step: what the controller's RTL reports, instruction by instruction, against the golden one.

Interrupts come when the RTL takes them; the golden machine checks that it may.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accel.asm import disassemble
from accel.isa import WINDOW_BASE, Engine
from accel.riscv import MEI_BIT, MIE_BIT, Csr, decode
from sim.riscv import Core

__all__ = ["GoldenCore", "Mismatch", "Retirement", "compare"]

_SIZES = {"lb": 1, "lbu": 1, "lh": 2, "lhu": 2, "lw": 4, "sb": 1, "sh": 2, "sw": 4}
_MASK = 0xFFFFFFFF


class Mismatch(Exception):
    """RTL and golden machine differ; the message names instruction and field."""


@dataclass
class Retirement:
    """A record of the golden machine, with the fields of accel/gateware/rvfi.py."""

    pc: int
    insn: int
    next: int = 0
    rs1: int = 0
    rs2: int = 0
    rd: int = 0
    address: int = 0
    loaded: int = 0
    stored: int = 0
    rs1_addr: int = 0
    rs2_addr: int = 0
    rd_addr: int = 0
    read_mask: int = 0
    write_mask: int = 0
    trap: int = 0
    interrupt: int = 0
    unread: tuple[str, ...] = ()
    """Registers in the instruction's fields that it does not read: anything may be in them."""


@dataclass
class _Port:
    """The window's memory; tensor operations are collected."""

    window: bytearray
    operations: list[tuple[int, ...]] = field(default_factory=list)

    def write(self, engine: Engine, pair: int, a: int, b: int, add: bool) -> None:
        self.operations.append((int(add), engine << 5 | pair, a, b))

    def push(self, engine: Engine, wait: int, post: int, stamp: bool) -> None:
        self.operations.append((2, engine << 5 | stamp, wait, post))

    def wait(self, mask: int) -> None:
        """All engines are idle."""

    def read(self, word: int) -> int:
        return 0

    def done(self, exit_code: int) -> None:
        """`Core.running` says so."""

    def load(self, offset: int, size: int) -> int:
        return int.from_bytes(self.window[offset : offset + size], "little")

    def store(self, offset: int, size: int, value: int) -> None:
        self.window[offset : offset + size] = value.to_bytes(size, "little")


class GoldenCore:
    """The golden controller alone, with a record of each instruction.

    Parameters
    ----------
    program : uint32 array
        Program memory; it is changed.
    multiply : bool
    window : bytearray
        Memory behind the window; it is changed.
    base : int
        First byte address of the program memory.

    Members
    -------
    core : Core
        Started.
    operations : list of tuple
        Tensor operations: funct3, funct7, then the values, or the masks of TPUSH.
    """

    def __init__(
        self,
        program: npt.NDArray[np.uint32],
        *,
        multiply: bool,
        window: bytearray | None = None,
        base: int = 0,
    ) -> None:
        self._program, self._base = program, base
        port = _Port(bytearray() if window is None else window)
        self._window = port.window
        self.operations = port.operations
        self.core = Core(
            program, multiply=multiply, port=port, window_bytes=len(port.window), base=base
        )
        self.core.start()

    def _word(self, address: int) -> int | None:
        """Return the aligned word at an address, None where there is no memory."""
        offset = (address & ~3) - self._base
        if 0 <= offset < 4 * len(self._program):
            return int(self._program[offset >> 2])
        offset = (address & ~3) - WINDOW_BASE
        if 0 <= offset < len(self._window):
            return int.from_bytes(self._window[offset : offset + 4], "little")
        return None

    def step(self, interrupt: bool = False) -> list[Retirement]:
        """Execute one instruction and return its record; two when it jumps out of the memory.

        Parameters
        ----------
        interrupt : bool
            Take the interrupt before.

        Raises
        ------
        Mismatch
            When the interrupt is not enabled.
        Fault
            When an instruction traps and there is no handler.
        """
        core = self.core
        if interrupt:
            mode = core.mode
            enabled = mode.read(Csr.MSTATUS, 0, 0) & MIE_BIT and mode.read(Csr.MIE, 0, 0) & MEI_BIT
            if not enabled or mode.handler is None:
                raise Mismatch(f"an interrupt at {core.pc:#x}, where none is enabled")
            core.take_interrupt()
        x = core.x
        word = self._word(core.pc) if core.pc < WINDOW_BASE or core.pc >= 2 * WINDOW_BASE else None
        record = Retirement(core.pc, word or 0, interrupt=int(interrupt))
        record.rs1_addr, record.rs2_addr = record.insn >> 15 & 31, record.insn >> 20 & 31
        record.rs1, record.rs2 = x[record.rs1_addr], x[record.rs2_addr]
        found = decode(record.insn)
        name, operands = (found[0].name, found[1]) if found else ("", {})
        address = (x[operands.get("rs1", 0)] + operands.get("imm", 0)) & _MASK
        before = self._word(address) if name in _SIZES else None
        if found is not None:
            record.unread = tuple(name for name in ("rs1", "rs2") if name not in operands)
        retired, traps = core.retired, core.traps
        core.step()
        record.next = core.pc
        if core.retired == retired:
            record.trap = 1
            return [record]
        record.rd_addr = operands.get("rd", 0)
        record.rd = x[record.rd_addr]
        if name in _SIZES and before is not None:
            self._note_access(record, name, address, before)
        if core.traps == traps:
            return [record]
        record.next = core.mode.read(Csr.MTVAL, 0, 0)
        return [record, Retirement(record.next, 0, core.pc, trap=1)]

    def _note_access(self, record: Retirement, name: str, address: int, before: int) -> None:
        size = _SIZES[name]
        record.address = address & ~3
        mask = ((1 << size) - 1) << (address & 3)
        if name[0] == "l":
            record.read_mask, record.loaded = mask, before
        else:
            value = (record.rs2 & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            record.write_mask = mask
            record.stored = int.from_bytes(value * (4 // size), "little")


def compare(records: npt.NDArray[np.void], golden: GoldenCore) -> int:
    """Step the golden machine through the RTL's records; return how many agree: all.

    Raises
    ------
    Mismatch
        At the first difference.
    """
    names = [name for name in records.dtype.names or () if name not in ("halt", "cycle")]
    expected: list[Retirement] = []
    rows = records[names].tolist()
    interrupts = records["interrupt"].tolist()
    for number, row in enumerate(rows):
        if not expected:
            expected = golden.step(bool(interrupts[number]))
        one = expected.pop(0)
        mine = tuple(getattr(one, name) for name in names)
        if mine != row:
            differing = [
                f"{name} {theirs:#x}, golden machine {own:#x}"
                for name, theirs, own in zip(names, row, mine, strict=True)
                if theirs != own and name not in one.unread
            ]
            if not differing:
                continue
            text = disassemble(one.insn, one.pc)
            raise Mismatch(f"instruction {number}, pc {one.pc:#x}, {text}: {'; '.join(differing)}")
    return len(rows)
