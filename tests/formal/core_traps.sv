// Traps, as far as retirement and the fault port show them: what must trap does and leaves
// nothing behind; a stopped program does nothing more.
wire [31:0] insn = rvfi_insn;
wire [6:0] opcode = insn[6:0];
wire load = opcode == 7'b0000011, store = opcode == 7'b0100011;
wire known = load || store || opcode == 7'b0110111 || opcode == 7'b0010111
  || opcode == 7'b1101111 || opcode == 7'b1100111 || opcode == 7'b1100011
  || opcode == 7'b0010011 || opcode == 7'b0110011 || opcode == 7'b0001111
  || opcode == 7'b1110011 || opcode == 7'b0001011;
wire [31:0] to = rvfi_rs1_rdata
  + {{20{insn[31]}}, insn[31:25], store ? insn[11:7] : insn[24:20]};
wire misaligned = insn[12] ? to[0] : insn[13] ? |to[1:0] : 1'b0;
wire in_program = to < `PROGRAM_BYTES, in_window = to - `WINDOW_BASE < `WINDOW_BYTES;
wire width_is_legal = store ? insn[14:12] < 3 : insn[14:12] != 3 && insn[14:12] < 6;
always @(posedge clk) begin
  a_trap: cover (rvfi_valid && rvfi_trap && rvfi_order == 2 && rvfi_insn == 32'h00000073);
end
always @* begin
  if (rvfi_valid) begin
    if (!known || insn == 32'h00000073 || insn == 32'h00100073) unknown_traps: assert (rvfi_trap);
    if (load || store) begin
      bad_access_traps: assert (
        rvfi_trap == (!width_is_legal || misaligned || !(in_program || in_window)));
      if (!rvfi_trap) address_is_right: assert (rvfi_mem_addr == {to[31:2], 2'd0});
    end
    if (rvfi_trap) begin
      trap_leaves_nothing: assert (
        rvfi_rd_addr == 0 && rvfi_mem_rmask == 0 && rvfi_mem_wmask == 0);
      handler_is_a_word: assert (rvfi_pc_wdata[1:0] == 0);
    end
  end
  stopped_is_silent: assert (!(still == 3 && rvfi_valid));
  fault_has_stopped: assert (!fault[0] || !running);
  no_request_when_stopped: assert (running || !(tensor_valid || window_request_valid));
end
