# amaranth: UnusedElaboratable=no
"""The control registers over their AXI4-Lite window, with the controller played by the test."""

from typing import Any

import pytest

from accel import regmap
from accel.gateware.axi import Response
from accel.gateware.csr import SETTLE_CYCLES, ControlRegisters
from accel.isa import ISA_VERSION
from accel.regmap import Cause, Control, Status
from tests.gateware.csrbench import FINGERPRINT, STALLS, Host, core_fault, pulse, simulate

READ_WRITE = [r for r in regmap.REGISTERS if r.access == "rw"]


@pytest.mark.parametrize("stall", STALLS)
def test_identity_and_reset_values(stall: str) -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        constants = {
            "ID": int.from_bytes(b"SYST", "little"),
            "VERSION": ISA_VERSION,
            "FINGERPRINT": FINGERPRINT,
            "SHAPE": 12 | 16 << 8 | 4 << 16 | 8 << 24,
        }
        for register in regmap.REGISTERS:
            expected = constants.get(register.name, register.reset)
            assert await host.read(register.name) == expected, register

    simulate(body, STALLS[stall], seed=1)


@pytest.mark.parametrize("stall", STALLS)
def test_read_write_registers_keep_their_bytes(stall: str) -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        for n, register in enumerate(READ_WRITE):
            await host.write(register.name, 0x11223344 + n)
            response = await host.write_offset(register.offset, 0xAABBCCDD, strobe=0b0110)
            assert response == Response.OKAY.value
            assert await host.write_offset(register.offset, 0, strobe=0) == Response.OKAY.value
        for n, register in enumerate(READ_WRITE):
            fixed = register.fixed
            expected = ((0x11BBCC44 + n) & ~fixed) | (register.reset & fixed)
            assert await host.read(register.name) == expected
        assert ctx.get(dut.memory_base) == await host.read("MEMORY_BASE")

    simulate(body, STALLS[stall], seed=2)


def test_read_only_registers_do_not_change() -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        for register in regmap.REGISTERS:
            if register.access == "ro":
                before = await host.read(register.name)
                await host.write(register.name, ~before & 0xFFFFFFFF)
                assert await host.read(register.name) == before

    simulate(body)


def test_offsets_without_a_register_are_errors() -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        known = {r.offset for r in regmap.REGISTERS}
        for offset in [*range(0x90), 0x100, 0x410, 0x810, 0xFFC]:
            expected = (Response.OKAY if offset in known else Response.SLVERR).value
            value, response = await host.read_offset(offset)
            assert (offset, response) == (offset, expected)
            if expected:
                assert value == 0
                assert await host.write_offset(offset, 0xFFFFFFFF) == expected
        assert await host.status() == Status(0)
        assert await host.read("MEMORY_BASE") == 0

    simulate(body)


def test_one_write_at_a_time() -> None:
    """A second write's address and data wait until the first one's response is taken."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        bus, base = dut.bus, regmap.address("MEMORY_BASE")
        await host._send("w", data=64, strb=15)
        ctx.set(bus.wdata, 128)
        ctx.set(bus.wvalid, 1)
        await ctx.tick().repeat(2)
        assert not ctx.get(bus.wready)
        await host._send("aw", addr=base)
        ctx.set(bus.awvalid, 1)
        for _ in range(5):
            assert not ctx.get(bus.awready) and not ctx.get(bus.wready)
            await ctx.tick()
        assert ctx.get(dut.memory_base) == 64
        await host._receive("b", "resp")
        assert ctx.get(bus.awready) and ctx.get(bus.wready)
        await ctx.tick()
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        assert await host._receive("b", "resp") == [Response.OKAY.value]
        assert ctx.get(dut.memory_base) == 128

    simulate(body)


def test_latency() -> None:
    """From address (and data) to the response as many cycles as the docstring says."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        for signals, valid, cycles in (
            ((dut.bus.arvalid,), dut.bus.rvalid, 4),
            ((dut.bus.awvalid, dut.bus.wvalid), dut.bus.bvalid, 2),
        ):
            for signal in signals:
                ctx.set(signal, 1)
            await ctx.tick()
            for signal in signals:
                ctx.set(signal, 0)
            for _ in range(cycles - 1):
                assert not ctx.get(valid)
                await ctx.tick()
            assert ctx.get(valid)

    simulate(body)


def test_run() -> None:
    """START, counters, TDONE, interrupt, CLEAR, and a second run that starts from zero."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("IRQ_ENABLE", 1)
        for exit_code in (7, 0xFFFFFFFF):
            await host._send("aw", addr=regmap.address("CONTROL"))
            await host._send("w", data=Control.START, strb=1)
            await ctx.tick().until(dut.run)
            # `until` sampled `run` before the edge: that was the one cycle of both pulses.
            assert not ctx.get(dut.run) and not ctx.get(dut.core_start)
            assert ctx.get(dut.cycles) == 1
            await host._receive("b", "resp")
            assert await host.status() == Status.BUSY
            assert not ctx.get(dut.irq)
            await host.write("CONTROL", Control.START)  # ignored
            await host.write("CONTROL", Control.LOAD)
            assert not ctx.get(dut.run) and not ctx.get(dut.boot.valid)
            for signal, count in ((dut.retired, 5), (dut.read_beat, 3), (dut.write_beat, 2)):
                ctx.set(signal, 1)
                await ctx.tick().repeat(count)
                ctx.set(signal, 0)
            ctx.set(dut.exit_code, exit_code)
            cycles = ctx.get(dut.cycles)
            # The controller's `retired` comes one cycle after TDONE executed.
            await pulse(ctx, dut.core_done)
            ctx.set(dut.exit_code, 0)
            assert not ctx.get(dut.irq)
            await pulse(ctx, dut.retired)
            assert ctx.get(dut.irq)
            assert await host.status() == Status.DONE | Status.IRQ
            assert await host.read("CYCLES") == cycles + 2
            assert await host.read("CYCLES_HIGH") == 0
            assert await host.read("EXIT_CODE") == exit_code
            assert await host.read("INSTRUCTIONS") == 6
            assert await host.read("READ_BEATS") == 3
            assert await host.read("WRITE_BEATS") == 2
            assert await host.read("CAUSE") == Cause.NONE
            await host.write("IRQ_ENABLE", 0)
            assert not ctx.get(dut.irq)
            assert await host.status() == Status.DONE
            await host.write("IRQ_ENABLE", 1)
            await host.write("CONTROL", Control.CLEAR)
            assert not ctx.get(dut.irq)
            assert await host.status() == Status(0)

    simulate(body)


@pytest.mark.parametrize("wait", [0, 5])
def test_load(wait: int) -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("PROGRAM_ADDRESS", 0x12345640)
        await host.write("PROGRAM_WORDS", 321)
        await host.write("CONTROL", Control.LOAD | Control.START)
        for _ in range(wait):
            await ctx.tick()
        request = ctx.get(dut.boot.payload)
        assert (request.memory_address, request.words) == (0x12345640, 321)
        assert ctx.get(dut.boot.valid)
        ctx.set(dut.boot.ready, 1)
        await ctx.tick()
        assert not ctx.get(dut.boot.valid)
        assert not ctx.get(dut.run)
        assert await host.status() == Status.BUSY
        await host.write("CONTROL", Control.START)
        assert await host.status() == Status.BUSY
        await pulse(ctx, dut.boot_complete)
        assert await host.status() == Status.DONE
        # A start needs no CLEAR after a run that ended well.
        await host.write("CONTROL", Control.START)
        assert await host.status() == Status.BUSY

    simulate(body)


def test_fault_of_the_controller() -> None:
    """The first fault is kept; CLEAR resets; nothing starts before."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("IRQ_ENABLE", 1)
        await host.write("CONTROL", Control.START)
        await core_fault(ctx, dut, Cause.LOAD_FAULT, 0xFFFFFFFC, 0x124)
        assert ctx.get(dut.halt) and not ctx.get(dut.irq)
        await ctx.tick().repeat(SETTLE_CYCLES)
        assert not ctx.get(dut.irq)
        await ctx.tick()
        assert ctx.get(dut.irq)
        await core_fault(ctx, dut, Cause.BREAKPOINT, 1, 2)
        await pulse(ctx, dut.core_done)
        assert await host.status() == Status.ERROR | Status.IRQ
        for name, value in (
            ("CAUSE", Cause.LOAD_FAULT),
            ("CAUSE_ADDRESS", 0xFFFFFFFC),
            ("CAUSE_PC", 0x124),
            ("CAUSE_ENGINE", regmap.CONTROLLER),
        ):
            assert await host.read(name) == value
        cycles = await host.read("CYCLES")
        await host.write("CONTROL", Control.START)
        await host.write("CONTROL", Control.LOAD)
        assert await host.status() == Status.ERROR | Status.IRQ
        assert await host.read("CYCLES") == cycles
        clears = 0
        await host._send("aw", addr=regmap.address("CONTROL"))
        await host._send("w", data=Control.CLEAR, strb=1)
        for _ in range(4):
            clears += ctx.get(dut.clear)
            await ctx.tick()
        await host._receive("b", "resp")
        assert clears == 1
        assert await host.status() == Status(0)
        for name in ("CAUSE", "CAUSE_ADDRESS", "CAUSE_PC", "CAUSE_ENGINE"):
            assert await host.read(name) == 0
        assert not ctx.get(dut.halt) and not ctx.get(dut.irq)
        await host.write("CONTROL", Control.START)
        assert await host.status() == Status.BUSY

    simulate(body)


@pytest.mark.parametrize("while_loading", [False, True])
def test_fault_of_an_engine(while_loading: bool) -> None:
    """A bus error ends a run or a load; with the controller's in the same cycle, it goes first."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("CONTROL", Control.LOAD if while_loading else Control.START)
        fault = {"valid": 1, "engine": 3, "cause": Cause.READ_RESPONSE, "address": 0x80001000}
        ctx.set(dut.engine_fault, {**fault, "pc": 0x41})
        await core_fault(ctx, dut, Cause.BREAKPOINT, 1, 2)
        ctx.set(dut.engine_fault.valid, 0)
        await pulse(ctx, dut.boot_complete)
        await ctx.tick().repeat(SETTLE_CYCLES)
        assert await host.status() == Status.ERROR
        assert not ctx.get(dut.irq)
        assert await host.read("CAUSE") == Cause.READ_RESPONSE
        assert await host.read("CAUSE_ADDRESS") == 0x80001000
        assert await host.read("CAUSE_PC") == 4 * 0x41
        assert await host.read("CAUSE_ENGINE") == 3
        await host.write("CONTROL", Control.CLEAR)
        await ctx.tick()
        assert not ctx.get(dut.boot.valid)
        assert await host.status() == Status(0)

    simulate(body)


def test_a_fault_that_goes_on_until_the_reset_is_not_another_one() -> None:
    """The engines are reset in the cycle after `clear`, and begin nothing before."""

    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("CONTROL", Control.START)
        fault = {"valid": 1, "engine": 1, "cause": Cause.ILLEGAL_COMMAND, "address": 4, "pc": 5}
        ctx.set(dut.engine_fault, fault)
        await ctx.tick().repeat(SETTLE_CYCLES + 2)
        assert await host.status() == Status.ERROR
        await host._send("aw", addr=regmap.address("CONTROL"))
        await host._send("w", data=Control.CLEAR, strb=1)
        while not ctx.get(dut.clear):
            await ctx.tick()
        assert ctx.get(dut.halt)
        await ctx.tick().repeat(2)
        ctx.set(dut.engine_fault.valid, 0)
        await host._receive("b", "resp")
        assert await host.status() == Status(0)
        assert await host.read("CAUSE") == 0

    simulate(body)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": 1 << 32}, "Fingerprint must have 32 bits, not 4294967296"),
        ({"rows": 256}, "rows must be from 1 to 255, not 256"),
        ({"lanes": 0}, "lanes must be from 1 to 255, not 0"),
    ],
)
def test_impossible_parameters(changes: dict[str, int], message: str) -> None:
    shape = {"fingerprint": 1, "rows": 4, "cols": 4, "lanes": 2, "bus_bytes": 4}
    with pytest.raises(ValueError, match=message):
        ControlRegisters(**{**shape, **changes})


def test_memory_windows_and_what_engines_wait_for() -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        for name, window in (("READ", dut.read_window), ("WRITE", dut.write_window)):
            assert (ctx.get(window.base), ctx.get(window.limit)) == (0, 0xFFFFFFFF), "open"
            await host.write(f"{name}_BASE", 0x12345678)
            await host.write(f"{name}_LIMIT", 0x87654321)
            assert (ctx.get(window.base), ctx.get(window.limit)) == (0x12345640, 0x8765433F)
        ctx.set(dut.waits, 0x01020304)
        ctx.set(dut.queues, 0x05060708)
        assert await host.read("WAITS") == 0x01020304
        assert await host.read("QUEUES") == 0x05060708

    simulate(body)


@pytest.mark.parametrize("control", [Control.START, Control.LOAD])
def test_the_watchdog_expires(control: Control) -> None:
    async def body(ctx: Any, dut: ControlRegisters, host: Host) -> None:
        await host.write("WATCHDOG", 0x1FFF)
        assert await host.read("WATCHDOG") == 0x1000
        for limit in (0x1000, 0):
            await host.write("WATCHDOG", limit)
            ctx.set(dut.boot.ready, 1)
            await host.write("CONTROL", control)
            seen = 0
            for _ in range(0x1040):
                seen = seen or (ctx.get(dut.cycles) if ctx.get(dut.expired) else 0)
                await ctx.tick()
            assert seen == (limit + 1 if limit else 0)
            await pulse(ctx, dut.core_done)
            await pulse(ctx, dut.boot_complete)
            await ctx.tick()
            assert not ctx.get(dut.expired)
            await host.write("CONTROL", Control.CLEAR)

    simulate(body)
