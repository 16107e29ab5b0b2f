"""What the controller's register instructions compute."""

import operator
from collections.abc import Callable

__all__ = ["CONDITIONS", "MASK", "OPERATORS", "Operator"]

MASK = 0xFFFFFFFF
SIGN = 0x80000000

Operator = Callable[[int, int], int]


def _signed(value: int) -> int:
    return value - ((value & SIGN) << 1)


def _divide(a: int, b: int) -> int:
    """Divide towards zero; the divisor is not 0."""
    quotient = abs(a) // abs(b)
    return -quotient if (a < 0) != (b < 0) else quotient


def _div(a: int, b: int) -> int:
    return _divide(_signed(a), _signed(b)) & MASK if b else MASK


def _rem(a: int, b: int) -> int:
    x, y = _signed(a), _signed(b)
    return (x - y * _divide(x, y)) & MASK if b else a


# The results are 32 bits, unsigned, as the operands are.
OPERATORS: dict[str, Operator] = {
    "add": lambda a, b: (a + b) & MASK,
    "sub": lambda a, b: (a - b) & MASK,
    "sll": lambda a, b: (a << (b & 31)) & MASK,
    "slt": lambda a, b: (a ^ SIGN) < (b ^ SIGN),
    "sltu": operator.lt,
    "xor": operator.xor,
    "srl": lambda a, b: a >> (b & 31),
    "sra": lambda a, b: (_signed(a) >> (b & 31)) & MASK,
    "or": operator.or_,
    "and": operator.and_,
    "mul": lambda a, b: (a * b) & MASK,
    "mulh": lambda a, b: (_signed(a) * _signed(b) >> 32) & MASK,
    "mulhsu": lambda a, b: (_signed(a) * b >> 32) & MASK,
    "mulhu": lambda a, b: a * b >> 32,
    "div": _div,
    "divu": lambda a, b: a // b if b else MASK,
    "rem": _rem,
    "remu": lambda a, b: a % b if b else a,
}

CONDITIONS: dict[str, Callable[[int, int], bool]] = {
    "beq": operator.eq,
    "bne": operator.ne,
    "blt": lambda a, b: (a ^ SIGN) < (b ^ SIGN),
    "bge": lambda a, b: (a ^ SIGN) >= (b ^ SIGN),
    "bltu": operator.lt,
    "bgeu": operator.ge,
}
