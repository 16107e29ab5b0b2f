// TokenCounters: for any producer and consumer, a counter that never lies.
(* anyconst *) reg [1:0] producer, consumer;
wire [5:0] completion =
  producer == 0 ? completions_0 : producer == 1 ? completions_1 :
  producer == 2 ? completions_2 : completions_3;
wire [3:0] takes = consumer == 0 ? take_0 : consumer == 1 ? take_1 : consumer == 2 ? take_2 : take_3;
wire [3:0] there =
  consumer == 0 ? available_0 : consumer == 1 ? available_1 :
  consumer == 2 ? available_2 : available_3;
wire given = completion[0] && completion[1 + consumer];
wire taken = takes[producer];

reg [8:0] tokens = 0;
reg lost = 0, started = 0;
always @* begin
  assume (producer != consumer);
  assume (!taken || there[producer]);
end
always @(posedge clk) begin
  started <= 1;
  tokens <= rst || clear ? 0 : tokens + (given && !(tokens == `LIMIT && !taken)) - taken;
  lost <= given && !taken && tokens == `LIMIT && !rst;
  two_tokens: cover (tokens == 2);
end

wire [127:0] counters = {
  8'd0, count_3_2, count_3_1, count_3_0, count_2_3, 8'd0, count_2_1, count_2_0,
  count_1_3, count_1_2, 8'd0, count_1_0, count_0_3, count_0_2, count_0_1, 8'd0};
always @* begin
  counter_is_right: assert (tokens == counters[8 * {producer, consumer} +: 8]);
  available_while_some: assert (there[producer] == (tokens != 0));
  never_its_own: assert (!there[consumer]);
  loss_is_told: assert (!lost || (overflow[producer] && overflowed[consumer]));
end
wire [3:0] full = {
  counters[8 * {producer, 2'd3} +: 8] == `LIMIT, counters[8 * {producer, 2'd2} +: 8] == `LIMIT,
  counters[8 * {producer, 2'd1} +: 8] == `LIMIT, counters[8 * {producer, 2'd0} +: 8] == `LIMIT};
always @(posedge clk)
  if (started) told_only_when_lost: assert ($past(completion[0] && |(completion[4:1] & full)) || !overflow[producer]);
