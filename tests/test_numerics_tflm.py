"""Requantisation: `accel.numerics` and the circuit against TensorFlow Lite Micro itself."""

import numpy as np
import pytest

from accel.numerics import multiply_by_quantized_multiplier, quantize_multiplier, wrap_int32
from tests.gateware.requantizer_rtl import requantise_on_rtl
from tests.numerics_oracle import ConvOracle, QuantizeOracle, factors_of, scales_for

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
SHIFTS = range(-31, 31)
ZEROS = (-128, 0, 127)
"""Output zero points; between them results from -255 to 255 are seen unclamped."""
EDGE_VALUES = np.array(
    [
        s * v + d
        for v in (1 << 31, 1 << 30, 3 << 29, 1 << 16, 0)
        for s in (-1, 1)
        for d in (-1, 0, 1)
    ]
).clip(INT32_MIN, INT32_MAX)
EDGE_MULTIPLIERS = (1 << 30, (1 << 30) + 1, 0x5A827999, (1 << 31) - 2, (1 << 31) - 1)
CHANNELS = 1 << 16
CHUNKS = 17
"""17 x 65536 random triples: more than a million."""


def expected(values, multipliers, shifts, zero):
    """Return the 8 bits that the device gives."""
    result = multiply_by_quantized_multiplier(values, multipliers, shifts) + zero
    return np.clip(result, -128, 127).astype(np.int8)


def expected_of_tflm(values, multipliers, shifts, zero):
    """Return the 8 bits that TFLM's convolution shows.

    It adds the zero point in int32. For results within 128 of that type's ends, which takes a
    multiplier above 2**31 - 128 and a sum at the end of int32, the addition overflows: undefined
    in C++, a wrap on every machine that matters. The device clamps such results.
    """
    result = multiply_by_quantized_multiplier(values, multipliers, shifts) + zero
    return np.clip(wrap_int32(result), -128, 127).astype(np.int8)


def constants_of(scales):
    """Return (multipliers, shifts) of effective scales in double."""
    pairs = np.array([quantize_multiplier(s) for s in scales.tolist()], np.int64)
    return pairs[:, 0], pairs[:, 1]


def random_values(rng, scales, shifts):
    """Return int32 values: near rounding boundaries, within the window that is seen, anything.

    Left shifts wrap: a third of those values get multiples of what the shift drops.
    """
    count = len(scales)
    target = rng.integers(-256, 257, count)
    edges = np.rint((target + 0.5) / scales) + rng.integers(-1, 2, count)
    inside = rng.uniform(-256, 256, count) / scales
    kind = rng.integers(0, 5, count)
    values = np.where(kind < 2, edges, inside)
    values = np.clip(values, INT32_MIN, INT32_MAX).astype(np.int64)
    values = np.where(kind == 4, rng.integers(INT32_MIN, INT32_MAX + 1, count), values)
    dropped = rng.integers(0, 1 << 31, count) << np.clip(32 - shifts, 0, 31)
    wraps = (shifts > 0) & (rng.random(count) < 0.3)
    return wrap_int32(np.where(wraps, values + dropped, values))


def random_triples(chunk):
    """Return (values, channel scales, input scale, multipliers, shifts, zero)."""
    rng = np.random.default_rng(chunk)
    input_scale = np.float32(rng.uniform(0.5, 1))
    scales = np.ldexp(rng.uniform(0.5, 1, CHANNELS), rng.integers(-31, 31, CHANNELS) + 1)
    scales = scales.astype(np.float32)
    effective = np.float64(input_scale) * scales.astype(np.float64)
    # A product of two halves is a bit smaller: bring shifts back into their range.
    effective_low = effective < 2.0**-32
    scales[effective_low] *= 2
    effective[effective_low] *= 2
    high = effective >= 2.0**30
    scales[high] /= 2
    effective[high] /= 2
    multipliers, shifts = constants_of(effective)
    values = random_values(rng, effective, shifts)
    return values, scales, input_scale, multipliers, shifts, ZEROS[chunk % 3]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_triples(chunk):
    values, scales, input_scale, multipliers, shifts, zero = random_triples(chunk)
    wanted = ConvOracle(CHANNELS, input_scale)(values, scales, zero)
    got = expected_of_tflm(values, multipliers, shifts, zero)
    assert set(shifts.tolist()) == set(SHIFTS)
    assert np.mean((wanted > -128) & (wanted < 127)) > 0.2, "most results are clamped"
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("multiplier", EDGE_MULTIPLIERS)
def test_edge_triples(multiplier):
    input_scale, channel_scale = factors_of(multiplier)
    shifts = np.repeat(np.array(SHIFTS), len(EDGE_VALUES))
    scales = np.ldexp(channel_scale, shifts).astype(np.float32)
    multipliers, found = constants_of(np.float64(input_scale) * scales.astype(np.float64))
    assert set(multipliers.tolist()) == {multiplier}
    np.testing.assert_array_equal(found, shifts)
    values = np.tile(EDGE_VALUES, len(SHIFTS))
    oracle = ConvOracle(len(values), input_scale)
    for zero in ZEROS:
        wanted = oracle(values, scales, zero)
        got = expected_of_tflm(values, multiplier, shifts, zero)
        np.testing.assert_array_equal(got, wanted)


def test_all_bits_of_results():
    """Every shift, 32 bits of each result: edges of int32, halves, and random places."""
    rng = np.random.default_rng(1)
    oracle = QuantizeOracle(64)
    checked = 0
    for shift in SHIFTS:
        drawn = rng.integers(1 << 30, 1 << 31, 6)
        for wanted_multiplier in (*EDGE_MULTIPLIERS, *drawn.tolist()):
            scales = scales_for(wanted_multiplier, shift)
            multiplier, found = quantize_multiplier(float(scales[0]) / float(scales[1]))
            assert found == shift
            assert abs(multiplier - wanted_multiplier) <= 128
            step = 1 << max(0, min(10, -shift))
            for centre in (
                INT32_MIN,
                INT32_MAX,
                -1 << 30,
                0,
                *rng.integers(INT32_MIN, INT32_MAX, 8),
            ):
                low = int(np.clip(centre - 32 * step, INT32_MIN, INT32_MAX - 63 * step))
                values = low + step * np.arange(64)
                got = multiply_by_quantized_multiplier(values, multiplier, shift)
                np.testing.assert_array_equal(
                    got, oracle(values, *scales), str((multiplier, shift))
                )
                checked += 64
    assert checked > 500_000


def test_scales_at_the_ends_of_their_range():
    """Scales below 2**-32, whose multiplier is 0, and products that round up to a power of two."""
    # With (1 + 2**-23): 1 - 2**-46, which rounds up to 1.
    input_scale = np.float32(1 - 2.0**-23)
    mantissas = np.array([0.5, 0.75, 1 - 2.0**-24])
    scales = np.ldexp(mantissas[None], np.arange(-40, 31)[:, None]).reshape(-1).astype(np.float32)
    above = np.repeat(np.float32(1 + 2.0**-23), len(SHIFTS) - 1)
    scales = np.concatenate([scales, np.ldexp(above, np.arange(-31, 30)).astype(np.float32)])
    multipliers, shifts = constants_of(np.float64(input_scale) * scales.astype(np.float64))
    assert 0 in multipliers and 1 << 30 in multipliers
    values = np.repeat(EDGE_VALUES, len(scales))
    channel_scales, multipliers, shifts = (
        np.tile(a, len(EDGE_VALUES)) for a in (scales, multipliers, shifts)
    )
    for zero in ZEROS:
        wanted = ConvOracle(len(values), input_scale)(values, channel_scales, zero)
        got = expected_of_tflm(values, multipliers, shifts, zero)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_circuit_on_random_triples(chunk):
    """The Verilog of the requantiser over the same triples."""
    values, _, _, multipliers, shifts, zero = random_triples(chunk)
    zeros = np.full(len(values), zero)
    got = requantise_on_rtl(values, multipliers, shifts, zeros, seed=chunk)
    np.testing.assert_array_equal(got, expected(values, multipliers, shifts, zero))


def test_circuit_on_edge_triples():
    every = (EDGE_VALUES, (0, 1, *EDGE_MULTIPLIERS), SHIFTS, ZEROS)
    values, multipliers, shifts, zeros = np.array(np.meshgrid(*every)).reshape(4, -1)
    got = requantise_on_rtl(values, multipliers, shifts, zeros, seed=0)
    np.testing.assert_array_equal(got, expected(values, multipliers, shifts, zeros))
