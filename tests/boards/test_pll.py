"""Settings of PLLs: right by the parts' formulas and limits, or refused with the nearest."""

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.errors import ConfigError
from boards.pll import KINDS, Ecp5Pll, GowinPll, Ice40Pll, choose

MHZ = 1_000_000


def made(kind, setting, input_hz):
    """Output, oscillator and phase detector by the parts' formulas."""
    p = setting.parameters
    if kind.primitive == "EHXPLLL":  # feedback of CLKOP, CLKFB_DIV 1
        pfd = Fraction(input_hz, p["CLKI_DIV"])
        vco = pfd * p["CLKOP_DIV"]
        return vco / p["CLKOS_DIV"], vco, pfd
    if kind.primitive == "SB_PLL40_PAD":
        pfd = Fraction(input_hz, p["DIVR"] + 1)
        vco = pfd * (p["DIVF"] + 1)
        return vco / 2 ** p["DIVQ"], vco, pfd
    pfd = Fraction(input_hz, p["IDIV_SEL"] + 1)
    output = pfd * (p["FBDIV_SEL"] + 1)
    return output, output * p["ODIV_SEL"], pfd


LIMITS = {
    # Phase detector, oscillator, output, in MHz, as the data sheets have them.
    "EHXPLLL": ((10, 400), (400, 800), (3.125, 400)),
    "SB_PLL40_PAD": ((10, 133), (533, 1066), (16, 275)),
    "rPLL": ((3, 500), (500, 1250), (3.90625, 625)),
}


@settings(deadline=None, max_examples=12, derandomize=True)
@given(kind=st.sampled_from(list(KINDS.values())), wanted=st.integers(17, 200), data=st.data())
def test_a_setting_makes_the_frequency_within_the_limits(kind, wanted, data):
    input_hz = data.draw(st.sampled_from((12, 25, 27, 48, 100))) * MHZ
    try:
        setting = choose(kind, input_hz, wanted * MHZ)
    except ConfigError as error:
        near = re.findall(r"[\d.]+", str(error).partition("choose")[2])
        assert near
        for mhz in near:  # they can be asked for
            choose(kind, input_hz, round(float(mhz) * MHZ))
        return
    output, vco, pfd = made(kind, setting, input_hz)
    assert (setting.output_hz, setting.vco_hz, setting.pfd_hz) == (output, vco, pfd)
    assert abs(output - wanted * MHZ) <= wanted * MHZ / 10_000
    for value, (low, high) in zip((pfd, vco, output), LIMITS[kind.primitive], strict=True):
        assert low * MHZ <= value <= high * MHZ


@pytest.mark.parametrize(
    ("kind", "input_mhz", "mhz", "parameters"),
    [
        (Ecp5Pll(), 25, 75, {"CLKI_DIV": 1, "CLKOP_DIV": 24, "CLKOS_DIV": 8}),
        (Ecp5Pll(), 25, 70, {"CLKI_DIV": 1, "CLKOP_DIV": 28, "CLKOS_DIV": 10}),
        # What icepll says of 12 and 24 MHz.
        (Ice40Pll(), 12, 24, {"DIVR": 0, "DIVF": 63, "DIVQ": 5, "FILTER_RANGE": 1}),
        (GowinPll(), 27, 54, {"IDIV_SEL": 0, "FBDIV_SEL": 1, "ODIV_SEL": 16}),
    ],
)
def test_known_settings(kind, input_mhz, mhz, parameters):
    assert choose(kind, input_mhz * MHZ, mhz * MHZ).parameters == parameters


@pytest.mark.parametrize(
    ("kind", "input_mhz", "mhz", "message"),
    [
        (Ecp5Pll(), 25, 76.3, "EHXPLLL cannot make 76.3 MHz of 25 MHz: choose 76.25 or 76.3889"),
        (Ice40Pll(), 12, 20, "SB_PLL40_PAD cannot make 20 MHz of 12 MHz: choose 19.875 or 20.25"),
        (Ice40Pll(), 12, 5, "choose 16.125 MHz"),
        (GowinPll(), 27, 47.3, "rPLL cannot make 47.3 MHz of 27 MHz: choose 47.25 or 48 MHz"),
    ],
)
def test_other_frequencies_are_refused_with_the_nearest(kind, input_mhz, mhz, message):
    with pytest.raises(ConfigError, match=message):
        choose(kind, input_mhz * MHZ, round(mhz * MHZ))
