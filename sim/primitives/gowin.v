// Primitives of Gowin's GW2A, for the simulation of a board's top (sim/board.py).
//
// Behaviour as in Gowin's SUG283 and UG286, reduced to what the tops use. Clocks come of
// `simulation.phase`, see board.cpp.

module rPLL #(
  parameter FCLKIN = "27", parameter IDIV_SEL = 0, parameter FBDIV_SEL = 0, parameter ODIV_SEL = 8,
  parameter DYN_IDIV_SEL = "false", parameter DYN_FBDIV_SEL = "false",
  parameter DYN_ODIV_SEL = "false", parameter PSDA_SEL = "0000", parameter DYN_DA_EN = "false",
  parameter DUTYDA_SEL = "1000", parameter CLKOUT_FT_DIR = 1'b1, parameter CLKOUTP_FT_DIR = 1'b1,
  parameter CLKOUT_DLY_STEP = 0, parameter CLKOUTP_DLY_STEP = 0, parameter CLKFB_SEL = "internal",
  parameter CLKOUT_BYPASS = "false", parameter CLKOUTP_BYPASS = "false",
  parameter CLKOUTD_BYPASS = "false", parameter DYN_SDIV_SEL = 2, parameter CLKOUTD_SRC = "CLKOUT",
  parameter CLKOUTD3_SRC = "CLKOUT", parameter DEVICE = ""
) (
  input CLKIN, input CLKFB, input RESET, input RESET_P,
  input [5:0] FBDSEL, input [5:0] IDSEL, input [5:0] ODSEL,
  input [3:0] PSDA, input [3:0] DUTYDA, input [3:0] FDLY,
  output CLKOUT, output CLKOUTP, output CLKOUTD, output CLKOUTD3, output reg LOCK
);
  localparam PHASES = `SIMULATION_PHASES;
  localparam OUTPUT_KHZ = `SIMULATION_OSCILLATOR_KHZ / (IDIV_SEL + 1) * (FBDIV_SEL + 1);
  // The text's digits; sixteenths of a period.
  localparam [31:0] SHIFT = PSDA_SEL;
  localparam SIXTEENTHS = 8 * SHIFT[24] + 4 * SHIFT[16] + 2 * SHIFT[8] + SHIFT[0];
  localparam DELAY = SIXTEENTHS * PHASES / 16;

  initial begin
    if (OUTPUT_KHZ * ODIV_SEL < 500000 || OUTPUT_KHZ * ODIV_SEL > 1250000)
      $sformat(simulation.complaint, "the PLL's VCO is at %0d kHz", OUTPUT_KHZ * ODIV_SEL);
    if (OUTPUT_KHZ != `SIMULATION_CLOCK_KHZ)
      $sformat(simulation.complaint, "the PLL makes %0d kHz", OUTPUT_KHZ);
    if (DELAY * 16 != SIXTEENTHS * PHASES)
      $sformat(simulation.complaint, "a delay of the PLL is no whole number of phases");
  end

  reg [7:0] now = 0;
  reg [4:0] wait_cycles = 0;
  initial LOCK = 0;
  always @(posedge simulation.phase or negedge simulation.phase)
    now <= now == PHASES - 1 ? 0 : now + 1;
  always @(posedge CLKIN) begin
    if (!LOCK) wait_cycles <= wait_cycles + 1;
    if (&wait_cycles) LOCK <= ~RESET & ~RESET_P;
  end
  assign CLKOUT = now < PHASES / 2;
  assign CLKOUTP = (now + PHASES - DELAY) % PHASES < PHASES / 2;
  assign CLKOUTD = 0;
  assign CLKOUTD3 = 0;
endmodule

module IBUF(input I, output O);
  assign O = I;
endmodule

module OBUF(input I, output O);
  assign O = I;
endmodule

module TBUF(input I, input OEN, output O);
  assign O = OEN ? 1'bz : I;
endmodule

module IOBUF(input I, input OEN, output O, inout IO);
  assign IO = OEN ? 1'bz : I;
  assign O = IO;
endmodule

// D0 while the clock is high, D1 while it is low; of what they were at the edge before.
module ODDR #(parameter TXCLK_POL = 0, parameter INIT = 0) (
  input D0, input D1, input TX, input CLK, output Q0, output Q1
);
  reg high = INIT, low = INIT;
  always @(posedge CLK) begin
    high <= D0;
    low <= D1;
  end
  assign Q0 = CLK ? high : low;
  assign Q1 = TX;
endmodule
