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

POOL = tuple(range(7, 28))
"""Registers that hold values used again and again."""

ALL_ENGINES = 0b1111


@dataclass(frozen=True)
class _Update:
    """Add `low` and `high` to a register pair."""

    pair: int
    low: int
    high: int


@dataclass(frozen=True)
class _Issue:
    """One command as its difference from the engine's command before: equal in every turn of a
    regular loop, so that loops can be found."""

    engine: Engine
    updates: tuple[_Update, ...]
    wait: int
    post: int
    stamp: bool

    @property
    def values(self) -> Iterator[int]:
        """Every non-zero operand, once per use."""
        for update in self.updates:
            yield from (v for v in (update.low, update.high) if v)


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
    emitter.block(nodes, {}, 0)
    emitter.words += [asm.twait(ALL_ENGINES), asm.tdone(0)]
    return emitter.words


def _deltas(steps: Sequence[Step]) -> Iterator[_Issue]:
    state = {e: [0] * COMMANDS[e].registers for e in Engine}
    for step in steps:
        new = COMMANDS[step.engine].encode(step.values)
        old = state[step.engine]
        delta = [(n - o) & 0xFFFFFFFF for n, o in zip(new, old, strict=True)]
        updates = tuple(
            _Update(pair, delta[2 * pair], delta[2 * pair + 1])
            for pair in range(len(delta) // 2)
            if delta[2 * pair] or delta[2 * pair + 1]
        )
        state[step.engine] = new
        yield _Issue(step.engine, updates, step.wait, step.post, step.stamp)


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
        for update in issue.updates:
            registers = []
            for value, scratch in zip((update.low, update.high), SCRATCH, strict=True):
                if value == 0:
                    registers.append(0)
                elif value in held:
                    registers.append(held[value])
                else:
                    self.words += asm.li(scratch, _signed(value))
                    registers.append(scratch)
            self.words.append(asm.tadd(issue.engine, update.pair, *registers))
        self.words.append(asm.tpush(issue.engine, issue.wait, issue.post, issue.stamp))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
