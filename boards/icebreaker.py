"""1BitSquared iCEBreaker with an iCE40 UP5K; the memory is its SPRAM."""

import dataclasses

from amaranth_boards.icebreaker import ICEBreakerPlatform

from accel.config import PRESETS
from accel.gateware.memories import Spram
from boards.base import Board
from boards.devices import DEVICES
from boards.pll import Ice40Pll

__all__ = ["BOARD"]

BOARD = Board(
    name="icebreaker",
    title="iCEBreaker",
    platform=ICEBreakerPlatform,
    device=dataclasses.replace(DEVICES["up5k"], rams={"ICESTORM_RAM": 1}),
    part="iCE40UP5K-SG48",
    config=PRESETS["tiny"],
    clock_resource="clk12",
    clock_hz=12_000_000,
    system_hz=24_000_000,
    baud=3_000_000,
    memory=Spram(blocks=2),
    pll=Ice40Pll(),
    leds=("running", "heartbeat"),
)
