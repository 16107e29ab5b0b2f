"""From commands to the controller's program: register deltas, loops, RISC-V code."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accel import asm
from accel.compiler.rolling import Loop, Node, roll
from accel.compiler.schedule import Step
from accel.isa import COMMANDS, Engine

__all__ = ["lower"]

SCRATCH = (5, 6)
"""Registers for values that have no register of their own."""

COUNTERS = (28, 29, 30, 31)
"""Loop counters, outermost first."""

STREAMS = tuple((8 + 2 * stream, 9 + 2 * stream) for stream in range(4))
"""Each load stream's memory and chip address."""

POOL = (7, *range(16, 28))
"""Registers that hold values used again and again."""

ALL_ENGINES = 0b1111


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
    """One command as its difference from what was before: equal in every turn of a regular loop,
    so that loops can be found.

    Loads alternate between streams (inputs, weights), each of which is regular by itself: their
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


def lower(steps: Sequence[Step]) -> list[int]:
    """Return the program's instruction words: issue all steps, wait for the end, TDONE.

    Raises
    ------
    ValueError
        When a field is out of its range (an internal fault of the tiler).
    """
    nodes, issues = roll([issue for issue in _deltas(steps)])
    emitter = _Emitter(issues)  # type: ignore[arg-type]
    for command in COMMANDS.values():
        for pair in range(command.pairs):
            emitter.words.append(asm.tset(command.engine, pair, 0, 0))
    for register in (r for pair in STREAMS for r in pair):
        emitter.words.append(asm.addi(register, 0, 0))
    emitter.block(nodes, {}, 0)
    emitter.words += [asm.twait(ALL_ENGINES), asm.tdone(0)]
    return emitter.words


def _deltas(steps: Sequence[Step]) -> Iterator[_Issue]:
    state = {e: [0] * COMMANDS[e].registers for e in Engine}
    streams = [(0, 0)] * len(STREAMS)
    for step in steps:
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

    def __init__(self, issues: Sequence[_Issue]) -> None:
        self.words: list[int] = []
        self._issues = issues

    def block(self, nodes: Sequence[Node], held: dict[int, int], depth: int) -> None:
        """Emit nodes in order. `held` maps values to the registers that hold them."""
        for node in nodes:
            if isinstance(node, Loop):
                self._loop(node, held, depth)
            else:
                self._issue(self._issues[node], held)

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
            else:
                uses.update(self._issues[node].values)
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
