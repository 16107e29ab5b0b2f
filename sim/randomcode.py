"""Random programs for the controller: streams of instructions that keep to themselves.

A program sets up registers and a trap handler and then runs random units of one or a few
instructions. Branches go to units only, so that no unit is entered in its middle.
"""

import random
from collections.abc import Callable, Sequence

from accel import asm
from accel.isa import COMMANDS, WINDOW_BASE, Engine
from accel.riscv import INSTRUCTIONS, Csr, Trap, decode

__all__ = ["RandomProgram"]

HANDLER = 64
"""Byte offset of the trap handler; the program's start jumps over it."""

# x1 .. x23 are random. The rest: what loops count, two data pointers, where a wild jump returns
# to, and what the handler reads the CSRs into.
FREE = 24
COUNT, WINDOW, RETURN, DATA, CAUSE, VALUE, PC, SCRATCH = range(24, 32)

_REGISTER = "add sub sll slt sltu xor srl sra or and".split()
_IMMEDIATE = "addi slti sltiu xori ori andi".split()
_SHIFT = "slli srli srai".split()
_MULTIPLY = "mul mulh mulhsu mulhu div divu rem remu".split()
_BRANCH = "beq bne blt bge bltu bgeu".split()
_SIZES = {"lb": 1, "lbu": 1, "lh": 2, "lhu": 2, "lw": 4, "sb": 1, "sh": 2, "sw": 4}
_CSRS = (Csr.MSCRATCH, Csr.MEPC, Csr.MCAUSE, Csr.MTVAL, Csr.MINSTRET, Csr.MINSTRETH, Csr.MISA)
_EDGES = (0, 1, 2, 31, 32, 0x7FF, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF)


class RandomProgram:
    """One program.

    Parameters
    ----------
    rng : random.Random
    units : int
    program_bytes, window_bytes : int
        Of the memories. The program takes at most 16 bytes a unit and 1 KiB.
    base : int
        First byte address of the program memory.
    multiply : bool
    traps : bool
        Traps, CSRs of machine mode, tensor instructions and the window. Without: what any RV32
        simulator runs.
    interrupts : bool
        Enable the interrupt now and then.
    tensor : bool
        With `traps`: tensor instructions among them.
    begin, end : sequence of int
        Instructions that it begins with, and that it ends with if it has traps; by then registers
        hold anything.

    Members
    -------
    words : list of int
        Content of the program memory: code, then random data.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        units: int,
        program_bytes: int,
        window_bytes: int = 0,
        base: int = 0,
        multiply: bool = True,
        traps: bool = True,
        interrupts: bool = False,
        tensor: bool = True,
        begin: Sequence[int] = (),
        end: Sequence[int] = (asm.tdone(0),),
    ) -> None:
        self._rng, self._base, self._size = rng, base, program_bytes
        self._window, self._interrupts = window_bytes, interrupts
        self._traps, self._begin, self._end = traps, begin, end
        # The last kilobyte is data, its last word nobody's: the simulator writes it.
        self._data = base + program_bytes - 516
        kinds: list[tuple[int, Callable[[], list[int]]]] = [
            (30, self._register),
            (22, self._immediate),
            (5, self._upper),
            (14, self._memory),
            (2, self._fence),
        ]
        if multiply:
            kinds.append((6, self._multiplies))
        if traps:
            kinds += [
                (7, self._csr),
                (3, self._window_access),
                (3, self._bad_access),
                (2, self._call),
                (3, self._illegal),
                (2, self._wild_jump),
                *([(4, self._tensor)] if tensor else []),
            ]
        self._kinds = [kind for _, kind in kinds]
        self._weights = [weight for weight, _ in kinds]
        self.words = self._build(units)

    def _build(self, units: int) -> list[int]:
        rng = self._rng
        program = asm.Program()
        program.jump("start")
        program.emit([asm.nop()] * (HANDLER // 4 - 1))
        self._handler(program)
        program.label("start")
        program.emit(list(self._begin))
        for number in range(1, 32):
            value = rng.choice(_EDGES) if rng.random() < 0.3 else rng.getrandbits(32)
            program.emit(asm.li(number, value))
        program.emit(asm.li(DATA, self._data) + asm.li(WINDOW, WINDOW_BASE + self._window // 2))
        if self._traps:
            program.emit([*asm.li(SCRATCH, self._base + HANDLER), asm.csrrw(0, Csr.MTVEC, SCRATCH)])
        if self._interrupts:
            program.emit([*asm.li(SCRATCH, 1 << 11), asm.csrrw(0, Csr.MIE, SCRATCH)])
        loop: tuple[int, int] | None = None
        for unit in range(units):
            program.label(f"unit{unit}")
            draw = rng.random()
            if loop and unit >= loop[1]:
                program.emit(asm.addi(COUNT, COUNT, -1))
                program.branch("bne", COUNT, 0, f"unit{loop[0]}")
                loop = None
            elif draw < 0.09:
                ahead = min(unit + rng.randint(1, 6), units)
                program.branch(rng.choice(_BRANCH), self._source(), self._source(), f"unit{ahead}")
            elif draw < 0.12:
                program.jump(f"unit{min(unit + rng.randint(1, 4), units)}", rd=self._target())
            elif draw < 0.14:
                self._jump_by_register(program)
            elif draw < 0.15 and loop is None:
                loop = (unit + 1, unit + rng.randint(2, 8))
                program.emit(asm.addi(COUNT, 0, rng.randint(1, 5)))
            elif draw < 0.16:
                self._store_code(program)
            else:
                program.emit(rng.choices(self._kinds, self._weights)[0]())
        program.label(f"unit{units}")
        program.emit(list(self._end) if self._traps else asm.jal(0, 0))
        words = program.words()
        space = self._size // 4 - len(words)
        if space < 256:
            raise ValueError(f"{units} units leave {4 * space} bytes, and 1024 are data")
        return words + [rng.getrandbits(32) for _ in range(space)]

    def _handler(self, program: asm.Program) -> None:
        """Read the CSRs and go on behind the instruction; behind a wild jump at RETURN."""
        program.emit(
            [
                asm.csrrs(CAUSE, Csr.MCAUSE, 0),
                asm.csrrs(VALUE, Csr.MTVAL, 0),
                asm.csrrs(PC, Csr.MEPC, 0),
                asm.csrrs(SCRATCH, Csr.MSTATUS, 0),
            ]
        )
        program.branch("blt", CAUSE, 0, "leave")
        program.emit([asm.addi(PC, PC, 4), asm.addi(SCRATCH, 0, Trap.FETCH_FAULT)])
        program.branch("bne", CAUSE, SCRATCH, "set")
        program.emit(asm.addi(PC, RETURN, 0))
        program.label("set")
        program.emit(asm.csrrw(0, Csr.MEPC, PC))
        program.label("leave")
        program.emit(asm.mret())

    def _target(self) -> int:
        return self._rng.randrange(FREE)

    def _source(self) -> int:
        return self._rng.randrange(32)

    def _register(self) -> list[int]:
        name = self._rng.choice(_REGISTER)
        return [INSTRUCTIONS[name].encode(self._target(), self._source(), self._source())]

    def _multiplies(self) -> list[int]:
        name = self._rng.choice(_MULTIPLY)
        return [INSTRUCTIONS[name].encode(self._target(), self._source(), self._source())]

    def _immediate(self) -> list[int]:
        rng = self._rng
        if rng.random() < 0.3:
            shift = INSTRUCTIONS[rng.choice(_SHIFT)]
            return [shift.encode(self._target(), self._source(), rng.randrange(32))]
        name = rng.choice(_IMMEDIATE)
        value = rng.randint(-2048, 2047)
        return [INSTRUCTIONS[name].encode(self._target(), self._source(), value)]

    def _upper(self) -> list[int]:
        name = self._rng.choice(("lui", "auipc"))
        return [INSTRUCTIONS[name].encode(self._target(), self._rng.getrandbits(20))]

    def _access(self, pointer: int, low: int, high: int) -> list[int]:
        name = self._rng.choice(list(_SIZES))
        offset = self._rng.randrange(low, high, _SIZES[name])
        register = self._target() if name[0] == "l" else self._source()
        return [INSTRUCTIONS[name].encode(register, pointer, offset)]

    def _memory(self) -> list[int]:
        return self._access(DATA, -504, 508)

    def _window_access(self) -> list[int]:
        return self._access(WINDOW, -1024, 1024)

    def _bad_access(self) -> list[int]:
        """Misaligned, or where there is no memory."""
        rng = self._rng
        name = rng.choice(list(_SIZES))
        size = _SIZES[name]
        if size > 1 and rng.random() < 0.6:
            pointer, offset = rng.choice((DATA, WINDOW)), rng.randint(-100, 100) * 4 + 1
            if size == 4:
                offset += rng.randrange(3)
        else:
            pointer, offset = (WINDOW, 1024 + 4 * rng.randrange(200))
        register = self._target() if name[0] == "l" else self._source()
        return [INSTRUCTIONS[name].encode(register, pointer, offset)]

    def _fence(self) -> list[int]:
        return [self._rng.choice((asm.fence(), asm.fence_i()))]

    def _csr(self) -> list[int]:
        rng = self._rng
        name = rng.choice("csrrw csrrs csrrc csrrwi csrrsi csrrci".split())
        csr = int(rng.choice(_CSRS))
        draw = rng.random()
        if draw < 0.15:
            csr = rng.choice((0x7C0, 0x180, 0x3A0, 0xC00, 0x30A, 0xF16, int(Csr.MHARTID)))
        elif draw < 0.3:
            enable = rng.choice(("csrrsi", "csrrci")) if self._interrupts else "csrrci"
            return [INSTRUCTIONS[enable].encode(self._target(), Csr.MSTATUS, 8)]
        return [INSTRUCTIONS[name].encode(self._target(), csr, self._source())]

    def _call(self) -> list[int]:
        waits = [asm.wfi()] if self._interrupts else []
        return [self._rng.choice([asm.ecall(), asm.ebreak(), *waits])]

    def _illegal(self) -> list[int]:
        while True:
            word = self._rng.getrandbits(32)
            if self._rng.random() < 0.7:
                word = word & ~0x7F | self._rng.choice((0x0B, 0x13, 0x33, 0x63, 0x67, 0x73, 0x0F))
            if decode(word) is None:
                return [word]

    def _wild_jump(self) -> list[int]:
        """Leave the memory, or miss an instruction's start."""
        rng = self._rng
        here = [asm.auipc(RETURN, 0)]
        draw = rng.random()
        if draw < 0.4:
            return [*here, asm.addi(RETURN, RETURN, 12), asm.jalr(self._target(), WINDOW, -1)]
        if draw < 0.7:
            jump = asm.jal(self._target(), rng.choice((-0x100000, 0xFFFFC, 6, -2)))
            return [*here, asm.addi(RETURN, RETURN, 12), jump]
        number = self._target()
        branch = INSTRUCTIONS[rng.choice(_BRANCH)].encode(number, number, rng.choice((-4094, 4094)))
        return [*here, asm.addi(RETURN, RETURN, 12), branch]

    def _tensor(self) -> list[int]:
        rng = self._rng
        engine = rng.choice(list(Engine))
        pair = rng.randrange(COMMANDS[engine].pairs)
        post = rng.randrange(16) & ~(1 << engine)
        return [
            rng.choice(
                (
                    asm.tset(engine, pair, self._source(), self._source()),
                    asm.tadd(engine, pair, self._source(), self._source()),
                    asm.tpush(engine, rng.randrange(16), post, bool(rng.randrange(2))),
                    asm.twait(rng.randrange(16)),
                )
            )
        ]

    def _jump_by_register(self, program: asm.Program) -> None:
        # To right behind itself, bit 0 set or not.
        register = self._rng.randrange(1, FREE)
        program.emit(asm.auipc(register, 0))
        program.emit(asm.jalr(self._target(), register, 8 + self._rng.randrange(2)))

    def _store_code(self, program: asm.Program) -> None:
        """Replace the last instruction of the unit, which a FENCE.I lets be seen."""
        register, pointer = self._rng.sample(range(1, FREE), 2)
        constant = asm.li(register, self._immediate()[0])
        place = 4 * (1 + len(constant) + 2)
        program.emit([asm.auipc(pointer, 0), *constant])
        program.emit([asm.sw(register, pointer, place), asm.fence_i(), asm.nop()])
