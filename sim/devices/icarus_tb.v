// Test bench of the Icarus device: the same AXI4 memory as harness.cpp, driven by commands that
// arrive on standard input, one a line: letter, two hexadecimal numbers. Answers are lines on
// standard output that start with the letter, or "e" and a message, which ends the simulation.
//
//   r OFFSET 0      read a register              w OFFSET VALUE   write a register
//   i CYCLES 0      clock until irq is high      l ADDRESS COUNT  memory from load.bin
//   s ADDRESS COUNT memory to save.hex           q 0 0            end
`timescale 1ns / 1ns

module testbench;
  parameter BUS_BYTES = 4;
  parameter MEMORY_BYTES = 4096;
  localparam BURSTS = 16;
  localparam BEATS = 8192;
  localparam STDIN = 32'h8000_0000;
  localparam STDOUT = 32'h8000_0001;
  localparam REGISTER_TIMEOUT = 10000;
  localparam BUS_BITS = 8 * BUS_BYTES;
  localparam [31:0] LANES = BUS_BYTES - 1;
  localparam SIZE = $clog2(BUS_BYTES);

  reg [7:0] memory[0:MEMORY_BYTES-1];
  integer latency, stall_percent, seed;
  reg [31:0] memory_base;
  reg [8*256-1:0] trace_path;

  reg clk = 0, rst = 1;
  wire irq;
  reg [11:0] s_awaddr = 0, s_araddr = 0;
  reg s_awvalid = 0, s_wvalid = 0, s_bready = 0, s_arvalid = 0, s_rready = 0;
  reg [31:0] s_wdata = 0;
  wire s_awready, s_wready, s_bvalid, s_arready, s_rvalid;
  wire [1:0] s_bresp, s_rresp;
  wire [31:0] s_rdata;
  wire [0:0] awid, arid;
  wire [31:0] awaddr, araddr;
  wire [7:0] awlen, arlen;
  wire [2:0] awsize, arsize;
  wire [1:0] awburst, arburst;
  wire awvalid, arvalid, wvalid, wlast, bready, rready;
  wire [BUS_BITS-1:0] wdata;
  wire [BUS_BYTES-1:0] wstrb;
  reg awready = 0, arready = 0, wready = 0, bvalid = 0, rvalid = 0, rlast = 0;
  reg [0:0] bid = 0, rid = 0;
  reg [1:0] bresp = 0, rresp = 0;
  reg [BUS_BITS-1:0] rdata = 0;

  systolite dut (
      .clk(clk), .rst(rst), .irq(irq),
      .s_axi_awaddr(s_awaddr), .s_axi_awprot(3'b0), .s_axi_awvalid(s_awvalid),
      .s_axi_awready(s_awready), .s_axi_wdata(s_wdata), .s_axi_wstrb(4'hf),
      .s_axi_wvalid(s_wvalid), .s_axi_wready(s_wready), .s_axi_bresp(s_bresp),
      .s_axi_bvalid(s_bvalid), .s_axi_bready(s_bready),
      .s_axi_araddr(s_araddr), .s_axi_arprot(3'b0), .s_axi_arvalid(s_arvalid),
      .s_axi_arready(s_arready), .s_axi_rdata(s_rdata), .s_axi_rresp(s_rresp),
      .s_axi_rvalid(s_rvalid), .s_axi_rready(s_rready),
      .m_axi_awid(awid), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(awsize),
      .m_axi_awburst(awburst), .m_axi_awvalid(awvalid), .m_axi_awready(awready),
      .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast), .m_axi_wvalid(wvalid),
      .m_axi_wready(wready), .m_axi_bid(bid), .m_axi_bresp(bresp), .m_axi_bvalid(bvalid),
      .m_axi_bready(bready),
      .m_axi_arid(arid), .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(arsize),
      .m_axi_arburst(arburst), .m_axi_arvalid(arvalid), .m_axi_arready(arready),
      .m_axi_rid(rid), .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast),
      .m_axi_rvalid(rvalid), .m_axi_rready(rready)
  );

  // Rings; the counters run freely.
  reg [31:0] read_address[0:BURSTS-1];
  reg [7:0] read_length[0:BURSTS-1];
  reg [0:0] read_id[0:BURSTS-1];
  integer read_due[0:BURSTS-1];
  integer read_in = 0, read_out = 0, read_beat = 0;
  reg [31:0] write_address[0:BURSTS-1];
  reg [7:0] write_length[0:BURSTS-1];
  reg [0:0] write_id[0:BURSTS-1];
  integer write_due[0:BURSTS-1];
  integer write_in = 0, write_full = 0, write_out = 0, write_beat = 0;
  reg [BUS_BITS-1:0] beat_data[0:BEATS-1];
  reg [BUS_BYTES-1:0] beat_strobe[0:BEATS-1];
  reg beat_last[0:BEATS-1];
  integer beat_in = 0, beat_matched = 0, beat_out = 0;
  integer cycle = 0;
  reg read_taken, response_taken;
  reg ar_waiting = 0, aw_waiting = 0, w_waiting = 0;
  reg [45:0] ar_held = 0, aw_held = 0;
  reg [BUS_BITS+BUS_BYTES:0] w_held = 0;
  integer i, k, head;

  task fail(input [8*40-1:0] message);
    begin
      $display("e %0s (cycle %0d)", message, cycle);
      $fflush(STDOUT);
      $finish;
      #1000;
    end
  endtask

  function stall(input dummy);
    stall = stall_percent != 0 && {$random(seed)} % 100 < stall_percent;
  endfunction

  function in_memory(input [31:0] address, input [7:0] length);
    reg [32:0] start;
    begin
      start = {1'b0, address & ~LANES} - {1'b0, memory_base};
      in_memory = address >= memory_base && start + (length + 1) * BUS_BYTES <= MEMORY_BYTES;
    end
  endfunction

  function [31:0] place(input [31:0] address, input integer beat);
    place = (address & ~LANES) - memory_base + beat * BUS_BYTES;
  endfunction

  task drive;
    begin
      arready = read_in - read_out < BURSTS && !stall(0);
      awready = write_in - write_out < BURSTS && !stall(0);
      wready = beat_in - beat_out < BEATS && !stall(0);
      head = read_out % BURSTS;
      if (!rvalid && read_in != read_out && read_due[head] <= cycle && !stall(0)) begin
        rvalid = 1;
        rid = read_id[head];
        rlast = read_beat == read_length[head];
        rdata = 0;
        rresp = 3;
        if (in_memory(read_address[head], read_length[head])) begin
          rresp = 0;
          for (k = 0; k < BUS_BYTES; k = k + 1)
            rdata[8*k+:8] = memory[place(read_address[head], read_beat)+k];
        end
      end
      head = write_out % BURSTS;
      if (!bvalid && write_full != write_out && write_due[head] <= cycle && !stall(0)) begin
        bvalid = 1;
        bid = write_id[head];
        bresp = in_memory(write_address[head], write_length[head]) ? 0 : 3;
        for (i = 0; i <= write_length[head]; i = i + 1) begin
          for (k = 0; k < BUS_BYTES; k = k + 1)
            if (bresp == 0 && beat_strobe[beat_out%BEATS][k])
              memory[place(write_address[head], i)+k] = beat_data[beat_out%BEATS][8*k+:8];
          beat_out = beat_out + 1;
        end
        write_out = write_out + 1;
      end
    end
  endtask

  task check(input [31:0] address, input [7:0] length, input [2:0] size, input [1:0] burst);
    begin
      if (^{address, length, size, burst} === 1'bx) fail("an address channel holds X");
      if (burst != 1) fail("burst type is not INCR");
      if (size != SIZE) fail("beats narrower than the bus");
      if ((address & 4095 & ~LANES) + (length + 1) * BUS_BYTES > 4096)
        fail("burst crosses 4 KiB");
    end
  endtask

  task sample;
    begin
      if (^{irq, arvalid, awvalid, wvalid, rready, bready} === 1'bx) fail("a port is X");
      if (ar_waiting && !(arvalid && ar_held == {arid, araddr, arlen, arsize, arburst}))
        fail("ar changed before it was accepted");
      ar_waiting = arvalid && !arready;
      ar_held = {arid, araddr, arlen, arsize, arburst};
      if (arvalid && arready) begin
        check(araddr, arlen, arsize, arburst);
        head = read_in % BURSTS;
        read_address[head] = araddr;
        read_length[head] = arlen;
        read_id[head] = arid;
        read_due[head] = cycle + latency;
        read_in = read_in + 1;
      end
      if (read_taken) begin
        if (rlast) begin
          read_out = read_out + 1;
          read_beat = 0;
        end else read_beat = read_beat + 1;
      end
      if (aw_waiting && !(awvalid && aw_held == {awid, awaddr, awlen, awsize, awburst}))
        fail("aw changed before it was accepted");
      aw_waiting = awvalid && !awready;
      aw_held = {awid, awaddr, awlen, awsize, awburst};
      if (awvalid && awready) begin
        check(awaddr, awlen, awsize, awburst);
        head = write_in % BURSTS;
        write_address[head] = awaddr;
        write_length[head] = awlen;
        write_id[head] = awid;
        write_in = write_in + 1;
      end
      if (w_waiting && !(wvalid && w_held === {wdata, wstrb, wlast}))
        fail("w changed before it was accepted");
      w_waiting = wvalid && !wready;
      w_held = {wdata, wstrb, wlast};
      if (wvalid && wready) begin
        if (^{wstrb, wlast} === 1'bx) fail("the write channel holds X");
        beat_data[beat_in%BEATS] = wdata;
        beat_strobe[beat_in%BEATS] = wstrb;
        beat_last[beat_in%BEATS] = wlast;
        beat_in = beat_in + 1;
      end
      while (write_full != write_in && beat_matched != beat_in) begin
        head = write_full % BURSTS;
        if (beat_last[beat_matched%BEATS] != (write_beat == write_length[head]))
          fail("wlast is in the wrong beat");
        if (write_beat == 0 && (beat_strobe[beat_matched%BEATS]
            & ((1 << write_address[head] % BUS_BYTES) - 1)) != 0)
          fail("a strobe is set below the address");
        beat_matched = beat_matched + 1;
        if (write_beat == write_length[head]) begin
          write_due[head] = cycle + latency;
          write_full = write_full + 1;
          write_beat = 0;
        end else write_beat = write_beat + 1;
      end
    end
  endtask

  task settle;
    begin
      drive;
      #1;
    end
  endtask

  task edge_;
    begin
      read_taken = rvalid && rready;
      response_taken = bvalid && bready;
      if (!rst) sample;
      clk = 1;
      #1;
      if (read_taken) rvalid = 0;
      if (response_taken) bvalid = 0;
      clk = 0;
      cycle = cycle + 1;
    end
  endtask

  task step;
    begin
      settle;
      edge_;
    end
  endtask

  reg sent_address, sent_data, done, taken_address, taken_data;
  reg [31:0] value;

  task write_register(input [31:0] offset, input [31:0] data);
    begin
      while (stall(0)) step;
      {sent_address, sent_data, done} = 0;
      s_awaddr = offset;
      s_wdata = data;
      for (i = 0; !done; i = i + 1) begin
        if (i == REGISTER_TIMEOUT) fail("register write is not answered");
        s_awvalid = !sent_address;
        s_wvalid = !sent_data;
        s_bready = !stall(0);
        settle_register;
        taken_address = s_awvalid && s_awready;
        taken_data = s_wvalid && s_wready;
        done = s_bvalid && s_bready;
        if (done && s_bresp != 0) fail("no such register");
        edge_;
        sent_address = sent_address | taken_address;
        sent_data = sent_data | taken_data;
      end
      {s_awvalid, s_wvalid, s_bready} = 0;
    end
  endtask

  task read_register(input [31:0] offset);
    begin
      while (stall(0)) step;
      {sent_address, done} = 0;
      s_araddr = offset;
      for (i = 0; !done; i = i + 1) begin
        if (i == REGISTER_TIMEOUT) fail("register read is not answered");
        s_arvalid = !sent_address;
        s_rready = !stall(0);
        settle_register;
        taken_address = s_arvalid && s_arready;
        done = s_rvalid && s_rready;
        if (done) value = s_rdata;
        if (done && s_rresp != 0) fail("no such register");
        edge_;
        sent_address = sent_address | taken_address;
      end
      {s_arvalid, s_rready} = 0;
    end
  endtask

  integer saved_i;
  task settle_register;
    begin
      // `drive` counts with i too, and tasks here are static.
      saved_i = i;
      settle;
      i = saved_i;
    end
  endtask

  reg [7:0] command;
  reg [31:0] a, b;
  integer fields, file, n;
  initial begin
    if (!$value$plusargs("latency=%d", latency)) latency = 20;
    if (!$value$plusargs("stalls=%d", stall_percent)) stall_percent = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 0;
    if (!$value$plusargs("base=%h", memory_base)) memory_base = 0;
    if ($value$plusargs("trace=%s", trace_path)) begin
      $dumpfile(trace_path);
      $dumpvars(0, dut);
    end
    for (n = 0; n < 4; n = n + 1) step;
    rst = 0;
    for (n = 0; n < 4; n = n + 1) step;
    forever begin
      fields = $fscanf(STDIN, " %c %h %h", command, a, b);
      if (fields != 3) command = "q";
      case (command)
        "r": begin
          read_register(a);
          $display("r %h", value);
        end
        "w": begin
          write_register(a, b);
          $display("w");
        end
        "i": begin
          for (n = 0; n < a && !irq; n = n + 1) step;
          $display("i %0d", irq);
        end
        "l": begin
          file = $fopen("load.bin", "rb");
          n = $fread(memory, file, a, b);
          $fclose(file);
          $display("l %0d", n);
        end
        "s": begin
          $writememh("save.hex", memory, a, a + b - 1);
          $display("s");
        end
        default: $finish;
      endcase
      $fflush(STDOUT);
    end
  end
endmodule
