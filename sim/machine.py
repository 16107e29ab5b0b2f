"""The golden machine: what every program must do, checked, without a clock."""

import numpy as np

from accel.asm import disassemble
from accel.config import Config
from accel.host.device import DEFAULT_MEMORY_BYTES
from accel.isa import COMMANDS, Engine, StatusWord
from accel.regmap import Cause
from accel.riscv import Csr
from sim.engines import Action, prepare, used_registers
from sim.engines.dma import Dma
from sim.errors import Fault, ProgramError
from sim.ordering import UNITS, CommandRecord, Ordering
from sim.riscv import Core
from sim.spaces import Memory, Spaces
from sim.timing import Timeline

__all__ = ["INSTRUCTION_LIMIT", "Machine"]

INSTRUCTION_LIMIT = 50_000_000
"""Instructions after which a program is taken to run for ever."""

MASK = 0xFFFFFFFF
ALL_ENGINES = (1 << len(Engine)) - 1


class Machine:
    """Controller, engines and memories of one accelerator.

    Commands execute when they are pushed. What tokens have to order is checked, see
    `sim.ordering`; cycles are estimated, see `sim.timing`.

    Parameters
    ----------
    config : Config
    memory_bytes : int
        External memory.
    memory_base : int
        Its first byte address.
    latency : int
        Cycles of a memory read, for the estimate.
    instruction_limit : int
        Longest program, in instructions executed.

    Members
    -------
    spaces : Spaces
    core : Core
    ordering : Ordering
    timeline : Timeline
    exit_code : int
    read_beats, write_beats : int
        Of the memory port, in this run.
    """

    def __init__(
        self,
        config: Config,
        *,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        memory_base: int = 0,
        latency: int = 20,
        instruction_limit: int = INSTRUCTION_LIMIT,
    ) -> None:
        self._config = config
        self._limit = instruction_limit
        self._memory_base = memory_base
        self.spaces = Spaces(config, memory_bytes)
        self.ordering = Ordering(config, memory_bytes)
        self.timeline = Timeline(config, latency)
        self.core = Core(
            self.spaces.program,
            multiply=config.multiply,
            port=self,
            window_bytes=config.scratchpad_bytes,
        )
        # All engines are idle wherever the program looks.
        self.core.mode.interrupt = True
        self._slot = config.word_slot
        self._scratchpad_bytes = self.spaces.scratchpad.view(np.uint8).reshape(-1).data
        self._registers = {e: [0] * c.registers for e, c in COMMANDS.items()}
        self._sizes = {m: Memory.words(config, m, memory_bytes) for m in Memory}
        self._begin_run()

    def _begin_run(self) -> None:
        self.ordering.begin_run()
        self.timeline.begin_run()
        self.core.unguard()
        self._set: dict[Engine, set[int]] = {e: set() for e in Engine}
        self._program_load: CommandRecord | None = None
        self.exit_code = 0
        self.read_beats = self.write_beats = 0

    def set_memory_base(self, address: int) -> None:
        """Add this byte address to every memory offset.

        Raises
        ------
        ProgramError
            When it is not a multiple of 64.
        """
        if address % 64:
            raise ProgramError(f"MEMORY_BASE must be a multiple of 64, not {address:#x}")
        self.spaces.memory_offset = address - self._memory_base

    @property
    def cycles(self) -> int:
        """Estimated cycles since the run began."""
        return self.core.cycles

    def load_program(self, offset: int, words: int) -> None:
        """Copy words from a byte offset of MEMORY_BASE to program memory, as the host asks.

        Raises
        ------
        ProgramError
            When the program memory does not hold that many words, or the offset is not a
            multiple of 4.
        Fault
            When the words are outside the external memory.
        """
        if not 1 <= words <= self._config.program_words:
            raise ProgramError(
                f"PROGRAM_WORDS must be from 1 to {self._config.program_words}, not {words}"
            )
        if offset % 4:
            raise ProgramError(f"PROGRAM_ADDRESS must be a multiple of 4, not {offset:#x}")
        first = self.spaces.memory_offset + offset
        self._check_external(first // 4, first // 4 + words - 1, Cause.READ_RESPONSE)
        data = self.spaces.memory[first : first + 4 * words]
        self.spaces.program[:words] = data.view("<u4")
        self.core.invalidate(0, words)

    def run(self) -> None:
        """Run the program from address 0 to TDONE.

        Raises
        ------
        ProgramError
            When it breaks a rule; the message names the instruction.
        Fault
            When it stops with a cause; `pc` is then known.
        """
        self._begin_run()
        self.core.start()
        try:
            self.core.run(self._limit)
        except ProgramError as error:
            raise ProgramError(f"{self._where()}: {error}") from None
        except Fault as fault:
            fault.pc = self.core.pc if fault.pc is None else fault.pc
            raise

    def _where(self) -> str:
        """Return the text that names the current instruction."""
        pc = self.core.pc
        words = self.spaces.program[pc // 4 : pc // 4 + 1]
        return f"pc {pc:#x}, {disassemble(int(words[0]), pc) if len(words) else 'outside'}"

    def write(self, engine: Engine, pair: int, a: int, b: int, add: bool) -> None:
        """TSET, or with `add` TADD."""
        registers, known = self._registers[engine], self._set[engine]
        if add:
            if pair not in known:
                raise ProgramError(f"adds to pair {pair}, which this program did not set")
            a += registers[2 * pair]
            b += registers[2 * pair + 1]
        registers[2 * pair], registers[2 * pair + 1] = a & MASK, b & MASK
        known.add(pair)
        now = self.core.cycles
        self.core.stall(self.timeline.write(engine, now) - now)

    def push(self, engine: Engine, wait: int, post: int, stamp: bool) -> None:
        """TPUSH: execute the command at once, after all checks."""
        number = self.ordering.count(engine)
        try:
            self._push(engine, wait, post, stamp)
        except ProgramError as error:
            raise ProgramError(f"{engine.name.lower()} command {number} {error}") from None

    def _push(self, engine: Engine, wait: int, post: int, stamp: bool) -> None:
        registers = tuple(self._registers[engine])
        for register in used_registers(engine, registers):
            if register // 2 not in self._set[engine]:
                raise ProgramError(f"uses register {register}, which this program did not set")
        action = prepare(self._config, engine, registers)
        record = self.ordering.push(engine, wait, post, stamp, self.core.pc)
        self._check_bounds(action)
        self.ordering.access(record, action, self.spaces.memory_offset)
        action.run(self.spaces)
        if engine == Engine.LOAD:
            self._note_program_load(action, record)
        if isinstance(action, Dma):
            self.read_beats += action.beats * (engine == Engine.LOAD)
            self.write_beats += action.beats * (engine == Engine.STORE)
        now = self.core.cycles
        wait_self = bool(wait >> engine & 1)
        self.core.stall(self.timeline.push(record, wait_self, action, now) - now)

    def wait(self, mask: int) -> None:
        """TWAIT."""
        self.ordering.wait(mask)
        now = self.core.cycles
        self.core.stall(self.timeline.wait(mask, now) - now)
        load = self._program_load
        if load is not None and self.ordering.is_known_complete(load):
            self.core.unguard()
            self._program_load = None

    def read(self, word: int) -> int:
        """TREAD. All engines are idle in a machine that completes commands as they are pushed."""
        if word == StatusWord.CYCLES:
            return self.core.mode.read(Csr.MCYCLE, self.core.cycles, 0)
        self.ordering.wait(ALL_ENGINES)
        return ALL_ENGINES

    def done(self, exit_code: int) -> None:
        """TDONE."""
        self.ordering.finish()
        self.exit_code = exit_code

    def load(self, offset: int, size: int) -> int:
        """Read the scratchpad through the window; the bytes of a slot past its word are 0."""
        word, byte = divmod(offset, self._slot)
        self.ordering.controller_read(word)
        if byte >= self._config.rows:
            return 0
        place = word * self._config.rows + byte
        return int.from_bytes(self._scratchpad_bytes[place : place + size], "little")

    def store(self, offset: int, size: int, value: int) -> None:
        """Write the scratchpad through the window; the bytes of a slot past its word stay 0."""
        word, byte = divmod(offset, self._slot)
        inside = byte < self._config.rows
        self.ordering.controller_write(word, inside)
        if inside:
            place = word * self._config.rows + byte
            self._scratchpad_bytes[place : place + size] = value.to_bytes(size, "little")

    def _check_bounds(self, action: Action) -> None:
        """Raise ProgramError for chip addresses, Fault for memory addresses that do not exist."""
        for accesses, cause in (
            (action.reads, Cause.READ_RESPONSE),
            (action.writes, Cause.WRITE_RESPONSE),
        ):
            for access in accesses:
                low, high = access.bounds
                if access.memory == Memory.EXTERNAL:
                    base = self.spaces.memory_offset // 4
                    self._check_external(base + low, base + high, cause)
                elif high >= self._sizes[access.memory]:
                    raise ProgramError(
                        f"addresses {UNITS[access.memory]} {high}; the last one is "
                        f"{self._sizes[access.memory] - 1}"
                    )

    def _check_external(self, low: int, high: int, cause: Cause) -> None:
        """Check groups of 4 bytes, counted from the start of memory."""
        if low < 0 or high >= self._sizes[Memory.EXTERNAL]:
            outside = low if low < 0 else max(low, self._sizes[Memory.EXTERNAL])
            raise Fault(cause, (self._memory_base + 4 * outside) & MASK, pc=0)

    def _note_program_load(self, action: Action, record: CommandRecord) -> None:
        """Keep the controller from words that a load is still writing."""
        for access in action.writes:
            if access.memory == Memory.PROGRAM:
                low, high = access.bounds
                self.core.guard(low, high + 1, f"which {record} writes: TWAIT must come first")
                self._program_load = record
