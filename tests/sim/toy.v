// A stand-in for the accelerator with its ports: a register file, and one engine that on
// CONTROL.START copies PROGRAM_WORDS (1..256) words from MEMORY_BASE + PROGRAM_ADDRESS to 8 KiB
// behind, in one read burst and one write burst, then raises irq. CAUSE holds the last bad
// response. STAMP_INDEX chooses a fault to commit: 1 wlast too early, 2 burst type FIXED,
// 3 half-width beats, 4 araddr changes while waiting, 5 never ends.
module systolite (
    input clk, input rst, output reg irq,
    input [11:0] s_axi_awaddr, input [2:0] s_axi_awprot, input s_axi_awvalid,
    output s_axi_awready,
    input [31:0] s_axi_wdata, input [3:0] s_axi_wstrb, input s_axi_wvalid, output s_axi_wready,
    output [1:0] s_axi_bresp, output reg s_axi_bvalid, input s_axi_bready,
    input [11:0] s_axi_araddr, input [2:0] s_axi_arprot, input s_axi_arvalid,
    output s_axi_arready,
    output reg [31:0] s_axi_rdata, output [1:0] s_axi_rresp, output reg s_axi_rvalid,
    input s_axi_rready,
    output [0:0] m_axi_awid, output [31:0] m_axi_awaddr, output [7:0] m_axi_awlen,
    output [2:0] m_axi_awsize, output [1:0] m_axi_awburst, output m_axi_awlock,
    output [3:0] m_axi_awcache, output [2:0] m_axi_awprot, output [3:0] m_axi_awqos,
    output reg m_axi_awvalid, input m_axi_awready,
    output [31:0] m_axi_wdata, output [3:0] m_axi_wstrb, output m_axi_wlast,
    output reg m_axi_wvalid, input m_axi_wready,
    input [0:0] m_axi_bid, input [1:0] m_axi_bresp, input m_axi_bvalid, output m_axi_bready,
    output [0:0] m_axi_arid, output [31:0] m_axi_araddr, output [7:0] m_axi_arlen,
    output [2:0] m_axi_arsize, output [1:0] m_axi_arburst, output m_axi_arlock,
    output [3:0] m_axi_arcache, output [2:0] m_axi_arprot, output [3:0] m_axi_arqos,
    output reg m_axi_arvalid, input m_axi_arready,
    input [0:0] m_axi_rid, input [31:0] m_axi_rdata, input [1:0] m_axi_rresp,
    input m_axi_rlast, input m_axi_rvalid, output m_axi_rready
);
  reg [31:0] regs[0:63];
  reg [31:0] buffer[0:255];
  reg [8:0] count;
  reg [15:0] wiggle;
  reg aw_done, w_done, running;
  reg [11:0] write_address;
  reg [31:0] write_data;
  wire [31:0] fault = regs[22];
  wire [31:0] from = regs[12] + regs[13];
  wire [8:0] words = regs[14][8:0];
  integer i;

  // AXI4-Lite
  assign s_axi_awready = !aw_done;
  assign s_axi_wready = !w_done;
  assign s_axi_bresp = 0;
  assign s_axi_rresp = 0;
  assign s_axi_arready = !s_axi_rvalid;
  always @(posedge clk) begin
    if (s_axi_awvalid && s_axi_awready) begin
      aw_done <= 1;
      write_address <= s_axi_awaddr;
    end
    if (s_axi_wvalid && s_axi_wready) begin
      w_done <= 1;
      write_data <= s_axi_wdata;
    end
    if (aw_done && w_done && !s_axi_bvalid) begin
      s_axi_bvalid <= 1;
      regs[write_address[7:2]] <= write_data;
    end
    if (s_axi_bvalid && s_axi_bready) begin
      s_axi_bvalid <= 0;
      aw_done <= 0;
      w_done <= 0;
    end
    if (s_axi_arvalid && s_axi_arready) begin
      s_axi_rvalid <= 1;
      s_axi_rdata <= regs[s_axi_araddr[7:2]];
    end
    if (s_axi_rvalid && s_axi_rready) s_axi_rvalid <= 0;

    // The copy engine
    wiggle <= wiggle + 1;
    if (regs[4] == 1) begin
      regs[4] <= 0;
      running <= 1;
      count <= 0;
      m_axi_arvalid <= 1;
    end
    if (regs[4] == 4) begin
      regs[4] <= 0;
      irq <= 0;
    end
    if (m_axi_arvalid && m_axi_arready) m_axi_arvalid <= 0;
    if (m_axi_rvalid && m_axi_rready) begin
      buffer[count[7:0]] <= m_axi_rdata;
      count <= m_axi_rlast ? 0 : count + 1;
      if (m_axi_rresp != 0) regs[7] <= m_axi_rresp;
      if (m_axi_rlast && fault != 5) begin
        m_axi_awvalid <= 1;
        m_axi_wvalid <= 1;
      end
    end
    if (m_axi_awvalid && m_axi_awready) m_axi_awvalid <= 0;
    if (m_axi_wvalid && m_axi_wready) begin
      count <= count + 1;
      if (count + 1 == words) m_axi_wvalid <= 0;
    end
    if (m_axi_bvalid && m_axi_bready) begin
      if (m_axi_bresp != 0) regs[7] <= m_axi_bresp;
      irq <= 1;
      running <= 0;
    end
    if (rst) begin
      irq <= 0; s_axi_bvalid <= 0; s_axi_rvalid <= 0; aw_done <= 0; w_done <= 0; running <= 0;
      m_axi_arvalid <= 0; m_axi_awvalid <= 0; m_axi_wvalid <= 0; wiggle <= 0; count <= 0;
      for (i = 0; i < 64; i = i + 1) regs[i] <= 0;
    end
  end
  assign m_axi_arid = 1;
  assign m_axi_awid = 1;
  assign m_axi_araddr = from + (fault == 4 ? {14'b0, wiggle, 2'b0} : 0);
  assign m_axi_awaddr = from + 32'h2000;
  assign m_axi_arlen = words - 1;
  assign m_axi_awlen = words - 1;
  assign m_axi_arsize = fault == 3 ? 1 : 2;
  assign m_axi_awsize = 2;
  assign m_axi_arburst = fault == 2 ? 0 : 1;
  assign m_axi_awburst = 1;
  assign {m_axi_arlock, m_axi_arcache, m_axi_arprot, m_axi_arqos} = 0;
  assign {m_axi_awlock, m_axi_awcache, m_axi_awprot, m_axi_awqos} = 0;
  assign m_axi_wdata = buffer[count[7:0]];
  assign m_axi_wstrb = count == 0 ? 4'b1100 : 4'b1111;
  assign m_axi_wlast = fault == 1 ? count + 2 == words : count + 1 == words;
  assign m_axi_rready = 1;
  assign m_axi_bready = 1;
endmodule
