"""The vector engine's runner: loops over a command's elements and asks for their operands."""

import enum

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.loopnest import LoopNest
from accel.gateware.ports import CommandLayout
from accel.isa import COMMANDS, Engine, Operation

__all__ = ["ElementTag", "Path", "RequestLayout", "ResultTag", "VectorIssuer"]


class Path(enum.Enum, shape=unsigned(2)):
    """The way an operand takes to the reduction; they differ in length."""

    SUMS = 0
    """From the accumulators."""
    BYTES = 1
    """From the scratchpad."""
    TABLE = 2
    """From the scratchpad and through the function table."""
