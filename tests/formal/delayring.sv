// DelayRing of three or five cycles: the word as it was, by the choice of two cycles ago.
reg [2:0] age = 0;
reg [39:0] past;
reg choice_q, choice_qq;
always @(posedge clk) begin
  age <= rst ? 0 : age == 7 ? 7 : age + 1;
  past <= {past[31:0], word};
  {choice_qq, choice_q} <= {choice_q, choice};
end
always @* if (age > 5) begin
  delay_is_right: assert (delayed == (choice_qq ? past[39:32] : past[23:16]));
end
