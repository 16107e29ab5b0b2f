// SkidBuffer: one entry followed, at most two inside, and streams that hold still.
wire pushed = input_valid && input_ready;
wire popped = output_valid && output_ready;
reg [1:0] inside = 0;
(* anyseq *) reg follow;
reg followed = 0;
reg ahead;
reg [$bits(input_payload)-1:0] value;
reg started = 0;
always @(posedge clk) begin
  started <= 1;
  inside <= rst ? 0 : inside + pushed - popped;
  if (rst) followed <= 0;
  else if (!followed) begin
    followed <= pushed && follow;
    ahead <= inside != popped;
    value <= input_payload;
  end else if (popped) begin
    followed <= ahead;
    ahead <= 0;
  end
  if (started && $past(output_valid && !output_ready && !rst))
    stable: assert (output_valid && output_payload == $past(output_payload));
  both_used: cover (inside == 2);
end
always @* begin
  two_at_most: assert (inside <= 2);
  ready_unless_full: assert (input_ready == (inside != 2));
  valid_unless_empty: assert (output_valid == (inside != 0));
  if (followed) begin
    entry_is_inside: assert (ahead < inside);
    if (ahead) entry_is_kept: assert (spare == value);
    else entry_comes_out: assert (output_valid && output_payload == value);
  end
end
