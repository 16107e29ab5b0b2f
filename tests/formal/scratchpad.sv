// Scratchpad of two banks, one word per row and bank: who goes first, and what reads return.
wire [1:0] m_at = matmul_0_request_payload, v_at = vector_request_payload;
wire [1:0] s_at = store_request_payload, r_at = result_request_payload[1:0];
wire [1:0] l_at = load_request_payload[1:0];
wire matmul = matmul_0_request_valid, reads_v = vector_request_valid && vector_request_ready;
wire reads_s = store_request_valid && store_request_ready;
wire result = result_request_valid, loads = load_request_valid && load_request_ready;
reg started = 0;
always @(posedge clk) started <= 1;
always @* assume (!rst);

// Who goes first, and in a bank no two at a time.
always @* begin
  first_never_waits: assert (matmul_0_request_ready && result_request_ready);
  vector_waits_for_matmul: assert (vector_request_ready == !(matmul && m_at[0] == v_at[0]));
  store_waits_for_both: assert (store_request_ready ==
    !(matmul && m_at[0] == s_at[0] || vector_request_valid && v_at[0] == s_at[0]));
  load_waits_for_result: assert (load_request_ready == !(result && r_at[0] == l_at[0]));
  // What store's and load's ready hangs on, for who knows an address before it is here.
  banks_read_are_told: assert (reading ==
    {v_at[0], vector_request_valid, m_at[0], matmul});
  banks_written_are_told: assert (writing == {r_at[0], result});
end

// One word of the memory, a byte of it: what it holds, and for how long it has.
(* anyconst *) reg [1:0] word;
(* anyconst *) reg [1:0] number;
wire hit = (result && r_at == word && result_request_payload[34 + number / 2])
  || (loads && l_at == word);
wire [31:0] data = result && r_at == word ? result_request_payload[33:2] : load_request_payload[33:2];
reg [7:0] value = 0;
reg fresh = 0;  // written in the last cycle
always @(posedge clk) begin
  fresh <= hit;
  if (hit) value <= data[8 * number +: 8];
end

// Three cycles later, on each port.
wire [2:0] asks = {reads_s, reads_v, matmul};
wire [2:0] here = {s_at == word, v_at == word, m_at == word};
wire [2:0] answers = {store_response[0], vector_response[0], matmul_0_response[0]};
wire [95:0] words = {store_response[32:1], vector_response[32:1], matmul_0_response[32:1]};
reg [2:0] asks_q = 0, asks_qq = 0, asks_qqq = 0, here_q, here_qq, here_qqq;
reg [7:0] value_q, value_qq, value_qqq;
(* anyconst *) reg [1:0] port;
always @(posedge clk) begin
  {asks_q, asks_qq, asks_qqq} <= {asks, asks_q, asks_qq};
  {here_q, here_qq, here_qqq} <= {here, here_q, here_qq};
  {value_q, value_qq, value_qqq} <= {value, value_q, value_qq};
  two_answered: cover (answers == 3 && |here_qqq[1:0] && value_qqq == 8'h12);
end
always @* begin
  assume (port < 3);
  // Tokens keep reads away from writes: two cycles after one, and not in one with one.
  if (|(asks & here)) assume (!hit && !fresh);
  answered_in_its_cycle: assert (answers == asks_qqq);
  if (answers[port] && here_qqq[port])
    answer_is_what_was_written: assert (words[32 * port + 8 * number +: 8] == value_qqq);
end
