"""From commands to the controller's program: register deltas, loops, RISC-V code."""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accel import asm
from accel.compiler.rolling import Loop, Node, roll
from accel.compiler.schedule import Call, Step
from accel.isa import COMMANDS, Engine, Space

__all__ = ["Program", "lower"]

SCRATCH = (5, 6)
"""Registers for values that have no register of their own."""

COUNTERS = (28, 29, 30, 31)
"""Loop counters, outermost first."""

STREAMS = tuple((8 + 2 * stream, 9 + 2 * stream) for stream in range(4))
"""Each load stream's memory and chip address."""

POOL = (7, *range(16, 28))
"""Registers that hold values used again and again."""

ALL_ENGINES = 0b1111

STACK_WORDS = 64
"""Words at the end of program memory that kernels have as their stack."""

OVERLAY_WORDS = 64
"""Words of a segment besides its commands: loading the next one (41 at most) and its end."""


@dataclass(frozen=True)
class _Update:
    """Add `low` and `high` to a register pair."""

    pair: int
    low: int
    high: int


@dataclass(frozen=True)
class _Address:
    """Advance a load stream's addresses, and set register pair 0 to them."""

    stream: int
    low: int
    high: int


@dataclass(frozen=True)
class _Issue:
    """One command as its difference from what was before.

    It is equal in every turn of a regular loop, so that loops can be found. Loads alternate between streams (inputs, weights), each of which is regular by itself: their
    addresses are kept per stream in the controller's registers.
    """

    engine: Engine
    address: _Address | None
    updates: tuple[_Update, ...]
    wait: int
    post: int
    stamp: bool

    @property
    def values(self) -> Iterator[int]:
        """Every operand that takes a register, once per use."""
        for update in self.updates:
            yield from (v for v in (update.low, update.high) if v)
        if self.address is not None:
            yield from (v for v in (self.address.low, self.address.high) if not _immediate(v))


@dataclass(frozen=True)
class Program:
    """The controller's program: one segment, or several that replace one another.

    Parameters
    ----------
    segments : tuple of list of int
        Instruction words. Program memory first holds segment 0 at address 0.
    offsets : tuple of int
        Bytes from the first segment's start to each one's in memory.
    """

    segments: tuple[list[int], ...]
    offsets: tuple[int, ...]

    @property
    def data(self) -> bytes:
        """All segments as they lie in memory."""
        blob = bytearray()
        for words, offset in zip(self.segments, self.offsets, strict=True):
            blob += bytes(offset - len(blob)) + struct.pack(f"<{len(words)}I", *words)
        return bytes(blob)


def lower(steps: Sequence[Step | Call], program_words: int, address: int) -> Program:
    """Return the program that issues all steps, waits for the end, and stops.

    A program that is larger than its memory becomes segments of half the memory. Each begins by
    loading the next one into the other half, and ends by jumping there; the last one brings the
    first one back for the next run.

    Parameters
    ----------
    steps : sequence of Step
    program_words : int
        Size of program memory.
    address : int
        Byte offset in memory at which the program will lie.

    Raises
    ------
    ValueError
        When a field is out of its range (an internal fault of the tiler).
    """
    trace = _Trace(steps)
    if any(isinstance(step, Call) for step in steps):
        program_words -= STACK_WORDS
    nodes, distinct = roll(trace.issues)
    issues = [x for x in distinct if isinstance(x, _Issue | Call)]
    start = _Emitter(issues)
    start.clear()
    finish = [asm.twait(ALL_ENGINES), asm.tdone(0)]
    whole = _Emitter(issues, start.words)
    whole.block(nodes, {}, 0)
    if len(whole.words) + len(finish) <= program_words:
        return Program((whole.words + finish,), (0,))

    half = program_words // 2
    pieces = _cut(nodes, issues, half - len(start.words) - OVERLAY_WORDS)
    if len(pieces) % 2:
        pieces.append([])  # the first segment can be brought back from the upper half only
    # Where each segment lies in memory must be known before the one that loads it is written.
    bodies = []
    for piece in pieces:
        body = _Emitter(issues)
        body.block(piece, {}, 0)
        bodies.append(body.words)
    segments: list[list[int]] = []
    position = 0
    sizes = [
        OVERLAY_WORDS + len(body) + len(start.words) * (i == 0) for i, body in enumerate(bodies)
    ]
    offsets = [sum(sizes[:i]) * 4 for i in range(len(sizes))]
    for i, (piece, body_words) in enumerate(zip(pieces, bodies, strict=True)):
        following = (i + 1) % len(pieces)
        emitter = _Emitter(issues, start.words if i == 0 else ())
        emitter.overlay(
            trace.load_state(position),
            memory_address=address + offsets[following],
            chip_address=half * (following % 2),
            words=sizes[following],
        )
        emitter.words += body_words
        position += sum(map(_unrolled_length, piece))
        if following == 0:
            emitter.words += finish
        else:
            emitter.words.append(asm.twait(1 << Engine.LOAD))
            here = half * (i % 2) + len(emitter.words)
            emitter.words.append(asm.jal(0, 4 * (half * (following % 2) - here)))
        segments.append(emitter.words + [0] * (sizes[i] - len(emitter.words)))
    return Program(tuple(segments), tuple(offsets))


def _cut(nodes: Sequence[Node], issues: Sequence["_Symbol"], limit: int) -> list[list[Node]]:
    """Cut nodes into pieces of at most `limit` words; a loop that is larger is unrolled."""
    pieces: list[list[Node]] = [[]]
    room = limit
    pending = list(reversed(nodes))
    while pending:
        node = pending.pop()
        emitter = _Emitter(issues)
        emitter.block([node], {}, 0)
        if len(emitter.words) > limit and isinstance(node, Loop):
            pending += list(reversed(node.body * node.count))
            continue
        if len(emitter.words) > room:
            pieces.append([])
            room = limit
        pieces[-1].append(node)
        room -= len(emitter.words)
    return pieces


def _unrolled_length(node: Node) -> int:
    return node.count * sum(map(_unrolled_length, node.body)) if isinstance(node, Loop) else 1


_Symbol = _Issue | Call


class _Trace:
    """The steps as differences, and the load engine's registers after each of them."""

    def __init__(self, steps: Sequence[Step | Call]) -> None:
        self.issues = list(_deltas(steps))
        self._loads = [COMMANDS[Engine.LOAD].encode({})]
        for step in steps:
            if isinstance(step, Step) and step.engine == Engine.LOAD:
                self._loads.append(COMMANDS[Engine.LOAD].encode(step.values))
            else:
                self._loads.append(self._loads[-1])

    def load_state(self, position: int) -> list[int]:
        """Return the load engine's registers before step number `position`."""
        return self._loads[position]


def _deltas(steps: Sequence[Step | Call]) -> Iterator[_Symbol]:
    state = {e: [0] * COMMANDS[e].registers for e in Engine}
    streams = [(0, 0)] * len(STREAMS)
    for step in steps:
        if isinstance(step, Call):
            yield step
            continue
        new = COMMANDS[step.engine].encode(step.values)
        old = state[step.engine]
        address = None
        first = 0
        if step.engine == Engine.LOAD:
            first = 1
            low, high = streams[step.stream]
            if old[:2] != new[:2]:
                address = _Address(
                    step.stream, (new[0] - low) & 0xFFFFFFFF, (new[1] - high) & 0xFFFFFFFF
                )
                streams[step.stream] = (new[0], new[1])
        delta = [(n - o) & 0xFFFFFFFF for n, o in zip(new, old, strict=True)]
        updates = tuple(
            _Update(pair, delta[2 * pair], delta[2 * pair + 1])
            for pair in range(first, len(delta) // 2)
            if delta[2 * pair] or delta[2 * pair + 1]
        )
        state[step.engine] = new
        yield _Issue(step.engine, address, updates, step.wait, step.post, step.stamp)


class _Emitter:
    """Writes code for nodes; values that repeat in a loop get registers before it."""

    def __init__(self, issues: Sequence[_Symbol], words: Sequence[int] = ()) -> None:
        self.words = list(words)
        self._issues = issues

    def clear(self) -> None:
        """Emit the beginning: every register of every engine and stream becomes 0."""
        for command in COMMANDS.values():
            for pair in range(command.pairs):
                self.words.append(asm.tset(command.engine, pair, 0, 0))
        for register in (r for pair in STREAMS for r in pair):
            self.words.append(asm.addi(register, 0, 0))

    def overlay(
        self, state: list[int], *, memory_address: int, chip_address: int, words: int
    ) -> None:
        """Load program words, leaving the load engine's registers as they were."""
        target = COMMANDS[Engine.LOAD].encode(
            {
                "memory_address": memory_address,
                "chip_address": chip_address,
                "words": words,
                "space": int(Space.PROGRAM),
                "rows": 1,
                "planes": 1,
            }
        )
        for old, new, push in ((state, target, True), (target, state, False)):
            delta = [(n - o) & 0xFFFFFFFF for n, o in zip(new, old, strict=True)]
            for pair in range(len(delta) // 2):
                for scratch, value in zip(SCRATCH, delta[2 * pair :], strict=False):
                    self.words += asm.li(scratch, _signed(value))
                self.words.append(asm.tadd(Engine.LOAD, pair, *SCRATCH))
            if push:
                self.words.append(asm.tpush(Engine.LOAD))

    def block(self, nodes: Sequence[Node], held: dict[int, int], depth: int) -> None:
        """Emit nodes in order. `held` maps values to the registers that hold them."""
        for node in nodes:
            if isinstance(node, Loop):
                self._loop(node, held, depth)
            elif isinstance(symbol := self._issues[node], Call):
                self.words += [asm.twait(ALL_ENGINES), *symbol.words]
            else:
                self._issue(symbol, held)

    def _loop(self, loop: Loop, held: dict[int, int], depth: int) -> None:
        if depth >= len(COUNTERS):
            for _ in range(loop.count):
                self.block(loop.body, held, depth)
            return
        held = dict(held)
        free = [r for r in POOL if r not in held.values()]
        uses = self._count_uses(loop.body)
        for value, _ in uses.most_common():
            if value not in held and free:
                held[value] = free.pop()
                self.words += asm.li(held[value], _signed(value))
        counter = COUNTERS[depth]
        self.words += asm.li(counter, loop.count)
        start = len(self.words)
        self.block(loop.body, held, depth + 1)
        self.words.append(asm.addi(counter, counter, -1))
        offset = 4 * (start - len(self.words))
        if offset >= -4096:
            self.words.append(asm.bne(counter, 0, offset))
        else:
            self.words.append(asm.beq(counter, 0, 8))
            self.words.append(asm.jal(0, offset - 4))

    def _count_uses(self, nodes: Sequence[Node]) -> Counter[int]:
        uses: Counter[int] = Counter()
        for node in nodes:
            if isinstance(node, Loop):
                for value, count in self._count_uses(node.body).items():
                    uses[value] += count * node.count
            elif isinstance(symbol := self._issues[node], _Issue):
                uses.update(symbol.values)
        return uses

    def _issue(self, issue: _Issue, held: dict[int, int]) -> None:
        if issue.address is not None:
            registers = STREAMS[issue.address.stream]
            for register, value in zip(
                registers, (issue.address.low, issue.address.high), strict=True
            ):
                self._advance(register, value, held)
            self.words.append(asm.tset(issue.engine, 0, *registers))
        for update in issue.updates:
            operands = []
            for value, scratch in zip((update.low, update.high), SCRATCH, strict=True):
                if value == 0:
                    operands.append(0)
                elif value in held:
                    operands.append(held[value])
                else:
                    self.words += asm.li(scratch, _signed(value))
                    operands.append(scratch)
            self.words.append(asm.tadd(issue.engine, update.pair, *operands))
        self.words.append(asm.tpush(issue.engine, issue.wait, issue.post, issue.stamp))

    def _advance(self, register: int, value: int, held: dict[int, int]) -> None:
        if value == 0:
            return
        if _immediate(value):
            self.words.append(asm.addi(register, register, _signed(value)))
        elif value in held:
            self.words.append(asm.add(register, register, held[value]))
        else:
            self.words += asm.li(SCRATCH[0], _signed(value))
            self.words.append(asm.add(register, register, SCRATCH[0]))


def _immediate(value: int) -> bool:
    return -2048 <= _signed(value) < 2048


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
