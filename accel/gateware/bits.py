"""Small expressions that several units use."""

from amaranth.hdl import Value

__all__ = ["only"]


def only(select: Value, value: Value) -> Value:
    """Return `value` where `select` is high, else 0."""
    return value & select.replicate(len(value))
