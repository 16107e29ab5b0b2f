// AddressChannel: bursts that keep AXI's rules and the window, and make up each row.
localparam BEAT = $clog2(`BUS_BYTES);
(* anyconst *) reg [63:0] fixed_window;
wire [31:0] row_address = rows_payload[31:0];
wire [20:0] row_span = rows_payload[52:32];
wire [31:0] address = bursts_payload[31:0];
wire [7:0] length = bursts_payload[39:32];
wire [32:0] final_beat = address + length * `BUS_BYTES;
wire row = rows_valid && rows_ready, burst = bursts_valid && bursts_ready;
reg started = 0;
always @(posedge clk) started <= 1;

// Bursts that the bus has taken, and those that it may yet answer.
reg [3:0] open = 0;
always @* begin
  assume (window == fixed_window);
  // Rows do not run past the end of the address space: the driver checks it.
  assume (row_address + row_span < 33'h1_0000_0000);
  assume (!done || open != 0);
end
always @(posedge clk) open <= rst ? 0 : open + burst - done;

always @* begin
  few_outstanding: assert (open + bursts_valid <= `IN_FLIGHT && level <= `IN_FLIGHT);
  list_is_right: assert (level == open + (refused || held));
  quiet_is_right: assert (quiet == (open == 0 && !bursts_valid));
  if (bursts_valid) begin
    aligned: assert (address % `BUS_BYTES == 0);
    not_across_4_kib: assert (address[31:12] == final_beat[31:12] && !final_beat[32]);
    inside_window: assert (
      address[31:`GRANULE] >= window[31:`GRANULE] &&
      final_beat[31:`GRANULE] <= window[63:32 + `GRANULE]);
  end
end

// The row at work: where its next burst begins, and its last beat.
reg busy = 0;
reg [31:0] next, row_end;
always @(posedge clk) begin
  if (rst) busy <= 0;
  else if (row) begin
    busy <= 1;
    next <= row_address >> BEAT << BEAT;
    row_end <= (row_address + row_span) >> BEAT << BEAT;
  end else if (issued) begin
    busy <= {block, beat} != next >> BEAT || !\final || outside;
    next <= (32'(block) + 1) << (BEAT + 8);
  end
  if (started && !$past(rst) && $past(issued)) begin
    begins_where_last_ended: assert (address == $past(next));
    ends_with_row_or_block: assert (
      final_beat == ($past(busy && \final ) ? row_end : {address[31:BEAT + 8], 8'hff, BEAT'(0)}));
  end
  if (started && !$past(rst) && $past(bursts_valid && !bursts_ready))
    stable: assert (bursts_valid && $stable(bursts_payload));
  if (started && !$past(rst) && $past(refused))
    refused_for_ever: assert (refused && !bursts_valid && !issued);
  if (started && !$past(rst) && $past(halt)) no_burst_while_halted: assert (!$rose(held));
  two_bursts: cover (busy && open == 1 && bursts_valid);
end
always @* begin
  issues_of_a_row: assert (!issued || busy);
  row_at_work: assert (busy == row_valid);
  // A row of which a burst is refused stays, and keeps others out.
  if (refused) refused_row_stays: assert (busy && !rows_ready);
  if (busy && !refused) begin
    next_is_right: assert (next == {block, beat, BEAT'(0)} && row_end % `BUS_BYTES == 0);
    rest_is_right: assert (
      blocks_left == row_end[31:BEAT + 8] - block && end_beat == row_end[BEAT +: 8]
      && next <= row_end);
    last_is_told: assert (\final == (row_end[31:BEAT + 8] == next[31:BEAT + 8]));
  end
end
