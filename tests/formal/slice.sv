// ReadySlice: one entry followed, at most one inside, and an output that holds still.
wire pushed = input_valid && input_ready;
wire popped = output_valid && output_ready;
reg inside = 0;
(* anyseq *) reg follow;
reg followed = 0;
reg [$bits(input_payload)-1:0] value;
reg started = 0;
always @(posedge clk) begin
  started <= 1;
  inside <= rst ? 0 : inside + pushed - popped;
  if (rst) followed <= 0;
  else if (!followed) begin
    followed <= pushed && follow && !popped;
    value <= input_payload;
  end else if (popped) followed <= 0;
  if (started && $past(output_valid && !output_ready && !rst))
    stable: assert (output_valid && output_payload == $past(output_payload));
  waits: cover (inside && popped);
end
always @* begin
  ready_unless_full: assert (input_ready == !inside);
  valid_when_due: assert (output_valid == (inside || input_valid));
  if (followed) begin
    entry_is_inside: assert (inside);
    entry_comes_out: assert (output_payload == value);
  end
  if (!inside && output_valid) goes_through: assert (output_payload == input_payload);
end
