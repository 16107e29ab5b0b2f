// A Fifo inside another unit: its flags are what its level says. The unit's induction needs it.
always @* begin
  ready_unless_full: assert (input__ready == (level != `IN_FLIGHT) && level <= `IN_FLIGHT);
  valid_unless_empty: assert (output__valid == (level != 0));
end
