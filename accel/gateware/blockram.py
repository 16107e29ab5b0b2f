"""A memory with a registered output: block RAMs that use their own output registers."""

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Signal, Value, ValueLike
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.parity import parity_of

__all__ = [
    "BLOCK_RAM_MODULE",
    "PARITY_RAM_MODULE",
    "BlockRam",
    "block_ram_verilog",
    "parity_ram_verilog",
]

BLOCK_RAM_MODULE = "systolite_block_ram"
"""Name under which `BlockRam` instantiates the module that `block_ram_verilog` defines."""

PARITY_RAM_MODULE = "systolite_parity_ram"
"""The same of `parity_ram_verilog`."""

_NINTH_BITS = 11
"""Address bits up to which a block of an ECP5 has nine bits for each eight of data."""


class BlockRam(wiring.Component):
    """Memory with one write port and one read port, initially zero.

    Parameters
    ----------
    width : int
        Bits of a word.
    depth : int
        Words; a power of two, at least 2.
    granularity : int, optional
        Bits that each bit of `write_enable` is for, a multiple of 8 that divides the width; the
        whole word by default.
    target : str
        "generic": a memory and a register behind it. "ecp5": an instance of the module that
        `block_ram_verilog` defines, with parity of the one of `parity_ram_verilog`.
    parity : bool
        Keep a parity bit for each bit of `write_enable`, so that there is an even number of ones.

    Members
    -------
    write_address : In(clog2(depth))
    write_data : In(width)
    write_enable : In(width // granularity)
    read_address : In(clog2(depth))
    read_data : Out(width)
        Of no meaning for a word that was written in the cycle of its address.
    read_parity : Out(width // granularity)
        With `parity`: what was kept with that word, see accel.gateware.parity.

    Latency
    -------
    Two cycles from `read_address` to `read_data`, one word per cycle; a write can be read by an
    address of the next cycle. No reset.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        granularity: int | None = None,
        target: str = "generic",
        parity: bool = False,
    ) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two from 2, not {depth}")
        granularity = width if granularity is None else granularity
        if width % granularity or (granularity != width and granularity % 8):
            raise ValueError(
                f"Granularity must be a multiple of 8 that divides {width}, not {granularity}"
            )
        self._depth = depth
        self._granularity = granularity
        self._target = target
        self._parity = parity
        granules = width // granularity
        super().__init__(
            {
                "write_address": In(ceil_log2(depth)),
                "write_data": In(width),
                "write_enable": In(granules),
                "read_address": In(ceil_log2(depth)),
                "read_data": Out(width),
                **({"read_parity": Out(granules)} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._target == "ecp5":
            self._instantiate(m)
            return m
        written, granularity = self.write_data, self._granularity
        if self._parity:
            written, granularity = self._widen(), granularity + 1
        # A read that meets a write of its word returns nothing that anybody uses.
        m.submodules.memory = memory = Memory(
            shape=len(written), depth=self._depth, init=[], attrs={"no_rw_check": 1}
        )
        write = memory.write_port(granularity=granularity)
        read = memory.read_port()
        read_data = Signal(len(written), reset_less=True)
        m.d.sync += read_data.eq(read.data)
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(written),
            write.en.eq(self.write_enable),
            read.addr.eq(self.read_address),
        ]
        if self._parity:
            parts = [read_data.word_select(i, granularity) for i in range(len(self.write_enable))]
            m.d.comb += [
                self.read_data.eq(Cat(part[:-1] for part in parts)),
                self.read_parity.eq(Cat(part[-1] for part in parts)),
            ]
        else:
            m.d.comb += self.read_data.eq(read_data)
        return m

    def _widen(self) -> Value:
        """Return the word to write, with the bit of each granule behind it."""
        bits = self._granularity
        parity = parity_of(self.write_data, len(self.write_enable))
        return Cat(Cat(self.write_data.word_select(i, bits), bit) for i, bit in enumerate(parity))

    def _instantiate(self, m: Module) -> None:
        """Have the blocks of an ECP5; a deep memory's parity bits have some of their own."""

        def block(module: str, data: ValueLike, enable: ValueLike, word: Value, **more) -> Instance:
            return Instance(
                module,
                p_WIDTH=len(data),
                p_ADDRESS_BITS=len(self.write_address),
                p_GRANULARITY=min(self._granularity, len(data)),
                i_clk=ClockSignal(),
                i_write_address=self.write_address,
                i_write_data=data,
                i_write_enable=enable,
                i_read_address=self.read_address,
                o_read_data=word,
                **more,
            )

        own = (self.write_data, self.write_enable, self.read_data)
        if not self._parity:
            m.submodules.blocks = block(BLOCK_RAM_MODULE, *own)
            return
        written = parity_of(self.write_data, len(self.write_enable))
        if len(self.write_address) <= _NINTH_BITS:
            m.submodules.blocks = block(
                PARITY_RAM_MODULE, *own, i_write_parity=written, o_read_parity=self.read_parity
            )
            return
        m.submodules.blocks = block(BLOCK_RAM_MODULE, *own)
        for i, enable in enumerate(self.write_enable):
            m.submodules[f"parity_{i}"] = block(
                BLOCK_RAM_MODULE, written[i], enable, self.read_parity[i]
            )


def block_ram_verilog() -> str:
    """Return the Verilog of BLOCK_RAM_MODULE: ECP5 blocks for yosys, plain Verilog for simulators.

    yosys does not use the output registers of DP16KD: a path out of the memory then starts with
    5.6 ns, and every bit takes a flip-flop. Here the blocks are cut as yosys does it, by the
    narrowest word that is deep enough (FPGA-TN-02204); 512 words of 36 bits take the data pins of
    both ports. Bytes lie in nine bits each, so that byte enables fit.
    """
    return _ram_verilog(
        BLOCK_RAM_MODULE,
        deepest=14,
        lane="          assign di[9*j +: 9] = data[FIRST +: LANE];",
        storage="""
    reg [WIDTH-1:0] memory [0:(1<<ADDRESS_BITS)-1];
    reg [WIDTH-1:0] word, word_q;
    assign read_data = word_q;""",
        store="""
        if (write_enable[k])
          memory[write_address][k*GRANULARITY +: GRANULARITY]
            <= write_data[k*GRANULARITY +: GRANULARITY];""",
    )


def parity_ram_verilog() -> str:
    """Return the Verilog of PARITY_RAM_MODULE: the same with parity, at most 2048 words.

    The bit of a granule lies in the ninth bit of its first byte.
    """
    return _ram_verilog(
        PARITY_RAM_MODULE,
        deepest=_NINTH_BITS,
        ports=""",
  input [WIDTH/GRANULARITY-1:0] write_parity,
  output [WIDTH/GRANULARITY-1:0] read_parity""",
        lane="""\
          if (FIRST < WIDTH && FIRST % GRANULARITY == 0) begin : first
            assign di[9*j +: 9] = {write_parity[PART], data[FIRST +: 8]};
            assign read_parity[PART] = out[9*j + 8];
          end else begin : other
            assign di[9*j +: 9] = data[FIRST +: 8];
          end""",
        storage="""
    localparam PARTS = WIDTH / GRANULARITY;
    reg [WIDTH+PARTS-1:0] memory [0:(1<<ADDRESS_BITS)-1];
    reg [WIDTH+PARTS-1:0] word, word_q;
    assign {read_parity, read_data} = word_q;""",
        store="""
        if (write_enable[k]) begin
          memory[write_address][k*GRANULARITY +: GRANULARITY]
            <= write_data[k*GRANULARITY +: GRANULARITY];
          memory[write_address][WIDTH+k] <= write_parity[k];
        end""",
    )


def _ram_verilog(
    module: str, *, deepest: int, lane: str, storage: str, store: str, ports: str = ""
) -> str:
    """Return a module's text; `deepest` are the most address bits that blocks are cut for."""
    pins = []
    for side in "AB":
        for port, bits in ((f"AD{side}", 14), (f"DI{side}", 18), (f"DO{side}", 18)):
            pins += [f".{port}{i}({port.lower()}[{i}])" for i in range(bits)]
    wires = ",\n".join("        " + ", ".join(pins[i : i + 6]) for i in range(0, len(pins), 6))
    return f"""
// Memory of one write and one read port, two cycles from an address to its word.
module {module} #(
  parameter WIDTH = 32,
  parameter ADDRESS_BITS = 9,
  parameter GRANULARITY = 32
) (
  input clk,
  input [ADDRESS_BITS-1:0] write_address,
  input [WIDTH-1:0] write_data,
  input [WIDTH/GRANULARITY-1:0] write_enable,
  input [ADDRESS_BITS-1:0] read_address,
  output [WIDTH-1:0] read_data{ports}
);
`ifdef YOSYS
  localparam BLOCKS = 1;
`else
  localparam BLOCKS = 0;
`endif
  // Data bits of a block that holds 2 ** ADDRESS_BITS words, and what the block calls them.
  localparam BITS = ADDRESS_BITS <= 9 ? 32 : ADDRESS_BITS >= 14 ? 1 : 1 << (14 - ADDRESS_BITS);
  localparam MODE = BITS >= 8 ? BITS / 8 * 9 : BITS;
  localparam COUNT = (WIDTH + BITS - 1) / BITS;
  localparam BYTES = BITS >= 8 ? BITS / 8 : 1;
  localparam LANE = BITS >= 8 ? 8 : BITS;
  genvar i, j;
  generate if (BLOCKS && ADDRESS_BITS <= {deepest}) begin : g
    wire [COUNT*BITS-1:0] data = write_data;
    wire [COUNT*BITS-1:0] word;
    wire [13:0] write_place = {{14'b0, write_address}} << $clog2(BITS);
    wire [13:0] read_place = {{14'b0, read_address}} << $clog2(BITS);
    assign read_data = word[WIDTH-1:0];
    for (i = 0; i < COUNT; i = i + 1) begin : blocks
      wire [3:0] enable;
      wire [35:0] di, out;
      wire [17:0] dia = di[17:0];
      wire [17:0] dib = di[35:18];
      wire [17:0] doa, dob;
      wire [13:0] ada, adb;
      assign adb = read_place;
      for (j = 0; j < 4; j = j + 1) begin : bytes
        localparam FIRST = i * BITS + j * LANE;
        localparam PART = FIRST < WIDTH ? FIRST / GRANULARITY : 0;
        if (j < BYTES) begin : used
          assign enable[j] = write_enable[PART];
{lane}
          assign word[FIRST +: LANE] = out[9*j +: LANE];
        end else begin : unused
          assign enable[j] = 1'b0;
          assign di[9*j +: 9] = 9'b0;
        end
      end
      // Of blocks up to 18 bits wide, port A writes and port B reads.
      assign ada = BITS == 32 ? {{write_place[13:4], enable}}
        : BITS == 16 ? {{write_place[13:2], enable[1:0]}} : write_place;
      assign out = BITS == 32 ? {{dob, doa}} : {{18'b0, dob}};
      DP16KD #(
        .DATA_WIDTH_A(MODE), .DATA_WIDTH_B(MODE),
        .REGMODE_A("OUTREG"), .REGMODE_B("OUTREG"), .RESETMODE("SYNC"),
        .WRITEMODE_A("NORMAL"), .WRITEMODE_B("NORMAL"), .GSR("DISABLED")
      ) block (
        .CLKA(clk), .CEA(1'b1), .OCEA(1'b1), .RSTA(1'b0),
        .WEA(BITS >= 16 ? 1'b1 : enable[0]),
        .CLKB(clk), .CEB(1'b1), .OCEB(1'b1), .RSTB(1'b0), .WEB(1'b0),
        .CSA0(1'b0), .CSA1(1'b0), .CSA2(1'b0), .CSB0(1'b0), .CSB1(1'b0), .CSB2(1'b0),
{wires}
      );
    end
  end else begin : g{storage}
    integer k;
    initial begin
      word = 0;
      word_q = 0;
      for (k = 0; k < 1 << ADDRESS_BITS; k = k + 1) memory[k] = 0;
    end
    always @(posedge clk) begin
      for (k = 0; k < WIDTH / GRANULARITY; k = k + 1){store}
      word <= memory[read_address];
      word_q <= word;
    end
  end endgenerate
endmodule
"""
