"""The way of a fault from where it is found to the control registers."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.burst import AddressChannel
from accel.gateware.checks import cause_of
from accel.gateware.parity import ParityReport
from accel.gateware.ports import PC_BITS, EngineFault
from accel.gateware.rows import RowWalker
from accel.isa import Engine
from accel.regmap import CONTROLLER, PARITY_WORD_SHIFT, Cause, Rule

__all__ = ["FaultCollector", "MachineFault", "ParityCollector", "report_transfer"]


class MachineFault(data.Struct):
    """A fault with the engine it is of: one of `accel.isa.Engine`, or CONTROLLER."""

    valid: unsigned(1)  # type: ignore[valid-type]
    engine: unsigned(3)  # type: ignore[valid-type]
    cause: unsigned(5)  # type: ignore[valid-type]
    address: unsigned(32)  # type: ignore[valid-type]
    pc: unsigned(PC_BITS)  # type: ignore[valid-type]


def report_transfer(
    fault: data.View,
    *,
    response: Value,
    causes: tuple[Cause, Cause],
    addresses: AddressChannel,
    pcs: tuple[Value, Value],
    walker: RowWalker,
) -> list:
    """Return the assignments that drive the fault of a load or store engine.

    Without a register: what is found is kept where it is recorded, in CAUSE_ADDRESS and CAUSE_PC.

    Parameters
    ----------
    fault : View of EngineFault
    response : Value
        The oldest burst has an error response.
    causes : tuple of Cause
        Of that, and of a burst outside the window.
    addresses, walker
        The engine's.
    pcs : tuple of Value
        Of the oldest burst and of the refused one.
    """
    refused, broken = addresses.refused, walker.broken

    def choose(of_response: Value, of_refused: Value, of_broken: Value) -> Value:
        return Mux(response, of_response, Mux(refused, of_refused, of_broken))

    return [
        fault.valid.eq(response | refused | broken.any()),
        fault.cause.eq(choose(*causes, cause_of(broken))),
        fault.address.eq(
            choose(addresses.oldest.address, addresses.bursts.payload.address, broken)
        ),
        fault.pc.eq(choose(*pcs, walker.command.payload.pc)),
    ]


class FaultCollector(wiring.Component):
    """One of all faults.

    Members
    -------
    engines : In(EngineFault).array(4)
        By Engine.
    illegal : In(4)
        Bit per engine: its queue held back the command of `pcs`, whose addresses do not fit.
    pcs : In(PC_BITS).array(4)
    overflow, overflowed : In(4)
        Of TokenCounters.
    expired, unfinished : In(1), pc : In(PC_BITS)
        The run takes too long, and where it is; or it ended before its commands did, where it was
        a cycle before.
    fault : Out(MachineFault)
        Of several in one cycle the one that is first here.

    Latency
    -------
    One cycle from an engine's, a queue's or a counter's; none for what the controller's pc says.
    """

    engines: In(EngineFault).array(len(Engine))
    illegal: In(len(Engine))
    pcs: In(PC_BITS).array(len(Engine))
    overflow: In(len(Engine))
    overflowed: In(len(Engine))
    expired: In(1)
    unfinished: In(1)
    pc: In(PC_BITS)
    fault: Out(MachineFault)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fault = self.fault
        # What comes from all over the chip; the way to the control registers is another long one.
        found = Signal(MachineFault)
        flags = []
        # From last to first: an assignment that comes later goes first. While nothing is found
        # these hold anything: a choice is sooner there than an enable behind it.
        m.d.sync += [
            found.cause.eq(Cause.TOKEN_OVERFLOW),
            found.address.eq(self.overflowed),
            found.pc.eq(0),
        ]
        for engine in reversed(Engine):
            flags.append(self.overflow[engine])
            with m.If(self.overflow[engine]):
                m.d.sync += found.engine.eq(int(engine))
        for engine in reversed(Engine):
            own = self.engines[engine]
            flags.append(own.valid | self.illegal[engine])
            with m.If(flags[-1]):
                m.d.sync += [
                    found.engine.eq(int(engine)),
                    found.cause.eq(Mux(own.valid, own.cause, Cause.CHIP_ADDRESS)),
                    found.address.eq(Mux(own.valid, own.address, Rule.SCRATCHPAD)),
                    found.pc.eq(Mux(own.valid, own.pc, self.pcs[engine])),
                ]
        pc = Signal.like(self.pc, reset_less=True)
        m.d.sync += [found.valid.eq(Cat(flags).any()), pc.eq(self.pc)]
        for flag, cause, where in (
            (self.expired, Cause.WATCHDOG, self.pc),
            (self.unfinished, Cause.UNFINISHED, pc),
        ):
            with m.If(flag):
                m.d.comb += [
                    fault.valid.eq(1),
                    fault.engine.eq(CONTROLLER),
                    fault.cause.eq(cause),
                    fault.pc.eq(where),
                ]
        with m.If(found.valid):
            m.d.comb += fault.eq(found)
        return m


class ParityCollector(wiring.Component):
    """One fault of all memories' reports.

    Parameters
    ----------
    memories : dict of Rule to tuple
        Address width of each memory, and the number that CAUSE_ENGINE shows for each of its readers.

    Members
    -------
    reports : dict of Rule to Signal(ParityReport)
        Inputs, as attributes named like the memories, in lower case.
    pc : In(PC_BITS)
        Where the controller is.
    fault : Out(MachineFault)
        Of several in one cycle one.

    Latency
    -------
    None.
    """

    def __init__(self, memories: dict[Rule, tuple[int, tuple[int, ...]]]) -> None:
        self._memories = memories
        super().__init__(
            {
                **{
                    _name(memory): In(ParityReport(len(readers), width))
                    for memory, (width, readers) in memories.items()
                },
                "pc": In(PC_BITS),
                "fault": Out(MachineFault),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fault = self.fault
        m.d.comb += [fault.cause.eq(Cause.PARITY), fault.pc.eq(self.pc)]
        for memory, (_, readers) in self._memories.items():
            report = getattr(self, _name(memory))
            with m.If(report.wrong.any()):
                m.d.comb += [
                    fault.valid.eq(1),
                    fault.address.eq(int(memory) | (report.address << PARITY_WORD_SHIFT)),
                ]
            for i, engine in enumerate(readers):
                with m.If(report.wrong[i]):
                    m.d.comb += fault.engine.eq(engine)
        return m


def _name(memory: Rule) -> str:
    return str(memory.name).lower()
