"""Interpreter of the controller: RV32I, M, and the tensor instructions.

Every word of program memory has a handler: a closure with the decoded operands that executes the
instruction and returns the next word's index. Handlers are made when first reached and dropped
when their word is overwritten. Instructions: accel/riscv.py; semantics: "The RISC-V Instruction
Set Manual, Volume I", version 20191213, chapters 2 and 7.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from accel.isa import WINDOW_BASE, Engine
from accel.regmap import Cause
from accel.riscv import Instruction, decode
from sim.arithmetic import CONDITIONS, MASK, OPERATORS, Operator
from sim.errors import Fault, ProgramError
from sim.port import CorePort

__all__ = ["Core"]

SCRAP = 32
"""Register that takes results for x0."""

Handler = Callable[[], int]


# Cycles past the first, as in accel/gateware/controller.py; branches: see `_branch`.
EXTRA_CYCLES = {
    **dict.fromkeys(("sll", "srl", "sra", "slli", "srli", "srai", "tread"), 1),
    **dict.fromkeys(("mul", "mulh", "mulhsu", "mulhu"), 7),
    **dict.fromkeys(("div", "divu", "rem", "remu"), 36),
    **dict.fromkeys(("lb", "lh", "lw", "lbu", "lhu"), 2),
    **dict.fromkeys(("sb", "sh", "sw"), 1),
    "jal": 1,
    "jalr": 4,
    "fence.i": 3,
}
MISPREDICTED_CYCLES = 3
WINDOW_LOAD_CYCLES, WINDOW_STORE_CYCLES = 5, 6
"""Cycles that loads and stores take longer in the window, as in accel/gateware/window.py."""


class Core:
    """The controller.

    Parameters
    ----------
    program : uint32 array
        Program memory, code and data; `invalidate` tells of changes by others.
    multiply : bool
        The M extension.
    port : CorePort
    window_bytes : int
        Size of the window at WINDOW_BASE.

    Members
    -------
    x : list of int
        Registers 0 .. 31, unsigned; what lies behind them is of no concern.
    pc : int
        Byte address of the instruction that runs, or that runs next.
    running : bool
        False from TDONE on.
    retired : int
        Instructions completed since `start`.
    """

    def __init__(
        self,
        program: npt.NDArray[np.uint32],
        *,
        multiply: bool,
        port: CorePort,
        window_bytes: int = 0,
    ) -> None:
        self._port = port
        self._window_end = WINDOW_BASE + window_bytes
        self._multiply = multiply
        self._words = len(program)
        self._size = 4 * len(program)
        self._word = program.data
        self._byte = program.view(np.uint8).data
        self._fetch = [partial(self._decode, index) for index in range(self._words)]
        # The place after the last word is where a program falls off the end.
        self._handlers: list[Handler] = [*self._fetch, self._leave]
        self._guarded: dict[int, str] = {}
        self.x = [0] * (SCRAP + 1)
        self._retired = [0]
        self._extra = [0]
        self._index = 0
        self.running = False

    @property
    def pc(self) -> int:
        """Byte address of the current instruction."""
        return 4 * self._index

    @property
    def retired(self) -> int:
        """Instructions completed since `start`."""
        return self._retired[0]

    @property
    def cycles(self) -> int:
        """Cycles spent since `start`, with those of `stall`."""
        return self._retired[0] + self._extra[0]

    def stall(self, cycles: int) -> None:
        """Spend cycles in which no instruction completes."""
        self._extra[0] += cycles

    def start(self) -> None:
        """Go to address 0. Registers keep their values."""
        self._index = 0
        self._retired[0] = self._extra[0] = 0
        self.running = True

    def run(self, limit: int) -> None:
        """Execute until TDONE.

        Raises
        ------
        Fault
            From an instruction; it has no other effect.
        ProgramError
            When `limit` instructions were not enough.
        """
        handlers, index = self._handlers, self._index
        retired = self._retired
        try:
            # A list element as the loop's variable: handlers see the count without a statement
            # of its own in this loop, which is the interpreter's speed.
            for retired[0] in range(retired[0], limit):  # noqa: B020
                self._index = index
                index = handlers[index]()
                if not self.running:
                    break
            else:
                retired[0], self._index = limit, index
                raise ProgramError(f"the program did not end within {limit} instructions")
        finally:
            if not self.running:
                retired[0] += 1
                self._index = index

    def step(self) -> None:
        """Execute one instruction, for comparison in lock step; see `run`."""
        self._index = self._handlers[self._index]()
        self._retired[0] += 1

    def invalidate(self, first: int, stop: int) -> None:
        """Note that words `first` .. `stop` - 1 of the program memory changed."""
        self._handlers[first:stop] = self._fetch[first:stop]

    def guard(self, first: int, stop: int, reason: str) -> None:
        """Make any use of these words a ProgramError "uses program word ..., `reason`"."""
        for index in range(first, stop):
            self._guarded[index] = reason
            self._handlers[index] = partial(self._refuse, index)

    def unguard(self) -> None:
        """Allow the use of all words again."""
        for index in self._guarded:
            self._handlers[index] = self._fetch[index]
        self._guarded.clear()

    def _refuse(self, index: int) -> int:
        raise ProgramError(f"uses program word {index}, {self._guarded[index]}")

    def _leave(self) -> int:
        raise Fault(Cause.FETCH_FAULT, self._size)

    def _decode(self, index: int) -> int:
        """Make the handler of a word, and run it."""
        pc = 4 * index
        found = decode(self._word[index])
        if found is None or (found[0].extension == "m" and not self._multiply):
            raise Fault(Cause.ILLEGAL_INSTRUCTION, pc)
        instruction, values = found
        handler = self._handler(instruction, values, pc)
        extra = EXTRA_CYCLES.get(instruction.name, 0)
        if extra:
            handler = self._slow(handler, extra)
        self._handlers[index] = handler
        return handler()

    def _slow(self, handler: Handler, extra: int) -> Handler:
        cell = self._extra

        def run() -> int:
            cell[0] += extra
            return handler()

        return run

    def _handler(self, instruction: Instruction, v: dict[str, int], pc: int) -> Handler:
        """Return what executes an instruction; `v` holds its operands."""
        name = instruction.name
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
                return lambda: pc // 4 + 1
            case "ecall":
                return partial(self._trap, Cause.ENVIRONMENT_CALL, pc)
            case "ebreak":
                return partial(self._trap, Cause.BREAKPOINT, pc)
        if "rs2" in v:
            return self._operate(OPERATORS[name], rd, v["rs1"], v["rs2"], pc)
        operand = v.get("imm", v.get("shamt", 0)) & MASK
        # sltiu is the one whose name is not the register form's with an i behind it.
        register_form = "sltu" if name == "sltiu" else name.removesuffix("i")
        return self._operate_constant(OPERATORS[register_form], rd, v["rs1"], operand, pc)

    def _trap(self, cause: Cause, pc: int) -> int:
        raise Fault(cause, pc)

    def _constant(self, rd: int, value: int, pc: int) -> Handler:
        x, following = self.x, pc // 4 + 1

        def run() -> int:
            x[rd] = value
            return following

        return run

    def _operate(self, op: Operator, rd: int, rs1: int, rs2: int, pc: int) -> Handler:
        x, following = self.x, pc // 4 + 1

        def run() -> int:
            x[rd] = op(x[rs1], x[rs2])
            return following

        return run

    def _operate_constant(self, op: Operator, rd: int, rs1: int, operand: int, pc: int) -> Handler:
        x, following = self.x, pc // 4 + 1

        def run() -> int:
            x[rd] = op(x[rs1], operand)
            return following

        return run

    def _check_target(self, target: int) -> int:
        """Return the word index of a jump's target."""
        if target & 3:
            raise Fault(Cause.MISALIGNED, target)
        if target >= self._size:
            raise Fault(Cause.FETCH_FAULT, target, pc=target)
        return target >> 2

    def _branch(
        self, condition: Callable[[int, int], bool], rs1: int, rs2: int, offset: int, pc: int
    ) -> Handler:
        x, extra = self.x, self._extra
        following, target = pc // 4 + 1, (pc + offset) & MASK
        # Backward branches are predicted taken, forward ones not.
        taken, not_taken = (1, MISPREDICTED_CYCLES) if offset < 0 else (MISPREDICTED_CYCLES, 0)
        legal = not target & 3 and target < self._size

        def run() -> int:
            if condition(x[rs1], x[rs2]):
                extra[0] += taken
                return target >> 2 if legal else self._check_target(target)
            extra[0] += not_taken
            return following

        return run

    def _jump(self, rd: int, base: int, offset: int, pc: int) -> Handler:
        x, link = self.x, pc + 4

        def run() -> int:
            index = self._check_target((x[base] + offset) & (MASK - 1))
            x[rd] = link
            return index

        return run

    def _place(self, address: int, size: int, cause: Cause) -> int:
        """Check an address of data and return it."""
        if address & (size - 1):
            raise Fault(Cause.MISALIGNED, address)
        if address >= self._size:
            if WINDOW_BASE <= address < self._window_end:
                return address
            raise Fault(cause, address)
        if self._guarded and address >> 2 in self._guarded:
            self._refuse(address >> 2)
        return address

    def _load(self, name: str, rd: int, base: int, offset: int, pc: int) -> Handler:
        x, following, data = self.x, pc // 4 + 1, self._byte
        port, extra = self._port, self._extra
        size = {"b": 1, "h": 2, "w": 4}[name[1]]
        # A sign bit that is 0 when the load zero-extends.
        sign = 0 if name.endswith("u") else 1 << (8 * size - 1)

        def run() -> int:
            place = self._place((x[base] + offset) & MASK, size, Cause.LOAD_FAULT)
            if place >= WINDOW_BASE:
                value = port.load(place - WINDOW_BASE, size)
                extra[0] += WINDOW_LOAD_CYCLES
            else:
                value = int.from_bytes(data[place : place + size], "little")
            x[rd] = (value - ((value & sign) << 1)) & MASK
            return following

        return run

    def _store(self, name: str, source: int, base: int, offset: int, pc: int) -> Handler:
        x, following, data = self.x, pc // 4 + 1, self._byte
        size = {"b": 1, "h": 2, "w": 4}[name[1]]
        port, extra = self._port, self._extra
        keep = (1 << 8 * size) - 1
        handlers, fetch = self._handlers, self._fetch

        def run() -> int:
            place = self._place((x[base] + offset) & MASK, size, Cause.STORE_FAULT)
            if place >= WINDOW_BASE:
                port.store(place - WINDOW_BASE, size, x[source] & keep)
                extra[0] += WINDOW_STORE_CYCLES
                return following
            data[place : place + size] = (x[source] & keep).to_bytes(size, "little")
            handlers[place >> 2] = fetch[place >> 2]
            return following

        return run

    def _tensor(self, name: str, v: dict[str, int], pc: int) -> Handler:
        x, port, following = self.x, self._port, pc // 4 + 1
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
