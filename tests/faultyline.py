"""A line that spoils bytes, by a seed."""

import random
from collections.abc import Callable

__all__ = ["KINDS", "FaultyLine"]

Pieces = list[tuple[float, bytes]]


def _lose(rng: random.Random, content: bytes, at: int) -> Pieces:
    return [(0.0, content[:at] + content[at + rng.choice([1, 1, 2, 9]) :])]


def _duplicate(rng: random.Random, content: bytes, at: int) -> Pieces:
    count = rng.choice([1, 1, 4, len(content) - at])
    return [(0.0, content[: at + count] + content[at:])]


def _flip(rng: random.Random, content: bytes, at: int) -> Pieces:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        changed[at] ^= 1 << rng.randrange(8)
        at = min(at + rng.randrange(3), len(content) - 1)
    return [(0.0, bytes(changed))]


def _insert(rng: random.Random, content: bytes, at: int) -> Pieces:
    noise = rng.choice([b"\x7e", b"\x7d", b"\0", b"\x7d\x7e", rng.randbytes(3), rng.randbytes(300)])
    return [(0.0, content[:at] + noise + content[at:])]


def _delay(rng: random.Random, content: bytes, at: int) -> Pieces:
    return [(0.0, content[:at]), (rng.choice([0.001, 0.05, 0.2, 0.5]), content[at:])]


def _cut(rng: random.Random, content: bytes, at: int) -> Pieces:
    return [(0.0, content[:at])]


KINDS: dict[str, Callable[[random.Random, bytes, int], Pieces]] = {
    "lost": _lose,
    "duplicated": _duplicate,
    "flipped": _flip,
    "inserted": _insert,
    "delayed": _delay,
    "cut off": _cut,
}


class FaultyLine:
    """Spoils some of what passes; each call is what is sent at once.

    Parameters
    ----------
    kind : str
        One of KINDS, or "mixed".
    seed : int
    chance : float
        Of a fault in a call.

    Members
    -------
    chance : float
        May be changed.
    faults : int
        So far.
    """

    def __init__(self, kind: str, *, seed: int, chance: float) -> None:
        self.faults = 0
        self._kinds = list(KINDS.values()) if kind == "mixed" else [KINDS[kind]]
        self._rng = random.Random(f"{kind} {seed}")
        self.chance = chance

    def __call__(self, content: bytes) -> Pieces:
        rng = self._rng
        if not content or rng.random() >= self.chance:
            return [(0.0, content)]
        self.faults += 1
        return rng.choice(self._kinds)(rng, content, rng.randrange(len(content)))
