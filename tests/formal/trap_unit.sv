// TrapUnit's contract with the execute stage: asserted of the unit, assumed where the unit is left
// out. What else it does is free there.
reg asked = 0, stopped_q = 0;
always @(posedge clk) begin
  asked <= (access || mret || trap) && !done && !stop && !rst;
  stopped_q <= stop && !rst;
end
always @* begin
  served_when_asked: `CONTRACT (!done || asked);
  refused_with_an_answer: `CONTRACT (!PORT(bad) || (done && !trap && !mret));
  instructions_are_words: `CONTRACT (!(done && (mret || trap)) || data[1:0] == 0);
  handlers_are_in_memory: `CONTRACT (!(done && trap) || (data != 0 && data < 1024));
  stops_instead_of_entering: `CONTRACT (!stop || (trap && !done));
  fault_follows_a_stop: `CONTRACT (!fault[0] || stopped_q);
end
