"""The list of cocotb benches.

To add a bench `thing`:

1. Write the cocotb test module, `sim/benches/thing.py`. It gets its configuration from
   `sim.benches.environment.bench_config()` and its random seed from cocotb (`random` is seeded).
2. Write a function that returns the Verilog of its device under test for a configuration, with a
   top module called `TOPLEVEL`. For a component whose ports are streams or structs,
   `emit_flat` gives every field a Verilog port of its own. Import the hardware inside the
   function: this module is imported by everything that only wants the list.
3. Add a `Bench` to `BENCHES`. `accel cocotb --bench thing` and tests/test_cocotb.py find it there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from accel.config import Config
from accel.errors import AccelError

__all__ = ["BENCHES", "TOPLEVEL", "Bench", "find_bench"]

TOPLEVEL = "bench_top"
"""Name of every bench's top module."""


@dataclass(frozen=True)
class Bench:
    """One cocotb bench.

    Parameters
    ----------
    name : str
        What `--bench` takes.
    description : str
        One line for `accel cocotb --help`.
    emit : callable
        Returns the Verilog for a configuration; its top module is `TOPLEVEL`.
    module : str
        Dotted name of the cocotb test module.
    """

    name: str
    description: str
    emit: Callable[[Config], str]
    module: str


def _emit_array(config: Config) -> str:
    from accel.gateware.array import Array
    from accel.gateware.export import emit_verilog

    return emit_verilog(
        Array(rows=config.rows, cols=config.cols, groups=config.groups), name=TOPLEVEL
    )


def _emit_dma(config: Config) -> str:
    from sim.benches.dma_top import DmaTop
    from sim.benches.flat import emit_flat

    return emit_flat(DmaTop(config), name=TOPLEVEL)


def _emit_network(config: Config) -> str:
    from accel.gateware.export import emit_accelerator

    return emit_accelerator(config, name=TOPLEVEL)


def _emit_requantizer(config: Config) -> str:
    from accel.gateware.requantizer import Requantizer
    from sim.benches.flat import emit_flat

    return emit_flat(Requantizer(), name=TOPLEVEL)


BENCHES: dict[str, Bench] = {
    bench.name: bench
    for bench in (
        Bench(
            name="array",
            description="the systolic array alone, tiles back to back, against numpy",
            emit=_emit_array,
            module="sim.benches.array",
        ),
        Bench(
            name="dma",
            description="load and store engines against cocotbext-axi, with back-pressure",
            emit=_emit_dma,
            module="sim.benches.dma",
        ),
        Bench(
            name="network",
            description="small networks on the whole accelerator, by the driver over cocotbext-axi",
            emit=_emit_network,
            module="sim.benches.network",
        ),
        Bench(
            name="requantizer",
            description="one requantiser lane against numpy, random and extreme int32",
            emit=_emit_requantizer,
            module="sim.benches.requantizer",
        ),
    )
}


def find_bench(name: str) -> Bench:
    """Return the bench called `name`.

    Raises
    ------
    AccelError
        When there is none.
    """
    if name not in BENCHES:
        raise AccelError(f"unknown bench {name}: use {', '.join(BENCHES)}")
    return BENCHES[name]
