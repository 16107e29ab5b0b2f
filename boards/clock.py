"""Clock and reset of a board: its PLL, and how that is instantiated in each family."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from boards.pll import PllKind, PllSetting

__all__ = ["ClockGenerator"]

RESET_CYCLES = 1024
"""From the PLL's lock to the end of the reset: block RAMs of an iCE40 are not there at once."""


class ClockGenerator(Elaboratable):
    """Drives domain `sync`, and with `phase` domain `memory`, from a board's crystal.

    The domains are those of the module around it.

    `sync` is in reset until RESET_CYCLES after the PLL has locked; `memory` has no reset. The
    primitives are EHXPLLL, SB_PLL40_PAD or rPLL, beside the pad of the crystal.

    Parameters
    ----------
    kind : PllKind
    setting : PllSetting
    input_hz : int
    port : io.PortLike
        The crystal's pin.
    phase : int, optional
        By how many degrees `memory` follows `sync`: 0 to 359.
    """

    def __init__(
        self,
        *,
        kind: PllKind,
        setting: PllSetting,
        input_hz: int,
        port: io.SingleEndedPort,
        phase: int | None = None,
    ) -> None:
        self._instance = _INSTANCES[kind.primitive]
        self._setting = setting
        self._input_hz = input_hz
        self._port = port
        self._phase = phase

    def elaborate(self, platform: Any) -> Module:
        """Return the module."""
        m = Module()
        pll_clock, pll_shifted, locked = Signal(), Signal(), Signal()
        instance = self._instance(
            m,
            self._setting,
            self._input_hz,
            self._port,
            pll_clock,
            pll_shifted,
            locked,
            self._phase or 0,
        )
        m.submodules.pll = instance
        m.domains.start = ClockDomain(local=True)
        m.d.comb += [ClockSignal("sync").eq(pll_clock), ClockSignal("start").eq(pll_clock)]
        if self._phase is not None:
            m.d.comb += ClockSignal("memory").eq(pll_shifted)
        m.submodules.lock = ResetSynchronizer(~locked, domain="start")
        left = Signal(range(RESET_CYCLES), init=RESET_CYCLES - 1)
        reset = Signal(init=1)
        with m.If(left != 0):
            m.d.start += left.eq(left - 1)
        m.d.start += reset.eq(left != 0)
        m.d.comb += ResetSignal("sync").eq(reset)
        return m


def _buffered(m: Module, port: io.SingleEndedPort) -> Signal:
    """Return what comes from a pin."""
    m.submodules.input = buffer = io.Buffer("i", port)
    signal: Signal = buffer.i
    return signal


def _ecp5(
    m: Module,
    setting: PllSetting,
    input_hz: int,
    port: io.SingleEndedPort,
    clock: Signal,
    shifted: Signal,
    locked: Signal,
    phase: int,
) -> Instance:
    feedback = Signal()
    output = setting.parameters["CLKOS_DIV"]
    # In eighths of the oscillator's period; a divider's phase of 0 is its value less one.
    shift = round(output * 8 * phase / 360)
    frequencies: dict[str, Fraction | int] = {
        "CLKI": input_hz,
        "CLKOP": setting.pfd_hz,
        "CLKOS": setting.output_hz,
    }
    return Instance(
        "EHXPLLL",
        **{f"p_{name}": value for name, value in setting.parameters.items()},
        p_CLKFB_DIV=1,
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_CPHASE=setting.parameters["CLKOP_DIV"] - 1,
        p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_CPHASE=output - 1,
        p_CLKOS_FPHASE=0,
        p_CLKOS2_ENABLE="ENABLED",
        p_CLKOS2_DIV=output,
        p_CLKOS2_CPHASE=output - 1 + shift // 8,
        p_CLKOS2_FPHASE=shift % 8,
        p_CLKOS3_ENABLE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        # The loop filter's setting that all users of the open tools have.
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        **{f"a_FREQUENCY_PIN_{pin}": f"{float(hz) / 1e6:.6g}" for pin, hz in frequencies.items()},
        i_CLKI=_buffered(m, port),
        i_CLKFB=feedback,
        **{
            f"i_{pin}": Const(0)
            for pin in (
                *("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP"),
                *("PHASELOADREG", "PLLWAKESYNC", "ENCLKOP", "ENCLKOS", "ENCLKOS2", "ENCLKOS3"),
            )
        },
        o_CLKOP=feedback,
        o_CLKOS=clock,
        o_CLKOS2=shifted,
        o_LOCK=locked,
    )


def _ice40(
    m: Module,
    setting: PllSetting,
    input_hz: int,
    port: io.SingleEndedPort,
    clock: Signal,
    shifted: Signal,
    locked: Signal,
    phase: int,
) -> Instance:
    return Instance(
        "SB_PLL40_PAD",
        p_FEEDBACK_PATH="SIMPLE",
        **{f"p_{name}": value for name, value in setting.parameters.items()},
        # The pin itself: the PLL sits in its pad.
        i_PACKAGEPIN=port.io,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=clock,
        o_LOCK=locked,
    )


def _gowin(
    m: Module,
    setting: PllSetting,
    input_hz: int,
    port: io.SingleEndedPort,
    clock: Signal,
    shifted: Signal,
    locked: Signal,
    phase: int,
) -> Instance:
    unused = {"FBDSEL": 6, "IDSEL": 6, "ODSEL": 6, "PSDA": 4, "DUTYDA": 4, "FDLY": 4}
    return Instance(
        "rPLL",
        p_FCLKIN=f"{input_hz / 1e6:g}",
        **{f"p_{name}": value for name, value in setting.parameters.items()},
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        # In sixteenths of a period.
        p_PSDA_SEL=f"{round(16 * phase / 360):04b}",
        p_DYN_DA_EN="false",
        p_DUTYDA_SEL="1000",
        p_CLKOUT_FT_DIR=Const(1, 1),
        p_CLKOUTP_FT_DIR=Const(1, 1),
        p_CLKOUT_DLY_STEP=0,
        p_CLKOUTP_DLY_STEP=0,
        p_CLKFB_SEL="internal",
        p_CLKOUT_BYPASS="false",
        p_CLKOUTP_BYPASS="false",
        p_CLKOUTD_BYPASS="false",
        p_DYN_SDIV_SEL=2,
        p_CLKOUTD_SRC="CLKOUT",
        p_CLKOUTD3_SRC="CLKOUT",
        p_DEVICE="GW2AR-18C",
        i_CLKIN=_buffered(m, port),
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        **{f"i_{pin}": Const(0, width) for pin, width in unused.items()},
        o_CLKOUT=clock,
        o_CLKOUTP=shifted,
        o_LOCK=locked,
    )


_INSTANCES: Mapping[str, Callable[..., Instance]] = {
    "EHXPLLL": _ecp5,
    "SB_PLL40_PAD": _ice40,
    "rPLL": _gowin,
}
