"""What the decode stage hands to the execute stage of the controller."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from accel.gateware.decoder import Control
from accel.gateware.fetch import TARGET_BITS

__all__ = ["IssueLayout"]


class IssueLayout(data.StructLayout):
    """A decoded instruction with its operands.

    Parameters
    ----------
    pc_width : int
        Bits of a word address, and one more.

    Members
    -------
    control : Control
    bad : 1 bit; it traps whatever its operands are, as one does that is `illegal`
    interrupted : 1 bit; the interrupt is taken in its place
    subtract : 1 bit; `b` is inverted
    word : instruction bits 31:7
    a, b : operands of the adder
    data : register rs2, for stores
    pc, next, predicted, target : as in FetchedLayout
    bad_target : 1 bit; no instruction can be at `target`
    """

    def __init__(self, pc_width: int) -> None:
        super().__init__(
            {
                "control": Control,
                "bad": unsigned(1),
                "interrupted": unsigned(1),
                "subtract": unsigned(1),
                "word": unsigned(25),
                "a": unsigned(32),
                "b": unsigned(32),
                "data": unsigned(32),
                "pc": unsigned(pc_width),
                "next": unsigned(pc_width),
                "predicted": unsigned(1),
                "target": signed(TARGET_BITS),
                "bad_target": unsigned(1),
            }
        )
