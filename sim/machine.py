"""The golden machine: what every program must do, checked, without a clock."""

from collections.abc import Sequence

import numpy as np

from accel.asm import disassemble
from accel.config import Config
from accel.host.device import DEFAULT_MEMORY_BYTES
from accel.image import WeightBlock
from accel.isa import CHIP_BITS, COMMANDS, Engine, StatusWord, chip_address_bits
from accel.regmap import Cause, Rule
from accel.riscv import Csr
from sim.engines import Action, prepare, used_registers
from sim.engines.action import require
from sim.engines.dma import Dma
from sim.errors import CommandError, Fault, ProgramError
from sim.memory_port import MemoryPort
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
    port : MemoryPort
        Windows of the external memory, and its errors.
    engine : Engine
        Whose command came last.
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
        self.port = MemoryPort(config.bus_bytes, memory_base, memory_bytes)
        self.core = Core(
            self.spaces.program,
            multiply=config.multiply,
            port=self,
            window_bytes=config.scratchpad_bytes,
            machine_mode=not config.serial,
        )
        # All engines are idle wherever the program looks.
        self.core.mode.interrupt = True
        self._slot = config.word_slot
        self._scratchpad_bytes = self.spaces.scratchpad.view(np.uint8).reshape(-1).data
        self._registers = {e: [0] * c.registers for e, c in COMMANDS.items()}
        self._address_bits = {e: _register_bits(config, e) for e in Engine}
        self._sizes = {m: Memory.words(config, m, memory_bytes) for m in Memory}
        self.engine = Engine.LOAD
        self._expected: tuple[WeightBlock, ...] = ()
        self._begin_run()

    def _begin_run(self) -> None:
        self.ordering.begin_run()
        self.timeline.begin_run()
        self.core.unguard()
        self._set: dict[Engine, set[int]] = {e: set() for e in Engine}
        self._misfits: dict[Engine, str] = {}
        self._program_load: CommandRecord | None = None
        self.exit_code = 0
        self.read_beats = self.write_beats = 0

    def set_memory_base(self, address: int) -> None:
        """Add this byte address, a multiple of 64, to every memory offset."""
        self.spaces.memory_offset = address - self._memory_base

    def expect_weights(self, blocks: Sequence[WeightBlock]) -> None:
        """Let the next run read weights that it does not load, if they are as in memory.

        Parameters
        ----------
        blocks : sequence of WeightBlock
            Weight words, and where in memory, from MEMORY_BASE on, an earlier run loaded them from.
        """
        self._expected = tuple(blocks)

    def _check_expected(self) -> None:
        """Note words that an earlier run left as read-only data of this one.

        Raises
        ------
        ProgramError
            When one of them is not what it was loaded from.
        """
        slot = self._config.weight_slot
        for block in self._expected:
            for row in range(block.rows):
                first = block.word + row * block.words
                start = self.spaces.memory_offset + block.address + row * block.pitch
                content = self.spaces.memory[start : start + slot * block.words].view(np.int8)
                words = slice(first, first + block.words)
                wanted = content.reshape(block.words, slot)[:, : self._config.cols]
                wrong = (self.spaces.weights[words] != wanted).any(axis=1)
                if wrong.any():
                    raise ProgramError(
                        f"weight word {first + int(np.argmax(wrong))} is to be there from an "
                        "earlier run, and is not"
                    )
                self.ordering.keep(Memory.WEIGHTS, words)

    @property
    def cycles(self) -> int:
        """Estimated cycles since the run began."""
        return self.core.cycles

    def load_program(self, offset: int, words: int) -> None:
        """Copy words from a byte offset of MEMORY_BASE to program memory, as the host asks.

        Raises
        ------
        CommandError
            When the program memory does not hold that many words, or the offset is not a
            multiple of 4.
        Fault
            When the words are outside the external memory, or what may be read of it.
        """
        limit = self._config.program_words
        message = f"PROGRAM_WORDS must be from 1 to {limit}, not {words}"
        require(words >= 1, message, Rule.COUNT)
        require(words <= limit, message, Rule.PROGRAM)
        message = f"PROGRAM_ADDRESS must be a multiple of 4, not {offset:#x}"
        require(offset % 4 == 0, message, Rule.ALIGNMENT)
        first = self.spaces.memory_offset + offset
        start = np.array([self._memory_base + first], np.int64)
        try:
            self.port.check(Engine.LOAD, start, start + 4 * words - 1)
        except Fault as fault:
            fault.pc = 0
            raise
        data = self.spaces.memory[first : first + 4 * words]
        self.spaces.program[:words] = data.view("<u4")
        self.core.invalidate(0, words)

    def run(self, watchdog: int = 0) -> None:
        """Run the program from address 0 to TDONE.

        Parameters
        ----------
        watchdog : int
            Cycles that it may take, by estimate; 0: any number.

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
            self._check_expected()
            if 0 < watchdog < self._limit:
                self._run_watched(watchdog)
            else:
                self.core.run(self._limit)
            if watchdog and self.cycles >= watchdog:
                raise Fault(Cause.WATCHDOG, 0)
        except ProgramError as error:
            raise error.located(f"{self._where()}: ") from None
        except Fault as fault:
            fault.pc = self.core.pc if fault.pc is None else fault.pc
            raise

    def _run_watched(self, cycles: int) -> None:
        """Run no more instructions than cycles."""
        try:
            self.core.run(cycles)
        except ProgramError:
            if self.core.retired < cycles:
                raise
            raise Fault(Cause.WATCHDOG, 0) from None

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
        self._check_fit(engine, 2 * pair, a, add)
        self._check_fit(engine, 2 * pair + 1, b, add)
        registers[2 * pair], registers[2 * pair + 1] = a & MASK, b & MASK
        known.add(pair)
        now = self.core.cycles
        self.core.stall(self.timeline.write(engine, now) - now)

    def _check_fit(self, engine: Engine, register: int, value: int, add: bool) -> None:
        """Note an on-chip address or step that no memory is large enough for."""
        bits = self._address_bits[engine].get(register)
        if bits is None:
            return
        limit = 1 << bits
        old = _signed(self._registers[engine][register]) if add else 0
        operand = _signed(value - old)
        if not (-limit <= old + operand < limit and -2 * limit <= operand < 2 * limit):
            self._misfits.setdefault(
                engine, f"has {_signed(value)} in register {register}, past any on-chip memory"
            )

    def push(self, engine: Engine, wait: int, post: int, stamp: bool) -> None:
        """TPUSH: execute the command at once, after all checks."""
        self.engine = engine
        number = self.ordering.count(engine)
        try:
            self._push(engine, wait, post, stamp)
        except ProgramError as error:
            raise error.located(f"{engine.name.lower()} command {number} ") from None

    def _push(self, engine: Engine, wait: int, post: int, stamp: bool) -> None:
        registers = tuple(self._registers[engine])
        for register in used_registers(engine, registers):
            if register // 2 not in self._set[engine]:
                raise ProgramError(f"uses register {register}, which this program did not set")
        action = prepare(self._config, engine, registers)
        record = self.ordering.push(engine, wait, post, stamp, self.core.pc)
        self._check_bounds(engine, action)
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

    def _check_bounds(self, engine: Engine, action: Action) -> None:
        """Raise CommandError for chip addresses, Fault for bursts that cannot be done."""
        for access in (*action.reads, *action.writes):
            _, high = access.bounds
            memory = access.memory
            if memory != Memory.EXTERNAL and high >= self._sizes[memory]:
                last = self._sizes[memory] - 1
                raise CommandError(
                    f"addresses {UNITS[memory]} {high}; the last one is {last}", Rule[memory.name]
                )
        # The hardware refuses such a command before it asks memory for anything.
        if engine in self._misfits and not self._config.serial:
            raise CommandError(self._misfits[engine], Rule.SCRATCHPAD)
        if isinstance(action, Dma):
            base = self._memory_base + self.spaces.memory_offset
            starts, ends = action.rows
            self.port.check(engine, base + starts, base + ends)

    def _note_program_load(self, action: Action, record: CommandRecord) -> None:
        """Keep the controller from words that a load is still writing."""
        for access in action.writes:
            if access.memory == Memory.PROGRAM:
                low, high = access.bounds
                self.core.guard(low, high + 1, f"which {record} writes: TWAIT must come first")
                self._program_load = record


def _register_bits(config: Config, engine: Engine) -> dict[int, int]:
    """Return `chip_address_bits` by register."""
    command = COMMANDS[engine]
    bits = chip_address_bits(
        command,
        scratchpad_words=config.scratchpad_words,
        weight_words=config.weight_words,
        program_words=config.program_words,
        entries=2 * config.acc_depth,
    )
    return {f.register: bits[f.name] for f in command.fields if f.name in bits}


def _signed(value: int) -> int:
    """Return an on-chip address or step as a number with a sign."""
    half = 1 << (CHIP_BITS - 1)
    return (value + half) % (2 * half) - half
