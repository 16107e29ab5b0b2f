"""Sipeed Tang Nano 20K with a Gowin GW2AR-18, which has 8 MiB of SDRAM in its package."""

import dataclasses

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import LEDResources, SDRAMResource, UARTResource

from accel.config import PRESETS
from accel.gateware.memories import Sdram
from accel.gateware.sdram_parts import SdramPart
from boards.base import Board
from boards.devices import DEVICES
from boards.pads import GowinSdramPads
from boards.pll import GowinPll

__all__ = ["BOARD"]

_IO = Attrs(IO_TYPE="LVCMOS33")


class _Platform(GowinPlatform):
    """The pins used here: Sipeed's schematic 3921, and Gowin's places of the SDRAM's pads."""

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    default_clk = "clk27"
    resources = [
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), _IO),
        UARTResource(0, rx="70", tx="69", attrs=_IO),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=_IO),
        SDRAMResource(
            0,
            clk="IOR11B",
            cke="IOL13A",
            cs_n="IOL14B",
            cas_n="IOL14A",
            ras_n="IOL13B",
            we_n="IOL12B",
            ba="IOR13A IOR12A",
            a="IOR14A IOR13B IOR14B IOR15A IOL16B IOL17B IOL16A IOL17A IOL15B IOL15A IOR12B",
            dqm="IOL12A IOR11A IOL18A IOR15B",
            dq="IOL3A IOL3B IOL8A IOL8B IOL9A IOL9B IOL11A IOL11B "
            "IOR9B IOR9A IOR5B IOR6A IOR5A IOR4B IOR3B IOR3A "
            "IOL39B IOL39A IOL35B IOL35A IOL30B IOL30A IOL20A IOL18B "
            "IOR17A IOR16A IOR16B IOR17B IOR18A IOR18B IOR44A IOR44B",
            attrs=_IO,
        ),
    ]
    connectors = ()


_SDRAM = SdramPart(
    name="GW2AR-18 SDRAM",
    row_bits=11,
    column_bits=8,
    data_bits=32,
    cycle_ns=((2, 10.0), (3, 7.0)),
    rcd_ns=21.0,
    rp_ns=21.0,
    ras_ns=49.0,
    rc_ns=70.0,
    rfc_ns=70.0,
    rrd_ns=14.0,
    wr_ns=14.0,
    refreshes=4096,
    source=(
        "geometry: Gowin DS226 (64 Mbit, 32 bits); times: no table of the part in the package is "
        "public, these are the slowest of parts of that size and width at 7 ns"
    ),
)


BOARD = Board(
    name="tangnano20k",
    title="Tang Nano 20K",
    platform=_Platform,
    device=dataclasses.replace(
        DEVICES["gw2a-18"],
        pads="",  # the platform's
        options=("--device", _Platform.part, "--vopt", "family=GW2A-18C"),
    ),
    part=_Platform.part,
    # An engine for each task, as in `test`, takes 16,500 of 20,736 lookup tables, and 4,000
    # flip-flops behind none of them a place beside an empty one: more than nextpnr can place.
    config=dataclasses.replace(PRESETS["tiny"], name="tangnano20k", target="generic"),
    clock_resource="clk27",
    clock_hz=27_000_000,
    system_hz=45_000_000,
    baud=3_000_000,
    memory=Sdram(part=_SDRAM, capture_delay=-1),
    pll=GowinPll(),
    pads=GowinSdramPads,
    phase=180,
)
