"""The accelerator: wiring only."""

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    Mux,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from accel.config import Config
from accel.errors import ConfigError
from accel.gateware.activity import ActivityMonitor
from accel.gateware.axi import AXI4LiteSignature, AXI4Signature
from accel.gateware.controller import Controller
from accel.gateware.csr import ControlRegisters
from accel.gateware.dispatch import Dispatcher, TokenCounters
from accel.gateware.faults import FaultCollector, ParityCollector
from accel.gateware.load import LoadEngine
from accel.gateware.matmul import MatmulEngine
from accel.gateware.queue import CommandQueue
from accel.gateware.rvfi import RvfiSignature
from accel.gateware.scratchpad import Scratchpad
from accel.gateware.serial.top import SerialAccelerator
from accel.gateware.store import StoreEngine
from accel.gateware.vector import VectorEngine
from accel.gateware.weights import WeightMemory
from accel.gateware.window import ScratchpadWindow
from accel.isa import COMMANDS, Engine, chip_address_bits
from accel.regmap import CONTROLLER, Rule, Wait

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """The whole accelerator for one configuration.

    Parameters
    ----------
    config : Config
    rvfi : bool
        Add the port `rvfi`; nothing else changes.
    status : bool
        Add the ports `busy` and `error`.

    Members
    -------
    s_axi : In(AXI4LiteSignature(12))
        Control registers (accel.regmap).
    m_axi : Out(AXI4Signature)
        External memory: 32-bit addresses, `config.bus_bits` of data.
    irq : Out(1)
        STATUS.DONE or STATUS.ERROR, when enabled.
    rvfi : Out(RvfiSignature)
        What the controller retires; with parameter `rvfi` only.
    busy, error : Out(1)
        STATUS.BUSY and STATUS.ERROR; with parameter `status` only.
    """

    def __init__(self, config: Config, *, rvfi: bool = False, status: bool = False) -> None:
        if rvfi and config.serial:
            raise ConfigError(f"{config.name}: the serial machine has no retirement port")
        self._config = config
        self._rvfi = rvfi
        self._status = status
        super().__init__(
            {
                "s_axi": In(AXI4LiteSignature(12)),
                "m_axi": Out(AXI4Signature(data_bits=config.bus_bits)),
                "irq": Out(1),
                **({"rvfi": Out(RvfiSignature())} if rvfi else {}),
                **({"busy": Out(1), "error": Out(1)} if status else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        if config.serial:
            m.submodules.serial = serial = SerialAccelerator(config)
            connect(m, wiring.flipped(self.s_axi), serial.s_axi)
            connect(m, serial.m_axi, wiring.flipped(self.m_axi))
            m.d.comb += self.irq.eq(serial.irq)
            if self._status:
                m.d.comb += [self.busy.eq(serial.busy), self.error.eq(serial.error)]
            return m
        m.submodules.control = control = ControlRegisters(
            fingerprint=config.fingerprint,
            rows=config.rows,
            cols=config.cols,
            lanes=config.lanes,
            bus_bytes=config.bus_bytes,
            counters=config.counters,
        )
        # After a fault, CONTROL.CLEAR puts everything behind the registers into its first state.
        # Its reset is a register with nothing between it and thousands of others.
        reset = Signal(init=1)
        m.domains.engines = ClockDomain(local=True)
        m.d.sync += reset.eq(control.clear)
        m.d.comb += [
            ClockSignal("engines").eq(ClockSignal()),
            ResetSignal("engines").eq(reset),
        ]
        restart = DomainRenamer("engines")
        controller = Controller(
            program_bytes=config.program_bytes,
            window_bytes=config.scratchpad_bytes,
            multiply=config.multiply,
            target=config.target,
            rvfi=self._rvfi,
            parity=config.parity,
        )
        if self._rvfi:
            connect(m, wiring.flipped(self.rvfi), controller.rvfi)
        dispatcher = Dispatcher()
        tokens = TokenCounters()
        queues = [
            CommandQueue(
                command=COMMANDS[e],
                depth=config.load_queue_depth if e == Engine.LOAD else config.queue_depth,
                address_bits=chip_address_bits(
                    COMMANDS[e],
                    scratchpad_words=config.scratchpad_words,
                    weight_words=config.weight_words,
                    program_words=config.program_words,
                    entries=2 * config.acc_depth,
                ),
                pc_bits=(config.program_words - 1).bit_length(),
            )
            for e in Engine
        ]
        load = LoadEngine(
            bus_bytes=config.bus_bytes,
            rows=config.rows,
            cols=config.cols,
            scratchpad_words=config.scratchpad_words,
            weight_words=config.weight_words,
            program_words=config.program_words,
            reads_in_flight=config.reads_in_flight,
        )
        store = StoreEngine(
            bus_bytes=config.bus_bytes, rows=config.rows, scratchpad_words=config.scratchpad_words
        )
        matmul = MatmulEngine(
            rows=config.rows,
            cols=config.cols,
            groups=config.groups,
            lanes=config.lanes,
            acc_depth=config.acc_depth,
            scratchpad_words=config.scratchpad_words,
            weight_words=config.weight_words,
            banks=config.scratchpad_banks,
            target=config.target,
            dsp_cells=config.dsp_cells,
            parity=config.parity,
        )
        vector = VectorEngine(
            rows=config.rows,
            cols=config.cols,
            lanes=config.lanes,
            acc_depth=config.acc_depth,
            scratchpad_words=config.scratchpad_words,
            weight_words=config.weight_words,
            target=config.target,
            # Where there are no blocks for all cells there are none for these.
            dsp_products=config.dsp_cells >= config.macs_per_cycle,
        )
        scratchpad = Scratchpad(
            words=config.scratchpad_words,
            banks=config.scratchpad_banks,
            rows=config.rows,
            lanes=config.lanes,
            groups=config.groups,
            target=config.target,
            parity=config.parity,
        )
        window = ScratchpadWindow(
            words=config.scratchpad_words,
            rows=config.rows,
            banks=config.scratchpad_banks,
            groups=config.groups,
        )
        weights = WeightMemory(
            words=config.weight_words,
            cols=config.cols,
            target=config.target,
            parity=config.parity,
        )
        engines = {
            Engine.LOAD: load,
            Engine.MATMUL: matmul,
            Engine.VECTOR: vector,
            Engine.STORE: store,
        }
        m.submodules.controller = restart(controller)
        m.submodules.dispatcher = restart(dispatcher)
        m.submodules.tokens = restart(tokens)
        for engine, unit in engines.items():
            m.submodules[f"{engine.name.lower()}_queue"] = restart(queues[engine])
            m.submodules[engine.name.lower()] = restart(unit)
        m.submodules.scratchpad = restart(scratchpad)
        m.submodules.window = restart(window)
        m.submodules.weights = restart(weights)

        self._connect_control(m, control, controller, engines, tokens)
        faults = FaultCollector()
        m.submodules.faults = restart(faults)
        m.d.comb += [
            control.engine_fault.eq(faults.fault),
            faults.expired.eq(control.expired),
            faults.pc.eq(controller.pc),
            faults.overflow.eq(tokens.overflow),
            faults.overflowed.eq(tokens.overflowed),
        ]
        connect(m, controller.tensor, dispatcher.operation)
        # Between controller, engines and control registers are long ways: a register for the run's
        # end and what is under way then. What has just left the controller counts at once.
        busy = Signal(len(Engine))
        done, under_way = Signal(), Signal()
        m.d.sync += [
            done.eq(controller.done),
            under_way.eq(busy.any()),
        ]
        for engine, unit in engines.items():
            queue = queues[engine]
            connect(m, dispatcher.entries[engine], queue.entries)
            # After a fault the bus must come to rest, and no reader keep the store from its data.
            m.d.sync += unit.halt.eq(control.halt)
            connect(m, queue.command, unit.command)
            m.d.comb += [
                queue.halt.eq(control.halt),
                dispatcher.room[engine].eq(queue.room),
                faults.engines[engine].eq(unit.fault),
                faults.illegal[engine].eq(queue.illegal),
                faults.pcs[engine].eq(queue.command.payload.pc),
                control.waits.word_select(engine, 8).eq(
                    _waits(unit, queue, dispatcher.blocked[engine])
                ),
                control.queues.word_select(engine, 8).eq(queue.level),
                queue.available.eq(tokens.available[engine]),
                queue.engine_busy.eq(unit.busy),
                tokens.take[engine].eq(queue.take),
                tokens.completions[engine].eq(unit.complete),
                busy[engine].eq(~queue.empty | unit.busy | dispatcher.pending[engine]),
            ]
        m.d.comb += [
            controller.idle.eq(~busy),
            controller.interrupt.eq(~(under_way | dispatcher.pending.any())),
            faults.unfinished.eq(done & under_way),
        ]

        for reader, port in zip(matmul.scratchpad, scratchpad.matmul, strict=True):
            connect(m, reader, port)
        connect(m, vector.scratchpad, scratchpad.vector)
        connect(m, vector.result, scratchpad.result)
        connect(m, controller.window, window.access)
        connect(m, store.scratchpad, window.store)
        connect(m, load.scratchpad, window.load)
        connect(m, window.read, scratchpad.store)
        connect(m, window.write, scratchpad.load)
        m.d.comb += [
            window.reading.eq(scratchpad.reading),
            window.writing.eq(scratchpad.writing),
        ]
        connect(m, matmul.weights, weights.matmul)
        connect(m, vector.params, weights.params)
        connect(m, load.weights, weights.load)
        connect(m, load.table, vector.table)
        connect(m, load.program, controller.program)
        connect(m, vector.acc, matmul.acc_read)
        m.d.comb += weights.burst.eq(matmul.weights_burst)
        if config.parity:
            self._protect(m, control, controller, matmul, scratchpad, weights, store)
        self._connect_bus(m, load, store)
        if config.counters:
            m.submodules.monitor = monitor = ActivityMonitor()
            m.d.comb += [
                monitor.held.eq(controller.waits | dispatcher.blocked.any()),
                control.activity.eq(monitor.activity),
                control.events.eq(monitor.events),
            ]
            self._monitor(m, monitor, engines, queues)
        return m

    def _protect(self, m, control, controller, matmul, scratchpad, weights, store) -> None:
        """Let a wrong word stop the machine; it may be why another fault comes with it."""
        readers = (Engine.MATMUL,) * len(matmul.scratchpad) + (Engine.VECTOR, Engine.STORE)
        both = (Engine.MATMUL, Engine.VECTOR)
        memories = {
            # The last reader is the controller, at the store engine's port.
            Rule.SCRATCHPAD: (scratchpad.parity, (*readers, CONTROLLER)),
            Rule.WEIGHTS: (weights.parity, both),
            Rule.ACCUMULATORS: (matmul.parity, both),
            Rule.PROGRAM: (controller.parity, (CONTROLLER,)),
        }
        m.submodules.parity = collector = ParityCollector(
            {
                memory: (len(report.address), tuple(int(reader) for reader in names))
                for memory, (report, names) in memories.items()
            }
        )
        for memory, (report, _) in memories.items():
            target = getattr(collector, memory.name.lower())
            m.d.comb += [target.wrong.eq(report.wrong), target.address.eq(report.address)]
        # The window keeps its own responses from the store engine.
        stores = Signal()
        m.d.sync += stores.eq(store.scratchpad.response.valid)
        wrong = scratchpad.parity.wrong
        m.d.comb += [
            collector.scratchpad.wrong.eq(Cat(wrong[:-1], wrong[-1] & stores, wrong[-1] & ~stores)),
            collector.pc.eq(controller.pc),
            scratchpad.unread.eq(matmul.unread),
        ]
        with m.If(collector.fault.valid):
            m.d.comb += control.engine_fault.eq(collector.fault)

    def _connect_control(self, m, control, controller, engines, tokens) -> None:
        connect(m, wiring.flipped(self.s_axi), control.bus)
        if self._status:
            m.d.comb += [self.busy.eq(control.busy), self.error.eq(control.error)]
        load, store = engines[Engine.LOAD], engines[Engine.STORE]
        connect(m, control.boot, load.boot)
        m.d.comb += [
            self.irq.eq(control.irq),
            control.boot_complete.eq(load.boot_complete),
            load.memory_base.eq(control.memory_base),
            store.memory_base.eq(control.memory_base),
            controller.start.eq(control.core_start),
            controller.halt.eq(control.halt),
            control.bus_idle.eq(load.quiet & store.quiet),
            load.window.eq(control.read_window),
            store.window.eq(control.write_window),
            control.core_running.eq(controller.running),
            control.core_done.eq(controller.done),
            control.exit_code.eq(controller.exit_code),
            control.core_fault.eq(controller.fault),
            control.retired.eq(controller.retired),
            control.read_beat.eq(load.read_beat),
            control.write_beat.eq(store.write_beat),
            tokens.clear.eq(control.run),
        ]
        for engine, unit in engines.items():
            m.d.comb += control.stamp[engine].eq(unit.complete.valid & unit.complete.stamp)

    def _monitor(self, m, monitor, engines, queues) -> None:
        """Tell the monitor what the engines do."""
        matmul = engines[Engine.MATMUL]
        m.d.comb += [
            monitor.streams.eq(matmul.scratchpad[0].request.valid),
            monitor.starved.eq(matmul.starved),
            monitor.taken.eq(matmul.command.valid | ~matmul.command.ready),
            monitor.missing.eq(queues[Engine.MATMUL].missing),
        ]
        for engine, unit in engines.items():
            m.d.comb += [
                monitor.busy[engine].eq(unit.busy | unit.command.valid),
                monitor.waiting[engine].eq(queues[engine].missing.any()),
            ]

    def _connect_bus(self, m, load, store) -> None:
        """Give the read channels to the load engine, the write channels to the store engine."""
        for name, member in self.m_axi.signature.members.items():
            owner = load.axi if name[:2] == "ar" or name[0] == "r" else store.axi
            source, target = (
                (getattr(owner, name), getattr(self.m_axi, name))
                if member.flow == Out
                else (getattr(self.m_axi, name), getattr(owner, name))
            )
            m.d.comb += target.eq(source)


def _waits(unit, queue, blocked):
    """Return an engine's byte of WAITS."""
    memory = ~unit.quiet if hasattr(unit, "quiet") else Const(0)
    flags = {
        Wait.BUSY: unit.busy,
        Wait.MEMORY: memory,
        Wait.QUEUED: ~queue.empty,
        Wait.FULL: blocked,
    }
    byte = Cat(queue.missing, Const(0, 4))
    for flag, value in flags.items():
        byte |= Mux(value, int(flag), 0)
    return byte
