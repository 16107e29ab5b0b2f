// Primitives of the ECP5 around a design, for the simulation of a board's top (sim/board.py).
//
// Behaviour as in Lattice's FPGA Libraries Reference Guide and FPGA-TN-02200, reduced to what the
// tops use. Clocks come of `simulation.phase`, see board.cpp.

// CLKOP is the feedback and stands still; CLKOS and those of its period are in `phase`'s time.
module EHXPLLL #(
  parameter CLKI_DIV = 1, parameter CLKFB_DIV = 1, parameter FEEDBK_PATH = "CLKOP",
  parameter CLKOP_ENABLE = "ENABLED", parameter CLKOP_DIV = 8,
  parameter CLKOP_CPHASE = 0, parameter CLKOP_FPHASE = 0,
  parameter CLKOS_ENABLE = "DISABLED", parameter CLKOS_DIV = 8,
  parameter CLKOS_CPHASE = 0, parameter CLKOS_FPHASE = 0,
  parameter CLKOS2_ENABLE = "DISABLED", parameter CLKOS2_DIV = 8,
  parameter CLKOS2_CPHASE = 0, parameter CLKOS2_FPHASE = 0,
  parameter CLKOS3_ENABLE = "DISABLED", parameter CLKOS3_DIV = 8,
  parameter CLKOS3_CPHASE = 0, parameter CLKOS3_FPHASE = 0,
  parameter OUTDIVIDER_MUXA = "DIVA", parameter OUTDIVIDER_MUXB = "DIVB",
  parameter OUTDIVIDER_MUXC = "DIVC", parameter OUTDIVIDER_MUXD = "DIVD",
  parameter PLLRST_ENA = "DISABLED", parameter INTFB_WAKE = "DISABLED",
  parameter STDBY_ENABLE = "DISABLED", parameter DPHASE_SOURCE = "DISABLED"
) (
  input CLKI, input CLKFB, input RST, input STDBY,
  input PHASESEL0, input PHASESEL1, input PHASEDIR, input PHASESTEP, input PHASELOADREG,
  input PLLWAKESYNC, input ENCLKOP, input ENCLKOS, input ENCLKOS2, input ENCLKOS3,
  output CLKOP, output CLKOS, output CLKOS2, output CLKOS3, output reg LOCK
);
  localparam PHASES = `SIMULATION_PHASES;
  localparam VCO_KHZ = `SIMULATION_OSCILLATOR_KHZ / CLKI_DIV * CLKFB_DIV * CLKOP_DIV;
  // A clock's delay in phases: its counter's beginning, in eighths of the oscillator's period.
  localparam EIGHTHS = 8 * CLKOS_DIV;
  localparam BEGIN_S = 8 * (CLKOS_CPHASE - CLKOS_DIV + 1) + CLKOS_FPHASE;
  localparam BEGIN_S2 = 8 * (CLKOS2_CPHASE - CLKOS_DIV + 1) + CLKOS2_FPHASE;
  localparam DELAY_S = BEGIN_S * PHASES / EIGHTHS;
  localparam DELAY_S2 = BEGIN_S2 * PHASES / EIGHTHS;

  initial begin
    if (FEEDBK_PATH != "CLKOP") $sformat(simulation.complaint, "the PLL's feedback is not CLKOP");
    if (VCO_KHZ < 400000 || VCO_KHZ > 800000)
      $sformat(simulation.complaint, "the PLL's VCO is at %0d kHz", VCO_KHZ);
    if (VCO_KHZ / CLKOS_DIV != `SIMULATION_CLOCK_KHZ)
      $sformat(simulation.complaint, "the PLL makes %0d kHz", VCO_KHZ / CLKOS_DIV);
    if (CLKOS2_ENABLE == "ENABLED" && CLKOS2_DIV != CLKOS_DIV)
      $sformat(simulation.complaint, "CLKOS2 has another frequency than CLKOS");
    if (DELAY_S * EIGHTHS != BEGIN_S * PHASES || DELAY_S2 * EIGHTHS != BEGIN_S2 * PHASES)
      $sformat(simulation.complaint, "a delay of the PLL is no whole number of phases");
  end

  reg [7:0] now = 0;
  reg [4:0] wait_cycles = 0;
  initial LOCK = 0;
  always @(posedge simulation.phase or negedge simulation.phase)
    now <= now == PHASES - 1 ? 0 : now + 1;
  always @(posedge CLKI) begin
    if (!LOCK) wait_cycles <= wait_cycles + 1;
    if (&wait_cycles) LOCK <= 1;
  end
  assign CLKOP = 0;
  assign CLKOS = (now + 2 * PHASES - DELAY_S) % PHASES < PHASES / 2;
  assign CLKOS2 = (now + 2 * PHASES - DELAY_S2) % PHASES < PHASES / 2;
  assign CLKOS3 = 0;
endmodule

module IB(input I, output O);
  assign O = I;
endmodule

module OBZ(input I, input T, output O);
  assign O = T ? 1'bz : I;
endmodule

module BB(input I, input T, output O, inout B);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule

module OFS1P3BX(input D, input SP, input SCLK, input PD, output reg Q);
  initial Q = 1;
  always @(posedge SCLK or posedge PD) if (PD) Q <= 1; else if (SP) Q <= D;
endmodule

module OFS1P3DX(input D, input SP, input SCLK, input CD, output reg Q);
  initial Q = 0;
  always @(posedge SCLK or posedge CD) if (CD) Q <= 0; else if (SP) Q <= D;
endmodule

module IFS1P3DX(input D, input SP, input SCLK, input CD, output reg Q);
  initial Q = 0;
  always @(posedge SCLK or posedge CD) if (CD) Q <= 0; else if (SP) Q <= D;
endmodule

// D0 while the clock is high, D1 while it is low; of what they were at the edge before.
module ODDRX1F(input D0, input D1, input SCLK, input RST, output Q);
  reg high = 0, low = 0;
  always @(posedge SCLK) begin
    high <= D0 & ~RST;
    low <= D1 & ~RST;
  end
  assign Q = SCLK ? high : low;
endmodule
