// TrapUnit's contract with the execute stage: asserted of the unit, assumed where the unit is left
// out. What else it does is free there.
reg asked = 0, stopped_q = 0;
// A request that is dropped, since the program has been stopped, may yet be served until a restart,
// and in the cycle after it.
reg open_q = 0, dropped = 0, restarted = 0;
reg [1:0] trap_cycles = 0;  // for how long a trap has been asked for
wire asks = PORT(access) || PORT(mret) || PORT(trap);
always @(posedge clk) begin
  asked <= asks && !PORT(done) && !PORT(stop) && !rst;
  stopped_q <= PORT(stop) && !rst;
  trap_cycles <= PORT(trap) && !rst ? trap_cycles + (trap_cycles != 3) : 0;
  restarted <= PORT(restart) && !rst;
  open_q <= asks && !PORT(done) && !rst && !PORT(restart);
  dropped <= (dropped || (open_q && !asks)) && !PORT(restart) && !rst;
end
always @* begin
  served_when_asked: `CONTRACT (!PORT(done) || asked || dropped || restarted || (open_q && !asks));
  refused_with_an_answer: `CONTRACT (!PORT(bad) || (PORT(done) && !PORT(trap) && !PORT(mret)));
  instructions_are_words: `CONTRACT (!(PORT(done) && (PORT(mret) || PORT(trap))) || PORT(data)[1:0] == 0);
  handlers_are_in_memory: `CONTRACT (!(PORT(done) && PORT(trap)) || (PORT(data) != 0 && PORT(data) < 1024));
  // What was on its way behind the trap is gone by then.
  handlers_come_late: `CONTRACT (!(PORT(done) && PORT(trap)) || trap_cycles == 3);
  data_with_done_only: `CONTRACT (PORT(done) || PORT(data) == 0);
  stops_instead_of_entering: `CONTRACT (!PORT(stop) || (PORT(trap) && !PORT(done)));
  fault_follows_a_stop: `CONTRACT (!PORT(fault)[0] || stopped_q);
end
