"""The golden machine as a device."""

from collections.abc import Sequence

import numpy as np

from accel.config import Config
from accel.errors import AccelError, DeviceError
from accel.host.device import DEFAULT_MEMORY_BYTES, Buffer, Device
from accel.image import WeightBlock
from accel.isa import ISA_VERSION, Engine
from accel.regmap import (
    CONTROLLER,
    ID_VALUE,
    REGISTERS,
    STAMP_COUNTER,
    STAMP_COUNTER_SHIFT,
    STAMPS,
    Activity,
    Control,
    Register,
    Status,
)
from sim.activity import Counts
from sim.errors import CommandError, Fault, ProgramError
from sim.machine import INSTRUCTION_LIMIT, Machine

__all__ = ["ModelDevice"]

_REGISTERS = {register.offset: register for register in REGISTERS}


class ModelDevice(Device):
    """Register map and memory around a golden machine.

    A write of START runs the whole program at once; cycle counts are estimates.

    Parameters
    ----------
    config : Config
    latency : int
        Cycles of a memory read, for the estimates.
    memory_bytes : int
        External memory, a multiple of 64. Pages that nobody touches cost nothing.
    memory_base : int
        Its first byte address, a multiple of 64.
    instruction_limit : int
        Instructions after which a program is taken to run for ever.

    Members
    -------
    machine : Machine
        For tests that look inside.
    """

    name = "model"

    def __init__(
        self,
        config: Config,
        *,
        latency: int = 20,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        memory_base: int = 0,
        instruction_limit: int = INSTRUCTION_LIMIT,
    ) -> None:
        super().__init__(config)
        if memory_bytes <= 0 or memory_bytes % 64 or memory_base % 64:
            raise DeviceError(f"{self.name}: memory size and base must be multiples of 64")
        self.memory_bytes = memory_bytes
        self.memory_base = memory_base
        self.machine = Machine(
            config,
            memory_bytes=memory_bytes,
            memory_base=memory_base,
            latency=latency,
            instruction_limit=instruction_limit,
        )
        shape = bytes((config.rows, config.cols, config.lanes, config.bus_bytes))
        self._values = {r.name: r.reset for r in REGISTERS}
        self._values |= {
            "ID": ID_VALUE,
            "VERSION": ISA_VERSION,
            "FINGERPRINT": config.fingerprint,
            "SHAPE": int.from_bytes(shape, "little"),
        }
        self._stamps: list[int] = []
        self._counts: Counts | None = None
        self._state = Status(0)
        self._failure: AccelError | None = None
        self._detail = ""

    def read_memory(self, address: int, length: int) -> bytes:
        """See `Device`."""
        first = self.check_range(address, length)
        return self.machine.spaces.memory[first : first + length].tobytes()

    def write_memory(self, address: int, data: Buffer) -> None:
        """See `Device`. The words count as written for the checks of order."""
        content = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
        first = self.check_range(address, len(content))
        memory = self.machine.spaces.memory
        memory[first : first + len(content)] = np.frombuffer(content, np.uint8)
        self.machine.ordering.host_write(first, len(content))

    def read_register(self, offset: int) -> int:
        """See `Device`."""
        register = self._register(offset)
        if register.name == "STATUS":
            return int(self._state | (Status.IRQ if self._irq else 0))
        if register.name == "STAMP":
            return self._stamp(self._values["STAMP_INDEX"])
        if register.name == "COUNTER":
            return self._counter(self._values["COUNTER_INDEX"] & 15)
        return self._values[register.name]

    def write_register(self, offset: int, value: int) -> None:
        """See `Device`. Writes to read-only registers do nothing."""
        register = self._register(offset)
        value &= 0xFFFFFFFF
        if register.name == "CONTROL":
            self._control(Control(value & 7))
        elif register.access == "rw":
            kept = register.reset & register.fixed
            self._values[register.name] = (value & ~register.fixed) | kept

    def wait(self, timeout_cycles: int) -> None:
        """See `Device`.

        Raises
        ------
        ProgramError
            When the program broke a rule of the architecture.
        DeviceError
            When the interrupt is low, or the run took more than `timeout_cycles` by estimate.
        """
        if self._failure is not None:
            raise self._failure
        if not self._irq or self._values["CYCLES"] > timeout_cycles:
            raise self.timeout_error(timeout_cycles)

    def expect_weights(self, blocks: Sequence[WeightBlock]) -> None:
        """See `Device`."""
        self.machine.expect_weights(blocks)

    def explain(self) -> str:
        """See `Device`: of an illegal command, the instruction and the field."""
        return self._detail

    def inject_error(self, direction: str, beat: int) -> None:
        """Let the memory answer a data beat with an error; see VerilatorDevice.inject_error.

        Its burst is not done, and nothing behind it.
        """
        engines = {"read": Engine.LOAD, "write": Engine.STORE}
        if direction not in engines:
            raise DeviceError(f"direction must be read or write, not {direction}")
        self.machine.port.inject(engines[direction], beat)

    @property
    def _irq(self) -> bool:
        return bool(self._values["IRQ_ENABLE"] & 1 and self._state & (Status.DONE | Status.ERROR))

    def _register(self, offset: int) -> Register:
        if offset not in _REGISTERS:
            raise DeviceError(f"{self.name}: there is no register at {offset:#x}")
        return _REGISTERS[offset]

    def _stamp(self, select: int) -> int:
        index = select & (STAMPS - 1)
        if index >= len(self._stamps):
            return 0
        if not select & STAMP_COUNTER:
            return self._stamps[index]
        activity = select >> STAMP_COUNTER_SHIFT & len(Activity) - 1
        return int(self._counted().stamps[index, activity]) if self.config.counters else 0

    def _counter(self, index: int) -> int:
        if not self.config.counters:
            return 0
        counts = self._counted()
        return int(np.concatenate([counts.activities, counts.busy, counts.waiting])[index])

    def _counted(self) -> Counts:
        """Return the last run's counters; most runs are not asked for them."""
        if self._counts is None:
            self._counts = self.machine.timeline.count(self.machine.cycles)
        return self._counts

    def _control(self, control: Control) -> None:
        # What the state was before the write decides, as in the hardware: CLEAR comes first only
        # for the next write.
        free = not self._state & Status.ERROR
        if control & Control.CLEAR:
            self._state, self._failure = Status(0), None
            self._values |= {n: 0 for n in self._values if n.startswith("CAUSE")}
        if free and control & (Control.LOAD | Control.START):
            self._execute(load=bool(control & Control.LOAD))

    def _execute(self, *, load: bool) -> None:
        """Load or run the program; leave the outcome in the registers."""
        self._state, self._failure, self._detail = Status(0), None, ""
        machine, values = self.machine, self._values
        for engine, name in ((Engine.LOAD, "READ"), (Engine.STORE, "WRITE")):
            machine.port.windows[engine] = (values[f"{name}_BASE"], values[f"{name}_LIMIT"])
        try:
            machine.set_memory_base(values["MEMORY_BASE"])
            if load:
                machine.load_program(values["PROGRAM_ADDRESS"], values["PROGRAM_WORDS"])
            else:
                machine.run(values["WATCHDOG"])
                values["EXIT_CODE"] = machine.exit_code
            self._state = Status.DONE
        except CommandError as error:
            engine = Engine.LOAD if load else machine.engine
            self._stop(Fault(error.cause, error.rule, 0 if load else machine.core.pc, engine))
            self._detail = str(error)
        except ProgramError as error:
            self._failure = error
        except Fault as fault:
            self._stop(fault)
        if load:
            # A load's cycles are not estimated.
            values |= {"CYCLES": 0, "CYCLES_HIGH": 0}
        else:
            self._count()

    def _stop(self, fault: Fault) -> None:
        self._state = Status.ERROR
        self._values |= {
            "CAUSE": int(fault.cause),
            "CAUSE_ADDRESS": int(fault.address),
            "CAUSE_PC": fault.pc or 0,
            "CAUSE_ENGINE": CONTROLLER if fault.engine is None else int(fault.engine),
        }

    def _count(self) -> None:
        machine = self.machine
        self._stamps = machine.timeline.stamps
        self._counts = None
        self._values |= {
            "CYCLES": machine.cycles & 0xFFFFFFFF,
            "CYCLES_HIGH": machine.cycles >> 32,
            "READ_BEATS": machine.read_beats,
            "WRITE_BEATS": machine.write_beats,
            "INSTRUCTIONS": machine.core.retired,
            "STAMP_COUNT": len(self._stamps),
        }
