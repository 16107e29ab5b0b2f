"""cocotb bench of one requantiser lane against `accel.numerics`: all signs, sizes and shifts."""

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from accel.gateware.requantizer import Requantizer
from accel.numerics import multiply_by_quantized_multiplier, wrap_int32

SLICES = 2200
ELEMENTS = Requantizer.LATENCY
"""Elements per slice: the parameters change as often as the staging registers allow."""

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
EXTREME_X = (INT32_MIN, INT32_MIN + 1, -(1 << 30), -1, 0, 1, (1 << 30) - 1, 1 << 30, INT32_MAX)
EXTREME_MULTIPLIERS = (0, 1, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, INT32_MAX)

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stimulus:
    """Slices of elements, their parameters by port name, and what must come out.

    Members
    -------
    x : array of int [slice, element]
    parameters : dict of str to array of int [slice]
    y : array of int [slice, element]
    """

    x: IntArray
    parameters: dict[str, IntArray]
    y: IntArray


def make_stimulus(seed: int) -> Stimulus:
    """Return random slices: a third extreme, a third anything, a third that seldom saturates."""
    rng = np.random.default_rng(seed)
    kind = np.arange(SLICES) % 3
    shift = rng.integers(-31, 31, SLICES)
    multiplier = np.where(
        kind == 0,
        rng.choice(EXTREME_MULTIPLIERS, SLICES),
        rng.integers(np.where(kind == 2, 1 << 30, 0), 1 << 31, SLICES),
    )
    bias = np.where(rng.integers(0, 2, SLICES) == 0, 0, rng.integers(INT32_MIN, 1 << 31, SLICES))
    scale = np.maximum(multiplier, 1) * 2.0 ** (shift - 31)
    shape = (SLICES, ELEMENTS)
    inside = np.rint(rng.uniform(-160, 160, shape) / scale[:, None])
    choices = (
        rng.choice(EXTREME_X, shape),
        rng.integers(INT32_MIN, 1 << 31, shape),
        np.clip(inside, INT32_MIN, INT32_MAX).astype(np.int64) - bias[:, None],
    )
    x = wrap_int32(np.choose(kind[:, None], choices))
    clamps = np.sort(rng.integers(-128, 128, (2, SLICES)), axis=0)
    wide = rng.integers(0, 2, SLICES) == 0
    parameters = {
        "lane_bias": bias,
        "lane_multiplier": multiplier,
        "lane_shift": shift,
        "bounds_output_zero": rng.integers(-128, 128, SLICES),
        "bounds_clamp_min": np.where(wide, -128, clamps[0]),
        "bounds_clamp_max": np.where(wide, 127, clamps[1]),
    }
    scaled = multiply_by_quantized_multiplier(
        wrap_int32(x + bias[:, None]), multiplier[:, None], shift[:, None]
    )
    y = np.clip(
        scaled + parameters["bounds_output_zero"][:, None],
        parameters["bounds_clamp_min"][:, None],
        parameters["bounds_clamp_max"][:, None],
    )
    return Stimulus(x, parameters, y)


@cocotb.test()
async def equals_numerics(dut: Any) -> None:
    """Slices back to back, an element each cycle; every result at its cycle."""
    stimulus = make_stimulus(int(cocotb.RANDOM_SEED))
    Clock(dut.clk, 10, "ns").start()
    dut.rst.value = 1
    dut.x.value = 0
    dut.first.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0

    x = (stimulus.x.ravel() & 0xFFFFFFFF).tolist()
    handles = [getattr(dut, name) for name in stimulus.parameters]
    masks = [(1 << len(handle)) - 1 for handle in handles]
    slices = np.stack(list(stimulus.parameters.values()), axis=1).tolist()
    got = []
    for cycle in range(len(x) + 1 + Requantizer.LATENCY):
        # `first` leads its element by a cycle.
        index, element = divmod(cycle, ELEMENTS)
        starts = element == 0 and index < SLICES
        dut.first.value = int(starts)
        if starts:
            for handle, mask, value in zip(handles, masks, slices[index], strict=True):
                handle.value = value & mask
        if 1 <= cycle <= len(x):
            dut.x.value = x[cycle - 1]
        await RisingEdge(dut.clk)
        if cycle > Requantizer.LATENCY:
            got.append(dut.y.value.to_signed())
    wrong = np.flatnonzero(np.array(got) != stimulus.y.ravel())
    if len(wrong):
        index, element = divmod(int(wrong[0]), ELEMENTS)
        values = {name: int(value[index]) for name, value in stimulus.parameters.items()}
        raise AssertionError(
            f"{len(wrong)} of {len(got)} wrong; x = {stimulus.x[index, element]} with {values} "
            f"gives {got[wrong[0]]}, not {stimulus.y[index, element]}"
        )
    assert len(got) >= 20_000
