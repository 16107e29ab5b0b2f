// How the execute stage asks: one asks at a time, held until it is served; one that is dropped
// (the program has been stopped) is followed by a restart.
reg [2:0] past_asks = 0;
wire [2:0] which = {access, mret, trap};
always @* begin
  assume (which == 0 || which == 1 || which == 2 || which == 4);
  if (open_q && !dropped && asks) assume (which == past_asks);
  if (dropped) assume (!asks);
  // It starts with nothing under way.
  if (restart || restarted) assume (!asks);
end
always @(posedge clk) begin
  past_asks <= which;
  returned: cover (done && mret);
  handled: cover (done && trap);
end
