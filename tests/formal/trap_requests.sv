// How the execute stage asks: one asks at a time, held until it is served; one that is dropped
// (the program has been stopped) is followed by a restart.
reg dropped = 0, past_open = 0;
reg [2:0] past_asks = 0;
wire [2:0] asks = {access, mret, trap};
always @* begin
  assume (asks == 0 || asks == 1 || asks == 2 || asks == 4);
  if (past_open && !dropped && asks != 0) assume (asks == past_asks);
  if (dropped) assume (asks == 0);
end
always @(posedge clk) begin
  past_asks <= asks;
  past_open <= asks != 0 && !done && !rst && !restart;
  dropped <= (dropped || (past_open && asks == 0)) && !restart && !rst;
  returned: cover (done && mret);
  handled: cover (done && trap);
end
