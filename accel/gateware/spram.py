"""A memory of iCE40 UltraPlus SPRAM blocks behind an AXI4 port."""

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.gateware.axi import AXI4Signature, Response
from accel.gateware.fifo import Fifo
from accel.gateware.sdram_data import ReadBeat

__all__ = ["SPRAM_BLOCKS", "BurstWalker", "SpramBank", "SpramMemory"]

SPRAM_BLOCKS = 4
"""Blocks of an iCE40 UP5K: 16,384 words of 16 bits each, 128 KiB in all (FPGA-TN-02022)."""

SPRAM_MODULE = "systolite_spram"
"""Name under which `SpramBank` instantiates the module that `spram_verilog` defines."""

_WORDS = 1 << 14

_READS = 4
"""Beats that wait to be taken: as many as are under way while a master takes one each cycle."""


def check_target(target: str) -> str:
    """Return a target of SpramBank, or raise ValueError when it is none."""
    if target not in ("generic", "ice40"):
        raise ValueError(f"SPRAM target must be generic or ice40, not {target!r}")
    return target


class SpramBank(wiring.Component):
    """Blocks side by side: 16,384 words, one access a cycle.

    Parameters
    ----------
    width : int
        Bits of a word: a multiple of 16.
    target : str
        "ice40": SB_SPRAM256KA blocks. "generic": a memory that does the same, but for a write's
        cycle: what a block shows behind one is not said, and nobody may use it.

    Members
    -------
    address : In(14)
    write_data : In(width)
    write_enable : In(width // 8)
        Bytes to write; none of them: read.
    read_data : Out(width)
        Of the address one cycle ago, if that was a read.

    Raises
    ------
    ValueError
        For another width or target.
    """

    def __init__(self, *, width: int, target: str = "generic") -> None:
        if width < 16 or width % 16:
            raise ValueError(f"SPRAM width must be a multiple of 16, not {width}")
        self._target = check_target(target)
        super().__init__(
            {
                "address": In(14),
                "write_data": In(width),
                "write_enable": In(width // 8),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._target == "ice40":
            for i in range(len(self.write_data) // 16):
                enable = self.write_enable[2 * i : 2 * i + 2]
                m.submodules[f"block_{i}"] = Instance(
                    SPRAM_MODULE,
                    i_clk=ClockSignal(),
                    i_address=self.address,
                    i_write_data=self.write_data[16 * i : 16 * i + 16],
                    # One bit for four bits of data.
                    i_mask=Cat(enable[0].replicate(2), enable[1].replicate(2)),
                    i_write=enable.any(),
                    o_read_data=self.read_data[16 * i : 16 * i + 16],
                )
            return m
        m.submodules.memory = memory = Memory(
            shape=len(self.write_data), depth=_WORDS, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(granularity=8), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(self.address),
            self.read_data.eq(read.data),
        ]
        return m


def spram_verilog() -> str:
    """Return the Verilog of SPRAM_MODULE: an SB_SPRAM256KA for yosys, plain Verilog for simulators."""
    return f"""
// 16,384 words of 16 bits, one access a cycle; read_data means nothing behind a write.
module {SPRAM_MODULE} (
  input clk,
  input [13:0] address,
  input [15:0] write_data,
  input [3:0] mask,
  input write,
  output [15:0] read_data
);
`ifdef YOSYS
  SB_SPRAM256KA block (
    .CLOCK(clk), .ADDRESS(address), .DATAIN(write_data), .MASKWREN(mask), .WREN(write),
    .CHIPSELECT(1'b1), .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(read_data)
  );
`else
  reg [15:0] words [0:16383];
  reg [15:0] read_q;
  integer i;
  initial for (i = 0; i < 16384; i = i + 1) words[i] = 0;
  assign read_data = read_q;
  always @(posedge clk) begin
    read_q <= words[address];
    if (write) begin
      if (mask[1]) words[address][7:0] <= write_data[7:0];
      if (mask[3]) words[address][15:8] <= write_data[15:8];
    end
  end
`endif
endmodule
"""


class BurstWalker(wiring.Component):
    """Names the beats of bursts one by one.

    Parameters
    ----------
    place_bits, id_bits : int

    Members
    -------
    bursts : In(stream.Signature({beat, length, id}))
        Address in beats, beats less one.
    place : Out(place_bits)
        The next beat's address.
    last : Out(1)
        It is its burst's last one.
    id : Out(id_bits)
    valid : Out(1)
        There is one.
    step : In(1)
        It is done; only while `valid`.

    Latency
    -------
    One cycle; a burst takes one cycle more than it has beats.
    """

    def __init__(self, *, place_bits: int, id_bits: int) -> None:
        burst = data.StructLayout({"beat": place_bits, "length": 8, "id": id_bits})
        super().__init__(
            {
                "bursts": In(stream.Signature(burst)),
                "place": Out(place_bits),
                "last": Out(1),
                "id": Out(id_bits),
                "valid": Out(1),
                "step": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(8)
        burst = self.bursts.payload
        m.d.comb += [self.bursts.ready.eq(~self.valid), self.last.eq(left == 0)]
        with m.If(self.step):
            m.d.sync += [
                self.place.eq(self.place + 1),
                left.eq(left - 1),
                self.valid.eq(~self.last),
            ]
        with m.If(self.bursts.valid & self.bursts.ready):
            m.d.sync += [
                self.place.eq(burst.beat),
                left.eq(burst.length),
                self.id.eq(burst.id),
                self.valid.eq(1),
            ]
        return m


class SpramMemory(wiring.Component):
    """SPRAM blocks of an iCE40 UP5K as 32 KiB of memory each.

    Reads are answered in their order and writes in theirs; where both want the memory they take
    turns, beat by beat.

    Parameters
    ----------
    data_bits : int
        Of the port: 32 (two blocks side by side) or 64 (four).
    id_bits : int
    target : str
        See SpramBank.
    blocks : int
        Of them: a multiple of those side by side.

    Members
    -------
    s_axi : In(AXI4Signature)
        Bursts are INCR and of the port's whole width; an address above the memory wraps.

    Latency
    -------
    From an accepted address to its first beat 3 cycles; from the last beat written to its response
    1 cycle.

    Throughput
    ----------
    A beat per cycle, both directions together; a burst of either direction a cycle more.

    Raises
    ------
    ValueError
        For another width, target or number of blocks.
    """

    def __init__(
        self,
        *,
        data_bits: int,
        id_bits: int = 1,
        target: str = "generic",
        blocks: int = SPRAM_BLOCKS,
    ) -> None:
        if data_bits not in (32, 64):
            raise ValueError(f"SPRAM data bits must be 32 or 64, not {data_bits}")
        beside = data_bits // 16
        if blocks not in (beside, SPRAM_BLOCKS):
            raise ValueError(f"SPRAM blocks must be {beside} or {SPRAM_BLOCKS}, not {blocks}")
        self._banks = blocks // beside
        self._target = check_target(target)
        axi = AXI4Signature(address_bits=32, data_bits=data_bits, id_bits=id_bits)
        super().__init__({"s_axi": In(axi)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi = self.s_axi
        read, write = self._take_addresses(m)
        m.submodules.read_fifo = fifo = Fifo(
            shape=ReadBeat(len(axi.rdata), len(axi.rid)), depth=_READS
        )
        # Beats asked for must find room.
        room = Signal(range(_READS + 1), init=_READS)
        m.d.sync += room.eq(room - read.step + (axi.rvalid & axi.rready))
        turn = Signal()  # the last beat was written
        can_read = read.valid & (room != 0)
        can_write = write.valid & axi.wvalid & ~(write.last & axi.bvalid)
        m.d.comb += [
            read.step.eq(can_read & (~can_write | turn)),
            write.step.eq(can_write & ~read.step),
            axi.wready.eq(write.step),
        ]
        with m.If(read.step | write.step):
            m.d.sync += turn.eq(write.step)
        word = self._access_banks(m, read, write)

        beat = fifo.input.payload
        m.d.sync += [
            fifo.input.valid.eq(read.step),
            beat.last.eq(read.last),
            beat.id.eq(read.id),
        ]
        m.d.comb += [
            beat.data.eq(word),
            axi.rvalid.eq(fifo.output.valid),
            fifo.output.ready.eq(axi.rready),
            axi.rdata.eq(fifo.output.payload.data),
            axi.rlast.eq(fifo.output.payload.last),
            axi.rid.eq(fifo.output.payload.id),
            axi.rresp.eq(Response.OKAY),
            axi.bresp.eq(Response.OKAY),
        ]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(write.step & write.last):
            m.d.sync += [axi.bvalid.eq(1), axi.bid.eq(write.id)]
        return m

    def _take_addresses(self, m: Module) -> list[BurstWalker]:
        """Connect the address channels, reads first."""
        axi = self.s_axi
        beat_bits = (len(axi.wstrb) - 1).bit_length()
        walkers = []
        for prefix in ("ar", "aw"):
            walker = BurstWalker(place_bits=17 - beat_bits, id_bits=len(axi.rid))
            m.submodules[f"{prefix}_walker"] = walker
            walkers.append(walker)
            m.d.comb += [
                walker.bursts.valid.eq(getattr(axi, f"{prefix}valid")),
                walker.bursts.payload.beat.eq(getattr(axi, f"{prefix}addr")[beat_bits:]),
                walker.bursts.payload.length.eq(getattr(axi, f"{prefix}len")),
                walker.bursts.payload.id.eq(getattr(axi, f"{prefix}id")),
                getattr(axi, f"{prefix}ready").eq(walker.bursts.ready),
            ]
        return walkers

    def _access_banks(self, m: Module, read: BurstWalker, write: BurstWalker) -> Signal:
        """Read or write a beat; return the word that the cycle before asked for."""
        axi = self.s_axi
        place = Mux(write.step, write.place, read.place)
        select = place[14 : 14 + (self._banks - 1).bit_length()]
        select_q = Signal.like(select)
        m.d.sync += select_q.eq(select)
        word = Signal(len(axi.rdata))
        for i in range(self._banks):
            bank = SpramBank(width=len(word), target=self._target)
            m.submodules[f"bank_{i}"] = bank
            m.d.comb += [
                bank.address.eq(place),
                bank.write_data.eq(axi.wdata),
                bank.write_enable.eq(Mux(write.step & (select == i), axi.wstrb, 0)),
            ]
            with m.If(select_q == i):
                m.d.comb += word.eq(bank.read_data)
        return word
