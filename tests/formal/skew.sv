// Skew of four bytes: byte c is c cycles late, from some cycles after a reset on.
reg [2:0] age = 0;
reg [31:0] word_q, word_qq, word_qqq;
always @(posedge clk) begin
  age <= rst ? 0 : age == 7 ? 7 : age + 1;
  {word_qqq, word_qq, word_q} <= {word_qq, word_q, word};
end
always @* begin
  first_at_once: assert (skewed[7:0] == word[7:0]);
  places_follow: assert (place_2 == 2'(write - 1) && place_3 == 2'(write - 2));
  if (age > 3) begin
    second_a_cycle_late: assert (skewed[15:8] == word_q[15:8]);
    third_two_late: assert (skewed[23:16] == word_qq[23:16]);
    fourth_three_late: assert (skewed[31:24] == word_qqq[31:24]);
  end
end
