"""From commands to the controller's program: register deltas, loops, RISC-V code."""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accel import asm
from accel.compiler.deltas import LOAD_STREAMS, Issue, Symbol, Trace, immediate, signed
from accel.compiler.rolling import Loop, Node, roll
from accel.compiler.schedule import Call, Step
from accel.errors import ModelError
from accel.isa import COMMANDS, Engine, Space

__all__ = ["Program", "lower"]

SCRATCH = (5, 6)
"""Registers for values that have no register of their own."""

COUNTERS = (28, 29, 30, 31)
"""Loop counters, outermost first."""

STREAMS = tuple((8 + 2 * stream, 9 + 2 * stream) for stream in range(LOAD_STREAMS))
"""Each load stream's memory and chip address."""

POOL = (7, *range(16, 28))
"""Registers that hold values used again and again."""

ALL_ENGINES = 0b1111

STACK_WORDS = 64
"""Words at the end of program memory that kernels have as their stack."""

CALLEE_CHANGES = (7, 16, 17, 28, 29, 30, 31)
"""Registers of `POOL` and `COUNTERS` that a called kernel changes."""

OVERLAY_WORDS = 64
"""Words of a segment besides its commands: loading the next one (41 at most) and its end."""

PAGER_WORDS = 32
"""Words at address 0 that load a page over the last one and enter it."""

CLEAR_ENGINE = {
    engine: tuple(asm.tset(engine, pair, 0, 0) for pair in range(command.pairs))
    for engine, command in COMMANDS.items()
}
"""What sets all registers of an engine to 0."""

CLEAR_STREAM = tuple(tuple(asm.addi(register, 0, 0) for register in pair) for pair in STREAMS)
"""What sets the addresses of a stream to 0."""


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


@dataclass(frozen=True)
class _Clear:
    """Code that sets registers to 0: from there on they change by differences."""

    words: tuple[int, ...]


_Code = Symbol | _Clear


def lower(steps: Sequence[Step | Call], program_words: int, address: int) -> Program:
    """Return the program that issues all steps, waits for the end, and stops.

    A program that is larger than its memory becomes segments of half the memory. Each begins by
    loading the next one into the other half, and ends by jumping there; the last one brings the
    first one back for the next run. Where a kernel does not fit into half of the memory, segments
    are pages: all take the whole memory behind a few words that load one over the other.

    Parameters
    ----------
    steps : sequence of Step
    program_words : int
        Size of program memory.
    address : int
        Byte offset in memory at which the program will lie.

    Raises
    ------
    ModelError
        When a kernel does not fit program memory.
    ValueError
        When a field is out of its range (an internal fault of the tiler).
    """
    trace = Trace(steps)
    if any(isinstance(step, Call) for step in steps):
        program_words -= STACK_WORDS
    nodes, distinct = roll(trace.issues)
    issues = [x for x in distinct if isinstance(x, Issue | Call)]
    nodes, symbols = _with_clears(nodes, issues)
    start = CLEAR_ENGINE[Engine.LOAD]
    finish = [asm.twait(ALL_ENGINES), asm.tdone(0)]
    whole = _Emitter(symbols, start)
    whole.block(nodes, {}, 0)
    if len(whole.words) + len(finish) <= program_words:
        return Program((whole.words + finish,), (0,))

    half = program_words // 2
    limit = half - len(start) - OVERLAY_WORDS
    pieces = _cut(nodes, symbols, limit)
    if any(len(_body(piece, symbols)) > limit for piece in pieces):
        return _paged(nodes, symbols, trace, start, program_words, address)
    if len(pieces) % 2:
        pieces.append([])  # the first segment can be brought back from the upper half only
    # Where each segment lies in memory must be known before the one that loads it is written.
    bodies = [_body(piece, symbols) for piece in pieces]
    segments: list[list[int]] = []
    position = 0
    sizes = [OVERLAY_WORDS + len(body) + len(start) * (i == 0) for i, body in enumerate(bodies)]
    offsets = [sum(sizes[:i]) * 4 for i in range(len(sizes))]
    for i, (piece, body_words) in enumerate(zip(pieces, bodies, strict=True)):
        following = (i + 1) % len(pieces)
        emitter = _Emitter(symbols, start if i == 0 else ())
        emitter.overlay(
            trace.load_state(position),
            memory_address=address + offsets[following],
            chip_address=half * (following % 2),
            words=sizes[following],
        )
        emitter.words += body_words
        position += sum(_steps(node, symbols) for node in piece)
        if following == 0:
            emitter.words += finish
        else:
            emitter.words.append(asm.twait(1 << Engine.LOAD))
            here = half * (i % 2) + len(emitter.words)
            emitter.words.append(asm.jal(0, 4 * (half * (following % 2) - here)))
        segments.append(emitter.words + [0] * (sizes[i] - len(emitter.words)))
    return Program(tuple(segments), tuple(offsets))


def _paged(
    nodes: Sequence[Node],
    symbols: Sequence[_Code],
    trace: Trace,
    start: Sequence[int],
    program_words: int,
    address: int,
) -> Program:
    """Return a program of pages, each of which ends by having the next one loaded over it."""
    room = program_words - PAGER_WORDS
    pieces = _cut(nodes, symbols, room - len(start) - OVERLAY_WORDS)
    bodies = [_body(piece, symbols) for piece in pieces]
    sizes = [PAGER_WORDS, *(OVERLAY_WORDS + len(start) + len(body) for body in bodies)]
    if max(sizes) > room:
        wanted = 4 * (max(sizes) + PAGER_WORDS + STACK_WORDS)
        raise ModelError(
            f"a kernel on the controller needs {wanted} bytes of program memory, and there are "
            f"{4 * (program_words + STACK_WORDS)}: use a larger program_bytes"
        )
    offsets = [4 * sum(sizes[:i]) for i in range(len(sizes))]

    def target(page: int) -> list[int]:
        values = {"memory_address": address + offsets[page], "chip_address": PAGER_WORDS}
        return COMMANDS[Engine.LOAD].encode(
            values | {"words": sizes[page], "space": int(Space.PROGRAM), "rows": 1, "planes": 1}
        )

    pager = _Emitter(symbols)
    pager.set_load(target(1))
    enter = len(pager.words)
    pager.words += [asm.tpush(Engine.LOAD), asm.twait(1 << Engine.LOAD)]
    pager.words.append(asm.jal(0, 4 * (PAGER_WORDS - len(pager.words))))
    segments = [pager.words]
    position = 0
    for page, (piece, body) in enumerate(zip(pieces, bodies, strict=True), 1):
        emitter = _Emitter(symbols, start if page == 1 else ())
        emitter.set_load(trace.load_state(position))
        emitter.words += body
        position += sum(_steps(node, symbols) for node in piece)
        if page == len(pieces):
            emitter.words += [asm.twait(ALL_ENGINES), asm.tdone(0)]
        else:
            emitter.set_load(target(page + 1))
            here = PAGER_WORDS + len(emitter.words)
            emitter.words.append(asm.jal(0, 4 * (enter - here)))
        segments.append(emitter.words)
    padded = (
        words + [0] * (size - len(words)) for words, size in zip(segments, sizes, strict=True)
    )
    return Program(tuple(padded), tuple(offsets))


def _body(nodes: Sequence[Node], symbols: Sequence[_Code]) -> list[int]:
    """Return the code of nodes."""
    emitter = _Emitter(symbols)
    emitter.block(nodes, {}, 0)
    return emitter.words


def _cut(nodes: Sequence[Node], symbols: Sequence[_Code], limit: int) -> list[list[Node]]:
    """Cut nodes into pieces of at most `limit` words; a loop that is larger is unrolled."""
    pieces: list[list[Node]] = [[]]
    room = limit
    pending = list(reversed(nodes))
    while pending:
        node = pending.pop()
        words = len(_body([node], symbols))
        if words > limit and isinstance(node, Loop):
            pending += list(reversed(node.body * node.count))
            continue
        if words > room:
            pieces.append([])
            room = limit
        pieces[-1].append(node)
        room -= words
    return pieces


def _steps(node: Node, symbols: Sequence[_Code]) -> int:
    """Return the steps that a node stands for."""
    if isinstance(node, Loop):
        return node.count * sum(_steps(inner, symbols) for inner in node.body)
    return int(not isinstance(symbols[node], _Clear))


def _with_clears(nodes: Sequence[Node], issues: Sequence[Symbol]) -> tuple[list[Node], list[_Code]]:
    """Return the program with code in front of each node that clears what it is first to use.

    So the first loads need not wait for what the other engines need. The load engine's own
    registers are clear from the start.
    """
    result: list[Node] = []
    symbols: list[_Code] = list(issues)
    done = {CLEAR_ENGINE[Engine.LOAD]}
    for node in nodes:
        missing = [words for words in dict.fromkeys(_clears(node, issues)) if words not in done]
        done.update(missing)
        for words in missing:
            result.append(len(symbols))
            symbols.append(_Clear(words))
        result.append(node)
    return result, symbols


def _clears(node: Node, issues: Sequence[Symbol]) -> Iterator[tuple[int, ...]]:
    """Yield what clears the registers that a node's commands build on."""
    if isinstance(node, Loop):
        for inner in node.body:
            yield from _clears(inner, issues)
    elif isinstance(symbol := issues[node], Issue):
        yield CLEAR_ENGINE[symbol.engine]
        if symbol.address is not None:
            yield CLEAR_STREAM[symbol.address.stream]


class _Emitter:
    """Writes code for nodes; values that repeat in a loop get registers before it."""

    def __init__(self, symbols: Sequence[_Code], words: Sequence[int] = ()) -> None:
        self.words = list(words)
        self._symbols = symbols

    def set_load(self, state: Sequence[int]) -> None:
        """Set all registers of the load engine."""
        for pair in range(len(state) // 2):
            for scratch, value in zip(SCRATCH, state[2 * pair :], strict=False):
                self.words += asm.li(scratch, signed(value))
            self.words.append(asm.tset(Engine.LOAD, pair, *SCRATCH))

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
                    self.words += asm.li(scratch, signed(value))
                self.words.append(asm.tadd(Engine.LOAD, pair, *SCRATCH))
            if push:
                self.words.append(asm.tpush(Engine.LOAD))

    def block(self, nodes: Sequence[Node], held: dict[int, int], depth: int) -> None:
        """Emit nodes in order. `held` maps values to the registers that hold them."""
        for node in nodes:
            if isinstance(node, Loop):
                self._loop(node, held, depth)
            elif isinstance(symbol := self._symbols[node], Call):
                self.words += [asm.twait(ALL_ENGINES), *symbol.words]
            elif isinstance(symbol, _Clear):
                self.words += symbol.words
            else:
                self._issue(symbol, held)

    def _loop(self, loop: Loop, held: dict[int, int], depth: int) -> None:
        if depth >= len(COUNTERS):
            for _ in range(loop.count):
                self.block(loop.body, held, depth)
            return
        changed = CALLEE_CHANGES if self._calls(loop.body) else ()
        held = {value: register for value, register in held.items() if register not in changed}
        free = [r for r in POOL if r not in (*held.values(), *changed)]
        counter = COUNTERS[depth]
        if changed:
            # No value is negative: this one stands for the counter.
            counter = held[-1 - depth] = free.pop()
        spare = len(COUNTERS) - depth if changed else 0  # for the counters of loops inside
        uses = self._count_uses(loop.body)
        for value, _ in uses.most_common():
            if value not in held and len(free) > spare:
                held[value] = free.pop()
                self.words += asm.li(held[value], signed(value))
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

    def _calls(self, nodes: Sequence[Node]) -> bool:
        """Return whether any of the nodes calls a kernel."""
        return any(
            self._calls(n.body) if isinstance(n, Loop) else isinstance(self._symbols[n], Call)
            for n in nodes
        )

    def _count_uses(self, nodes: Sequence[Node]) -> Counter[int]:
        uses: Counter[int] = Counter()
        for node in nodes:
            if isinstance(node, Loop):
                for value, count in self._count_uses(node.body).items():
                    uses[value] += count * node.count
            elif isinstance(symbol := self._symbols[node], Issue):
                uses.update(symbol.values)
        return uses

    def _issue(self, issue: Issue, held: dict[int, int]) -> None:
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
                    self.words += asm.li(scratch, signed(value))
                    operands.append(scratch)
            self.words.append(asm.tadd(issue.engine, update.pair, *operands))
        self.words.append(asm.tpush(issue.engine, issue.wait, issue.post, issue.stamp))

    def _advance(self, register: int, value: int, held: dict[int, int]) -> None:
        if value == 0:
            return
        if immediate(value):
            self.words.append(asm.addi(register, register, signed(value)))
        elif value in held:
            self.words.append(asm.add(register, register, held[value]))
        else:
            self.words += asm.li(SCRATCH[0], signed(value))
            self.words.append(asm.add(register, register, SCRATCH[0]))
