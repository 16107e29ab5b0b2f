"""The controller's loads and stores: to its program memory, and through the window."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.aligner import Aligner
from accel.gateware.decoder import Control
from accel.gateware.program import ProgramPort
from accel.gateware.window import WindowPort
from accel.isa import WINDOW_BASE

__all__ = ["LoadStore"]

_WINDOW_BIT = WINDOW_BASE.bit_length() - 1


class LoadStore(wiring.Component):
    """The second phase of a load or store, and of a JALR the check of its target.

    Parameters
    ----------
    address_width : int
        Bits of a word address of the program memory.
    window_width : int
        Bits of a word address in the scratchpad's window.
    base : int
        First byte address of the program memory.

    Members
    -------
    control : In(Control), funct3 : In(3), value : In(32)
        Of the instruction; `value` is what to store.
    address : In(32)
        Where, or the target of JALR.
    second : In(1)
        An instruction is in its second phase.
    active : In(1)
        It is to have its effects.
    data : In(32)
        What the program memory returned.
    write : Out
        To the program memory, as in ProgramPort.
    window : Out(WindowPort)
    refused : Out(1)
        There is nothing at `address`, or not at one of its kind.
    misaligned : Out(1)
        `address` is no multiple of the size.
    loaded : Out(1)
        The word arrives in this cycle; in the next one `result` is the load's.
    stored : Out(1)
        A store is complete.
    asks : Out(1)
        The window has not answered.
    result : Out(32)
        0 but in the cycle after `loaded`.
    word : Out(32), bytes : Out(32), mask : Out(4)
        What was read, and what is written: for the retirement port.
    """

    def __init__(self, *, address_width: int, window_width: int, base: int) -> None:
        self._width = address_width
        self._window_width = window_width
        self._base = base
        outputs = ("refused", "misaligned", "loaded", "stored", "asks")
        super().__init__(
            {
                "control": In(Control),
                "funct3": In(3),
                "value": In(32),
                "address": In(32),
                "second": In(1),
                "active": In(1),
                "data": In(32),
                "write": ProgramPort(address_width).members["write"],
                "window": Out(WindowPort(window_width)),
                **{name: Out(1) for name in outputs},
                "result": Out(32),
                "word": Out(32),
                "bytes": Out(32),
                "mask": Out(4),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.aligner = aligner = Aligner()
        c, in_window = self.control, self.address[_WINDOW_BIT]
        at_work = Signal()
        remote = at_work & (c.load | c.store) & in_window
        answered = self._window(m, remote & ~self.refused)
        m.d.comb += [
            at_work.eq(self.active & self.second),
            aligner.offset.eq(self.address[:2]),
            aligner.size.eq(self.funct3[:2]),
            aligner.zero_extend.eq(self.funct3[2]),
            aligner.data.eq(self.value),
            aligner.word.eq(self.word),
            self.bytes.eq(aligner.bytes),
            self.mask.eq(aligner.mask),
            self.result.eq(aligner.loaded),
            self.misaligned.eq(aligner.misaligned),
            self.refused.eq(self._refuse(in_window)),
            self.write.valid.eq(at_work & c.store & ~self.refused & ~in_window),
            self.write.payload.address.eq(self.address[2:]),
            self.write.payload.data.eq(self.bytes),
            self.write.payload.mask.eq(self.mask),
            self.loaded.eq(at_work & c.load & (~in_window | answered)),
            self.stored.eq(self.second & c.store & Mux(in_window, answered, self.write.ready)),
            self.asks.eq(remote & ~answered),
        ]
        m.d.sync += self.word.eq(
            (self.data & (self.loaded & ~in_window).replicate(32))
            | (self.window.response.data & (self.loaded & in_window).replicate(32))
        )
        return m

    def _refuse(self, in_window: Signal) -> Signal:
        """Return whether there is nothing at the address."""
        c, address = self.control, self.address
        program, window = self._width + 2, self._window_width + 2
        no_code = address[program:] != self._base >> program
        # A bit of their own tells the memories apart.
        both = max(program, window)
        no_data = (
            (address[both:] != Mux(in_window, WINDOW_BASE >> both, self._base >> both))
            | (in_window & address[window:both].any())
            | (~in_window & address[program:both].any())
        )
        return Mux(c.jalr, no_code | address[1], (c.load | c.store) & (no_data | self.misaligned))

    def _window(self, m: Module, access: Signal) -> Signal:
        """Ask the window once for each access; return whether it answers in this cycle."""
        request = self.window.request
        asked = Signal()
        # An answer to a program that was stopped comes before the next request is taken.
        with m.If(request.valid & request.ready):
            m.d.sync += asked.eq(1)
        with m.Elif(~self.second | self.window.response.valid):
            m.d.sync += asked.eq(0)
        m.d.comb += [
            request.valid.eq(access & ~asked),
            request.payload.write.eq(self.control.store),
            request.payload.address.eq(self.address[2:]),
            request.payload.data.eq(self.bytes),
            request.payload.mask.eq(self.mask),
        ]
        return asked & self.window.response.valid
