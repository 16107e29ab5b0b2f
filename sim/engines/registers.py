"""Which registers of its file a command depends on."""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from accel.isa import COMMANDS, Engine, Operation

__all__ = ["used_registers"]


@lru_cache(maxsize=2048)
def used_registers(engine: Engine, registers: tuple[int, ...]) -> frozenset[int]:
    """Return the registers whose value matters to the command that the file holds.

    Steps of loops with one iteration do not matter, nor do operands that the operation leaves
    alone.
    """
    f = COMMANDS[engine].decode(list(registers))
    names = {
        Engine.LOAD: _of_load,
        Engine.MATMUL: _of_matmul,
        Engine.VECTOR: _of_vector,
        Engine.STORE: _of_dma,
    }[engine](f)
    place = {field.name: field.register for field in COMMANDS[engine].fields}
    return frozenset(place[name] for name in names)


def _of_dma(f: Mapping[str, int]) -> Iterator[str]:
    yield from ("memory_address", "chip_address", "words", "rows")
    for level, count in (("row", f["rows"]), ("plane", f["planes"])):
        if count > 1:
            yield from (f"memory_step_{level}", f"chip_step_{level}")


def _of_load(f: Mapping[str, int]) -> Iterator[str]:
    yield from _of_dma(f)
    yield "pack_step"
    if f["pack_step"]:
        yield "pack_bytes"


def _of_matmul(f: Mapping[str, int]) -> Iterator[str]:
    yield from ("input_address", "input_y", "weight_address", "acc_address", "count_col")
    yield from ("count_k0", "count_k2", "input_height")
    for level in ("col", "row", "k0", "k1", "k2"):
        if f[f"count_{level}"] > 1:
            yield from (f"step_{level}", f"step_{level}_y")


def _of_vector(f: Mapping[str, int]) -> Iterator[str]:
    yield from ("a_address", "dst_address", "slices", "count_col", "window_col", "operation")
    yield from ("multiplier", "bias", "shift") if f["uniform"] else ("param_address",)
    walks = {"dst"}
    if f["operation"] != Operation.ACC:
        walks.add("a")
        yield from (f"a_step_{level}" for level in ("wcol", "wrow") if f[f"window_{level[1:]}"] > 1)
    if f["operation"] in (Operation.ADD, Operation.MUL):
        walks.add("b")
        yield "b_address"
    for name in walks:
        yield from (f"{name}_step_{level}" for level in ("col", "row") if f[f"count_{level}"] > 1)
        if f["slices"] > 1:
            yield f"{name}_plane"
