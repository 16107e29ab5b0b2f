"""A registered multiplier: one DSP block where the target has one that must be named."""

from amaranth.hdl import ClockSignal, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.delay import delayed
from accel.gateware.lutmultiplier import LutMultiplier

__all__ = ["DSP_MODULE", "Multiplier", "dsp_verilog"]

DSP_MODULE = "systolite_multiplier"
"""Name under which `Multiplier` instantiates the module that `dsp_verilog` defines."""

LIMIT = 18


class Multiplier(wiring.Component):
    """Signed product with registers at both inputs and at the output.

    Parameters
    ----------
    a_bits, b_bits : int
        Operand widths, at most 18.
    target : str
        "generic": registers and a product that the synthesis tool maps as it can. "ecp5": an
        instance of the module that `dsp_verilog` defines, a MULT18X18D with its own registers.
    dsp : bool
        False on "ecp5": in lookup tables (LutMultiplier), when there are too few blocks.
    pipelined : bool
        A cycle more, for long products in tables.

    Members
    -------
    a : In(signed(a_bits))
    b : In(signed(b_bits))
    b_enable : In(1)
        Take `b`; the last one stays otherwise.
    product : Out(signed(a_bits + b_bits))

    Latency
    -------
    Two cycles, three when pipelined; one product per cycle. No reset.
    """

    def __init__(
        self,
        *,
        a_bits: int,
        b_bits: int,
        target: str = "generic",
        dsp: bool = True,
        pipelined: bool = False,
    ) -> None:
        for name, bits in (("A", a_bits), ("B", b_bits)):
            if not 1 <= bits <= LIMIT:
                raise ValueError(f"{name} bits must be from 1 to {LIMIT}, not {bits}")
        self._target = target
        self._dsp = dsp
        self._pipelined = pipelined
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "b_enable": In(1),
                "product": Out(signed(a_bits + b_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._target == "ecp5" and not self._dsp:
            m.submodules.luts = luts = LutMultiplier(
                a_bits=len(self.a), b_bits=len(self.b), pipelined=self._pipelined
            )
            wiring.connect(m, wiring.flipped(self), luts)
            return m
        product = Signal.like(self.product)
        stages = int(self._pipelined)
        late = delayed(m, product, stages, name="product_late", reset_less=True)
        m.d.comb += self.product.eq(late)
        if self._target == "ecp5":
            m.submodules.dsp = Instance(
                DSP_MODULE,
                p_A_BITS=len(self.a),
                p_B_BITS=len(self.b),
                i_clk=ClockSignal(),
                i_a=self.a,
                i_b=self.b,
                i_b_enable=self.b_enable,
                o_product=product,
            )
            return m
        a_q = Signal.like(self.a, reset_less=True)
        b_q = Signal.like(self.b, reset_less=True)
        product_q = Signal.like(self.product, reset_less=True)
        m.d.sync += [a_q.eq(self.a), product_q.eq(a_q * b_q)]
        with m.If(self.b_enable):
            m.d.sync += b_q.eq(self.b)
        m.d.comb += product.eq(product_q)
        return m


def dsp_verilog() -> str:
    """Return the Verilog of DSP_MODULE: a MULT18X18D for yosys, plain Verilog for simulators.

    Registers in the block instead of the fabric: nextpnr never packs them there by itself. The
    block's names are those of Lattice's primitive library (FPGA-TN-02205).
    """
    pins = []
    for port, bits in (("A", LIMIT), ("B", LIMIT), ("P", 2 * LIMIT)):
        pins += [f".{port}{i}(dsp_{port.lower()}[{i}])" for i in range(bits)]
    wiring_lines = ",\n".join("    " + ", ".join(pins[i : i + 4]) for i in range(0, len(pins), 4))
    return f"""
// Signed product, registered at both inputs (b when enabled) and at the output.
module {DSP_MODULE} #(
  parameter A_BITS = 18,
  parameter B_BITS = 18
) (
  input clk,
  input [A_BITS-1:0] a,
  input [B_BITS-1:0] b,
  input b_enable,
  output [A_BITS+B_BITS-1:0] product
);
`ifdef YOSYS
  wire [17:0] dsp_a = {{{{(18-A_BITS){{a[A_BITS-1]}}}}, a}};
  wire [17:0] dsp_b = {{{{(18-B_BITS){{b[B_BITS-1]}}}}, b}};
  wire [35:0] dsp_p;
  assign product = dsp_p[A_BITS+B_BITS-1:0];
  MULT18X18D #(
    .REG_INPUTA_CLK("CLK0"), .REG_INPUTA_CE("CE0"), .REG_INPUTA_RST("RST0"),
    .REG_INPUTB_CLK("CLK0"), .REG_INPUTB_CE("CE1"), .REG_INPUTB_RST("RST0"),
    .REG_OUTPUT_CLK("CLK0"), .REG_OUTPUT_CE("CE0"), .REG_OUTPUT_RST("RST0"),
    .GSR("DISABLED")
  ) dsp (
    .CLK0(clk), .CE0(1'b1), .CE1(b_enable), .RST0(1'b0),
    .SIGNEDA(1'b1), .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0),
{wiring_lines}
  );
`else
  reg signed [A_BITS-1:0] a_q;
  reg signed [B_BITS-1:0] b_q;
  reg signed [A_BITS+B_BITS-1:0] product_q;
  assign product = product_q;
  always @(posedge clk) begin
    a_q <= a;
    if (b_enable) b_q <= b;
    product_q <= a_q * b_q;
  end
`endif
endmodule
"""
