// Lattice's carry cell (FPGA-TN-02205): two lookup tables, each with a carry behind it. Where a
// table propagates, the carry goes on; elsewhere its lower quarter, a function of A and B, makes
// the next one. INJECT1 "YES", with which the cell is two plain tables, is an error here.
module CCU2C #(
  parameter [15:0] INIT0 = 0, parameter [15:0] INIT1 = 0,
  parameter INJECT1_0 = "YES", parameter INJECT1_1 = "YES"
) (
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
  output S0, S1, COUT
);
  initial if (INJECT1_0 != "NO" || INJECT1_1 != "NO") $fatal;
  wire propagate0 = INIT0[{D0, C0, B0, A0}];
  wire propagate1 = INIT1[{D1, C1, B1, A1}];
  wire carry = propagate0 ? CIN : INIT0[{2'b00, B0, A0}];
  assign S0 = propagate0 ^ CIN;
  assign S1 = propagate1 ^ carry;
  assign COUT = propagate1 ? carry : INIT1[{2'b00, B1, A1}];
endmodule
