"""Registers that only delay: the stages that keep parallel pipelines in step."""

from amaranth.hdl import Module, Signal, ValueLike

__all__ = ["delayed"]


def delayed(
    m: Module, value: ValueLike, cycles: int, *, name: str, reset_less: bool = False
) -> Signal:
    """Return `value` as it was `cycles` cycles ago.

    Parameters
    ----------
    m : Module
        Receives the registers.
    value : value-like
        Keeps its shape.
    cycles : int
        0 returns a copy of the value itself.
    name : str
        Prefix of the registers' names.
    reset_less : bool
        For data that a delayed flag qualifies: a reset then costs no routing.
    """
    stage = value
    for cycle in range(1, cycles + 1):
        following = Signal.like(value, name=f"{name}_q{cycle}", init=0, reset_less=reset_less)
        m.d.sync += following.eq(stage)
        stage = following
    return stage
