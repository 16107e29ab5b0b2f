"""What may stand behind the memory port of a board's system: descriptions, to choose from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from amaranth.lib import wiring

from accel.errors import ConfigError
from accel.gateware.sdram import SdramController
from accel.gateware.sdram_parts import SdramPart, SdramTiming
from accel.gateware.sdram_pins import SdramPins
from accel.gateware.spram import SPRAM_BLOCKS, SpramMemory

__all__ = ["Memory", "Sdram", "Spram"]


class Memory(ABC):
    """A memory that `System` can have; descriptions are frozen, and no hardware.

    Members
    -------
    bytes : int
        Its size.
    pins : wiring.Signature, optional
        What it needs outside the FPGA, seen from its controller; None when nothing.
    """

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Size in bytes."""

    @property
    def pins(self) -> wiring.Signature | None:
        """Signature of the controller's member `pins`; None: it has no such member."""
        return None

    @abstractmethod
    def controller(self, *, clock_hz: int, data_bits: int, id_bits: int) -> wiring.Component:
        """Return a new controller.

        It has `s_axi`, In(AXI4Signature) of these widths; `pins`, where the memory has some; and
        `ready`, Out(1), where it must be initialised first.

        Raises
        ------
        ConfigError
            When the memory cannot do it at this clock, or at this width.
        """


@dataclass(frozen=True, kw_only=True)
class Sdram(Memory):
    """An SDR SDRAM part.

    Parameters
    ----------
    part : SdramPart
    capture_delay : int
        Half cycles; see SdramController and docs/memory.md, "On a board".
    """

    part: SdramPart
    capture_delay: int = 0

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.part.bytes

    @property
    def pins(self) -> wiring.Signature:
        """SdramPins of the part."""
        return SdramPins(self.part)

    def controller(self, *, clock_hz: int, data_bits: int, id_bits: int) -> SdramController:
        """Return a new controller; see Memory."""
        timing = SdramTiming.of(self.part, clock_hz / 1e6)
        try:
            return SdramController(
                part=self.part,
                timing=timing,
                data_bits=data_bits,
                id_bits=id_bits,
                capture_delay=self.capture_delay,
            )
        except ValueError as error:
            raise ConfigError(f"{self.part.name}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Spram(Memory):
    """The SPRAM of an iCE40 UP5K.

    Parameters
    ----------
    target : str
        See SpramBank: "ice40" for the blocks, "generic" for simulation without them.
    blocks : int
        Of them, 2 or 4: a serial machine takes the other two.
    """

    target: str = "ice40"
    blocks: int = SPRAM_BLOCKS

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.blocks << 15

    def controller(self, *, clock_hz: int, data_bits: int, id_bits: int) -> SpramMemory:
        """Return a new controller; see Memory."""
        try:
            return SpramMemory(
                data_bits=data_bits, id_bits=id_bits, target=self.target, blocks=self.blocks
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None
