"""Argument blocks and calls of kernels."""

import numpy as np
import pytest

from accel import asm
from accel.firmware.call import STACK_BYTES, argument_block, kernel_call
from tests.firmware.kernelbench import call

RET = asm.jalr(0, 1, 0)


def test_block_as_accel_h_describes_it():
    tables = [np.array([7, -8], np.int32), np.array([9], np.int32)]
    places = [(16 * i, 2, 3, 4, 96) for i in range(3)]
    words = argument_block(8, 8, places[0], places[1:], [-1, 5], tables)
    assert words == [
        *(8, 8, 2, 2),
        *(0, 2, 3, 4, 96),
        *(16, 2, 3, 4, 96),
        *(32, 2, 3, 4, 96),
        *(0xFFFFFFFF, 5),
        *(7, 0xFFFFFFF8, 9),
    ]


def test_block_of_wrong_values():
    place = (0, 1, 1, 1, 8)
    with pytest.raises(ValueError, match="must fit 32 bits, not 4294967296"):
        argument_block(8, 8, place, [place], [1 << 32])
    with pytest.raises(ValueError, match="must be 5 values, not 4"):
        argument_block(8, 8, place, [place[:4]])


@pytest.mark.parametrize("at", [0, 1, 500])
def test_call_keeps_what_it_must(at):
    """The worst kernel that the calling convention allows."""
    free = [5, 6, 7, *range(11, 18), *range(28, 32)]
    # The first output element becomes the number of inputs; the stack is used.
    kernel = [asm.addi(2, 2, -16), asm.sw(1, 2, 12), asm.lw(5, 10, 8), asm.lw(6, 10, 16)]
    kernel += [asm.sb(5, 6, 0), asm.lw(1, 2, 12), asm.addi(2, 2, 16)]
    kernel += [asm.addi(r, 0, -1) for r in (*free, 10)] + [RET]
    x = np.zeros((1, 1, 3), np.int8)
    got = call(kernel, (1, 1, 1), [x, x, x], rows=4, multiply=False, at=at)
    assert got.output.item() == 3
    assert got.kept == []
    # The call keeps 32 bytes, the kernel one word below them.
    assert got.stack == 36


def test_far_kernel_and_large_block():
    x = np.zeros((1, 1, 1), np.int8)
    tables = [np.arange(1500)]
    kernel = [asm.lw(6, 10, 16), asm.lui(5, 1), asm.add(5, 5, 10), asm.lw(5, 5, 56)]
    got = call(
        [*kernel, asm.sb(5, 6, 0), RET], (1, 1, 1), [x], rows=4, multiply=False, tables=tables
    )
    # Word 14 is the table's first.
    assert got.output.item() == np.int8(np.uint8(1024 % 256))


@pytest.mark.parametrize("top", [0x1008, STACK_BYTES - 16])
def test_bad_stack(top):
    with pytest.raises(ValueError, match="must be a multiple of 16 from 192"):
        kernel_call([RET], [0], top)
