"""Parity of on-chip memories: what is stored with a word, and how a wrong one is reported."""

from amaranth.hdl import Cat, Value, ValueLike, unsigned
from amaranth.lib import data

__all__ = ["ParityReport", "mismatch", "parity_of"]


class ParityReport(data.StructLayout):
    """What a memory says of the words that were read from it.

    Parameters
    ----------
    readers : int
    address_width : int
        Bits of a word address.

    Members
    -------
    wrong : `readers` bits; one cycle each: this reader got a word whose parity is wrong
    address : of that word
    """

    def __init__(self, readers: int, address_width: int) -> None:
        super().__init__({"wrong": unsigned(readers), "address": unsigned(address_width)})


def parity_of(word: ValueLike, granules: int) -> Value:
    """Return the parity bits of a word's `granules` equal parts: with its bit each is even."""
    word = Value.cast(word)
    bits = len(word) // granules
    return Cat(word.word_select(i, bits).xor() for i in range(granules))


def mismatch(word: ValueLike, parity: ValueLike) -> Value:
    """Return whether a word does not have the parity bits that were kept with it.

    A word that was never written is 0, as are its bits, which are right for it.
    """
    parity = Value.cast(parity)
    return (parity_of(word, len(parity)) ^ parity).any()
