"""The tensor commands of all engines on numpy arrays.

`prepare` decodes a command into an `Action` that knows which words it reads and writes;
`run_command` executes one command at once, which is what tests of single engines compare with.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

from accel.config import Config
from accel.isa import COMMANDS, Engine
from sim.engines.action import Access, Action
from sim.engines.dma import Load, Store
from sim.engines.matmul import Matmul
from sim.engines.registers import used_registers
from sim.engines.vector import Vector
from sim.spaces import Spaces

__all__ = ["Access", "Action", "prepare", "run_command", "used_registers"]

_ACTIONS: dict[Engine, Callable[[Config, Mapping[str, int]], Action]] = {
    Engine.LOAD: Load,
    Engine.MATMUL: Matmul,
    Engine.VECTOR: Vector,
    Engine.STORE: Store,
}


@lru_cache(maxsize=2048)
def prepare(config: Config, engine: Engine, registers: tuple[int, ...]) -> Action:
    """Return what the engine does with its register file at TPUSH.

    Parameters
    ----------
    config : Config
    engine : Engine
    registers : tuple of int
        All 32-bit registers of the engine.

    Raises
    ------
    ProgramError
        When a field's value has no meaning, or cannot be done by the configuration.
    """
    return _ACTIONS[engine](config, COMMANDS[engine].decode(list(registers)))


def run_command(config: Config, spaces: Spaces, engine: Engine, fields: Mapping[str, int]) -> None:
    """Execute one command on the arrays, without tokens, ordering or range checks.

    On-chip addresses outside a memory wrap.

    Parameters
    ----------
    config : Config
    spaces : Spaces
        Read and changed.
    engine : Engine
    fields : mapping of str to int
        Fields by name, as for `Command.encode`; those not named are 0.

    Raises
    ------
    ValueError
        When a field does not exist or its value does not fit.
    ProgramError
        When a field's value has no meaning, or cannot be done by the configuration.
    IndexError
        When external memory is left.
    """
    prepare(config, engine, tuple(COMMANDS[engine].encode(fields))).run(spaces)
