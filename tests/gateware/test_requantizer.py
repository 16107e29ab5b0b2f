"""The requantiser lane against accel.numerics."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from accel.gateware.requantizer import Requantizer
from accel.numerics import multiply_by_quantized_multiplier, wrap_int32

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
EDGES = (INT32_MIN, INT32_MIN + 1, -(1 << 30), -1, 0, 1, 2, (1 << 30) - 1, 1 << 30, INT32_MAX)
MULTIPLIERS = (0, 1, 1 << 30, (1 << 30) + 1, (1 << 31) - 1)
SHIFTS = range(-31, 31)
SLICE = Requantizer.LATENCY
"""Elements per slice: staging must hold as long as this, so that new ones come without a gap."""


def expected(x, p):
    total = wrap_int32(np.asarray(x, np.int64) + p["bias"])
    result = multiply_by_quantized_multiplier(total, p["multiplier"], p["shift"])
    return np.clip(result + p["output_zero"], p["clamp_min"], p["clamp_max"])


def random_parameters(rng, **fixed):
    low, high = sorted((rng.randint(-128, 127), rng.randint(-128, 127)))
    if rng.random() < 0.6:
        low, high = -128, 127
    return {
        "bias": rng.choice((0, 0, INT32_MIN, INT32_MAX, rng.getrandbits(32) + INT32_MIN)),
        "multiplier": rng.getrandbits(31),
        "shift": rng.randint(-31, 30),
        "output_zero": rng.randint(-128, 127),
        "clamp_min": low,
        "clamp_max": high,
    } | fixed


def near_int8(rng, p):
    """Return an x whose result is likely not to saturate."""
    scale = p["multiplier"] * 2.0 ** (p["shift"] - 31)
    x = int(rng.uniform(-200, 200) / scale) if scale else rng.getrandbits(20)
    return int(wrap_int32(x - p["bias"]))


def requantise(slices, *, skew=0):
    """Run (parameters, elements) slices back to back; return what came out for each element.

    Staging is scrambled whenever the contract allows it. `skew` cycles less than it asks for.
    """
    dut = Requantizer()
    count = sum(len(elements) for _, elements in slices)
    starts, begin = [], 0
    for parameters, elements in slices:
        starts.append((begin, parameters))
        begin += len(elements)
    results = []
    hold = dict.fromkeys(("bias",), 0) | {"multiplier": Requantizer.MULTIPLIER_HOLD}

    async def staging(ctx):
        rng = random.Random(5)
        held = {}
        waiting = list(starts)
        for cycle in range(count + 1):
            if waiting and waiting[0][0] == cycle:
                held = {
                    name: (value, cycle + hold.get(name, Requantizer.LATENCY - 1) - skew)
                    for name, value in waiting.pop(0)[1].items()
                }
                ctx.set(dut.first, 1)
            else:
                ctx.set(dut.first, 0)
            junk = random_parameters(rng)
            for name, value in junk.items():
                owner = dut.lane if name in ("bias", "multiplier", "shift") else dut.bounds
                kept, until = held.get(name, (0, -1))
                ctx.set(owner[name], kept if cycle <= until else value)
            await ctx.tick()

    async def elements(ctx):
        await ctx.tick()
        for _, values in slices:
            for value in values:
                ctx.set(dut.x, value)
                await ctx.tick()

    async def sink(ctx):
        await ctx.tick().repeat(1 + Requantizer.LATENCY)
        for _ in range(count):
            results.append(ctx.get(dut.y))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    for process in (staging, elements, sink):
        sim.add_testbench(process)
    sim.run()
    return results


def check(slices):
    results = iter(requantise(slices))
    for parameters, elements in slices:
        got = [next(results) for _ in elements]
        assert got == expected(elements, parameters).tolist(), (parameters, elements)


@pytest.mark.parametrize("shift", [SHIFTS[i::8] for i in range(8)], ids=lambda s: f"from{s[0]}")
def test_edges_of_every_shift(shift):
    rng = random.Random(shift[0])
    check(
        [
            (random_parameters(rng, bias=0, shift=s, multiplier=b, output_zero=0), EDGES)
            for s in shift
            for b in MULTIPLIERS
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_random_parameters_that_do_not_saturate(seed):
    rng = random.Random(seed)
    slices = []
    for _ in range(100):
        p = random_parameters(rng, multiplier=rng.randint(1 << 30, INT32_MAX))
        slices.append((p, [near_int8(rng, p) for _ in range(SLICE)]))
    check(slices)


def test_random_everything():
    rng = random.Random(11)
    check(
        [
            (random_parameters(rng), [rng.getrandbits(32) + INT32_MIN for _ in range(SLICE)])
            for _ in range(150)
        ]
    )


def test_halves_round_away_from_zero():
    # multiplier 2**30 and shift 1 is the identity; then every right shift meets its exact halves.
    for exponent in range(1, 9):
        p = random_parameters(
            random.Random(0),
            bias=0,
            multiplier=(1 << 30),
            shift=-exponent,
            output_zero=0,
            clamp_min=-128,
            clamp_max=127,
        )
        half = 1 << exponent
        values = [s * (2 * half * k + half) for k in range(SLICE // 2) for s in (1, -1)]
        check([(p, values)])


def test_left_shift_wraps():
    p = random_parameters(
        random.Random(0),
        bias=0,
        multiplier=1 << 30,
        shift=30,
        output_zero=0,
        clamp_min=-128,
        clamp_max=127,
    )
    check([(p, [1, 2, 3, 4, -1, -2, -3, -4, 5, 6])])
    assert expected([2, 4], p).tolist() == [-128, 0]


def test_slices_of_any_length_follow_one_another():
    rng = random.Random(3)
    slices = []
    for _ in range(60):
        p = random_parameters(rng, multiplier=rng.randint(1 << 30, INT32_MAX))
        length = rng.choice((SLICE, SLICE + 1, SLICE + 7, 3 * SLICE))
        slices.append((p, [near_int8(rng, p) for _ in range(length)]))
    check(slices)


def test_staging_is_needed_as_long_as_the_contract_says():
    rng = random.Random(4)
    p = random_parameters(
        rng, multiplier=INT32_MAX, shift=-3, bias=9, clamp_min=-100, clamp_max=100
    )
    elements = [near_int8(rng, p) for _ in range(SLICE)]
    assert requantise([(p, elements)]) == expected(elements, p).tolist()
    assert requantise([(p, elements)], skew=1) != expected(elements, p).tolist()


def test_doubling_high_multiply_is_a_floor():
    # The identity that the hardware rests on, over random and extreme products.
    rng = np.random.default_rng(1)
    a = rng.integers(INT32_MIN, INT32_MAX, 200_000, endpoint=True)
    b = rng.integers(0, INT32_MAX, 200_000, endpoint=True)
    a = np.concatenate([a, np.repeat(EDGES, len(MULTIPLIERS))])
    b = np.concatenate([b, np.tile(MULTIPLIERS, len(EDGES))])
    exact = multiply_by_quantized_multiplier(a, b, 0)
    np.testing.assert_array_equal(exact, (a * b + (1 << 30)) >> 31)
