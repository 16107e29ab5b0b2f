"""Registers that only delay: the stages that keep parallel pipelines in step."""

from amaranth.hdl import Module, Signal, Value, ValueLike
from amaranth.lib.memory import Memory
from amaranth.utils import ceil_log2

__all__ = ["delayed", "delayed_in_memory"]


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


def delayed_in_memory(m: Module, value: ValueLike, cycles: int, *, name: str) -> Signal:
    """Return the bits of `value` as they were `cycles` cycles ago, from distributed RAM.

    For long delays of data that a delayed flag qualifies: it is not reset.

    Parameters
    ----------
    m : Module
        Receives a ring of memory and a register behind it, named `name`.
    value : value-like
    cycles : int
        At least 3.

    Raises
    ------
    ValueError
        For fewer cycles.
    """
    if cycles < 3:
        raise ValueError(f"A delay in memory must be of at least 3 cycles, not {cycles}")
    value = Value.cast(value)
    depth = 1 << ceil_log2(cycles - 1)
    ring = Memory(shape=len(value), depth=depth, init=[], attrs={"ram_style": "distributed"})
    m.submodules[f"{name}_ring"] = ring
    write, read = ring.write_port(), ring.read_port(domain="comb")
    place = Signal(range(depth), name=f"{name}_place", init=-(cycles - 1) % depth)
    result = Signal(len(value), name=name, reset_less=True)
    m.d.sync += [
        write.addr.eq(write.addr + 1),
        place.eq(place + 1),
        result.eq(read.data),
    ]
    m.d.comb += [write.data.eq(value), write.en.eq(1), read.addr.eq(place)]
    return result
