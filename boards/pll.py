"""Which divider settings of a PLL make a frequency, within the limits of the part's data sheet."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from accel.errors import ConfigError

__all__ = ["KINDS", "Ecp5Pll", "GowinPll", "Ice40Pll", "PllKind", "PllSetting", "choose"]

TOLERANCE = Fraction(1, 10_000)
"""By which a frequency may miss the one asked for: what a crystal does anyway."""


@dataclass(frozen=True, kw_only=True)
class PllSetting:
    """One setting of a PLL's dividers.

    Parameters
    ----------
    output_hz : Fraction
        Of the system clock.
    pfd_hz : Fraction
        At the phase detector.
    vco_hz : Fraction
    parameters : mapping of str to int
        What the primitive calls its dividers.
    """

    output_hz: Fraction
    pfd_hz: Fraction
    vco_hz: Fraction
    parameters: Mapping[str, int]


class PllKind(ABC):
    """A family's PLL.

    Members
    -------
    primitive : str
        What it is called in Verilog.
    pfd_hz, vco_hz, output_hz : tuple of float
        Least and greatest frequency at the phase detector, of the oscillator, at the output.
    source : str
        Where these stand.
    """

    primitive: str
    pfd_hz: tuple[float, float]
    vco_hz: tuple[float, float]
    output_hz: tuple[float, float]
    source: str

    def settings(self, input_hz: int) -> Iterator[PllSetting]:
        """Return all settings within the limits."""
        return (s for s in self.all_settings(input_hz) if self._is_legal(s))

    def preference(self, setting: PllSetting) -> tuple[Fraction | int, ...]:
        """Return what is least for the best of those settings that make the same frequency.

        A fast phase detector jitters least, then a fast oscillator.
        """
        return -setting.pfd_hz, -setting.vco_hz

    def input_dividers(self, input_hz: int, most: int) -> Iterator[tuple[int, Fraction]]:
        """Return the input's dividers from 1 to `most` that are legal, with what they make."""
        for divider in range(1, most + 1):
            pfd = Fraction(input_hz, divider)
            if self.pfd_hz[0] <= pfd <= self.pfd_hz[1]:
                yield divider, pfd

    def _is_legal(self, setting: PllSetting) -> bool:
        return all(
            low <= value <= high
            for value, (low, high) in (
                (setting.pfd_hz, self.pfd_hz),
                (setting.vco_hz, self.vco_hz),
                (setting.output_hz, self.output_hz),
            )
        )

    @abstractmethod
    def all_settings(self, input_hz: int) -> Iterator[PllSetting]:
        """Return the settings that the dividers' ranges allow."""


class Ecp5Pll(PllKind):
    """EHXPLLL: CLKOP is the feedback only, CLKOS the system clock, CLKOS2 that of the memory.

    So the oscillator runs at any multiple of the phase detector's frequency, and the system clock
    is any whole part of that.
    """

    primitive = "EHXPLLL"
    pfd_hz = (10e6, 400e6)
    vco_hz = (400e6, 800e6)
    output_hz = (3.125e6, 400e6)
    source = "Lattice FPGA-DS-02012, sysCLOCK PLL timing"

    def all_settings(self, input_hz: int) -> Iterator[PllSetting]:
        """Return the settings that the dividers' ranges allow."""
        for input_divider, pfd in self.input_dividers(input_hz, 128):
            for feedback in range(1, 129):
                vco = pfd * feedback
                if not self.vco_hz[0] <= vco <= self.vco_hz[1]:
                    continue
                for output in range(1, 129):
                    yield PllSetting(
                        output_hz=vco / output,
                        pfd_hz=pfd,
                        vco_hz=vco,
                        parameters={
                            "CLKI_DIV": input_divider,
                            "CLKOP_DIV": feedback,
                            "CLKOS_DIV": output,
                        },
                    )

    def preference(self, setting: PllSetting) -> tuple[Fraction | int, ...]:
        """Return the key; a quarter of a period is best a whole number of the oscillator's."""
        uneven = setting.parameters["CLKOS_DIV"] % 4 != 0
        return -setting.pfd_hz, int(uneven), -setting.vco_hz


class Ice40Pll(PllKind):
    """SB_PLL40_PAD with its simple feedback."""

    primitive = "SB_PLL40_PAD"
    pfd_hz = (10e6, 133e6)
    vco_hz = (533e6, 1066e6)
    output_hz = (16e6, 275e6)
    source = "Lattice FPGA-DS-02008, sysCLOCK PLL timing"

    def all_settings(self, input_hz: int) -> Iterator[PllSetting]:
        """Return the settings that the dividers' ranges allow."""
        for divider, pfd in self.input_dividers(input_hz, 16):
            for divf in range(128):
                for divq in range(1, 7):
                    vco = pfd * (divf + 1)
                    yield PllSetting(
                        output_hz=vco / (1 << divq),
                        pfd_hz=pfd,
                        vco_hz=vco,
                        parameters={
                            "DIVR": divider - 1,
                            "DIVF": divf,
                            "DIVQ": divq,
                            "FILTER_RANGE": self._filter_range(pfd),
                        },
                    )

    @staticmethod
    def _filter_range(pfd_hz: Fraction) -> int:
        """Return the loop filter's setting for the phase detector's frequency (icepll's table)."""
        limits = (17e6, 26e6, 44e6, 66e6, 101e6)
        return 1 + sum(pfd_hz >= limit for limit in limits)


class GowinPll(PllKind):
    """The rPLL of a GW2A: CLKOUT is the system clock, CLKOUTP that of the memory."""

    primitive = "rPLL"
    pfd_hz = (3e6, 500e6)
    vco_hz = (500e6, 1250e6)
    output_hz = (3.90625e6, 625e6)
    source = "Gowin DS102 and DS226, PLL switching characteristics, C8/I7"

    def all_settings(self, input_hz: int) -> Iterator[PllSetting]:
        """Return the settings that the dividers' ranges allow."""
        for divider, pfd in self.input_dividers(input_hz, 64):
            for fbdiv in range(64):
                output = pfd * (fbdiv + 1)
                for odiv in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
                    yield PllSetting(
                        output_hz=output,
                        pfd_hz=pfd,
                        vco_hz=output * odiv,
                        parameters={"IDIV_SEL": divider - 1, "FBDIV_SEL": fbdiv, "ODIV_SEL": odiv},
                    )


KINDS: Mapping[str, PllKind] = {k.primitive: k for k in (Ecp5Pll(), Ice40Pll(), GowinPll())}
"""PLLs by their primitives' names."""


def _mhz(hz: Fraction) -> str:
    return f"{float(hz / 1_000_000):.6g}"


def choose(kind: PllKind, input_hz: int, output_hz: int) -> PllSetting:
    """Return the setting that makes a frequency.

    Raises
    ------
    ConfigError
        When there is none, with the nearest frequencies below and above that there are.
    """
    settings = list(kind.settings(input_hz))
    fitting = [s for s in settings if abs(s.output_hz - output_hz) <= output_hz * TOLERANCE]
    if fitting:
        return min(fitting, key=kind.preference)
    made = {s.output_hz for s in settings}
    below = max((hz for hz in made if hz < output_hz), default=None)
    above = min((hz for hz in made if hz > output_hz), default=None)
    near = [_mhz(hz) for hz in (below, above) if hz is not None]
    raise ConfigError(
        f"{kind.primitive} cannot make {_mhz(Fraction(output_hz))} MHz of "
        f"{_mhz(Fraction(input_hz))} MHz: choose {' or '.join(near)} MHz"
    )
