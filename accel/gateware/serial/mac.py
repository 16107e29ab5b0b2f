"""Two signed 8 x 8 products a cycle: half of an iCE40 UltraPlus DSP block's 16 x 16 bits each."""

from amaranth.hdl import C, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["MAC_MODULE", "MacPair", "mac_verilog"]

MAC_MODULE = "systolite_mac_pair"
"""Name under which `MacPair` instantiates the module that `mac_verilog` defines."""

_MEMBERS = {
    "weights": In(16),
    "load": In(1),
    "values": In(16),
    "addends": In(32),
    "sums": Out(32),
}


class MacPair(wiring.Component):
    """Two products of bytes, each modulo 2**16, and perhaps a sum with two others.

    Parameters
    ----------
    chained : bool
        Add `addends` to the products.

    Members
    -------
    weights : In(16)
        Two int8, kept when `load`.
    load : In(1)
    values : In(16)
    addends : In(32)
        In the cycle in which the products of an unchained pair with the same values are out.
    sums : Out(32)

    Latency
    -------
    Two cycles from `values` to `sums`, chained three. No reset.
    """

    def __init__(self, *, chained: bool) -> None:
        self._chained = chained
        super().__init__(dict(_MEMBERS))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dsp = Instance(
            MAC_MODULE,
            p_CHAINED=C(int(self._chained), 1),
            i_clk=ClockSignal(),
            i_weights=self.weights,
            i_load=self.load,
            i_values=self.values,
            i_addends=self.addends,
            o_sums=self.sums,
        )
        return m


class PlainMacPair(wiring.Component):
    """The same as a description that any tool can map.

    Parameters, Members, Latency: see MacPair.
    """

    def __init__(self, *, chained: bool) -> None:
        self._chained = chained
        super().__init__(dict(_MEMBERS))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        weights, values = Signal(16, reset_less=True), Signal(16, reset_less=True)
        products = Signal(32, reset_less=True)
        m.d.sync += values.eq(self.values)
        with m.If(self.load):
            m.d.sync += weights.eq(self.weights)
        for half in range(2):
            a = weights.word_select(half, 8).as_signed()
            b = values.word_select(half, 8).as_signed()
            m.d.sync += products.word_select(half, 16).eq(a * b)
        if not self._chained:
            m.d.comb += self.sums.eq(products)
            return m
        for half in range(2):
            total = products.word_select(half, 16) + self.addends.word_select(half, 16)
            m.d.sync += self.sums.word_select(half, 16).eq(total)
        return m


def mac_verilog() -> str:
    """Return the Verilog of MAC_MODULE: an SB_MAC16 for yosys, plain Verilog for simulators.

    The block's names are those of Lattice's primitive library (FPGA-TN-02007).
    """
    halves = ("TOP", "BOT")
    outputs = "".join(
        f"    .{half}OUTPUT_SELECT(CHAINED ? 2'b01 : 2'b10),\n"
        f"    .{half}ADDSUB_LOWERINPUT(2'b01), .{half}ADDSUB_UPPERINPUT(1'b1),\n"
        f"    .{half}ADDSUB_CARRYSELECT(2'b00),\n"
        for half in halves
    )
    return f"""
// Two signed products of bytes, registered, and a registered sum of them where they are chained.
module {MAC_MODULE} #(
  parameter CHAINED = 1'b0
) (
  input clk,
  input [15:0] weights,
  input load,
  input [15:0] values,
  input [31:0] addends,
  output [31:0] sums
);
`ifdef YOSYS
  SB_MAC16 #(
    .NEG_TRIGGER(1'b0), .A_REG(1'b1), .B_REG(1'b1), .C_REG(1'b0), .D_REG(1'b0),
    .TOP_8x8_MULT_REG(1'b1), .BOT_8x8_MULT_REG(1'b1),
    .PIPELINE_16x16_MULT_REG1(1'b0), .PIPELINE_16x16_MULT_REG2(1'b0),
{outputs}    .MODE_8x8(1'b1), .A_SIGNED(1'b1), .B_SIGNED(1'b1)
  ) dsp (
    .CLK(clk), .CE(1'b1), .A(weights), .B(values), .C(addends[31:16]), .D(addends[15:0]),
    .AHOLD(!load), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0),
    .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0),
    .OLOADTOP(1'b0), .OLOADBOT(1'b0), .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0),
    .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0), .O(sums)
  );
`else
  reg signed [7:0] weight_1, weight_0, value_1, value_0;
  reg signed [15:0] product_1, product_0;
  reg [31:0] sums_q;
  assign sums = CHAINED ? sums_q : {{product_1, product_0}};
  always @(posedge clk) begin
    {{value_1, value_0}} <= values;
    if (load) {{weight_1, weight_0}} <= weights;
    product_1 <= weight_1 * value_1;
    product_0 <= weight_0 * value_0;
    sums_q <= {{product_1 + addends[31:16], product_0 + addends[15:0]}};
  end
`endif
endmodule
"""
