"""Interpreter of the controller: RV32I, M, machine mode, and the tensor instructions.

Every word of program memory has a handler: a closure with the decoded operands that executes the
instruction and returns the next word's index. Handlers are made when first reached and dropped
when their word is overwritten. Instructions: accel/riscv.py; semantics: "The RISC-V Instruction
Set Manual, Volume I", version 20191213, chapters 2 and 7; traps: sim/traps.py.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from accel.isa import StatusWord
from accel.riscv import INTERRUPT, Trap, decode
from sim.cycles import EXTRA_CYCLES, TRAP_CYCLES
from sim.errors import ProgramError
from sim.handlers import SCRAP, Handler, Handlers
from sim.port import CorePort
from sim.traps import MachineMode, Trapped

__all__ = ["Core"]


class Core(Handlers):
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
    machine_mode : bool
        CSR instructions and MRET.

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
        machine_mode: bool = True,
    ) -> None:
        super().__init__(program, port=port, window_bytes=window_bytes, base=base)
        self._has = {"m": multiply, "zicsr": machine_mode}
        self._word = program.data
        self.mode = MachineMode(base=base, size=self._size, multiply=multiply)
        self._trapped = 0
        self._retired = [0]
        self._index = 0

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
        if found is None or not (self._has.get(found[0].extension, True) or found[0].name == "wfi"):
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
