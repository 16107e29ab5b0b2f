"""Radiona ULX3S with an ECP5-85F, 32 MiB of SDRAM and an FTDI serial port."""

import dataclasses

from amaranth.build import Attrs, Pins, Resource
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from accel.config import PRESETS
from accel.gateware.memories import Sdram
from accel.gateware.sdram_parts import PARTS
from boards.base import Board
from boards.devices import DEVICES
from boards.pads import Ecp5SdramPads
from boards.pll import Ecp5Pll

__all__ = ["BOARD"]


class _Platform(ULX3S_85F_Platform):
    """With the pin at which a low level makes the ESP32 take over the FPGA."""

    resources = [
        *ULX3S_85F_Platform.resources,
        Resource("esp32_gpio0", 0, Pins("L2", dir="o"), Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
    ]


BOARD = Board(
    name="ulx3s",
    title="ULX3S-85F",
    platform=_Platform,
    device=dataclasses.replace(
        DEVICES["ecp5-85f"],
        options=(
            *("--85k", "--package", "CABGA381", "--speed", "6"),
            # Less dense and with more weight on timing than by default: a full part is 13 %
            # faster after placement (docs/performance.md).
            *("--placer-heap-beta", "0.75", "--placer-heap-timingweight", "25"),
        ),
    ),
    part="LFE5U-85F-6BG381C",
    # Half of preset `ulx3s`, which has not been routed to its end yet (docs/boards.md).
    config=dataclasses.replace(PRESETS["ulx3s"], name="ulx3s-128", cols=8, lanes=8, dsp_cells=122),
    clock_resource="clk25",
    clock_hz=25_000_000,
    system_hz=75_000_000,
    baud=3_000_000,
    # The part's clock edge comes a quarter of a period before the pads change, and a word is there
    # tAC + 2 pads later: before the edge that follows. The pads' registers add two cycles.
    memory=Sdram(part=PARTS["IS42S16160G-7"], capture_delay=4),
    pll=Ecp5Pll(),
    pads=Ecp5SdramPads,
    phase=270,
    ties={"esp32_gpio0": 1},
)
