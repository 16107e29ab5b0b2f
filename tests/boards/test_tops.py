"""The emitted top of each board: its pins, its primitives; and Verilator finds nothing wrong."""

import dataclasses
import re
from functools import cache

import pytest

from accel.config import PRESETS, Config
from boards.base import emit
from boards.catalog import BOARDS, find_board

SMALLEST = Config(
    name="smallest",
    rows=4,
    cols=4,
    scratchpad_bytes=2048,
    scratchpad_banks=1,
    weight_bytes=1024,
    acc_depth=16,
    lanes=1,
    multiply=False,
    bus_bits=32,
    program_bytes=1024,
    queue_depth=4,
    counters=False,
)

PRIMITIVES = {
    "ulx3s": {"EHXPLLL", "IB", "OBZ", "BB", "OFS1P3BX", "OFS1P3DX", "IFS1P3DX", "ODDRX1F"},
    "icebreaker": {"SB_PLL40_PAD", "SB_IO", "SB_SPRAM256KA"},
    "tangnano20k": {"rPLL", "IBUF", "TBUF", "IOBUF", "ODDR"},
}

LOCATIONS = {
    "ulx3s": r'^LOCATE COMP "(\w+)(?:\[(\d+)\])?" SITE "\w+";$',
    "icebreaker": r"^set_io (\w+)(?:\[(\d+)\])? \w+$",
    "tangnano20k": r'^IO_LOC "(\w+)(?:\[(\d+)\])?" \w+;$',
}


@cache
def emitted(name):
    return emit(find_board(name), SMALLEST)


def ports(verilog, module):
    """Return the width of each port of a module."""
    body = re.search(rf"^module {module} ?\(.*?^endmodule", verilog, re.M | re.S)[0]
    found = re.findall(r"^  (?:input|output|inout) (?:wire )?(?:\[(\d+):0\] )?(\w+);", body, re.M)
    return {port: int(high or 0) + 1 for high, port in found}


@pytest.mark.parametrize("name", BOARDS)
def test_every_pin_has_its_place(name):
    top = emitted(name)
    placed = re.findall(LOCATIONS[name], top.constraints, re.M)
    bits = {
        (port, str(i) if width > 1 else "")
        for port, width in ports(top.verilog, top.name).items()
        for i in range(width)
    }
    assert set(placed) == bits and len(placed) == len(bits)
    assert ("uart_0__rx__io", "") in bits


@pytest.mark.parametrize("name", BOARDS)
def test_primitives_and_header(name):
    verilog = emitted(name).verilog
    own = set(re.findall(r"^module (\w+)", verilog, re.M))
    used = set(re.findall(r"^  ([A-Za-z]\w+) (?:#\(|\S+ \(\n)", verilog, re.M))
    assert used - own - {"reg", "wire", "always", "initial"} == PRIMITIVES[name]
    assert f"fingerprint {SMALLEST.fingerprint:#010x}" in verilog[:1000]
    assert find_board(name).title in verilog[:200]


def test_the_clock_that_is_asked_for():
    board = find_board("ulx3s")
    setting = board.clock(50_000_000)
    assert setting.parameters["CLKOS_DIV"] == 16
    verilog = emitted("ulx3s").verilog
    # At 75 MHz a period is 8 of the oscillator's; the memory's clock is 6 of them late.
    parameters = dict(re.findall(r"\.(CLK\w+)\(32'd(\d+)\)", verilog))
    assert parameters["CLKOS_DIV"] == parameters["CLKOS2_DIV"] == "8"
    assert (parameters["CLKOS_CPHASE"], parameters["CLKOS2_CPHASE"]) == ("7", "13")


def test_the_presets_that_boards_have():
    assert find_board("icebreaker").config == PRESETS["tiny"]
    half = {"name": "ulx3s-128", "cols": 8, "lanes": 8, "dsp_cells": 122}
    assert find_board("ulx3s").config == dataclasses.replace(PRESETS["ulx3s"], **half)
