"""An independent simulator, PyPI `unicorn` (QEMU's RV32), behind one call."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sim.errors import ProgramError

__all__ = ["checkpoints"]


def checkpoints(
    program: npt.NDArray[np.uint32], instructions: int, distance: int
) -> Iterator[tuple[int, list[int], npt.NDArray[np.uint32]]]:
    """Run a program that traps nowhere from address 0, and look at it every few instructions.

    Parameters
    ----------
    program : uint32 array
        Content of the memory, which is as large.
    instructions, distance : int
        All, and those from one look to the next.

    Yields
    ------
    tuple
        The program counter, x1 to x31 and the memory.

    Raises
    ------
    ProgramError
        When it trapped after all.
    """
    import unicorn
    from unicorn import riscv_const

    machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
    machine.mem_map(0, max(4096, program.nbytes))
    machine.mem_write(0, program.tobytes())
    numbers = [getattr(riscv_const, f"UC_RISCV_REG_X{number}") for number in range(1, 32)]
    pc = 0
    for done in range(0, instructions, distance):
        try:
            machine.emu_start(pc, program.nbytes, count=min(distance, instructions - done))
        except unicorn.UcError as error:
            raise ProgramError(f"unicorn stopped behind instruction {done}: {error}") from None
        pc = machine.reg_read(riscv_const.UC_RISCV_REG_PC)
        memory = np.frombuffer(machine.mem_read(0, program.nbytes), np.uint32)
        yield pc, list(machine.reg_read_batch(numbers)), memory
