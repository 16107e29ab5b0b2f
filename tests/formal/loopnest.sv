// LoopNest of three levels: iterations counted, every address inside the bounds that counts and
// strides span, the end told in the last iteration and in no other. The widths are small: products
// of wide numbers are beyond the solver, and the hardware has none.
wire [1:0] c0 = counts[1:0], c1 = counts[3:2], c2 = counts[5:4];
reg begun = 0, first_round = 0;
reg [1:0] i0, i1, i2;
reg [4:0] taken;
(* anyconst *) reg [3:0] stride0, stride1, stride2;  // a level's own step
(* anyconst *) reg [7:0] origin;
wire [7:0] back0 = stride0 * 2'(c0 - 1), back1 = stride1 * 2'(c1 - 1);
wire [8:0] top = origin + back0 + back1 + stride2 * 2'(c2 - 1);
wire [7:0] address = origin + i0 * stride0 + i1 * stride1 + i2 * stride2;
wire [4:0] place = i0 + c0 * (i1 + c1 * i2), total = c0 * c1 * c2;
reg started = 0;
always @(posedge clk) started <= 1;
always @* begin
  assume (c0 != 0 && c1 != 0 && c2 != 0);
  assume (steps == {8'(stride2 - back1 - back0), 8'(stride1 - back0), 8'(stride0)});
  assume (start == origin);
  assume (top < 256);
end
always @(posedge clk) begin
  if (started && $past(begun || load) && !load) assume ($stable(counts));
  if (rst) begun <= 0;
  else if (load) begin
    {begun, first_round} <= 2'b11;
    {i0, i1, i2, taken} <= 0;
  end else if (step && begun) begin
    i0 <= last[0] ? 0 : i0 + 1;
    if (last[0]) i1 <= last[1] ? 0 : i1 + 1;
    if (last[1:0] == 3) i2 <= last[2] ? 0 : i2 + 1;
    taken <= &last ? 0 : taken + 1;
    if (&last) first_round <= 0;
  end
  four_iterations: cover (begun && first_round && taken == 3 && &last);
end
always @* if (begun && !load) begin
  iteration_in_bounds: assert (i0 < c0 && i1 < c1 && i2 < c2);
  last_is_right: assert (last == {i2 == c2 - 1, i1 == c1 - 1, i0 == c0 - 1});
  steps_are_counted: assert (taken == place);
  done_exactly_once: assert (&last == (taken == 5'(total - 1)));
  if (first_round) begin
    address_is_right: assert (values == address);
    address_in_bounds: assert (values >= origin && values <= top);
  end
  left_is_right: assert (left0 == 2'(c0 - i0) && left1 == 2'(c1 - i1) && left2 == 2'(c2 - i2));
  advance_is_right: assert (advance == (!last[0] ? 3'd1 : !last[1] ? 3'd2 : 3'd4));
end
