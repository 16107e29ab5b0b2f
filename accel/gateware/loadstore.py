"""The controller's loads and stores: to its program memory, and through the window."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
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
    coming : In(32), take : In(1)
        With `take` high, what `address` is in the next cycle.
    address : In(32)
        Where, or the target of JALR.
    second : In(1)
        An instruction is in its second phase.
    local : In(1)
        That is a store to the program memory, or to a place where there is nothing.
    active : In(1)
        It is to have its effects.
    word : In(32)
        What a load returned, in its last phase; else 0, or a result that `result` is to be.
    data : In(32)
        What the program memory returns.
    write : Out
        To the program memory, as in ProgramPort.
    window : Out(WindowPort)
    refused : Out(1)
        There is nothing at `address`, or not at one of its kind.
    misaligned : Out(1)
        `address` is no multiple of the size.
    loaded : Out(1)
        The word arrives in this cycle; the next one is the load's last phase.
    from_program, from_window : Out(1)
        With `loaded`: from where.
    stored : Out(1)
        A store to the program memory is complete.
    answered : Out(1)
        The window has done a store; in the next cycle it is complete.
    asks : Out(1)
        The window has not answered.
    coming_in_window : Out(1)
        What `address` is in the next cycle lies in the window.
    result : Out(32)
        Of a load, the part of `word` at `address`; else `word`.
    bytes : Out(32), mask : Out(4)
        What is written: for the retirement port.
    """

    def __init__(self, *, address_width: int, window_width: int, base: int) -> None:
        self._width = address_width
        self._window_width = window_width
        self._base = base
        outputs = ("refused", "misaligned", "stored", "answered", "asks")
        outputs += ("loaded", "from_program", "from_window", "coming_in_window")
        super().__init__(
            {
                "control": In(Control),
                "funct3": In(3),
                "value": In(32),
                "coming": In(32),
                "take": In(1),
                "address": In(32),
                "second": In(1),
                "local": In(1),
                "active": In(1),
                "word": In(32),
                "data": In(32),
                "write": ProgramPort(address_width).members["write"],
                "window": Out(WindowPort(window_width)),
                **{name: Out(1) for name in outputs},
                "result": Out(32),
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
            aligner.whole.eq(~c.load),
            aligner.zero_extend.eq(self.funct3[2]),
            aligner.data.eq(self.value),
            aligner.word.eq(self.word),
            aligner.arriving[0].eq(self.data),
            aligner.arriving[1].eq(self.window.response.data),
            aligner.arrives[0].eq(self.from_program),
            aligner.arrives[1].eq(self.from_window),
            self.bytes.eq(aligner.bytes),
            self.mask.eq(aligner.mask),
            self.result.eq(aligner.loaded),
            self.misaligned.eq(aligner.misaligned),
            self.refused.eq(self._refuse(m)),
            self.write.valid.eq(at_work & c.store & ~self.refused & ~in_window),
            self.write.payload.address.eq(self.address[2:]),
            self.write.payload.data.eq(self.bytes),
            self.write.payload.mask.eq(self.mask),
            self.from_program.eq(at_work & c.load & ~in_window),
            self.from_window.eq(at_work & c.load & answered),
            self.loaded.eq(self.from_program | self.from_window),
            self.stored.eq(self.local & self.write.ready),
            self.answered.eq(at_work & c.store & answered),
            self.asks.eq(remote & ~answered),
            self.coming_in_window.eq(Mux(self.take, self.coming[_WINDOW_BIT], in_window)),
        ]
        return m

    def _refuse(self, m: Module) -> Value:
        """Return whether there is nothing at the address; its upper bits are looked at ahead."""
        c, coming = self.control, self.coming
        program, window = self._width + 2, self._window_width + 2
        coming_in_window, in_window = coming[_WINDOW_BIT], self.address[_WINDOW_BIT]
        # Bits above both memories tell them apart; they arrive late, so that there are parts of them.
        both = max(program, window)
        upper = coming[both:]
        expected = Mux(coming_in_window, WINDOW_BASE >> both, self._base >> both)[: len(upper)]
        half = len(upper) // 2
        wrong = Signal(3)
        with m.If(self.take):
            m.d.sync += wrong.eq(
                Cat(
                    upper[:half] != expected[:half],
                    upper[half:] != expected[half:],
                    Mux(coming_in_window, coming[window:both].any(), coming[program:both].any()),
                )
            )
        no_data = wrong.any()
        of_data = (c.load | c.store) & (no_data | self.misaligned)
        return Mux(c.jalr, no_data | in_window | self.address[1], of_data)

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
