"""A host and a machine around the control registers."""

import random
from collections.abc import Callable
from typing import Any

from amaranth.sim import Simulator

from accel import regmap
from accel.gateware.axi import Response
from accel.gateware.csr import ControlRegisters
from accel.regmap import Cause, Status

STALLS = {"never": 0.0, "sometimes": 0.4, "often": 0.85}
FINGERPRINT = 0x89ABCDEF


class Host:
    """Drives the bus; every channel stalls with the given probability."""

    def __init__(self, ctx: Any, dut: ControlRegisters, stall: float = 0.0, seed: int = 0) -> None:
        self._ctx, self._dut = ctx, dut
        self._stall = stall
        self._random = random.Random(seed)

    async def _pause(self) -> None:
        while self._random.random() < self._stall:
            await self._ctx.tick()

    async def _send(self, channel: str, **values: int) -> None:
        ctx, bus = self._ctx, self._dut.bus
        await self._pause()
        for name, value in values.items():
            ctx.set(getattr(bus, channel + name), value)
        ctx.set(getattr(bus, f"{channel}valid"), 1)
        await ctx.tick().until(getattr(bus, f"{channel}ready"))
        ctx.set(getattr(bus, f"{channel}valid"), 0)

    async def _receive(self, channel: str, *names: str) -> list[int]:
        ctx, bus = self._ctx, self._dut.bus
        await self._pause()
        ctx.set(getattr(bus, f"{channel}ready"), 1)
        ports = [getattr(bus, channel + name) for name in names]
        values = await ctx.tick().sample(*ports).until(getattr(bus, f"{channel}valid"))
        ctx.set(getattr(bus, f"{channel}ready"), 0)
        return list(values)

    async def write_offset(self, offset: int, value: int, strobe: int = 15) -> int:
        """Write; address or data first, at random. Return the response."""
        channels = [("aw", {"addr": offset}), ("w", {"data": value, "strb": strobe})]
        if self._random.random() < 0.5:
            channels.reverse()
        for channel, values in channels:
            await self._send(channel, **values)
        (response,) = await self._receive("b", "resp")
        return response

    async def read_offset(self, offset: int) -> tuple[int, int]:
        """Return data and response."""
        await self._send("ar", addr=offset)
        value, response = await self._receive("r", "data", "resp")
        return value, response

    async def write(self, name: str, value: int) -> None:
        assert await self.write_offset(regmap.address(name), value) == Response.OKAY.value

    async def read(self, name: str) -> int:
        value, response = await self.read_offset(regmap.address(name))
        assert response == Response.OKAY.value
        return value

    async def status(self) -> Status:
        return Status(await self.read("STATUS"))


def simulate(
    body: Callable[..., Any], stall: float = 0.0, seed: int = 0, counters: bool = True
) -> None:
    """Run `body(ctx, dut, host)` on fresh control registers."""
    shape = {"rows": 12, "cols": 16, "lanes": 4, "bus_bytes": 8}
    dut = ControlRegisters(fingerprint=FINGERPRINT, **shape, counters=counters)

    async def testbench(ctx: Any) -> None:
        await body(ctx, dut, Host(ctx, dut, stall, seed))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


async def pulse(ctx: Any, signal: Any) -> None:
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def core_fault(ctx: Any, dut: ControlRegisters, cause: Cause, address: int, pc: int) -> None:
    ctx.set(dut.core_fault, {"valid": 1, "cause": cause, "address": address, "pc": pc})
    await ctx.tick()
    ctx.set(dut.core_fault.valid, 0)
