"""Flipped bits in on-chip memories: when each word is used and written, and what a flip does.

A run without a flip says in which cycle each word is read for use, or written. The run is the same
up to where a flipped bit is read; so it tells exactly which flips must be found, and where.
"""

import bisect
import random
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from accel.config import Config
from accel.errors import FaultError
from accel.image import Image
from accel.regmap import Rule, address
from sim.devices.probing import ProbingDevice
from tests.faultbench import FaultBench

__all__ = ["Flip", "FlipBench", "Stored"]

MARGIN = 24
"""Cycles around an access of a word in which a flip in it is not drawn: the pipeline has it then."""

FETCHED = 8
"""Instructions that may have been fetched, and are not executed yet."""


@dataclass
class Stored:
    """One memory array of the RTL.

    Members
    -------
    path : str
    rule : Rule
        What a fault calls the memory.
    words, bits : int
    granule : int
        Data bits and parity bit of what is written at once.
    place : tuple of int
        Word w is the memory's word w * place[0] + place[1].
    uses, writes : dict
        Cycles of each word's reads that count; cycles of its writes with the granules' mask.
    """

    path: str
    rule: Rule
    words: int
    bits: int
    granule: int
    place: tuple[int, int] = (1, 0)
    uses: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    writes: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def address(self, word: int) -> int:
        """Return what a program calls a word."""
        return word * self.place[0] + self.place[1]

    def near(self, word: int, cycle: int) -> bool:
        """Return whether the word is read or written near that cycle."""
        cycles = [*self.uses.get(word, ()), *(c for c, _ in self.writes.get(word, ()))]
        return any(abs(c - cycle) <= MARGIN for c in cycles)

    def next_use(self, word: int, bit: int, cycle: int) -> int | None:
        """Return the cycle of the next read of the word before the bit is written, if any."""
        uses = self.uses.get(word, [])
        at = bisect.bisect_left(uses, cycle)
        if at == len(uses):
            return None
        part = 1 << bit // self.granule
        writes = self.writes.get(word, ())
        covered = any(cycle <= c < uses[at] and mask & part for c, mask in writes)
        return None if covered else uses[at]


@dataclass(frozen=True)
class Flip:
    """A bit that changes in a cycle; `use` is that of its next read, None for none."""

    stored: Stored
    word: int
    bit: int
    cycle: int
    use: int | None

    def __str__(self) -> str:
        return f"{self.stored.path}[{self.word}] bit {self.bit} in cycle {self.cycle}"


class FlipBench(FaultBench):
    """Runs an image on the RTL with parity, with one stored bit flipped every other time.

    Parameters
    ----------
    config : Config
        With parity.
    image : Image

    Members
    -------
    memories : list of Stored
    executed : list of (cycle, word)
        What the controller executes, a cycle or more for each instruction.
    loaded : set of (cycle, word)
        What it loads from program memory.
    sums : list of (cycle, written, entry)
        What happens to accumulator entries: read by the vector engine, or written.
    """

    device_class = ProbingDevice

    def __init__(self, config: Config, image: Image) -> None:
        super().__init__(config, image)
        self._config = config
        self.memories = self._find(config)
        self._watch(config)
        self._trace()

    def _find(self, config: Config) -> list[Stored]:
        columns, banks = range(config.cols), config.scratchpad_banks
        places = [
            (f"scratchpad.bank{b}.memory", Rule.SCRATCHPAD, 8 * config.lanes + 1, (banks, b))
            for b in range(banks)
        ]
        places.append(("weights.memory.memory", Rule.WEIGHTS, 8 * config.cols + 1, (1, 0)))
        places += [
            (f"{_ACC}.column_{c}.half_{h}.memory", Rule.ACCUMULATORS, 33, (1, h * config.acc_depth))
            for c in columns
            for h in range(2)
        ]
        places.append(("controller.memory.memory", Rule.PROGRAM, 9, (1, 0)))
        return [
            Stored(path, rule, *self.device.shape(path), granule, place)
            for path, rule, granule, place in places
        ]

    def _watch(self, config: Config) -> None:
        banks = [f"scratchpad.bank{b}" for b in range(config.scratchpad_banks)]
        self.device.watch((f"{b}_used", f"{b}_checked_q2") for b in banks)
        self.device.watch((f"{b}.write_enable", f"{b}.write_address") for b in banks)
        weights, program = "weights.memory", "controller.memory"
        self.device.watch(
            [
                ("weights.used", "weights.checked_q2"),
                (f"{weights}.write_enable", f"{weights}.write_address"),
                (f"{_ACC}.write_3_q1", f"{_ACC}.entry_3_q1"),
                (f"{_ACC}.write_3_q1", f"{_ACC}.replace_3_q1"),
                (f"{_ACC}.read_valid_q1", f"{_ACC}.request"),
                ("controller.program_executed", "controller.parity"),
                ("controller.program_loaded", "controller.parity"),
                (f"{program}.write__en", f"{program}.write__addr"),
            ]
        )

    def _trace(self) -> None:
        """Run once and note what every memory does."""
        config = self._config
        start = self.device.simulated_cycles
        self.device.record(True)
        total = self.check()[0]
        events = self.device.record(False)

        def listed(watch: int) -> list[tuple[int, int, int]]:
            mine = events[events["watch"] == watch]
            cycles = (mine["cycle"] - start).astype(np.int64)
            columns = (cycles, mine["flag"], mine["value"])
            return list(zip(*(column.tolist() for column in columns), strict=True))

        by_path = {memory.path: memory for memory in self.memories}
        banks = config.scratchpad_banks
        for b in range(banks):
            memory = by_path[f"scratchpad.bank{b}.memory"]
            self._note(memory, listed(b), listed(banks + b))
        watch = 2 * banks
        self._note(by_path["weights.memory.memory"], listed(watch), listed(watch + 1))
        self._note_accumulators(by_path, *(listed(watch + 2 + i) for i in range(3)))
        program = by_path["controller.memory.memory"]
        executed, loaded = listed(watch + 5), listed(watch + 6)
        self._note(program, [], listed(watch + 7))
        # The lowest bit of the report says whether the word was wrong.
        self.executed = [(cycle, report >> 1) for cycle, _, report in executed]
        loads = {(cycle, report >> 1) for cycle, _, report in loaded}
        for cycle, word in sorted({*self.executed, *loads}):
            program.uses[word].append(cycle)
        self._ends = self.executed[-1][0]
        self._starts = self._ends - total
        self.loaded = loads

    def _note(
        self,
        memory: Stored,
        reads: list[tuple[int, int, int]],
        writes: list[tuple[int, int, int]],
    ) -> None:
        for cycle, _, word in reads:
            memory.uses[word].append(cycle)
        for cycle, mask, word in writes:
            memory.writes[word].append((cycle, mask))

    def _note_accumulators(
        self,
        by_path: dict[str, Stored],
        updates: list[tuple[int, int, int]],
        replaces: list[tuple[int, int, int]],
        reads: list[tuple[int, int, int]],
    ) -> None:
        config = self._config
        self.sums: list[tuple[int, bool, int]] = []
        for (cycle, half, entry), (_, _, replaced) in zip(updates, replaces, strict=True):
            upper = half >> 1
            self.sums.append((cycle, True, upper * config.acc_depth + entry))
            for c in range(config.cols):
                memory = by_path[f"{_ACC}.column_{c}.half_{upper}.memory"]
                memory.writes[entry].append((cycle + c, 1))
                if not replaced:
                    memory.uses[entry].append(cycle + c - 3)
        entry_bits = (2 * config.acc_depth - 1).bit_length()
        for cycle, _, request in reads:
            entry, slot = request & (2 * config.acc_depth - 1), request >> entry_bits
            self.sums.append((cycle, False, entry))
            upper, word = divmod(entry, config.acc_depth)
            for c in range(slot * config.lanes, (slot + 1) * config.lanes):
                by_path[f"{_ACC}.column_{c}.half_{upper}.memory"].uses[word].append(cycle)
        for memory in by_path.values():
            for cycles in memory.uses.values():
                cycles.sort()

    def draw(self, rng: random.Random, rule: Rule, live: bool) -> Flip:
        """Return a flip in one of a memory's arrays that is found, or that nobody ever sees."""
        arrays = [memory for memory in self.memories if memory.rule == rule]
        while True:
            memory = rng.choice(arrays)
            word, bit = rng.randrange(memory.words), rng.randrange(memory.bits)
            cycle = rng.randrange(self._starts, self._ends)
            if memory.near(word, cycle) or (rule == Rule.PROGRAM and self._fetched(word, cycle)):
                continue
            use = memory.next_use(word, bit, cycle)
            if (use is not None) == live:
                return Flip(memory, word, bit, cycle, use)

    def _fetched(self, word: int, cycle: int) -> bool:
        """Return whether the controller may have fetched the word and not yet executed it."""
        at = bisect.bisect_left(self.executed, (cycle, 0))
        behind, following = {self.executed[max(at - 1, 0)][1]}, set()
        for _, executed in self.executed[at:]:
            following.add(executed)
            if len(following) == FETCHED:
                break
        return word in behind | following

    def expect_found(self, flip: Flip) -> FaultError:
        """Run with a flip that must be found, in time and with its place; return the fault."""
        memory = flip.stored
        self.device.flip(memory.path, flip.word, flip.bit, flip.cycle)
        try:
            self.driver.run(self.inputs)
        except FaultError as error:
            assert flip.use is not None
            cycles = self.device.read_register(address("CYCLES"))
            late = cycles - (flip.use - self._starts)
            # What fetch makes of a flipped instruction may bring it to execute sooner.
            least = -FETCHED if memory.rule == Rule.PROGRAM else 0
            assert least <= late <= self._config.cols + 8, (str(flip), late)
            return error
        raise AssertionError(f"{flip} went unnoticed")

    def expect_unseen(self, flip: Flip) -> None:
        """Run with a flip that nobody sees; the results must be right."""
        self.device.flip(flip.stored.path, flip.word, flip.bit, flip.cycle)
        self.check()

    def recover(self) -> None:
        """Do what a host does after a fault; the results must be right."""
        self.driver.load_image(self.image)
        self.check()


_ACC = "matmul.accumulators"
