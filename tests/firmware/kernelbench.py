"""Runs a kernel on the interpreter: maps in, map out, and what the call cost and kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel import asm
from accel.config import slot_bytes
from accel.firmware.call import STACK_BYTES, argument_block, kernel_call
from accel.isa import Engine
from sim.riscv import Core, Handler

WINDOW = 0x4000_0000
PROGRAM_WORDS = 4096
CHANGED = {1, 2, 5, 6, 7, 16, 17, 28, 29, 30, 31}
"""Registers that a call may change, besides x0."""
UNTOUCHED = 0xA5A5A5A5


class Port:
    """Of the tensor instructions only TDONE is expected."""

    def write(self, engine: Engine, pair: int, a: int, b: int, add: bool) -> None:
        raise AssertionError("a kernel writes an engine's registers")

    push = wait = read = write  # type: ignore[assignment]

    def done(self, exit_code: int) -> None:
        pass


class WindowCore(Core):
    """A core whose data accesses from WINDOW on reach `scratchpad`, a slot per word."""

    def __init__(self, program: np.ndarray, scratchpad: bytearray, rows: int, multiply: bool):
        super().__init__(program, multiply=multiply, port=Port())
        self._scratchpad, self._rows, self._slot = scratchpad, rows, slot_bytes(rows)

    def _load(self, name: str, rd: int, base: int, offset: int, pc: int) -> Handler:
        usual, x = super()._load(name, rd, base, offset, pc), self.x

        def run() -> int:
            address = (x[base] + offset) & 0xFFFFFFFF
            if address < WINDOW:
                return usual()
            assert name in ("lb", "lbu"), "the bench has bytes only"
            value = self._scratchpad[self._byte_of(address)]
            x[rd] = (value - 256 if name == "lb" and value > 127 else value) & 0xFFFFFFFF
            return pc // 4 + 1

        return run

    def _store(self, name: str, source: int, base: int, offset: int, pc: int) -> Handler:
        usual, x = super()._store(name, source, base, offset, pc), self.x

        def run() -> int:
            address = (x[base] + offset) & 0xFFFFFFFF
            if address < WINDOW:
                return usual()
            assert name == "sb", "the bench has bytes only"
            self._scratchpad[self._byte_of(address)] = x[source] & 0xFF
            return pc // 4 + 1

        return run

    def _byte_of(self, address: int) -> int:
        assert (address - WINDOW) % self._slot < self._rows, "a kernel touches an unused byte"
        return address - WINDOW


@dataclass(frozen=True, eq=False)
class Call:
    """What came of a call.

    `output` is the output map, `instructions` and `cycles` those of the call, `stack` the bytes
    of stack it touched, `kept` the changed registers that a call must keep.
    """

    output: np.ndarray
    instructions: int
    cycles: int
    stack: int
    kept: list[int]


def call(
    kernel: Sequence[int],
    shape: tuple[int, int, int],
    inputs: Sequence[np.ndarray],
    *,
    rows: int,
    multiply: bool,
    arguments: Sequence[int] = (),
    tables: Sequence[np.ndarray] = (),
    at: int = 0,
    in_place: bool = False,
) -> Call:
    """Call a kernel on maps [height, width, channels].

    `at` puts that many words before the call; `in_place` makes input 0 the output too.
    """
    slot = slot_bytes(rows)
    memory = bytearray(b"\x5a" * 7 * slot)
    places = []
    for item in (*inputs, np.full(shape, 0x5A, np.int8)):
        height, width, channels = item.shape
        # Planes lie a few words apart, as those of a larger buffer would.
        plane = (height * width + 3) * slot
        places.append((WINDOW + len(memory), height, width, channels, plane))
        memory += b"\x5a" * plane * -(-channels // rows)
        _put(memory, places[-1], item, rows, slot)
    if in_place:
        places[-1] = places[0]
    memory += b"\x5a" * slot
    block = argument_block(rows, slot, places[-1], places[:-1], arguments, tables)
    top = 4 * PROGRAM_WORDS
    code = [asm.nop()] * at + kernel_call(kernel, block, top) + [asm.tdone(0)]
    program = np.full(PROGRAM_WORDS, UNTOUCHED, np.uint32)
    assert len(code) + STACK_BYTES // 4 <= PROGRAM_WORDS
    program[: len(code)] = code
    before = bytes(memory)
    core = WindowCore(program, memory, rows, multiply)
    core.x[1:32] = [0x0100_0001 * r for r in range(1, 32)]
    core.start()
    core.run(50_000_000)

    free = program[len(code) :]
    touched = np.flatnonzero(free != UNTOUCHED)
    assert np.array_equal(program[: len(code)], code), "the call changes its own code"
    output = _get(memory, places[-1], rows, slot)
    _put(memory, places[-1], _get(before, places[-1], rows, slot), rows, slot)
    assert memory == before, "the kernel writes outside its output"
    return Call(
        output=output,
        instructions=core.retired - at - 1,
        cycles=core.cycles - at - 1,
        stack=4 * (len(free) - int(touched[0])) if len(touched) else 0,
        kept=[r for r in range(1, 32) if r not in CHANGED and core.x[r] != 0x0100_0001 * r],
    )


def _addresses(place: tuple[int, ...], rows: int, slot: int) -> np.ndarray:
    """Return the scratchpad bytes of a map's elements."""
    address, height, width, channels, plane = place
    y, x, c = np.indices((height, width, channels))
    return address - WINDOW + c // rows * plane + (y * width + x) * slot + c % rows


def _put(memory: bytearray, place: tuple[int, ...], item: np.ndarray, rows: int, slot: int) -> None:
    np.frombuffer(memory, np.int8)[_addresses(place, rows, slot)] = item


def _get(memory: bytes | bytearray, place: tuple[int, ...], rows: int, slot: int) -> np.ndarray:
    return np.frombuffer(memory, np.int8)[_addresses(place, rows, slot)]
