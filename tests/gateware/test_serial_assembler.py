"""The microcode's assembler: encodings, what it puts between, what it refuses."""

import pytest

from accel.config import PRESETS
from accel.gateware.serial.assembler import assemble
from accel.gateware.serial.microword import (
    ADDRESS_BITS,
    Action,
    Condition,
    Mode,
    Operation,
    Source,
    Word,
)
from accel.gateware.serial.program import microcode

REGISTERS = {"a": 256, "b": 257}


def decoded(text):
    """Return the instructions and the constants."""
    words, constants = assemble(text, REGISTERS, {"LIMIT": 9})
    return [Word.from_bits(word) for word in words], constants


def test_an_instruction_with_everything():
    (first, second), constants = decoded("again: A+%LIMIT-1 rd dec if cnz again\n=hi(e3)")
    assert constants == {384: 8}
    assert first.operation == Operation.ADD and not first.keep and first.register == 384
    assert first.action == Action.RD and first.decrement
    assert (first.condition, first.negate, first.target) == (Condition.CNZ, 0, 0)
    assert second.keep and second.source == Source.HIGH and second.named
    assert second.register == Mode.ENGINE | 3 << 3
    # No jump: never.
    assert (second.condition, second.negate) == (Condition.ALWAYS, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A=$a >a", "A=a"),
        (">rd", "A=rs1"),
        (">even", "A=m1"),
        ("A+a", "if z there"),
        ("-a", "if ge there"),
        ("=a ldc", "if cnz there"),
        ("=@w ir", "A=rs1"),
        ("=@w ir", "A+#i"),
        ("A=a", "choose there"),
        ("A=$r pop", "if rvalid there"),
    ],
)
def test_an_empty_instruction_comes_between(first, second):
    text = f".align 8\nthere: =a rd\n{first}\n{second}\nnop"
    if "@w" not in first:
        text = text.replace("=a rd", "nop")
    plain = assemble(text, {**REGISTERS, "m1": 161}, {})[0]
    apart = assemble(text.replace(f"\n{second}", f"\nnop\n{second}"), {**REGISTERS, "m1": 161}, {})
    assert plain == apart[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [("A=$a >a", "A=b"), (">rd", "A=a"), (">host", "A=rs1"), ("A+a", "if cnz there")],
)
def test_nothing_comes_between_what_does_not_meet(first, second):
    words, _ = decoded(f"there: nop\n{first}\n{second}")
    assert len(words) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=c", "has no register c"),
        ("A=a >b", "uses two registers at >b"),
        ("leap", "leap in 'leap' is nothing"),
        ("goto there", "has no label there"),
        ("a: nop\na: nop", "has label a twice"),
        ("loop: A=a\n>a goto loop", "jumps too early"),
        ("nop\nthere: nop\nA=a\nfunct3 there", "is not aligned"),
        ("nop\nA=@w", "reads no word"),
        ("call f\nif z f\nf: A=a ret", "returns too early"),
        ("nop\nA+$w", "computes with what can only be loaded"),
        ("nop\n=hi(a) ldc", "computes with what can only be loaded"),
        (".align 32\nt: nop\n=a ir\nnop\nopcode t", "dispatches too early"),
        ("t: A-a\nnop\nif taken t", "branches too early"),
        ("nop\n" * 1025, "has 1025 instructions"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ValueError, match=message):
        decoded(text)


def test_the_microcode_fits():
    config = PRESETS["tiny"]
    words, constants = microcode(
        fingerprint=config.fingerprint,
        shape=(4, 4, 1, 4),
        scratchpad_words=config.scratchpad_words,
        weight_words=config.weight_words,
        program_words=config.program_words,
    )
    assert len(words) <= 1 << ADDRESS_BITS
    assert max(constants) < 512
