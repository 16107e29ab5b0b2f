// CommandQueue of the store engine: any one push followed from its entry to its command. Tokens
// stay until they are taken, and the engine becomes busy by a command only.
localparam OWN = 3;
wire entry = entries_valid && entries_ready, comes = entry && entries_payload[0];
wire [3:0] mask = entries_payload[41:38];
wire [255:0] fields = command_payload[255:0];
wire [31:0] a = entries_payload[37:6], b = entries_payload[69:38];
localparam [2:0] number = `NUMBER;  // of the register that is looked at
wire [5:0] width = number == 1 ? `BITS + 1 : number == 2 || number == 5 || number == 7 ? 20 : 32;
wire writes = entry && !entries_payload[0];
reg started = 0;
always @(posedge clk) begin
  started <= 1;
  if (started && !$past(rst)) begin
    assume (($past(available & ~take) & ~available) == 0);
    assume (engine_busy <= $past(engine_busy || (command_valid && command_ready)));
    if ($past(entries_valid && !entries_ready)) assume (entries_valid && $stable(entries_payload));
  end
end

// Registers in the order of entries; the one that addresses a memory must fit.
reg [31:0] value = 0;
reg signed [21:0] address = 0;
reg unfit = 0;
wire signed [21:0] sum = (entries_payload[1] ? address : 22'sd0) + $signed(b[19:0]);
always @(posedge clk) begin
  if (writes && entries_payload[5:2] == number[2:1])
    value <= (entries_payload[1] ? value : 0) + (number[0] ? b : a);
  if (writes && entries_payload[5:2] == 0) begin
    address <= sum;
    unfit <= unfit || sum >= (1 << `BITS) || sum < -(1 << `BITS);
  end
  if (rst) {value, address, unfit} <= 0;
end

(* anyseq *) reg follow;
reg followed = 0, offered = 0, bad;
reg [3:0] ahead, waiting = 0;  // comes that have come and not gone
reg [3:0] wait_for, post;
reg stamp;
reg [31:0] kept;
reg [13:0] pc;
// Its going shows a cycle later, as a command or as a fault; a command when no halt hides it.
reg offers_q = 0, halt_q = 0, illegal_q = 0;  // offers_q: shown, and not taken
wire went = (command_valid && !offers_q) || (illegal && !illegal_q);
wire [3:0] before = waiting - went;
always @(posedge clk) begin
  offers_q <= !rst && (command_valid ? !command_ready : offers_q);
  {halt_q, illegal_q} <= rst ? 0 : {halt, illegal};
  waiting <= rst ? 0 : before + comes;
  if (rst) followed <= 0;
  else if (!followed) begin
    followed <= comes && follow;
    {ahead, wait_for, post, stamp, kept, pc, bad} <=
      {before, mask, b[7:4], b[8], value, a[15:2], unfit};
  end else if (went) begin
    followed <= ahead != 0;
    ahead <= ahead - 1;
  end
end
wire its_turn = followed && ahead == 0 && went;
wire [31:0] differ = (fields[32 * number +: 32] ^ kept) << (32 - width);
reg [3:0] take_q = 0;  // what was taken behind a halt that hides the command
reg halt_qq = 0;
always @(posedge clk) begin
  take_q <= halt_q && !rst ? take_q | take : 0;
  halt_qq <= halt_q && !rst;
end
always @* begin
  no_token_that_is_not_there: assert ((take & ~available) == 0 && !take[OWN]);
  never_more_than_came: assert (!went || waiting != 0);
  if (its_turn) begin
    takes_what_it_waits_for: assert ((take_q | take) == (wait_for & ~(4'd1 << OWN)));
    illegal_if_it_does_not_fit: assert (illegal == bad && command_valid == !bad);
    if (!bad) register_is_right: assert (differ == 0);
    masks_are_right: assert (command_payload[260:256] == {stamp, post});
    pc_is_right: assert (command_payload[261 +: 14] == pc);
  end
  empty_is_right: assert (!empty || waiting == went);
  level_in_bounds: assert (level <= `DEPTH);
  if (halt_q) nothing_while_halted: assert (!command_valid && (!halt_qq || take == 0));
  room_is_ready: assert (!room || entries_ready);
end
reg busy_q = 0, valid_q = 0;
always @(posedge clk) begin
  busy_q <= engine_busy;
  valid_q <= command_valid;
  if (started && !$past(rst)) begin
    if (offers_q) stable: assert ((command_valid || halt_q) && $stable(command_payload));
    // What the dispatcher assumes: room for two, which only entries take away.
    if ($past(room)) room_for_two: assert (entries_ready);
    if ($past(room && !entry)) room_stays: assert (room);
    if (its_turn && wait_for[OWN])
      waits_for_its_engine: assert (!busy_q && !valid_q);
    if ($past(illegal)) nothing_after_a_fault: assert (illegal && !$rose(command_valid));
  end
  second_command: cover (its_turn && wait_for == 15 && $past(followed)
    && kept == 7);
end
