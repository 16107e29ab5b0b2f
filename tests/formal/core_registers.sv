// Registers, seen at retirement: any one is what it was last set to.
(* anyconst *) reg [4:0] number;
reg [31:0] written = 0;  // power-up
always @(posedge clk) begin
  if (rvfi_valid && rvfi_rd_addr == number) written <= number == 0 ? 0 : rvfi_rd_wdata;
  read_after_write: cover (rvfi_valid && rvfi_rs1_addr == number && written == 32'h12345000);
end
always @* if (rvfi_valid) begin
  if (rvfi_rs1_addr == number) rs1_is_last_written: assert (rvfi_rs1_rdata == written);
  if (rvfi_rs2_addr == number) rs2_is_last_written: assert (rvfi_rs2_rdata == written);
  if (rvfi_rd_addr == 0) x0_takes_nothing: assert (rvfi_rd_wdata == 0);
end
