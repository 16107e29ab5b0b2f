// AXI4LiteTarget: handshake rules of AXI4-Lite, seen by a manager that keeps to them, and the
// single accesses that come of its transactions.
reg started = 0;
always @(posedge clk) begin
  started <= 1;
  if (started && !$past(rst)) begin
    if ($past(bus_awvalid && !bus_awready))
      assume (bus_awvalid && $stable(bus_awaddr));
    if ($past(bus_wvalid && !bus_wready))
      assume (bus_wvalid && $stable(bus_wdata) && $stable(bus_wstrb));
    if ($past(bus_arvalid && !bus_arready))
      assume (bus_arvalid && $stable(bus_araddr));
  end
end
wire aw = bus_awvalid && bus_awready, w = bus_wvalid && bus_wready, b = bus_bvalid && bus_bready;
wire ar = bus_arvalid && bus_arready, r = bus_rvalid && bus_rready;
wire [48:0] access = registers_write;  // strobe, data, address, valid

// What the bus has been told and not answered.
reg addressed = 0, written = 0, accessed = 0, asked = 0;
reg [11:0] waddress, raddress;
reg [31:0] wdata;
reg [3:0] wstrobe;
reg werror;
always @(posedge clk) begin
  if (aw) {addressed, waddress} <= {1'b1, bus_awaddr};
  if (w) {written, wdata, wstrobe} <= {1'b1, bus_wdata, bus_wstrb};
  if (access[0]) {accessed, werror} <= {1'b1, registers_write_error};
  if (b) {addressed, written, accessed} <= 0;
  if (ar) {asked, raddress} <= {1'b1, bus_araddr};
  if (r) asked <= 0;
  if (rst) {addressed, written, accessed, asked} <= 0;
end
always @* begin
  one_address_at_a_time: assert (bus_awready == !addressed);
  one_word_at_a_time: assert (bus_wready == !written);
  one_read_at_a_time: assert (bus_arready == !asked);
  write_response_only_to_write: assert (!bus_bvalid || (addressed && written && accessed));
  write_response_is_right: assert (!bus_bvalid || bus_bresp == (werror ? 2'b10 : 2'b00));
  read_response_only_to_read: assert (!bus_rvalid || asked);
  access_once: assert (!access[0] || (addressed && written && !accessed));
  access_is_right: assert (!access[0] || access[48:1] == {wstrobe, wdata, waddress});
  // Internal: what the registers of the unit mean.
  write_state: assert (has_data == (written && !bus_bvalid)
    && write_has_address == (addressed && !bus_bvalid) && accessed == bus_bvalid);
  write_address_state: assert (!addressed || access[12:1] == waddress);
  write_data_state: assert (!written || access[48:13] == {wstrobe, wdata});
  read_state: assert (read_has_address == (asked && !bus_rvalid));
  read_address_state: assert (!asked || registers_read_address == raddress);
  read_steps: assert (since <= 3 && read_looks == (since >= 1 && !bus_rvalid && asked)
    && read_looked == (since >= 2 && !bus_rvalid && asked) && read_waits == wait_q);
end

// The answer to a read: what the registers showed of its address, in a cycle without wait.
reg [3:0] since = 0;  // cycles with the address, up to 3
reg bad, bad_q, wait_q = 0, wait_qq;
reg [31:0] data_q, data_qq;
always @(posedge clk) begin
  {data_q, bad_q} <= {registers_read_data, registers_read_error};
  wait_q <= registers_read_wait && !rst;
  {data_qq, bad, wait_qq} <= {data_q, bad_q, wait_q};
  since <= rst || !asked || r ? 0 : since == 3 ? 3 : since + 1;
  if (started && !$past(rst)) begin
    if ($past(bus_bvalid && !bus_bready))
      write_response_holds: assert (bus_bvalid && $stable(bus_bresp));
    if ($past(bus_rvalid && !bus_rready))
      read_response_holds: assert (bus_rvalid && $stable(bus_rdata) && $stable(bus_rresp));
    if (bus_rvalid && !$past(bus_rvalid)) begin
      read_after_its_address: assert (since >= 3);
      read_not_while_waiting: assert (!wait_qq);
      read_is_right: assert (bus_rdata == (bad ? 0 : data_qq) && bus_rresp == (bad ? 2'b10 : 0));
    end
  end
  both_answered: cover (bus_bvalid && bus_rvalid);
end

// It answers at all: at once to a write, and to a read as soon as the registers do not wait.
reg [2:0] late = 0;
always @(posedge clk) begin
  late <= rst || !(addressed && written) || bus_bvalid ? 0 : late + 1;
  if (started && !$past(rst) && $past(since == 3 && !wait_q && !bus_rvalid))
    read_is_answered: assert (bus_rvalid);
end
always @* write_is_answered: assert (late <= 1);
