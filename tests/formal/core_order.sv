// Retirement in order: numbers and addresses follow one another.
reg begun = 0, trapped = 0;  // something has retired since the start; it was a trap
reg [31:0] next;
reg [63:0] order;
always @(posedge clk)
  if (start) begun <= 0;
  else if (rvfi_valid)
    {begun, trapped, next, order} <= {1'b1, rvfi_trap, rvfi_pc_wdata, rvfi_order + 64'd1};
always @* if (rvfi_valid && !start) begin
  numbered: assert (rvfi_order == (begun ? order : 0));
  if (!rvfi_intr) address_follows: assert (rvfi_pc_rdata == (begun ? next : 0));
  address_of_a_word: assert (rvfi_pc_rdata[1:0] == 0);
end
always @(posedge clk) begin
  fifth: cover (rvfi_valid && rvfi_order == 4);
  behind_a_trap: cover (rvfi_valid && begun && trapped);
end
