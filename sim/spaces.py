"""The memories of one accelerator as numpy arrays."""

import enum

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.host.device import DEFAULT_MEMORY_BYTES
from accel.isa import TABLE_WORDS, Space

__all__ = ["Memory", "Spaces", "Words"]


class Memory(enum.IntEnum):
    """Every memory that commands reach; the first four are the load engine's Space."""

    SCRATCHPAD = Space.SCRATCHPAD
    WEIGHTS = Space.WEIGHTS
    TABLE = Space.TABLE
    PROGRAM = Space.PROGRAM
    ACCUMULATORS = 4
    EXTERNAL = 5

    @classmethod
    def words(cls, config: Config, memory: "Memory", memory_bytes: int = 0) -> int:
        """Return how many addresses the memory has; external memory counts groups of 4 bytes."""
        return {
            cls.SCRATCHPAD: config.scratchpad_words,
            cls.WEIGHTS: config.weight_words,
            cls.TABLE: TABLE_WORDS,
            cls.PROGRAM: config.program_words,
            cls.ACCUMULATORS: 2 * config.acc_depth,
            cls.EXTERNAL: memory_bytes // 4,
        }[memory]


Words = slice | npt.NDArray[np.int64]
"""Addresses of words in one memory: a range without step, or any number in any order."""


class Spaces:
    """On-chip memories and external memory, all zero at first.

    Parameters
    ----------
    config : Config
    memory_bytes : int
        Size of the external memory, a multiple of 64. Pages that nobody touches cost nothing.

    Members
    -------
    scratchpad : int8 [scratchpad_words, rows]
    weights : int8 [weight_words, cols]
    accumulators : int32 [2 * acc_depth, cols]
    table : int32 [512]
    program : uint32 [program_words]
    memory : uint8 [memory_bytes]
    memory_offset : int
        Where byte offset 0 of the commands (MEMORY_BASE) lies in `memory`; a multiple of 64.
    """

    def __init__(self, config: Config, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        if memory_bytes <= 0 or memory_bytes % 64:
            raise ValueError(f"memory_bytes must be a multiple of 64, not {memory_bytes}")
        self.scratchpad = np.zeros((config.scratchpad_words, config.rows), np.int8)
        self.weights = np.zeros((config.weight_words, config.cols), np.int8)
        self.accumulators = np.zeros((2 * config.acc_depth, config.cols), np.int32)
        self.table = np.zeros(TABLE_WORDS, np.int32)
        self.program = np.zeros(config.program_words, np.uint32)
        self.memory = np.zeros(memory_bytes, np.uint8)
        self.memory_offset = 0
