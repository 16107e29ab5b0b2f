// Branches, JAL and JALR, as the specification has them ("The RISC-V Instruction Set Manual",
// volume I, 2.5): targets, conditions, links; a trap when, and only when, the target is no word.
wire [31:0] insn = rvfi_insn, a = rvfi_rs1_rdata, b = rvfi_rs2_rdata;
wire branch = insn[6:0] == 7'b1100011 && insn[14:13] != 1;
wire jal = insn[6:0] == 7'b1101111, jalr = insn[6:0] == 7'b1100111 && insn[14:12] == 0;
wire less = insn[13] ? a < b : $signed(a) < $signed(b);
wire taken = (insn[14] ? less : a == b) ^ insn[12];
wire [31:0] imm_b = {{20{insn[31]}}, insn[7], insn[30:25], insn[11:8], 1'b0};
wire [31:0] imm_j = {{12{insn[31]}}, insn[19:12], insn[20], insn[30:21], 1'b0};
wire [31:0] imm_i = {{20{insn[31]}}, insn[31:20]};
wire [31:0] to = jalr ? (a + imm_i) & ~32'd1 : rvfi_pc_rdata + (jal ? imm_j : imm_b);
wire jumps = jal || jalr || (branch && taken);
always @* if (rvfi_valid && (branch || jal || jalr)) begin
  traps_if_misaligned: assert (rvfi_trap == (jumps && to[1]));
  if (!rvfi_trap) begin
    target: assert (rvfi_pc_wdata == (jumps ? to : rvfi_pc_rdata + 4));
    link: assert (rvfi_rd_addr == (branch ? 0 : insn[11:7]));
    link_value: assert (rvfi_rd_wdata == (rvfi_rd_addr == 0 ? 0 : rvfi_pc_rdata + 4));
  end else nothing_written: assert (rvfi_rd_addr == 0);
end
always @(posedge clk) begin
  taken_branch: cover (rvfi_valid && branch && taken && !rvfi_trap && imm_b[12]);
end
