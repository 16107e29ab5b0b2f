// Primitives of the iCE40 UltraPlus, for the simulation of a board's top (sim/board.py).
//
// Behaviour as in Lattice's SBTICETechnologyLibrary and FPGA-TN-02022, reduced to what the tops
// use. Clocks come of `simulation.phase`, see board.cpp.

module SB_PLL40_PAD #(
  parameter FEEDBACK_PATH = "SIMPLE", parameter DIVR = 0, parameter DIVF = 0, parameter DIVQ = 0,
  parameter FILTER_RANGE = 0
) (
  input PACKAGEPIN, input RESETB, input BYPASS,
  output PLLOUTCORE, output PLLOUTGLOBAL, output reg LOCK
);
  localparam VCO_KHZ = `SIMULATION_OSCILLATOR_KHZ / (DIVR + 1) * (DIVF + 1);

  initial begin
    if (FEEDBACK_PATH != "SIMPLE")
      $sformat(simulation.complaint, "the PLL's feedback is not the simple one");
    if (VCO_KHZ < 533000 || VCO_KHZ > 1066000)
      $sformat(simulation.complaint, "the PLL's VCO is at %0d kHz", VCO_KHZ);
    if (VCO_KHZ >> DIVQ != `SIMULATION_CLOCK_KHZ)
      $sformat(simulation.complaint, "the PLL makes %0d kHz", VCO_KHZ >> DIVQ);
  end

  reg [4:0] wait_cycles = 0;
  initial LOCK = 0;
  always @(posedge PACKAGEPIN) begin
    if (!LOCK) wait_cycles <= wait_cycles + 1;
    if (&wait_cycles) LOCK <= RESETB;
  end
  assign PLLOUTGLOBAL = simulation.phase;
  assign PLLOUTCORE = simulation.phase;
endmodule

// A pad without registers.
module SB_IO #(
  parameter [5:0] PIN_TYPE = 6'b000000, parameter [0:0] PULLUP = 0, parameter [0:0] NEG_TRIGGER = 0,
  parameter IO_STANDARD = "SB_LVCMOS"
) (
  inout PACKAGE_PIN, input LATCH_INPUT_VALUE, input CLOCK_ENABLE, input INPUT_CLK, input OUTPUT_CLK,
  input OUTPUT_ENABLE, input D_OUT_0, input D_OUT_1, output D_IN_0, output D_IN_1
);
  initial begin
    if (PIN_TYPE[1:0] != 2'b01)
      $sformat(simulation.complaint, "an SB_IO whose input is not the pin itself");
    if (PIN_TYPE[5:2] != 4'b0000 && PIN_TYPE[5:2] != 4'b0110 && PIN_TYPE[5:2] != 4'b1010)
      $sformat(simulation.complaint, "an SB_IO with registers in its output");
  end
  generate
    if (PIN_TYPE[5:2] == 4'b0110) assign PACKAGE_PIN = D_OUT_0;
    if (PIN_TYPE[5:2] == 4'b1010) assign PACKAGE_PIN = OUTPUT_ENABLE ? D_OUT_0 : 1'bz;
  endgenerate
  assign D_IN_0 = PACKAGE_PIN;
  assign D_IN_1 = 0;
endmodule

// 16,384 words of 16 bits; a bit of MASKWREN for four of them.
module SB_SPRAM256KA(
  input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN, input WREN, input CHIPSELECT,
  input CLOCK, input STANDBY, input SLEEP, input POWEROFF, output reg [15:0] DATAOUT
);
  reg [15:0] words [0:16383];
  wire awake = CHIPSELECT & ~STANDBY & ~SLEEP & POWEROFF;
  integer n;
  always @(posedge CLOCK)
    if (awake & WREN) begin
      for (n = 0; n < 4; n = n + 1)
        if (MASKWREN[n]) words[ADDRESS][4 * n +: 4] <= DATAIN[4 * n +: 4];
      // Nobody may use what it shows then.
      DATAOUT <= ~DATAOUT;
    end else if (awake) DATAOUT <= words[ADDRESS];
endmodule
