"""Instruction fetch with static branch prediction."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

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
    predicted : 1 bit; fetch went on at `target`
    target : byte address that a branch or JAL names; of no meaning for others
    """

    def __init__(self, pc_width: int) -> None:
        super().__init__(
            {
                "word": unsigned(32),
                "pc": unsigned(pc_width),
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

    Members
    -------
    enable : In(1)
        While low, everything fetched is dropped.
    redirect : In({valid, pc})
        Drop everything fetched and go on at word `pc`.
    steal : In({valid, address})
        Read this word instead of an instruction in this cycle; never together with redirect.
    address : Out(address_width), data : In(32)
        To the program memory's read port.
    instruction : Out(stream.Signature(FetchedLayout))

    Latency
    -------
    Three cycles from `redirect` to `instruction`. One instruction per cycle, with one empty cycle
    after each predicted jump.
    """

    def __init__(self, *, address_width: int) -> None:
        self._pc_width = address_width + 1
        super().__init__(
            {
                "enable": In(1),
                "redirect": In(data.StructLayout({"valid": 1, "pc": self._pc_width})),
                "steal": In(data.StructLayout({"valid": 1, "address": address_width})),
                "address": Out(address_width),
                "data": In(32),
                "instruction": Out(stream.Signature(FetchedLayout(self._pc_width))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Word in the memory's output: its address is always the last one issued.
        issued = Signal(self._pc_width)
        arriving = Signal()
        # One word that arrives while the decoder stalls.
        spare = Signal(32)
        spare_pc = Signal(self._pc_width)
        spare_valid = Signal()
        word = Signal(32)
        pc = Signal(self._pc_width)
        valid = self.instruction.valid

        predicted, target = self._predict(m, word, pc)
        m.d.comb += [
            self.instruction.payload.word.eq(word),
            self.instruction.payload.pc.eq(pc),
            self.instruction.payload.predicted.eq(predicted),
            self.instruction.payload.target.eq(target),
        ]

        transfer = Signal()
        jump = Signal()
        issue = Signal()
        has_room = Signal()
        address = Signal(self._pc_width)
        m.d.comb += [
            transfer.eq(valid & self.instruction.ready),
            jump.eq(transfer & predicted),
            # There are two places for words that the decoder does not take: `word`, `spare`.
            has_room.eq(((valid & ~transfer) + spare_valid + arriving) <= 1),
            address.eq(issued + 1),
            issue.eq(
                self.enable
                & ~self.steal.valid
                & (self.redirect.valid | Mux(valid & predicted, transfer, has_room))
            ),
        ]
        with m.If(self.redirect.valid):
            m.d.comb += address.eq(self.redirect.pc)
        with m.Elif(valid & predicted):
            m.d.comb += address.eq(target[2:])
        m.d.comb += self.address.eq(Mux(self.steal.valid, self.steal.address, address))

        m.d.sync += arriving.eq(issue)
        with m.If(issue):
            m.d.sync += issued.eq(address)
        with m.If(~valid | self.instruction.ready):
            m.d.sync += [
                word.eq(Mux(spare_valid, spare, self.data)),
                pc.eq(Mux(spare_valid, spare_pc, issued)),
                valid.eq(spare_valid | arriving),
                spare_valid.eq(0),
            ]
        with m.Elif(arriving):
            m.d.sync += spare_valid.eq(1)
        with m.If(~spare_valid):
            m.d.sync += [spare.eq(self.data), spare_pc.eq(issued)]
        with m.If(~self.enable | self.redirect.valid | jump):
            m.d.sync += [valid.eq(0), spare_valid.eq(0)]
        return m

    def _predict(self, m: Module, word: Signal, pc: Signal) -> tuple[Signal, Signal]:
        """Return whether fetch should follow the jump in `word`, and its target."""
        predicted = Signal()
        offset = Signal(signed(21))
        target = Signal(signed(TARGET_BITS))
        is_jal, sign = word[3], word[31]
        m.d.comb += [
            # Enough to tell BRANCH and JAL from all other legal opcodes; the others fault anyway.
            predicted.eq(word[4:7].matches("110") & (is_jal | (~word[2] & sign))),
            offset.eq(
                Cat(
                    0,
                    Mux(is_jal, word[21:25], word[8:12]),
                    word[25:31],
                    Mux(is_jal, word[20], word[7]),
                    Mux(is_jal, word[12:20], sign.replicate(8)),
                    sign,
                )
            ),
            target.eq(Cat(0, 0, pc) + offset),
        ]
        return predicted, target
