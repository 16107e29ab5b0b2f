// Dispatcher: every operation once to the queue of its engine and to no other, as it was.
wire [83:0] operation = operation_payload;
wire [3:0] valids = {entries_3_valid, entries_2_valid, entries_1_valid, entries_0_valid};
wire [3:0] readies = {entries_3_ready, entries_2_ready, entries_1_ready, entries_0_ready};
wire accepted = operation_valid && operation_ready;
reg waiting = 0, started = 0;
reg [83:0] kept;
wire [1:0] engine = kept[9:8];  // funct7[6:5]
wire [69:0] shown =
  engine == 0 ? entries_0_payload : engine == 1 ? entries_1_payload :
  engine == 2 ? entries_2_payload : entries_3_payload;
wire push = kept[2:0] == `TPUSH;
wire leaves = waiting && readies[engine];
always @(posedge clk) begin
  started <= !rst;
  if (rst) waiting <= 0;
  else if (accepted) waiting <= 1;
  else if (leaves) waiting <= 0;
  if (accepted) kept <= operation;
  one_then_another: cover (waiting && engine == 3 && $past(waiting && engine == 1));
  one_behind_another: cover (accepted && leaves && $past(accepted && leaves));
  // `room` tells the truth: room for two, which only what comes takes away. Proven of queue.
  if (started) begin
    assume (($past(room) & ~readies) == 0);
    assume (($past(room & ~(valids & readies)) & ~room) == 0);
    if ($past(accepted)) one_per_cycle_with_room:
      assert (operation_ready == $past(room[operation[9:8]]));
    else if ($past(leaves || !waiting)) ready_when_nothing_waits: assert (operation_ready);
  end
end
always @* begin
  assume ((room & ~readies) == 0);
  never_overwritten: assert (!(operation_ready && waiting) || readies[engine]);
  to_its_engine_only: assert (valids == (waiting ? 4'd1 << engine : 4'd0));
  pending_until_queued: assert (pending == valids);
  blocked_when_full: assert (blocked == (valids & ~readies));
  if (waiting) begin
    kind_is_kept: assert (shown[0] == push && shown[1] == (kept[2:0] == `TADD));
    pair_is_kept: assert (push || shown[5:2] == kept[6:3]);
    first_operand: assert (shown[37:6] == kept[51:20]);
    second_operand: assert (shown[69:38] ==
      (push ? {23'd0, kept[3], kept[18:15], kept[13:10]} : kept[83:52]));
  end
end
