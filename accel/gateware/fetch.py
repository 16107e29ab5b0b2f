"""Instruction fetch with static branch prediction."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.bits import only

__all__ = ["TARGET_BITS", "Fetch", "FetchedLayout"]

TARGET_BITS = 22
"""Width of a branch or jump target, signed: any program address plus a JAL offset."""


class FetchedLayout(data.StructLayout):
    """An instruction on its way to the decoder.

    Parameters
    ----------
    pc_width : int
        Bits of a word address, and one more.

    Members
    -------
    word : 32 bits
    pc : word address; its highest bit is set when it is past the end of the memory
    next : pc + 1
    predicted : 1 bit; fetch went on at `target`
    target : byte address that a branch or JAL names; of no meaning for others
    """

    def __init__(self, pc_width: int) -> None:
        super().__init__(
            {
                "word": unsigned(32),
                "pc": unsigned(pc_width),
                "next": unsigned(pc_width),
                "predicted": unsigned(1),
                "target": signed(TARGET_BITS),
            }
        )


class Fetch(wiring.Component):
    """Read instructions ahead of the decoder, following JAL and backward branches.

    Parameters
    ----------
    address_width : int
        Bits of a word address of the program memory.
    parity : bool

    Members
    -------
    enable : In(1)
        While low, everything fetched is dropped.
    redirect : In({valid, pc})
        Drop everything fetched and go on at word `pc`.
    steal : In({valid, address})
        Read this word instead of an instruction in this cycle; never together with redirect.
    read : Out(1), address : Out(address_width), data : In(32)
        To the program memory's read port, whose output stays while `read` is low.
    take : Out(1)
        `data` is what `instruction` will be in the next cycle, if that is valid.
    instruction : Out(stream.Signature(FetchedLayout))
    data_parity : In(4), parity : Out(4)
        With `parity`: bits that come with `data`, and of the word on offer.

    Latency
    -------
    Three cycles from `redirect` to `instruction`. One instruction per cycle, with one empty cycle
    after each predicted jump.
    """

    def __init__(self, *, address_width: int, parity: bool = False) -> None:
        self._parity = parity
        self._pc_width = address_width + 1
        super().__init__(
            {
                "enable": In(1),
                "redirect": In(data.StructLayout({"valid": 1, "pc": self._pc_width})),
                "steal": In(data.StructLayout({"valid": 1, "address": address_width})),
                "read": Out(1),
                "address": Out(address_width),
                "data": In(32),
                "take": Out(1),
                "instruction": Out(stream.Signature(FetchedLayout(self._pc_width))),
                **({"data_parity": In(4), "parity": Out(4)} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Word in the memory's output, or the one to read again: a load has taken its place.
        issued = Signal(self._pc_width)
        arriving = Signal()
        again = Signal()
        word = Signal(32)
        pc, following_pc = Signal(self._pc_width), Signal(self._pc_width)
        valid = self.instruction.valid

        predicted, target = self._predict(m, word, pc)
        # Signals with this attribute stay where they are: each is one lookup table from its sources.
        kept = {"keep": 1}
        follows = Signal(attrs=kept)
        address = Signal(self._pc_width)
        issue = Signal()
        m.d.comb += [
            self.instruction.payload.word.eq(word),
            self.instruction.payload.pc.eq(pc),
            self.instruction.payload.next.eq(following_pc),
            self.instruction.payload.predicted.eq(predicted),
            self.instruction.payload.target.eq(target),
            follows.eq(valid & predicted),
            self.take.eq(~valid | self.instruction.ready),
            # A word that the decoder does not take stays in the memory's output.
            issue.eq(
                self.enable
                & ~self.steal.valid
                & (self.redirect.valid | self.take | ~(arriving | follows))
            ),
            self.read.eq(issue | self.steal.valid),
        ]
        # The carry is bit 0 of one addition: yosys would build two adders.
        following = (Cat(1, issued) + ~again)[1 : self._pc_width + 1]
        next_, jumped = Signal(self._pc_width, attrs=kept), Signal(self._pc_width, attrs=kept)
        moves = self.redirect.valid | self.steal.valid
        jumps = Signal(attrs=kept)
        m.d.comb += [
            next_.eq(
                only(self.redirect.valid, self.redirect.pc) | only(~moves & ~follows, following)
            ),
            jumps.eq(~moves & follows),
            jumped.eq(only(jumps, target[2 : self._pc_width + 2])),
            address.eq(only(self.steal.valid, self.steal.address) | next_ | jumped),
            self.address.eq(address),
        ]

        # The same as `issue`, or it stays: apart from that, which goes to all blocks of the memory.
        goes_on, may_arrive = Signal(attrs=kept), Signal(attrs=kept)
        m.d.comb += [
            goes_on.eq(self.enable & ~self.steal.valid),
            may_arrive.eq(self.redirect.valid | arriving | ~follows),
        ]
        m.d.sync += arriving.eq(goes_on & (self.take | may_arrive))
        with m.If(issue):
            m.d.sync += [issued.eq(address), again.eq(0)]
        with m.Elif(self.take | self.steal.valid):
            m.d.sync += again.eq(again | (arriving & ~self.take))
        with m.If(self.take):
            m.d.sync += [
                word.eq(self.data),
                pc.eq(issued),
                following_pc.eq(following),
                valid.eq(arriving),
            ]
        with m.If(~self.enable | self.redirect.valid | (follows & self.instruction.ready)):
            m.d.sync += valid.eq(0)
        if self._parity:
            with m.If(self.take):
                m.d.sync += self.parity.eq(self.data_parity)
        return m

    def _predict(self, m: Module, word: Signal, pc: Signal) -> tuple[Signal, Signal]:
        """Return whether fetch should follow the jump in `word`, and its target.

        What is a choice between bits of the word is made as it arrives, with one lookup table.
        """
        predicted = Signal()
        low, middle, high = Signal(4), Signal(), Signal(8)
        jumps, branches = Signal(), Signal()
        target = Signal(signed(TARGET_BITS))
        data, is_jal = self.data, self.data[3]
        with m.If(self.take):
            m.d.sync += [
                low.eq(Mux(is_jal, data[21:25], data[8:12])),
                middle.eq(Mux(is_jal, data[20], data[7])),
                high.eq(Mux(is_jal, data[12:20], data[31].replicate(8))),
                # Enough to tell BRANCH and JAL from all other legal opcodes; the others fault anyway.
                jumps.eq(data[4:7].matches("110") & is_jal),
                branches.eq(data[4:7].matches("110") & ~data[2]),
            ]
        offset = Cat(0, low, word[25:31], middle, high, word[31])
        m.d.comb += [
            predicted.eq(jumps | (branches & word[31])),
            target.eq(Cat(0, 0, pc) + offset.as_signed()),
        ]
        return predicted, target
