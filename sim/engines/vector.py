"""The vector command."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.isa import PARAM_WORDS, Operation
from accel.numerics import multiply_by_quantized_multiplier, wrap_int32
from accel.regmap import Rule
from sim.engines.action import Access, Action, require, require_counts
from sim.engines.addresses import ADDRESS_MASK, Offsets, as_words, loop_offsets
from sim.spaces import Memory, Spaces

__all__ = ["Vector"]

OPERAND_B = 256
"""Table entry of B's smallest value."""

FACTOR_LIMIT = 256
"""Factors of MUL are from -256 to 255."""

PAIRED = (Operation.ADD, Operation.MUL)
"""Operations that read operand B."""

WINDOWED = (Operation.SUM, Operation.MAX, Operation.MIN)
"""Operations with a window."""

LIMIT = 1 << 24
"""Elements of the largest command that is worked out: far more than any scratchpad holds."""


@dataclass(frozen=True)
class Walk:
    """How an operand or the result moves: hashable, relative to its base address.

    Parameters
    ----------
    slots : int
        Slices in a word.
    slices, slot, plane : int
        Slices done, place of the first one, address step at the end of a word.
    counts, steps : tuple of int
        Levels window column, window row, column, row.
    """

    slots: int
    slices: int
    slot: int
    plane: int
    counts: tuple[int, int, int, int]
    steps: tuple[int, int, int, int]

    def offsets(self) -> Offsets:
        """Return address offsets [slice, result, window element]."""
        return _walk_offsets(self)

    def places(self) -> Offsets:
        """Return the slot number of every slice."""
        return (self.slot + np.arange(self.slices)) % self.slots


@lru_cache(maxsize=512)
def _walk_offsets(walk: Walk) -> Offsets:
    planes = (walk.slot + np.arange(walk.slices)) // walk.slots * walk.plane
    window = walk.counts[0] * walk.counts[1]
    return planes[:, None, None] + loop_offsets(walk.counts, walk.steps).reshape(-1, window)


@lru_cache(maxsize=512)
def _distinct(walk: Walk) -> Offsets:
    return np.unique(walk.offsets() & ADDRESS_MASK)


@lru_cache(maxsize=512)
def _reads_own_result(source: Walk, target: Walk, distance: int) -> bool:
    """Return whether a slice is read after an earlier iteration of the same command wrote it.

    Parameters
    ----------
    source, target : Walk
    distance : int
        The result's base address minus the operand's.
    """
    written = (target.offsets()[:, :, 0] + distance) & ADDRESS_MASK
    keys, first = np.unique(written * target.slots + target.places()[:, None], return_index=True)
    read = source.offsets() & ADDRESS_MASK
    read_keys = read * source.slots + source.places()[:, None, None]
    window = read.shape[2]
    place = np.minimum(np.searchsorted(keys, read_keys), len(keys) - 1)
    written_at = first[place] * window + window - 1
    time = np.arange(read.size).reshape(read.shape)
    return bool(((keys[place] == read_keys) & (written_at < time)).any())


class Vector(Action):
    """Read, requantise, clamp and write slices of `lanes` channels.

    Parameters
    ----------
    config : Config
    fields : mapping of str to int
        Decoded command.

    Members
    -------
    operation : Operation
    slices, window : int
        Slices, and window elements of a result.
    elements : int
        Slices times results times window elements.
    parameter_groups : int
        Parameter sets that are fetched from the weight memory.
    """

    def __init__(self, config: Config, fields: Mapping[str, int]) -> None:
        self._config = config
        self._fields = dict(fields)
        f = fields
        counts = ("slices", "count_col", "count_row", "window_col", "window_row")
        require_counts(f, *counts)
        require(
            f["operation"] in list(Operation),
            f"operation must be from 0 to {max(Operation)}, not {f['operation']}",
            Rule.VALUE,
        )
        self.operation = operation = Operation(f["operation"])
        self._results = f["count_col"] * f["count_row"]
        self.slices, self.window = f["slices"], f["window_col"] * f["window_row"]
        self.elements = self.slices * self._results * self.window
        self._check(config)

        slots = config.rows // config.lanes
        counts4 = (f["window_col"], f["window_row"], f["count_col"], f["count_row"])

        def walk(name: str, window_steps: tuple[int, int] = (0, 0)) -> Walk:
            steps = (*window_steps, f[f"{name}_step_col"], f[f"{name}_step_row"])
            plane = f[f"{name}_plane"]
            return Walk(slots, f["slices"], f[f"{name}_slot"], plane, counts4, steps)

        self._target = walk("dst")
        self._operands: dict[str, Walk] = {}
        if operation != Operation.ACC:
            self._operands["a"] = walk("a", (f["a_step_wcol"], f["a_step_wrow"]))
        if operation in PAIRED:
            self._operands["b"] = walk("b")
        for name, source in self._operands.items():
            distance = (f["dst_address"] - f[f"{name}_address"]) & ADDRESS_MASK
            require(
                not self._overlaps(name, source)
                or not _reads_own_result(source, self._target, distance),
                f"reads as operand {name} what an earlier iteration of the same command writes",
            )
        self.parameter_groups = 0 if f["uniform"] else self._parameter_groups()
        self.reads = tuple(self._reads())
        self.writes = (self._scratchpad("dst", self._target),)

    def _check(self, config: Config) -> None:
        f, operation = self._fields, self.operation
        if operation not in WINDOWED:
            for name in ("window_col", "window_row"):
                message = f"{name} must be 1 for {operation.name}, not {f[name]}"
                require(f[name] == 1, message, Rule.VALUE)
        used = {"a": True, "b": operation in PAIRED, "dst": True}
        for name in (n for n, is_used in used.items() if is_used):
            of_columns = name == "a" and operation == Operation.ACC
            slots = (config.cols if of_columns else config.rows) // config.lanes
            slot = f[f"{name}_slot"]
            message = f"{name}_slot must be less than {slots}, not {slot}"
            require(slot < slots, message, Rule.SIZE)
        if operation == Operation.ACC:
            last, slots = f["a_slot"] + f["slices"], config.cols // config.lanes
            message = f"a_slot + slices must be at most {slots}, not {last}"
            require(last <= slots, message, Rule.SIZE)
        message = f"upper must be 0 with an odd number of lanes ({config.lanes})"
        require(not f["upper"] or config.lanes % 2 == 0, message, Rule.VALUE)
        low, high = f["clamp_min"], f["clamp_max"]
        require(low <= high, f"clamp_min {low} is larger than clamp_max {high}", Rule.VALUE)
        shift = f["shift"]
        require(
            not f["uniform"] or -31 <= shift <= 30,
            f"shift must be from -31 to 30, not {shift}",
            Rule.VALUE,
        )
        require(self.elements <= LIMIT, f"{self.elements} elements are more than any memory holds")

    def _overlaps(self, name: str, source: Walk) -> bool:
        """Return whether the address ranges of an operand and the result meet."""
        low, high = self._scratchpad(name, source).bounds
        target_low, target_high = self._scratchpad("dst", self._target).bounds
        return low <= target_high and target_low <= high

    def _scratchpad(self, name: str, walk: Walk) -> Access:
        addresses = (self._fields[f"{name}_address"] + _distinct(walk)) & ADDRESS_MASK
        return Access(Memory.SCRATCHPAD, as_words(addresses))

    def _parameter_slices(self) -> Offsets:
        first = self._fields["a_slot"] if self.operation == Operation.ACC else 0
        return first + np.arange(self._fields["slices"])

    def _parameter_groups(self) -> int:
        return int(self._parameter_slices()[-1]) // (self._config.cols // self._config.lanes) + 1

    def _reads(self) -> list[Access]:
        f = self._fields
        reads = [self._scratchpad(name, walk) for name, walk in self._operands.items()]
        if self.operation == Operation.ACC:
            entries = slice(f["a_address"], f["a_address"] + self._results)
            reads.append(Access(Memory.ACCUMULATORS, entries))
        if self.operation in PAIRED:
            reads.append(Access(Memory.TABLE, slice(0, 2 * OPERAND_B)))
        if self.operation == Operation.TABLE:
            reads.append(Access(Memory.TABLE, slice(0, OPERAND_B)))
        if not f["uniform"]:
            words = PARAM_WORDS * self.parameter_groups
            reads.append(
                Access(Memory.WEIGHTS, slice(f["param_address"], f["param_address"] + words))
            )
        return reads

    def run(self, spaces: Spaces) -> None:
        """Compute all slices at once, then write them.

        Raises
        ------
        ProgramError
            When a multiplier or shift read from the weight memory is out of range, or a factor
            from the table.
        """
        f = self._fields
        bias, multiplier, shift = self._parameters(spaces)
        x = wrap_int32(self._x(spaces) + bias)
        result = f["output_zero"] + multiply_by_quantized_multiplier(x, multiplier, shift)
        result = np.clip(result, f["clamp_min"], f["clamp_max"]).astype(np.int8)
        if f["upper"]:
            middle = self._config.lanes // 2
            result[..., :middle] = result[..., middle:]
        words = (f["dst_address"] + self._target.offsets()[:, :, 0]) & ADDRESS_MASK
        slices = self._slices(spaces)
        slices[words % len(slices), self._target.places()[:, None]] = result

    def _slices(self, spaces: Spaces) -> npt.NDArray[np.int8]:
        """Return the scratchpad as [word, slot, lane]."""
        return spaces.scratchpad.reshape(len(spaces.scratchpad), -1, self._config.lanes)

    def _parameters(self, spaces: Spaces) -> tuple[Offsets, Offsets, Offsets]:
        """Return bias, multiplier and shift, each [slice, 1, lane] or one for all."""
        f = self._fields
        if f["uniform"]:
            return np.array(f["bias"]), np.array(f["multiplier"]), np.array(f["shift"])
        words = f["param_address"] + np.arange(PARAM_WORDS * self.parameter_groups)
        stored = spaces.weights.take(words, axis=0, mode="wrap").view(np.uint8)
        stored = stored.reshape(self.parameter_groups, PARAM_WORDS, -1).transpose(0, 2, 1)
        stored = stored.reshape(-1, self._config.lanes, PARAM_WORDS)[self._parameter_slices()]
        data = np.ascontiguousarray(stored)[:, None]
        both = np.ascontiguousarray(data[..., :8]).view("<i4").astype(np.int64)
        shift = data[..., 8].view(np.int8).astype(np.int64)
        bias, multiplier = both[..., 0], both[..., 1]
        require(
            bool((multiplier >= 0).all() and (shift >= -31).all() and (shift <= 30).all()),
            "the parameters hold a negative multiplier, or a shift outside -31 .. 30",
        )
        return bias, multiplier, shift

    def _x(self, spaces: Spaces) -> Offsets:
        """Return what Operation says, [slice, result, lane]."""
        f = self._fields
        if self.operation == Operation.ACC:
            entries = f["a_address"] + np.arange(self._results)
            sums = spaces.accumulators.take(entries, axis=0, mode="wrap")
            columns = sums.reshape(self._results, -1, self._config.lanes).transpose(1, 0, 2)
            return columns[f["a_slot"] : f["a_slot"] + f["slices"]].astype(np.int64)
        values = {name: self._read(spaces, name, walk) for name, walk in self._operands.items()}
        if self.operation == Operation.SUM:
            return np.asarray(values["a"].sum(axis=2))
        if self.operation == Operation.MAX:
            return np.asarray(values["a"].max(axis=2))
        if self.operation == Operation.MIN:
            return np.asarray(values["a"].min(axis=2))
        x: Offsets = spaces.table[values["a"][:, :, 0] + 128].astype(np.int64)
        if self.operation == Operation.TABLE:
            return x
        other = spaces.table[OPERAND_B + 128 + values["b"][:, :, 0]]
        if self.operation == Operation.ADD:
            return np.asarray(x + other)
        for factors in (x, other):
            small = (factors >= -FACTOR_LIMIT) & (factors < FACTOR_LIMIT)
            require(
                bool(small.all()),
                f"multiplies table entries outside {-FACTOR_LIMIT} .. {FACTOR_LIMIT - 1}",
            )
        return np.asarray(x * other)

    def _read(self, spaces: Spaces, name: str, walk: Walk) -> Offsets:
        """Return an operand [slice, result, window element, lane]."""
        slices = self._slices(spaces)
        words = (self._fields[f"{name}_address"] + walk.offsets()) & ADDRESS_MASK
        values = slices[words % len(slices), walk.places()[:, None, None]]
        return np.asarray(values, np.int64)
