"""Signatures that join the units: memory ports, engine commands, completions, tensor operations."""

from collections.abc import Iterable

from amaranth.hdl import Cat, ShapeLike, Value, ValueLike, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.isa import Command

__all__ = [
    "ACCUMULATOR_LATENCY",
    "SCRATCHPAD_LATENCY",
    "WEIGHT_LATENCY",
    "AccumulatorReadPort",
    "BankUses",
    "CommandLayout",
    "Completion",
    "EngineFault",
    "PC_BITS",
    "ReadPort",
    "TensorOperation",
    "WritePort",
    "meets",
]

SCRATCHPAD_LATENCY = 3
"""Cycles from an accepted scratchpad read request to its response."""

WEIGHT_LATENCY = 3
"""Cycles from an accepted weight read request to its response."""


ACCUMULATOR_LATENCY = 4
"""Cycles from an accepted accumulator read request to its response."""

PC_BITS = 14
"""Bits of an instruction's word address: 64 KiB of program memory."""


class ReadPort(wiring.Signature):
    """Read port of an on-chip memory, seen from the reader.

    Parameters
    ----------
    address_width : int
    shape : shape-like
        Shape of one word.

    Members
    -------
    request : Out(stream.Signature(address_width))
        A word's address. `ready` may be low when another reader has priority.
    response : In({valid, data})
        The word, a fixed number of cycles after the request was accepted. Cannot be refused.
    """

    def __init__(self, address_width: int, shape: ShapeLike) -> None:
        super().__init__(
            {
                "request": Out(stream.Signature(unsigned(address_width))),
                "response": In(data.StructLayout({"valid": unsigned(1), "data": shape})),
            }
        )


class AccumulatorReadPort(wiring.Signature):
    """Read port of the accumulators, seen from the reader.

    Parameters
    ----------
    depth : int
        Entries in each of the two halves.
    cols, lanes : int
        Columns of the array, and how many neighbours of them one read returns.

    Members
    -------
    request : Out(stream.Signature({address, slot}))
        An entry of either half, and which `lanes` columns of it: `slot * lanes ..`. `ready` is low
        while the matmul engine is at work on that half.
    response : In({valid, data})
        `lanes` int32 sums, ACCUMULATOR_LATENCY cycles after the request was accepted, in order.
        Cannot be refused.
    """

    def __init__(self, *, depth: int, cols: int, lanes: int) -> None:
        request = data.StructLayout(
            {
                "address": unsigned(ceil_log2(2 * depth)),
                # Verilog has no vectors without bits: one that does not count stays.
                "slot": unsigned(max(1, ceil_log2(cols // lanes))),
            }
        )
        sums = data.ArrayLayout(signed(32), lanes)
        super().__init__(
            {
                "request": Out(stream.Signature(request)),
                "response": In(data.StructLayout({"valid": unsigned(1), "data": sums})),
            }
        )


class WritePort(wiring.Signature):
    """Write port of an on-chip memory, seen from the writer: one stream.

    Parameters
    ----------
    address_width : int
    shape : shape-like
        Shape of one word.
    granules : int
        Equal parts of the word that `mask` enables, lowest bits first.

    Members
    -------
    request : Out(stream.Signature({address, data, mask}))
    """

    def __init__(self, address_width: int, shape: ShapeLike, granules: int = 1) -> None:
        payload = data.StructLayout(
            {"address": unsigned(address_width), "data": shape, "mask": unsigned(granules)}
        )
        super().__init__({"request": Out(stream.Signature(payload))})


class BankUses(data.ArrayLayout):
    """Who uses which bank of a memory in this cycle: {valid, bank} of each client.

    Parameters
    ----------
    clients, banks : int
    """

    def __init__(self, clients: int, banks: int) -> None:
        # Verilog has no vectors without bits: one that is 0 stays.
        bits = max(1, ceil_log2(banks))
        super().__init__(data.StructLayout({"valid": 1, "bank": bits}), clients)


def meets(uses: Iterable[data.View], bank: ValueLike) -> Value:
    """Return whether one of `uses` is of this bank.

    Each is compared for itself: their banks are known at the cycle's begin, where a mask of all
    banks in use would come late.
    """
    return Cat(use.valid & (use.bank == bank) for use in uses).any()


class CommandLayout(data.StructLayout):
    """What a command queue hands to its engine.

    Fields
    ------
    fields : layout of isa
    post, stamp : unsigned(4), unsigned(1)
    pc : unsigned(PC_BITS)
        Word address of its TPUSH.
    """

    def __init__(self, command: Command) -> None:
        super().__init__(
            {
                "fields": command.layout,
                "post": unsigned(4),
                "stamp": unsigned(1),
                "pc": unsigned(PC_BITS),
            }
        )


class EngineFault(data.Struct):
    """Why an engine stops the machine, for one cycle or more: the first one counts.

    `cause` is an `accel.regmap.Cause`, which says what `address` is; `pc` is the word address of
    the command's TPUSH.
    """

    valid: unsigned(1)  # type: ignore[valid-type]
    cause: unsigned(5)  # type: ignore[valid-type]
    address: unsigned(32)  # type: ignore[valid-type]
    pc: unsigned(PC_BITS)  # type: ignore[valid-type]


class Completion(data.Struct):
    """One command of an engine is complete: all it wrote can be read. In command order."""

    valid: unsigned(1)  # type: ignore[valid-type]
    post: unsigned(4)  # type: ignore[valid-type]
    stamp: unsigned(1)  # type: ignore[valid-type]


class TensorOperation(data.Struct):
    """A TSET, TADD or TPUSH that the controller issues, already checked for legality.

    `b` of a TPUSH is the instruction's word address.
    """

    funct3: unsigned(3)  # type: ignore[valid-type]
    funct7: unsigned(7)  # type: ignore[valid-type]
    rs1_field: unsigned(5)  # type: ignore[valid-type]
    rs2_field: unsigned(5)  # type: ignore[valid-type]
    a: unsigned(32)  # type: ignore[valid-type]
    b: unsigned(32)  # type: ignore[valid-type]
