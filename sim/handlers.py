"""What executes the controller's instructions: closures with the decoded operands.

Semantics: "The RISC-V Instruction Set Manual, Volume I", version 20191213, chapters 2 and 7.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from accel.isa import WINDOW_BASE, Engine
from accel.riscv import Instruction, Trap
from sim.arithmetic import CONDITIONS, MASK, OPERATORS, Operator
from sim.cycles import (
    MISPREDICTED_CYCLES,
    WINDOW_LOAD_CYCLES,
    WINDOW_STORE_CYCLES,
)
from sim.port import CorePort
from sim.traps import Trapped

__all__ = ["Handler", "Handlers"]

SCRAP = 32
"""Register that takes results for x0."""

Handler = Callable[[], int]
"""Executes an instruction and returns the next word's index."""


class Handlers(ABC):
    """Makes the handlers of instructions, and holds what they work on.

    Parameters
    ----------
    program : uint32 array
        Program memory.
    port : CorePort
    window_bytes : int
        Size of the window at WINDOW_BASE.
    base : int
        Byte address of the first word.

    Members
    -------
    x : list of int
        Registers 0 .. 31, unsigned; what lies behind them is of no concern.
    running : bool
        False from TDONE on.
    """

    def __init__(
        self, program: npt.NDArray[np.uint32], *, port: CorePort, window_bytes: int, base: int
    ) -> None:
        self._port = port
        self._base = base
        self._window_end = WINDOW_BASE + window_bytes
        self._size = 4 * len(program)
        self._byte = program.view(np.uint8).data
        self._fetch = [partial(self._decode, index) for index in range(len(program))]
        # The place after the last word is where a program falls off the end.
        self._handlers: list[Handler] = [*self._fetch, self._leave]
        self._guarded: dict[int, str] = {}
        self.x = [0] * (SCRAP + 1)
        self._extra = [0]
        self.running = False

    @abstractmethod
    def _decode(self, index: int) -> int:
        """Make the handler of a word, and run it."""

    @abstractmethod
    def _leave(self) -> int:
        """Run behind the last word."""

    @abstractmethod
    def _access(self, name: str, v: dict[str, int], pc: int) -> int:
        """Execute a CSR instruction."""

    @abstractmethod
    def _return(self) -> int:
        """Execute MRET."""

    @abstractmethod
    def _refuse(self, index: int) -> int:
        """Refuse the use of a guarded word."""

    def _handler(self, instruction: Instruction, v: dict[str, int], pc: int) -> Handler:
        """Return what executes an instruction; `v` holds its operands."""
        name = instruction.name
        if "csr" in v:
            return partial(self._access, name, v, pc)
        if instruction.extension == "tensor":
            return self._tensor(name, v, pc)
        if name in CONDITIONS:
            return self._branch(CONDITIONS[name], v["rs1"], v["rs2"], v["offset"], pc)
        rd = v.get("rd", 0) or SCRAP
        match name:
            case "lui":
                return self._constant(rd, v["imm"] << 12, pc)
            case "auipc":
                return self._constant(rd, (pc + (v["imm"] << 12)) & MASK, pc)
            case "jal":
                return self._jump(rd, 0, (pc + v["offset"]) & MASK, pc)
            case "jalr":
                return self._jump(rd, v["rs1"], v["imm"], pc)
            case "lb" | "lh" | "lw" | "lbu" | "lhu":
                return self._load(name, rd, v["rs1"], v["imm"], pc)
            case "sb" | "sh" | "sw":
                return self._store(name, v["rs2"], v["rs1"], v["imm"], pc)
            case "fence" | "fence.i":
                return lambda: self._following(pc)
            case "ecall":
                return partial(self._trap, Trap.ENVIRONMENT_CALL, pc)
            case "ebreak":
                return partial(self._trap, Trap.BREAKPOINT, pc)
            case "mret":
                return self._return
            case "wfi":
                return lambda: self._following(pc)
        if "rs2" in v:
            return self._operate(OPERATORS[name], rd, v["rs1"], v["rs2"], pc)
        operand = v.get("imm", v.get("shamt", 0)) & MASK
        # sltiu is the one whose name is not the register form's with an i behind it.
        register_form = "sltu" if name == "sltiu" else name.removesuffix("i")
        return self._operate_constant(OPERATORS[register_form], rd, v["rs1"], operand, pc)

    def _following(self, pc: int) -> int:
        return (pc - self._base) // 4 + 1

    def _trap(self, trap: Trap, pc: int) -> int:
        raise Trapped(trap, pc)

    def _constant(self, rd: int, value: int, pc: int) -> Handler:
        x, following = self.x, self._following(pc)

        def run() -> int:
            x[rd] = value
            return following

        return run

    def _operate(self, op: Operator, rd: int, rs1: int, rs2: int, pc: int) -> Handler:
        x, following = self.x, self._following(pc)

        def run() -> int:
            x[rd] = op(x[rs1], x[rs2])
            return following

        return run

    def _operate_constant(self, op: Operator, rd: int, rs1: int, operand: int, pc: int) -> Handler:
        x, following = self.x, self._following(pc)

        def run() -> int:
            x[rd] = op(x[rs1], operand)
            return following

        return run

    def _check_target(self, target: int) -> int:
        """Return the word index of a jump's target; what comes behind it is not done."""
        if target & 3:
            raise Trapped(Trap.FETCH_MISALIGNED, target, target)
        if not self._base <= target < self._base + self._size:
            raise Trapped(Trap.FETCH_FAULT, target, target, pc=target, retires=True)
        return (target - self._base) >> 2

    def _branch(
        self, condition: Callable[[int, int], bool], rs1: int, rs2: int, offset: int, pc: int
    ) -> Handler:
        x, extra = self.x, self._extra
        following, target = self._following(pc), (pc + offset) & MASK
        # Backward branches are predicted taken, forward ones not.
        taken, not_taken = (1, MISPREDICTED_CYCLES) if offset < 0 else (MISPREDICTED_CYCLES, 0)
        legal = not target & 3 and self._base <= target < self._base + self._size
        index = (target - self._base) >> 2

        def run() -> int:
            if condition(x[rs1], x[rs2]):
                extra[0] += taken
                return index if legal else self._check_target(target)
            extra[0] += not_taken
            return following

        return run

    def _jump(self, rd: int, base: int, offset: int, pc: int) -> Handler:
        x, link = self.x, (pc + 4) & MASK

        def run() -> int:
            target = (x[base] + offset) & (MASK - 1)
            if not target & 3:
                x[rd] = link
            return self._check_target(target)

        return run

    def _place(self, address: int, size: int, misaligned: Trap, refused: Trap) -> int:
        """Check an address of data; return its offset, or -1 - offset for one in the window."""
        if address & (size - 1):
            raise Trapped(misaligned, address, address)
        offset = address - self._base
        if not 0 <= offset < self._size:
            if WINDOW_BASE <= address < self._window_end:
                return WINDOW_BASE - address - 1
            raise Trapped(refused, address, address)
        if self._guarded and offset >> 2 in self._guarded:
            self._refuse(offset >> 2)
        return offset

    def _load(self, name: str, rd: int, base: int, offset: int, pc: int) -> Handler:
        x, following, data = self.x, self._following(pc), self._byte
        port, extra = self._port, self._extra
        size = {"b": 1, "h": 2, "w": 4}[name[1]]
        # A sign bit that is 0 when the load zero-extends.
        sign = 0 if name.endswith("u") else 1 << (8 * size - 1)

        def run() -> int:
            address = (x[base] + offset) & MASK
            place = self._place(address, size, Trap.LOAD_MISALIGNED, Trap.LOAD_FAULT)
            if place < 0:
                value = port.load(-1 - place, size)
                extra[0] += WINDOW_LOAD_CYCLES
            else:
                value = int.from_bytes(data[place : place + size], "little")
            x[rd] = (value - ((value & sign) << 1)) & MASK
            return following

        return run

    def _store(self, name: str, source: int, base: int, offset: int, pc: int) -> Handler:
        x, following, data = self.x, self._following(pc), self._byte
        size = {"b": 1, "h": 2, "w": 4}[name[1]]
        port, extra = self._port, self._extra
        keep = (1 << 8 * size) - 1
        handlers, fetch = self._handlers, self._fetch

        def run() -> int:
            address = (x[base] + offset) & MASK
            place = self._place(address, size, Trap.STORE_MISALIGNED, Trap.STORE_FAULT)
            if place < 0:
                port.store(-1 - place, size, x[source] & keep)
                extra[0] += WINDOW_STORE_CYCLES
                return following
            data[place : place + size] = (x[source] & keep).to_bytes(size, "little")
            handlers[place >> 2] = fetch[place >> 2]
            return following

        return run

    def _tensor(self, name: str, v: dict[str, int], pc: int) -> Handler:
        x, port, following = self.x, self._port, self._following(pc)
        a, b = v.get("rs1", 0), v.get("rs2", 0)
        if name in ("tset", "tadd"):
            engine, pair, add = Engine(v["engine"]), v["pair"], name == "tadd"

            def run() -> int:
                port.write(engine, pair, x[a], x[b], add)
                return following

        elif name == "tpush":
            pushed, stamp = Engine(v["engine"]), bool(v["stamp"])

            def run() -> int:
                port.push(pushed, v["wait"], v["post"], stamp)
                return following

        elif name == "twait":

            def run() -> int:
                port.wait(v["mask"])
                return following

        elif name == "tread":
            rd = v["rd"] or SCRAP

            def run() -> int:
                x[rd] = port.read(v["word"])
                return following

        else:

            def run() -> int:
                self.running = False
                port.done(x[a])
                return following

        return run
