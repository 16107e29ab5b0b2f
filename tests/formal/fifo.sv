// Fifo: what level and flags say, and one entry followed from end to end.
wire pushed = input_valid && input_ready;
wire popped = output_valid && output_ready;
always @* begin
  level_in_bounds: assert (level <= `DEPTH);
  ready_unless_full: assert (input_ready == (level != `DEPTH));
  valid_unless_empty: assert (output_valid == (level != 0));
end

// Any one entry at a time: how many are ahead of it, where it lies, what it holds.
(* anyseq *) reg follow;
reg followed = 0;
reg [$bits(level)-1:0] ahead;
reg [$bits(read__addr)-1:0] place;
reg [$bits(input_payload)-1:0] value;
always @(posedge clk)
  if (rst) followed <= 0;
  else if (!followed) begin
    followed <= pushed && follow;
    ahead <= level - popped;
    place <= read__addr + level;
    value <= input_payload;
  end else if (popped) begin
    followed <= ahead != 0;
    ahead <= ahead - 1;
  end
always @* begin
  pointers_agree: assert ($bits(read__addr)'(read__addr + level) == \$signature__addr );
  if (followed) begin
    entry_is_inside: assert (ahead < level);
    entry_in_its_turn: assert (place == $bits(read__addr)'(read__addr + ahead));
    entry_is_kept: assert (memory[place] == value);
    if (ahead == 0) entry_comes_out: assert (output_valid && output_payload == value);
  end
end

// A stream holds still until it is taken.
reg started = 0;
always @(posedge clk) begin
  started <= 1;
  if (started && $past(output_valid && !output_ready && !rst))
    stable: assert (output_valid && output_payload == $past(output_payload));
  full: cover (level == `DEPTH);
end
