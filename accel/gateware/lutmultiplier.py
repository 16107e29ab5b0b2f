"""A registered multiplier in lookup tables, for cells that no DSP block is left for."""

from amaranth.hdl import Cat, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.gateware.delay import delayed

__all__ = ["PAIR_MODULE", "LutMultiplier", "pair_verilog"]

PAIR_MODULE = "systolite_partial_pair"
"""Name under which `LutMultiplier` instantiates the module that `pair_verilog` defines."""


class LutMultiplier(wiring.Component):
    """Signed product in lookup tables and carry chains of an ECP5.

    Partial products are added in pairs, the pairs in a tree. An 8 x 8 product takes 40 tables for
    pairs and 32 for the tree, where yosys' own mapping of the same product takes 306.

    Parameters
    ----------
    a_bits, b_bits : int
        Operand widths, at least 2. Fewer bits of `b` take fewer tables.
    pipelined : bool
        Have a register behind the first sums of pairs: half as many carry chains in a cycle.

    Members
    -------
    a, b, b_enable, product
        As in Multiplier.

    Latency
    -------
    Two cycles, three when pipelined; one product per cycle. No reset.
    """

    def __init__(self, *, a_bits: int, b_bits: int, pipelined: bool = False) -> None:
        self._pipelined = pipelined
        if a_bits < 2 or b_bits < 2:
            raise ValueError(f"Operands must have at least 2 bits, not {a_bits} and {b_bits}")
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
        a = Signal.like(self.a, name="a_q", reset_less=True)
        b = Signal.like(self.b, name="b_q", reset_less=True)
        m.d.sync += a.eq(self.a)
        with m.If(self.b_enable):
            m.d.sync += b.eq(self.b)

        # The last row counts negative. An odd one is given a second one: -x is x - 2 x.
        bits = list(b) + [b[-1]] * (len(b) % 2)
        sums = []
        for i in range(0, len(bits), 2):
            total = Signal(signed(len(a) + 2), name=f"pair_{i}")
            m.submodules[f"pair_{i}"] = Instance(
                PAIR_MODULE,
                p_BITS=len(a),
                p_NEGATE=int(i + 2 == len(bits)),
                i_a=a,
                i_b0=bits[i],
                i_b1=bits[i + 1],
                o_sum=total,
            )
            sums.append(total)
        shift = 2
        while len(sums) > 1:
            sums = [
                self._add(m, shift, *sums[i : i + 2], name=f"sum_{shift}_{i}")
                for i in range(0, len(sums), 2)
            ]
            if self._pipelined and shift == 2:
                sums = [
                    delayed(m, s, 1, name=f"stage_{i}", reset_less=True) for i, s in enumerate(sums)
                ]
            shift *= 2
        product = Signal.like(self.product, reset_less=True)
        m.d.sync += product.eq(sums[0])
        m.d.comb += self.product.eq(product)
        return m

    def _add(self, m: Module, shift: int, low: Signal, high: Signal | None = None, *, name: str):
        """Return low + (high << shift); the bits that `high` does not reach need no adder."""
        if high is None:
            return low
        total = Signal(signed(len(high) + shift), name=name)
        m.d.comb += total.eq(Cat(low[:shift], (low >> shift) + high))
        return total


def pair_verilog() -> str:
    """Return the Verilog of PAIR_MODULE: ECP5 carry cells for yosys, plain Verilog for simulators.

    A carry cell CCU2C holds two lookup tables of four inputs in front of its carries
    (FPGA-TN-02205), so that the four bits of two partial products, a[i] & b[j] and a[i-1] & b[j+1],
    are ANDed and added in one table. The table's own output is the exclusive or of both products.
    Where it is 0 they are equal, and the carry is what the table says for C = D = 0: the product
    of A and B, or its complement.
    """
    return f"""
// Sum of two rows of partial products: a * b0 + 2 * a * b1, or with NEGATE a * b0 - 2 * a * b1.
module {PAIR_MODULE} #(
  parameter BITS = 8,
  parameter NEGATE = 0
) (
  input [BITS-1:0] a,
  input b0,
  input b1,
  output [BITS+1:0] sum
);
`ifdef YOSYS
  // Bit 0 has no sum. In its place in the chain, a table that makes the first carry: nextpnr
  // would spend two on a constant carry.
  localparam CELLS = (BITS + 3) / 2;
  localparam [15:0] START = NEGATE ? 16'h000f : 16'h0000;
  localparam [15:0] INIT = NEGATE ? 16'h8777 : 16'h7888;
  wire [2*CELLS-1:0] x = {{{{(2*CELLS-BITS){{a[BITS-1]}}}}, a}};
  wire [2*CELLS-1:0] y = {{x[2*CELLS-2:0], 1'b0}};
  wire [2*CELLS-1:0] s;
  wire [CELLS-1:0] carry;
  assign sum = {{s[BITS+1:1], a[0] & b0}};
  genvar i;
  generate for (i = 0; i < CELLS; i = i + 1) begin : cells
    if (i == 0) begin : first
      CCU2C #(.INIT0(START), .INIT1(INIT), .INJECT1_0("NO"), .INJECT1_1("NO")) carries (
        .COUT(carry[0]), .S1(s[1]),
        .A0(1'b1), .B0(1'b1), .C0(1'b1), .D0(1'b1), .A1(y[1]), .B1(b1), .C1(x[1]), .D1(b0)
      );
    end else if (i < CELLS - 1) begin : inner
      CCU2C #(.INIT0(INIT), .INIT1(INIT), .INJECT1_0("NO"), .INJECT1_1("NO")) carries (
        .CIN(carry[i-1]), .COUT(carry[i]), .S0(s[2*i]), .S1(s[2*i+1]),
        .A0(y[2*i]), .B0(b1), .C0(x[2*i]), .D0(b0),
        .A1(y[2*i+1]), .B1(b1), .C1(x[2*i+1]), .D1(b0)
      );
    end else begin : last
      CCU2C #(.INIT0(INIT), .INIT1(INIT), .INJECT1_0("NO"), .INJECT1_1("NO")) carries (
        .CIN(carry[i-1]), .S0(s[2*i]), .S1(s[2*i+1]),
        .A0(y[2*i]), .B0(b1), .C0(x[2*i]), .D0(b0),
        .A1(y[2*i+1]), .B1(b1), .C1(x[2*i+1]), .D1(b0)
      );
    end
  end endgenerate
`else
  wire signed [BITS+1:0] x = b0 ? {{{{2{{a[BITS-1]}}}}, a}} : {{(BITS+2){{1'b0}}}};
  wire signed [BITS+1:0] y = b1 ? {{a[BITS-1], a, 1'b0}} : {{(BITS+2){{1'b0}}}};
  assign sum = NEGATE ? x - y : x + y;
`endif
endmodule
"""
