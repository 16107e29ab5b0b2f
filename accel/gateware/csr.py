"""The control registers: AXI4-Lite window, run state, counters, interrupt."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import regmap
from accel.gateware.axi import AXI4LiteSignature
from accel.gateware.axilite import AXI4LiteTarget
from accel.gateware.burst import MemoryWindow
from accel.gateware.counters import CounterBank
from accel.gateware.execute import Fault
from accel.gateware.faults import MachineFault
from accel.gateware.load import BootRequest
from accel.gateware.stamps import StampRecorder
from accel.isa import ISA_VERSION
from accel.regmap import Activity, Control, Status

__all__ = ["ADDRESS_BITS", "ControlRegisters"]

ADDRESS_BITS = 12
"""Bits of a register's byte address on the bus."""

SETTLE_CYCLES = 3
"""Cycles from a fault until no engine begins anything more."""


class ControlRegisters(wiring.Component):
    """All registers of accel.regmap, and the state machine that runs and loads programs.

    START and LOAD are ignored while BUSY or ERROR; with both, LOAD is taken. The first fault stops
    the run. A write to a read-only register does nothing; an offset where there is no register is
    answered with SLVERR.

    Parameters
    ----------
    fingerprint : int
        32 bits.
    rows, cols, lanes, bus_bytes : int
        What SHAPE shows; below 256.
    counters : bool
        Have those of COUNTER and of each stamp.

    Members
    -------
    bus : In(AXI4LiteSignature(12))
    irq : Out(1)
    busy, error : Out(1)
        Those bits of STATUS.
    core_start : Out(1)
        One cycle, to the controller.
    run : Out(1)
        One cycle, when a run begins: token counters return to zero.
    core_running, core_done : In(1), exit_code : In(32), core_fault : In(Fault)
        From the controller.
    halt : Out(1)
        To the controller and the engines, which then begin nothing: from a fault to their reset.
    bus_idle : In(1)
        No burst is outstanding and none is on offer. ERROR and `irq` wait for it, so that a CLEAR
        never cuts a burst off.
    clear : Out(1)
        One cycle: reset the controller and the engines in the next one.
    boot : Out(stream.Signature(BootRequest)), boot_complete : In(1)
        Load a program.
    engine_fault : In(MachineFault)
        Of all but the controller's own instructions.
    expired : Out(1)
        The run or load takes more cycles than WATCHDOG says: a cause of `engine_fault`.
    waits, queues : In(32)
        What WAITS and QUEUES show.
    memory_base : Out(32)
    read_window, write_window : Out(MemoryWindow)
    cycles : Out(32)
        Cycles since START or LOAD, 1 in the first cycle after `run`.
    read_beat, write_beat, retired : In(1)
        Counted.
    stamp : In(4)
        Bit per engine: a command with the stamp flag completes in this cycle.
    activity : In(Activity), events : In(8)
        See ActivityMonitor.

    Latency
    -------
    Two cycles from the register write to `run` and `core_start`, which are high together; two from
    `core_done` to `irq`, SETTLE_CYCLES + 1 from a fault when the bus is idle then. A read of STAMP or COUNTER waits
    until it is right: some 60 cycles after a run or a change of COUNTER_INDEX.
    """

    def __init__(
        self,
        *,
        fingerprint: int,
        rows: int,
        cols: int,
        lanes: int,
        bus_bytes: int,
        counters: bool = True,
    ) -> None:
        if not 0 <= fingerprint < 1 << 32:
            raise ValueError(f"Fingerprint must have 32 bits, not {fingerprint!r}")
        shape = {"rows": rows, "cols": cols, "lanes": lanes, "bus_bytes": bus_bytes}
        for name, value in shape.items():
            if not 1 <= value < 256:
                raise ValueError(f"{name} must be from 1 to 255, not {value!r}")
        self._fingerprint = fingerprint
        self._counters = counters
        self._shape = int.from_bytes(bytes(shape.values()), "little")
        super().__init__(
            {
                "bus": In(AXI4LiteSignature(ADDRESS_BITS)),
                "irq": Out(1),
                "busy": Out(1),
                "error": Out(1),
                "core_start": Out(1),
                "run": Out(1),
                "core_running": In(1),
                "core_done": In(1),
                "exit_code": In(32),
                "core_fault": In(Fault),
                "halt": Out(1),
                "bus_idle": In(1, init=1),
                "clear": Out(1),
                "boot": Out(stream.Signature(BootRequest)),
                "boot_complete": In(1),
                "engine_fault": In(MachineFault),
                "expired": Out(1),
                "waits": In(32),
                "queues": In(32),
                "memory_base": Out(32),
                "read_window": Out(MemoryWindow),
                "write_window": Out(MemoryWindow),
                "cycles": Out(32),
                "read_beat": In(1),
                "write_beat": In(1),
                "retired": In(1),
                "stamp": In(4),
                "activity": In(Activity),
                "events": In(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.target = target = AXI4LiteTarget(address_bits=ADDRESS_BITS)
        wiring.connect(m, wiring.flipped(self.bus), target.bus)
        # One signal per register that is no constant; its name in regmap is the key.
        values = {
            r.name: Signal(32, name=r.name.lower(), init=r.reset)
            for r in regmap.REGISTERS
            if r.access != "wo"
        }
        m.d.comb += [
            values["ID"].eq(regmap.ID_VALUE),
            values["VERSION"].eq(ISA_VERSION),
            values["FINGERPRINT"].eq(self._fingerprint),
            values["SHAPE"].eq(self._shape),
        ]
        control = self._access(m, target.registers, values)
        running, loading = self._state(m, control, values)
        self._watch(m, running | loading, values)
        self._count(m, running, loading, values)
        m.d.comb += [
            self.memory_base.eq(values["MEMORY_BASE"]),
            self.boot.payload.memory_address.eq(values["PROGRAM_ADDRESS"]),
            self.boot.payload.words.eq(values["PROGRAM_WORDS"]),
            values["WAITS"].eq(self.waits),
            values["QUEUES"].eq(self.queues),
        ]
        for name, window in (("READ", self.read_window), ("WRITE", self.write_window)):
            m.d.comb += [
                window.base.eq(values[f"{name}_BASE"]),
                window.limit.eq(values[f"{name}_LIMIT"]),
            ]
        return m

    def _access(self, m: Module, port: wiring.PureInterface, values: dict[str, Signal]) -> Signal:
        """Read and write the registers; return the bits that a write to CONTROL sets now."""
        control = Signal(8)
        write = port.write
        # Registers that say which one is written, with data that are still there, and which one is
        # read: the way from the address is long.
        writes = {
            r.name: Signal(name=f"writes_{r.name.lower()}")
            for r in regmap.REGISTERS
            if r.access != "ro"
        }
        self._changes = Signal(name="counter_index_changes")
        self._shows = Signal(name="reads_counter")
        self._wait = port.read_wait
        m.d.comb += port.write_error.eq(1)
        with m.Switch(write.address):
            for register in regmap.REGISTERS:
                with m.Case(register.offset):
                    m.d.comb += port.write_error.eq(0)
        for register in regmap.REGISTERS:
            if register.access == "ro":
                continue
            now = writes[register.name]
            m.d.sync += now.eq(write.valid & (write.address == register.offset))
            if register.name == "CONTROL":
                m.d.comb += control.eq(Mux(now & write.strobe[0], write.data[:8], 0))
                continue
            kept = register.reset & register.fixed
            written = (write.data & ~register.fixed) | kept
            for byte in range(4):
                part = slice(8 * byte, 8 * byte + 8)
                with m.If(now & write.strobe[byte]):
                    m.d.sync += values[register.name][part].eq(written[part])
        m.d.comb += self._changes.eq(writes["COUNTER_INDEX"])
        reads = {r.name: Signal(name=f"reads_{r.name.lower()}") for r in regmap.REGISTERS}
        for register in regmap.REGISTERS:
            m.d.sync += reads[register.name].eq(port.read_address == register.offset)
        found = Const(0, 32)
        for name, value in values.items():
            found = found | (value & reads[name].replicate(32))
        m.d.comb += [
            port.read_error.eq(~Cat(reads.values()).any()),
            port.read_data.eq(found),
            self._shows.eq(reads["STAMP"] | reads["COUNTER"]),
        ]
        return control

    def _state(
        self, m: Module, control: Signal, values: dict[str, Signal]
    ) -> tuple[Signal, Signal]:
        """Start, load, stop; return whether a program runs, and whether one is being loaded."""
        running, loading, stopping, done, error = (
            Signal(name=name) for name in ("running", "loading", "stopping", "done", "error")
        )
        start, load, clear = (
            _bit(control, c) for c in (Control.START, Control.LOAD, Control.CLEAR)
        )
        settle = Signal(range(SETTLE_CYCLES + 1))
        free = ~running & ~loading & ~stopping & ~error
        fault = Signal()
        # Until they are reset, whatever faults shows goes on.
        cleared = Signal()
        m.d.sync += cleared.eq(self.clear)
        m.d.comb += [
            fault.eq(
                (self.core_fault.valid | self.engine_fault.valid)
                & ~(stopping | error | self.clear | cleared)
            ),
            self.core_start.eq(self.run),
            self.halt.eq(stopping | error | self.clear),
            self.irq.eq(values["IRQ_ENABLE"][0] & (done | error)),
            self.busy.eq(running | loading | stopping),
            self.error.eq(error),
        ]
        flags = {
            Status.BUSY: self.busy,
            Status.DONE: done,
            Status.ERROR: error,
            Status.IRQ: self.irq,
        }
        m.d.comb += [_bit(values["STATUS"], flag).eq(value) for flag, value in flags.items()]

        m.d.sync += [self.run.eq(0), self.clear.eq(0)]
        with m.If(clear & ~stopping):
            m.d.sync += [done.eq(0), error.eq(0), self.clear.eq(error)]
            m.d.sync += [values[n].eq(0) for n in values if n.startswith("CAUSE")]
        with m.If(free & load):
            m.d.sync += [loading.eq(1), done.eq(0), self.boot.valid.eq(1)]
        with m.Elif(free & start):
            m.d.sync += [running.eq(1), done.eq(0), self.run.eq(1)]
        with m.If((self.boot.valid & self.boot.ready) | self.clear):
            m.d.sync += self.boot.valid.eq(0)
        # A cycle late, as what `engine_fault` says of the run's end.
        ended = Signal()
        exit_code = Signal(32, reset_less=True)
        m.d.sync += [ended.eq(self.core_done), exit_code.eq(self.exit_code)]
        with m.If(ended):
            m.d.sync += values["EXIT_CODE"].eq(exit_code)
        with m.If(running & ended):
            m.d.sync += [running.eq(0), done.eq(1)]
        with m.If(loading & self.boot_complete):
            m.d.sync += [loading.eq(0), done.eq(1)]
        with m.If(fault):
            m.d.sync += [running.eq(0), loading.eq(0), done.eq(0)]
            m.d.sync += [stopping.eq(1), settle.eq(SETTLE_CYCLES)]
            self._record(m, values)
        with m.Elif(stopping & (settle != 0)):
            m.d.sync += settle.eq(settle - 1)
        with m.Elif(stopping & self.bus_idle):
            m.d.sync += [stopping.eq(0), error.eq(1)]
        return running, loading

    def _watch(self, m: Module, active: Value, values: dict[str, Signal]) -> None:
        """Say when a run or load takes too long."""
        limit = values["WATCHDOG"]
        late = values["CYCLES"] >= limit
        m.d.sync += self.expired.eq(active & late & (limit != 0))
        with m.If(self.run | self.boot.valid):
            m.d.sync += self.expired.eq(0)

    def _record(self, m: Module, values: dict[str, Signal]) -> None:
        """Keep the cause of a fault; an engine's goes before the controller's."""
        with m.If(self.engine_fault.valid):
            m.d.sync += [
                values["CAUSE"].eq(self.engine_fault.cause),
                values["CAUSE_ENGINE"].eq(self.engine_fault.engine),
                values["CAUSE_ADDRESS"].eq(self.engine_fault.address),
                values["CAUSE_PC"].eq(self.engine_fault.pc << 2),
            ]
        with m.Else():
            m.d.sync += [
                values["CAUSE"].eq(self.core_fault.cause),
                values["CAUSE_ENGINE"].eq(regmap.CONTROLLER),
                values["CAUSE_ADDRESS"].eq(self.core_fault.address),
                values["CAUSE_PC"].eq(self.core_fault.pc),
            ]

    def _count(
        self, m: Module, running: Signal, loading: Signal, values: dict[str, Signal]
    ) -> None:
        cycles = Signal(64)
        m.submodules.stamps = stamps = StampRecorder()
        if self._counters:
            self._connect_counters(m, running, stamps, values)
        else:
            m.d.sync += values["STAMP"].eq(Mux(values["STAMP_INDEX"][11], 0, stamps.value))
        m.d.comb += [
            values["CYCLES"].eq(cycles[:32]),
            values["CYCLES_HIGH"].eq(cycles[32:]),
            self.cycles.eq(cycles[:32]),
            stamps.clear.eq(self.run),
            stamps.stamp.eq(self.stamp),
            stamps.time.eq(cycles[:32]),
            stamps.index.eq(values["STAMP_INDEX"]),
            values["STAMP_COUNT"].eq(stamps.count),
        ]
        for name, event in (
            ("READ_BEATS", self.read_beat),
            ("WRITE_BEATS", self.write_beat),
            ("INSTRUCTIONS", self.retired),
        ):
            event_q = Signal(name=f"{name.lower()}_event")
            m.d.sync += event_q.eq(event)
            with m.If(self.run):
                m.d.sync += values[name].eq(0)
            with m.Elif(event_q):
                m.d.sync += values[name].eq(values[name] + 1)
        with m.If(self.run | self.boot.valid):
            m.d.sync += cycles.eq(1)
        with m.Elif(running | loading):
            m.d.sync += cycles.eq(cycles + 1)

    def _connect_counters(
        self, m: Module, running: Signal, stamps: StampRecorder, values: dict[str, Signal]
    ) -> None:
        m.submodules.counters = bank = CounterBank()
        index = values["STAMP_INDEX"]
        # One register behind both memories.
        m.d.sync += values["STAMP"].eq(Mux(index[11], bank.recorded, stamps.value))
        m.d.comb += [
            bank.clear.eq(self.run),
            bank.running.eq(running),
            bank.activity.eq(self.activity),
            bank.events.eq(self.events),
            bank.begin.eq(stamps.begin),
            bank.record.eq(stamps.record),
            stamps.ready.eq(bank.ready),
            bank.recorded_index.eq(index[:11]),
            bank.index.eq(values["COUNTER_INDEX"]),
            bank.change.eq(self._changes),
            values["COUNTER"].eq(bank.value),
            self._wait.eq(self._shows & (stamps.waits | ~bank.settled)),
        ]


def _bit(value: Signal, flag: Control | Status) -> Signal:
    return value[int(flag).bit_length() - 1]
