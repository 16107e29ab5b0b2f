// ByteBuffer: any one byte followed from its write to its place in a word.
localparam RING = 1 << $bits(place), BEAT = $bits(data) / 8, WORD = $bits(word) / 8;
(* anyconst *) reg [$bits(place)-1:0] byte_number;
wire [$bits(place)-1:0] offset = byte_number - place;  // in the word that is read now
reg known = 0, first = 0, second = 0;
reg [7:0] value, first_value, second_value;
reg [$bits(place)-1:0] first_offset, second_offset;
always @(posedge clk) begin
  if (write && beat == byte_number / BEAT)
    {known, value} <= {1'b1, data[8 * (byte_number % BEAT) +: 8]};
  if (move) begin
    {first, first_value, first_offset} <= {known && offset < WORD, value, offset};
    {second, second_value, second_offset} <= {first, first_value, first_offset};
  end
  // A reset does not clear the memories, but the turn of what is on its way.
  if (rst) {first, second} <= 0;
  read: cover (second && second_offset == WORD - 1 && byte_number == 1);
end
always @* begin
  byte_in_its_place: assert (!second || word[8 * second_offset +: 8] == second_value);
`ifdef BANKS
  // What is in the memories and between the two stages, for the induction.
  if (known && byte_number % 4 == 0) bank_0: assert (copy_0_bank_0[byte_number / 4] == value);
  if (known && byte_number % 4 == 1) bank_1: assert (copy_0_bank_1[byte_number / 4] == value);
  if (known && byte_number % 4 == 2) bank_2: assert (copy_0_bank_2[byte_number / 4] == value);
  if (known && byte_number % 4 == 3) bank_3: assert (copy_0_bank_3[byte_number / 4] == value);
  if (first) begin
    turn_is_kept: assert (fine == 2'(byte_number - first_offset) && first_offset < WORD);
    between_is_kept: assert (first_value ==
      32'({between_0_3, between_0_2, between_0_1, between_0_0} >> 8 * (byte_number % 4)) % 256);
  end
`endif
end
