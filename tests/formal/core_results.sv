// Results of computing instructions (RV32I, 2.4), from the operands that retirement shows.
wire [31:0] insn = rvfi_insn, a = rvfi_rs1_rdata;
wire op = insn[6:0] == 7'b0110011, op_imm = insn[6:0] == 7'b0010011;
wire lui = insn[6:0] == 7'b0110111, auipc = insn[6:0] == 7'b0010111;
wire [2:0] f = insn[14:12];
wire [31:0] b = op ? rvfi_rs2_rdata : {{20{insn[31]}}, insn[31:20]};
wire high = insn[31:25] == 7'b0100000;
wire legal = op ? insn[31:25] == 0 || (high && (f == 0 || f == 5))
  : f == 1 ? insn[31:25] == 0 : f != 5 || insn[31:25] == 0 || high;
wire [31:0] arithmetic = $signed(a) >>> b[4:0], right = insn[30] ? arithmetic : a >> b[4:0];
wire [31:0] expected =
  f == 0 ? (op && insn[30] ? a - b : a + b) : f == 1 ? a << b[4:0] :
  f == 2 ? $signed(a) < $signed(b) : f == 3 ? a < b : f == 4 ? a ^ b : f == 5 ? right :
  f == 6 ? a | b : a & b;
wire [31:0] upper = {insn[31:12], 12'd0} + (auipc ? rvfi_pc_rdata : 0);
always @* if (rvfi_valid) begin
  if (op || op_imm) traps_if_illegal: assert (rvfi_trap == !legal);
  if (lui || auipc) never_traps: assert (!rvfi_trap);
  if ((op || op_imm || lui || auipc) && !rvfi_trap) begin
    goes_on: assert (rvfi_pc_wdata == rvfi_pc_rdata + 4);
    destination: assert (rvfi_rd_addr == insn[11:7]);
    if (rvfi_rd_addr != 0) result_is_right: assert (rvfi_rd_wdata == (op || op_imm ? expected : upper));
    no_memory: assert (rvfi_mem_rmask == 0 && rvfi_mem_wmask == 0);
  end
end
