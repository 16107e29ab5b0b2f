// RamFifo: used as promised (a push only with room, a pop only of an entry two cycles old), it
// shows its entries in order.
reg [$bits(level)-1:0] settled = 0;  // entries pushed two or more cycles ago
reg fresh = 0;                       // one was pushed a cycle ago
reg started = 0;
always @* begin
  assume (!push || room);
  assume (!pop || settled != 0);
end
always @(posedge clk) begin
  started <= 1;
  fresh <= push && !rst;
  settled <= rst ? 0 : settled + fresh - pop;
  full: cover (level == 4 && settled == 4);
end

(* anyseq *) reg follow;
reg followed = 0, old = 0;
reg [$bits(level)-1:0] ahead;
reg [1:0] place;
reg [$bits(tail)-1:0] value;
always @(posedge clk) begin
  old <= followed;
  if (rst) followed <= 0;
  else if (!followed) begin
    followed <= push && follow;
    ahead <= level - pop;
    place <= \$signature__addr ;
    value <= tail;
  end else if (pop) begin
    followed <= ahead != 0;
    ahead <= ahead - 1;
  end
end
always @* begin
  level_counts: assert (level == settled + fresh && level <= 4 && settled <= 4);
  room_unless_full: assert (room == (level != 4));
  head_when_settled: assert (head_valid == (settled != 0));
  pointers_agree: assert (2'(\$signature__addr - read__addr) == 2'(level - head_valid));
  if (followed) begin
    entry_is_inside: assert (ahead < level);
    entry_in_its_turn: assert (2'(read__addr + ahead) == 2'(place + head_valid));
    if (ahead != 0 || !head_valid) entry_is_kept: assert (memory[place] == value);
    else entry_comes_out: assert (head == value);
  end
end
