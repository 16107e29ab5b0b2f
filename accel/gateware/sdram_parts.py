"""SDR SDRAM parts: geometry and timing from their data sheets, and that timing in clock cycles."""

import dataclasses
import math
from dataclasses import dataclass

from accel.errors import ConfigError

__all__ = ["BANKS", "PARTS", "SdramPart", "SdramTiming"]

BANKS = 4
"""Banks of every part here."""

# Floating-point dust must not cost a cycle: 70 ns at 100 MHz are 7 cycles.
_DUST = 1e-6


@dataclass(frozen=True, kw_only=True)
class SdramPart:
    """What a data sheet says of one part; times are minimums in nanoseconds where not said.

    Parameters
    ----------
    name : str
        Part number with its speed grade.
    row_bits, column_bits, data_bits : int
        A bank has 2**row_bits rows of 2**column_bits words of data_bits bits.
    cycle_ns : tuple of (int, float)
        CAS latencies and the shortest clock period that each allows.
    rcd_ns : float
        tRCD, ACTIVE to READ or WRITE.
    rp_ns : float
        tRP, PRECHARGE to ACTIVE, REFRESH or MODE REGISTER SET.
    ras_ns : float
        tRAS, ACTIVE to PRECHARGE.
    ras_max_us : float
        The longest time that a row may stay open.
    rc_ns : float
        tRC, ACTIVE to ACTIVE of the same bank.
    rfc_ns : float
        tRFC, REFRESH to the next command.
    rrd_ns : float
        tRRD, ACTIVE to ACTIVE of another bank.
    wr_ns : float
        tWR (tDPL, tRDL), last written word to PRECHARGE.
    wr_cycles, rrd_cycles, mrd_cycles : int
        The same, and tMRD (tRSC), in clock cycles; the longer one counts.
    refreshes, refresh_ms : int, float
        REFRESH commands needed in so many milliseconds.
    init_us : float
        From a stable clock to the first command.
    init_refreshes : int
        REFRESH commands of the initialisation.
    source : str
        Where these figures stand.
    """

    name: str
    row_bits: int
    column_bits: int
    data_bits: int
    cycle_ns: tuple[tuple[int, float], ...]
    rcd_ns: float
    rp_ns: float
    ras_ns: float
    ras_max_us: float = 100.0
    rc_ns: float
    rfc_ns: float
    rrd_ns: float
    wr_ns: float
    wr_cycles: int = 2
    rrd_cycles: int = 1
    mrd_cycles: int = 2
    refreshes: int = 8192
    refresh_ms: float = 64.0
    init_us: float = 200.0
    init_refreshes: int = 8
    source: str

    @property
    def bytes(self) -> int:
        """Capacity in bytes."""
        return BANKS << (self.row_bits + self.column_bits) << (self.data_bits // 16)

    def cas_latency(self, clock_mhz: float) -> int:
        """Return the shortest CAS latency that the part has at a clock.

        Raises
        ------
        ConfigError
            When the clock is too fast for it.
        """
        period = 1e3 / clock_mhz
        fitting = [cas for cas, shortest in self.cycle_ns if period >= shortest - _DUST]
        if not fitting:
            fastest = 1e3 / min(shortest for _cas, shortest in self.cycle_ns)
            raise ConfigError(
                f"{self.name} runs at up to {fastest:.0f} MHz, not {clock_mhz:g}: "
                "choose a slower memory clock or another part"
            )
        return min(fitting)


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """A part's timing in cycles of one clock; every number is the least distance of two commands.

    Parameters
    ----------
    cas : int
        CAS latency.
    rcd, rp, ras, rfc, rrd, mrd : int
        See SdramPart; `ras` is long enough that `ras + rp` is no less than tRC.
    wr : int
        From the last written word to PRECHARGE.
    refresh : int
        Average distance of REFRESH commands: here the greatest.
    init : int
        From reset to the first command.
    init_refreshes : int
        REFRESH commands of the initialisation.
    """

    cas: int
    rcd: int
    rp: int
    ras: int
    rfc: int
    rrd: int
    mrd: int
    wr: int
    refresh: int
    init: int
    init_refreshes: int

    @classmethod
    def of(cls, part: SdramPart, clock_mhz: float, *, cas: int | None = None) -> "SdramTiming":
        """Return the timing of a part at a clock.

        Parameters
        ----------
        part : SdramPart
        clock_mhz : float
        cas : int, optional
            CAS latency; by default the shortest that the part allows.

        Raises
        ------
        ConfigError
            When the part does not run at this clock, or not with this CAS latency.
        """
        shortest = part.cas_latency(clock_mhz)
        cas = shortest if cas is None else cas
        if cas not in dict(part.cycle_ns) or cas < shortest:
            allowed = [c for c, _ns in sorted(part.cycle_ns) if c >= shortest]
            raise ConfigError(
                f"{part.name} has CAS latency {' or '.join(map(str, allowed))} at "
                f"{clock_mhz:g} MHz, not {cas}"
            )

        def cycles(ns: float) -> int:
            return max(1, math.ceil(ns * clock_mhz / 1e3 - _DUST))

        rp = cycles(part.rp_ns)
        return cls(
            cas=cas,
            rcd=cycles(part.rcd_ns),
            rp=rp,
            ras=max(cycles(part.ras_ns), cycles(part.rc_ns) - rp),
            rfc=cycles(part.rfc_ns),
            rrd=max(cycles(part.rrd_ns), part.rrd_cycles),
            mrd=part.mrd_cycles,
            wr=max(cycles(part.wr_ns), part.wr_cycles),
            refresh=math.floor(part.refresh_ms * 1e3 * clock_mhz / part.refreshes + _DUST),
            init=cycles(part.init_us * 1e3),
            init_refreshes=part.init_refreshes,
        )

    def describe(self) -> dict[str, int]:
        """Return every field by its name."""
        return dataclasses.asdict(self)


PARTS: dict[str, SdramPart] = {
    part.name: part
    for part in (
        SdramPart(
            name="IS42S16160G-7",
            row_bits=13,
            column_bits=9,
            data_bits=16,
            cycle_ns=((2, 10.0), (3, 7.0)),
            rcd_ns=20.0,
            rp_ns=20.0,
            ras_ns=42.0,
            rc_ns=63.0,
            rfc_ns=70.0,
            rrd_ns=14.0,
            wr_ns=14.0,
            source=(
                "geometry, clocks, 8192/64 ms: ISSI IS42S16160B/D -7; times: the slowest of "
                "ISSI's -7 table (IS42S16800A: tRC 63, tRAS 37, tRP 15, tRCD 15, tRRD 14, tDPL "
                "2 CLK) and LiteDRAM's IS42S16160 (tRP, tRCD 20, tRFC 70)"
            ),
        ),
        SdramPart(
            name="AS4C32M16SB-7",
            row_bits=13,
            column_bits=10,
            data_bits=16,
            cycle_ns=((2, 10.0), (3, 7.0)),
            rcd_ns=21.0,
            rp_ns=21.0,
            ras_ns=42.0,
            rc_ns=63.0,
            rfc_ns=63.0,
            rrd_ns=14.0,
            wr_ns=14.0,
            source="Alliance Memory AS4C32M16SB data sheet Rev. 1.0 (June 2016), table 16, -7",
        ),
        SdramPart(
            name="W9825G6JH-6",
            row_bits=13,
            column_bits=9,
            data_bits=16,
            cycle_ns=((2, 7.5), (3, 6.0)),
            rcd_ns=15.0,
            rp_ns=15.0,
            ras_ns=42.0,
            rc_ns=60.0,
            rfc_ns=60.0,
            rrd_ns=0.0,
            rrd_cycles=2,
            wr_ns=0.0,
            source="Winbond W9825G6JH data sheet Rev. A04 (November 2011), 9.5, -6",
        ),
    )
}
"""Parts by name. Boards carry others of the same class: the slowest of them must be chosen."""
