"""Runs programs on the simulated controller; shared by its tests."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from amaranth.sim import Simulator

from accel import asm
from accel.gateware.controller import Controller
from accel.regmap import Cause

PROGRAM_BYTES = 4096
WINDOW_BYTES = 2048
STALLS = {"never": 0.0, "sometimes": 0.3, "often": 0.85}


@dataclass
class Run:
    """What a program did.

    `operations` are (cycle, funct3, funct7, rs1 field, rs2 field, a, b) of every tensor operation,
    `accesses` (write, group, mask) of every access to the window.
    """

    operations: list[tuple[int, ...]] = field(default_factory=list)
    accesses: list[tuple[int, int, int]] = field(default_factory=list)
    retired: int = 0
    cycles: int = 0
    exit_code: int | None = None
    fault: tuple[Cause, int, int] | None = None

    @property
    def values(self) -> list[int]:
        """Both values of every operation, in order."""
        return [value for operation in self.operations for value in operation[5:]]


@dataclass
class Job:
    """One program and its surroundings; `window_cycles` are picked from for each access."""

    words: Sequence[int]
    ready: float = 1.0
    seed: int = 0
    busy_for: int = 0
    idle_delay: int = 2
    halt_at: int | None = None
    load_writes: float = 0.0
    window: bytearray = field(default_factory=lambda: bytearray(WINDOW_BYTES))
    window_cycles: Sequence[int] = (5,)
    limit: int = 6000


class CoreBench:
    """A controller that stays simulated from one program to the next."""

    def __init__(self, *, multiply: bool) -> None:
        self._core = Controller(
            program_bytes=PROGRAM_BYTES, window_bytes=WINDOW_BYTES, multiply=multiply
        )
        self._job: Job | None = None
        self._run: Run | None = None
        self._window_side: tuple[Job, Run] | None = None
        self._simulator = Simulator(self._core)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._testbench)
        self._simulator.add_testbench(self._answer, background=True)

    def run(self, words: Sequence[int], **options: Any) -> Run:
        """Run a program to its end; see Job for the options."""
        self._job, self._run = Job(words, **options), None
        while self._run is None:
            self._simulator.advance()
        return self._run

    async def _testbench(self, ctx: Any) -> None:
        while True:
            while self._job is None:
                await ctx.tick()
            job, self._job = self._job, None
            for index, word in enumerate(job.words):
                await self._write(ctx, index, word)
            self._run = await self._execute(ctx, job)

    async def _answer(self, ctx: Any) -> None:
        """Be the memory behind the window; a program may be stopped before its answer comes."""
        port, rng = self._core.window, random.Random(1)
        while True:
            ctx.set(port.request.ready, 1)
            while not ctx.get(port.request.valid):
                await ctx.tick()
            job, run = self._window_side
            request = ctx.get(port.request.payload)
            run.accesses.append((request.write, request.address, request.mask))
            await ctx.tick()
            ctx.set(port.request.ready, 0)
            for _ in range(rng.choice(job.window_cycles) - 1):
                await ctx.tick()
            for byte in range(4):
                if request.write and request.mask >> byte & 1:
                    job.window[4 * request.address + byte] = request.data >> 8 * byte & 0xFF
            group = job.window[4 * request.address :][:4]
            data = rng.getrandbits(32) if request.write else int.from_bytes(group, "little")
            ctx.set(port.response, {"valid": 1, "data": data})
            await ctx.tick()
            # What comes without `valid` is not data.
            ctx.set(port.response, {"valid": 0, "data": rng.getrandbits(32)})

    async def _write(self, ctx: Any, index: int, word: int) -> None:
        request = self._core.program.request
        ctx.set(request.valid, 1)
        ctx.set(request.payload, {"address": index, "data": word, "mask": 1})
        await ctx.tick()
        ctx.set(request.valid, 0)

    async def _execute(self, ctx: Any, job: Job) -> Run:
        core, run, rng = self._core, Run(), random.Random(job.seed)
        self._window_side = (job, run)
        request = core.program.request
        offered = None
        busy_until = -1
        accepted = []
        ctx.set(core.start, 1)
        await ctx.tick()
        ctx.set(core.start, 0)
        ended = False
        for cycle in range(job.limit):
            if ended:
                # The pulses lag by one cycle: nothing may follow the end.
                run.retired += ctx.get(core.retired)
                assert not ctx.get(core.running)
                assert not ctx.get(core.tensor.valid)
                break
            ctx.set(core.tensor.ready, ready := rng.random() < job.ready)
            ctx.set(core.halt, cycle == job.halt_at)
            # Writes that the program does not look at: stores wait for them.
            ctx.set(request.valid, rng.random() < job.load_writes)
            ctx.set(request.payload, {"address": PROGRAM_BYTES // 4 - 1, "data": 0, "mask": 1})
            # The engines notice an operation as late as they may.
            if accepted and accepted[0] + job.idle_delay <= cycle:
                busy_until = accepted.pop(0) + job.idle_delay + job.busy_for
            ctx.set(core.idle, 0b1111 if cycle >= busy_until else 0b0101)
            run.retired += ctx.get(core.retired)
            valid = ctx.get(core.tensor.valid)
            now = tuple(ctx.get(core.tensor.payload.as_value()).to_bytes(12, "little"))
            assert offered is None or job.halt_at == cycle - 1 or (valid and offered == now)
            offered = now if valid and not ready else None
            if valid and ready:
                payload = ctx.get(core.tensor.payload)
                names = ("funct3", "funct7", "rs1_field", "rs2_field", "a", "b")
                run.operations.append((cycle, *(getattr(payload, n) for n in names)))
                accepted.append(cycle)
            run.cycles = cycle + 1
            if ctx.get(core.fault.valid):
                fault = ctx.get(core.fault)
                run.fault = (Cause(fault.cause), fault.address, fault.pc)
            if ctx.get(core.done):
                run.exit_code = ctx.get(core.exit_code)
            ended = run.fault is not None or run.exit_code is not None or cycle == job.halt_at
            await ctx.tick()
        else:
            raise AssertionError(f"no end after {job.limit} cycles")
        ctx.set(core.halt, 0)
        ctx.set(request.valid, 0)
        return run


@cache
def bench(multiply: bool = True) -> CoreBench:
    """Return the one bench of this process."""
    return CoreBench(multiply=multiply)


def emit(program: asm.Program, a: int = 0, b: int = 0) -> None:
    """Append a TSET that shows registers `a` and `b`."""
    program.emit(asm.tset(0, 0, a, b))


def finish(program: asm.Program, register: int = 0) -> list[int]:
    """Append TDONE and return the words."""
    program.emit(asm.tdone(register))
    return program.words()
