"""Calling a kernel from the controller's program: its argument block and the code around it.

A kernel follows the C calling convention of RISC-V (ilp32): it is entered at its first word with
a0 (x10) at the argument block, sp (x2) at the end of a stack and the return address in ra (x1),
and keeps x8, x9 and x18 .. x27.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from accel import asm

__all__ = ["SAVED", "STACK_BYTES", "argument_block", "kernel_call"]

STACK_BYTES = 192
"""Bytes of program memory below `stack_top` that a call uses at most."""

SAVED = (10, 11, 12, 13, 14, 15)
"""Registers that a call keeps although the calling convention does not."""

FRAME_BYTES = 32
"""What `SAVED` takes of the stack: sp stays a multiple of 16."""

SP, RA, A0 = 2, 1, 10

MASK = 0xFFFFFFFF


def argument_block(
    rows: int,
    slot: int,
    output: Sequence[int],
    inputs: Sequence[Sequence[int]],
    arguments: Sequence[int] = (),
    tables: Iterable[npt.ArrayLike] = (),
) -> list[int]:
    """Return the words that a kernel finds at a0: `struct accel_block` of accel.h and its tail.

    Parameters
    ----------
    rows : int
        The configuration's rows: channels in a group.
    slot : int
        Bytes of a word in the scratchpad's window.
    output : (byte address, height, width, channels, plane bytes)
        The map in the window; plane bytes are from one channel group to the next.
    inputs : sequence of the same
    arguments : sequence of int
        32-bit values, signed or unsigned.
    tables : iterable of int32 arrays

    Raises
    ------
    ValueError
        When a value does not fit 32 bits, or a map is not five values.
    """
    words = [rows, slot, len(inputs), len(arguments)]
    for place in (output, *inputs):
        if len(place) != 5:
            raise ValueError(f"A map must be 5 values, not {len(place)}")
        words += place
    words += arguments
    for table in tables:
        words += [int(value) for value in np.ravel(table)]
    for word in words:
        if not -(1 << 31) <= word < 1 << 32:
            raise ValueError(f"An argument must fit 32 bits, not {word}")
    return [int(word) & MASK for word in words]


def kernel_call(
    kernel_words: Sequence[int], block_words: Sequence[int], stack_top: int
) -> list[int]:
    """Return position-independent code that calls a kernel and goes on behind itself.

    It keeps x8 .. x15 and x18 .. x27 and changes x1, x2, x5 .. x7, x16, x17 and x28 .. x31. Kernel
    and argument block are inside. Engines must have completed what the kernel touches.

    Parameters
    ----------
    kernel_words : sequence of int
        From `accel.firmware.load_kernel`.
    block_words : sequence of int
        From `argument_block`.
    stack_top : int
        Byte address in program memory, a multiple of 16; the STACK_BYTES below it must be free.

    Raises
    ------
    ValueError
        When stack_top is not a multiple of 16.
    """
    if stack_top % 16 or stack_top < STACK_BYTES:
        raise ValueError(f"stack_top must be a multiple of 16 from {STACK_BYTES}, not {stack_top}")
    code = asm.Program()
    code.emit(asm.li(SP, stack_top - FRAME_BYTES))
    for place, register in enumerate(SAVED):
        code.emit(asm.sw(register, SP, 4 * place))
    here = code.address
    to_block = 4 * (4 + len(SAVED))  # auipc, addi, jal, the loads, jal
    code.emit([asm.auipc(A0, 0), asm.addi(A0, A0, to_block)])
    code.jump("kernel", RA)
    for place, register in enumerate(SAVED):
        code.emit(asm.lw(register, SP, 4 * place))
    code.jump("end")
    if code.address != here + to_block:
        raise ValueError("The argument block is not where a0 points")
    code.emit(block_words)
    code.label("kernel")
    code.emit(kernel_words)
    code.label("end")
    return code.words()
