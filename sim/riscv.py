"""Interpreter of the controller: RV32I, M, machine mode, and the tensor instructions.

Every word of program memory has a handler: a closure with the decoded operands that executes the
instruction and returns the next word's index. Handlers are made when first reached and dropped
when their word is overwritten. Instructions: accel/riscv.py; semantics: "The RISC-V Instruction
Set Manual, Volume I", version 20191213, chapters 2 and 7; traps: sim/traps.py.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from accel.isa import WINDOW_BASE, Engine, StatusWord
from accel.riscv import INTERRUPT, Instruction, Trap, decode
from sim.arithmetic import CONDITIONS, MASK, OPERATORS, Operator
from sim.errors import ProgramError
from sim.port import CorePort
from sim.traps import MachineMode, Trapped

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
    **dict.fromkeys(("csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci", "mret"), 11),
}
TRAP_CYCLES = 16
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
    base : int
        Byte address of the first word.

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
    mode : MachineMode
        CSRs.
    """

    def __init__(
        self,
        program: npt.NDArray[np.uint32],
        *,
        multiply: bool,
        port: CorePort,
        window_bytes: int = 0,
        base: int = 0,
    ) -> None:
        self._port = port
        self._base = base
        self._window_end = WINDOW_BASE + window_bytes
        self._multiply = multiply
        self._words = len(program)
        self._size = 4 * len(program)
        self._word = program.data
        self._byte = program.view(np.uint8).data
        self._fetch = [partial(self._decode, index) for index in range(self._words)]
        # The place after the last word is where a program falls off the end.
        self._handlers: list[Handler] = [*self._fetch, self._leave]
        self.mode = MachineMode(base=base, size=self._size, multiply=multiply)
        self._trapped = 0
        self._guarded: dict[int, str] = {}
        self.x = [0] * (SCRAP + 1)
        self._retired = [0]
        self._extra = [0]
        self._index = 0
        self.running = False

    @property
    def pc(self) -> int:
        """Byte address of the current instruction."""
        return self._base + 4 * self._index

    @property
    def retired(self) -> int:
        """Instructions completed since `start`."""
        return self._retired[0]

    @property
    def cycles(self) -> int:
        """Cycles spent since `start`, with those of `stall`."""
        return self._retired[0] + self._extra[0]

    @property
    def traps(self) -> int:
        """Traps taken since `start`, interrupts too."""
        return self._trapped

    def stall(self, cycles: int) -> None:
        """Spend cycles in which no instruction completes."""
        self._extra[0] += cycles

    def start(self) -> None:
        """Go to the first word. Registers keep their values, CSRs start anew."""
        self._index = self._trapped = 0
        self.mode.reset()
        self._retired[0] = self._extra[0] = 0
        self.running = True

    def run(self, limit: int) -> None:
        """Execute until TDONE.

        Raises
        ------
        Fault
            From an instruction, when there is no handler; it has no other effect.
        ProgramError
            When `limit` instructions were not enough.
        """
        while self.running:
            try:
                self._execute(limit - self._trapped)
            except Trapped as trap:
                self._enter(trap)

    def _execute(self, limit: int) -> None:
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
        """Execute one instruction, or trap; see `run`."""
        try:
            self._index = self._handlers[self._index]()
            self._retired[0] += 1
        except Trapped as trap:
            self._enter(trap)

    def take_interrupt(self) -> None:
        """Trap to the handler before the next instruction."""
        self.mode.enter(INTERRUPT, self.pc, 0)
        self._go_to_handler()

    def _enter(self, trap: Trapped) -> None:
        self._retired[0] += trap.retires
        if self.mode.handler is None:
            raise trap
        self.mode.enter(trap.trap, self.pc if trap.pc is None else trap.pc, trap.value)
        self._go_to_handler()

    def _go_to_handler(self) -> None:
        assert self.mode.handler is not None
        self._trapped += 1
        self._extra[0] += TRAP_CYCLES
        self._index = (self.mode.handler - self._base) >> 2

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
        end = self._base + self._size
        raise Trapped(Trap.FETCH_FAULT, end, end)

    def _decode(self, index: int) -> int:
        """Make the handler of a word, and run it."""
        pc = self._base + 4 * index
        found = decode(self._word[index])
        if found is None or (found[0].extension == "m" and not self._multiply):
            raise Trapped(Trap.ILLEGAL_INSTRUCTION, pc)
        instruction, values = found
        handler = self._handler(instruction, values, pc)
        extra = EXTRA_CYCLES.get(instruction.name, 0)
        if values.get("word") == StatusWord.CYCLES:
            extra = EXTRA_CYCLES["csrrs"]
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

    def _interruptible(self, index: int) -> int:
        """Return where execution goes on behind what may have enabled the interrupt."""
        if self.mode.pending:
            self.mode.enter(INTERRUPT, self._base + 4 * index, 0)
            self._go_to_handler()
            return self._index
        return index

    def _access(self, name: str, v: dict[str, int], pc: int) -> int:
        mode, number, source = self.mode, v["csr"], v.get("rs1", v.get("zimm", 0))
        operation = name[4]
        writes = operation == "w" or source != 0
        if not mode.exists(number, writes):
            raise Trapped(Trap.ILLEGAL_INSTRUCTION, pc)
        operand = self.x[source] if "rs1" in v else source
        old = mode.read(number, self.cycles, self._retired[0])
        if writes:
            new = {"w": operand, "s": old | operand, "c": old & ~operand}[operation]
            mode.write(number, new, self.cycles, self._retired[0])
        self.x[v["rd"] or SCRAP] = old
        return self._interruptible(self._following(pc))

    def _return(self) -> int:
        target = self.mode.leave()
        if self._base <= target < self._base + self._size:
            return self._interruptible((target - self._base) >> 2)
        # The hardware's program counter has one bit for "outside".
        pc = self._base + self._size + (target & (self._size - 1))
        if self.mode.pending:
            self._retired[0] += 1
            self._index = (pc - self._base) >> 2
            self.take_interrupt()
            return self._index
        raise Trapped(Trap.FETCH_FAULT, pc, pc, pc=pc, retires=True)

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
