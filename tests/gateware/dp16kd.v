// Lattice's block RAM as far as the emitted module uses it (FPGA-TN-02204): port A writes, port B
// reads through its output register; with 36 bits the data pins of both ports are one word's.
module DP16KD #(
  parameter DATA_WIDTH_A = 18, parameter DATA_WIDTH_B = 18,
  parameter REGMODE_A = "NOREG", parameter REGMODE_B = "NOREG", parameter RESETMODE = "SYNC",
  parameter WRITEMODE_A = "NORMAL", parameter WRITEMODE_B = "NORMAL", parameter GSR = "ENABLED"
) (
  input ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
  input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
  input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8,
  input DIA9, DIA10, DIA11, DIA12, DIA13, DIA14, DIA15, DIA16, DIA17,
  input DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8,
  input DIB9, DIB10, DIB11, DIB12, DIB13, DIB14, DIB15, DIB16, DIB17,
  output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8,
  output DOA9, DOA10, DOA11, DOA12, DOA13, DOA14, DOA15, DOA16, DOA17,
  output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8,
  output DOB9, DOB10, DOB11, DOB12, DOB13, DOB14, DOB15, DOB16, DOB17,
  input CLKA, CEA, OCEA, RSTA, WEA, CSA0, CSA1, CSA2,
  input CLKB, CEB, OCEB, RSTB, WEB, CSB0, CSB1, CSB2
);
  wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [35:0] di = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
    DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
    DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  reg [35:0] word, word_q;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
          DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = DATA_WIDTH_B == 36 ? word_q[17:0] : 18'bx;
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
          DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? word_q[35:18] : word_q[17:0];
  // By the place of its lowest bit: nine bits to a byte, the ninth kept beside.
  localparam BITS = DATA_WIDTH_A >= 9 ? DATA_WIDTH_A / 9 * 8 : DATA_WIDTH_A;
  localparam LANE = DATA_WIDTH_A >= 9 ? 8 : DATA_WIDTH_A;
  localparam PITCH = DATA_WIDTH_A >= 9 ? 9 : DATA_WIDTH_A;
  reg [16383:0] memory = 0;
  reg [2047:0] ninth = 0;
  integer i;
  initial if (DATA_WIDTH_A != DATA_WIDTH_B || REGMODE_A != "OUTREG" || REGMODE_B != "OUTREG"
      || WRITEMODE_A != "NORMAL" || WRITEMODE_B != "NORMAL") $fatal;
  always @(posedge CLKA) begin
    if ({CEA, OCEA, CEB, OCEB} !== 4'b1111) $fatal;
    if ({RSTA, RSTB, WEB, CSA0, CSA1, CSA2, CSB0, CSB1, CSB2} !== 9'b0) $fatal;
    word_q <= word;
    for (i = 0; i < BITS / LANE; i = i + 1) begin
      word[PITCH*i +: LANE] <= memory[adb / BITS * BITS + LANE*i +: LANE];
      if (PITCH == 9) word[PITCH*i + 8] <= ninth[adb / BITS * BITS / 8 + i];
      if (WEA && (BITS < 16 || ada[i])) begin
        memory[ada / BITS * BITS + LANE*i +: LANE] <= di[PITCH*i +: LANE];
        if (PITCH == 9) ninth[ada / BITS * BITS / 8 + i] <= di[PITCH*i + 8];
      end
    end
  end
endmodule
