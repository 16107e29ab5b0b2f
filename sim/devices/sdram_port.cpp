// Main loop of the SDRAM bench: an AXI4 manager, the controller's Verilog, the part's model.
//
// Transfers are issued in order on their channel, a few of each direction at once. A fence waits
// for everything before it. The manager keeps AXI4's rules and checks the controller's answers.

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "sdram.h"
#include "verilated.h"

namespace {

constexpr unsigned kBusBytes = BUS_BYTES;

constexpr unsigned kDrain = 16;

struct Transfer {
  uint32_t write, fence, address, beats;
  uint64_t earliest;  // cycle from the start of the run
};

struct Options {
  uint64_t seed, limit;
  uint32_t in_flight, read_stall, write_stall, unused;
};

struct Outcome {
  uint64_t cycles;
  SdramCounts counts;
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0x1234567ull) {}
  bool below(unsigned percent) {
    if (percent == 0) return false;
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return ((state_ * 0x2545F4914F6CDD1Dull) >> 33) % 100 < percent;
  }

 private:
  uint64_t state_;
};

class Bench {
 public:
  Bench(const SdramParameters& p, uint64_t bytes, unsigned wire_delay)
      : context_(new VerilatedContext), memory_(bytes), part_(p, memory_.data()), random_(1),
        wire_delay_(wire_delay) {
    top_.reset(new Vtop(context_.get(), "top"));
    // Power comes up with `rst` low: registers have their initial values.
    while (!top_->ready && error_.empty() && cycle_ < 1000000) cycle();
    if (!top_->ready) fail("the controller does not become ready");
  }
  ~Bench() { top_->final(); }

  uint8_t* memory() { return memory_.data(); }
  const char* error() const { return error_.c_str(); }

  int run(const Transfer* transfers, uint64_t count, const uint8_t* data, const uint8_t* strobes,
          uint8_t* read_data, const Options& options, Outcome* outcome) {
    options_ = options;
    random_ = Random(options.seed);
    transfers_ = transfers;
    count_ = count;
    next_ = 0;
    data_ = data;
    strobes_ = strobes;
    read_data_ = read_data;
    start_ = cycle_;
    const SdramCounts before = part_.counts();
    while (error_.empty() && (next_ < count || busy())) {
      if (cycle_ - start_ > options.limit) fail("the transfers do not end");
      cycle();
    }
    outcome->cycles = cycle_ - start_;
    // A write is answered when it is certain, its last words are still on their way.
    advance(kDrain);
    const uint64_t* now = reinterpret_cast<const uint64_t*>(&part_.counts());
    const uint64_t* then = reinterpret_cast<const uint64_t*>(&before);
    uint64_t* difference = reinterpret_cast<uint64_t*>(&outcome->counts);
    for (unsigned i = 0; i < sizeof before / sizeof *now; ++i) difference[i] = now[i] - then[i];
    return error_.empty() ? 0 : -1;
  }

  void advance(uint64_t cycles) {
    for (uint64_t i = 0; i < cycles && error_.empty(); ++i) cycle();
  }

 private:
  void fail(const std::string& text) {
    if (error_.empty()) error_ = text + " (cycle " + std::to_string(cycle_) + ")";
  }

  bool busy() const {
    return top_->s_axi_arvalid || top_->s_axi_awvalid || !reads_.empty() || !writes_.empty();
  }

  // One transfer per cycle, when its channel is free.
  void issue() {
    if (next_ >= count_) return;
    const Transfer& t = transfers_[next_];
    if (cycle_ - start_ < t.earliest || (t.fence && busy())) return;
    if (t.write) {
      if (top_->s_axi_awvalid || writes_.size() >= options_.in_flight) return;
      top_->s_axi_awaddr = t.address;
      top_->s_axi_awlen = t.beats - 1;
      top_->s_axi_awid = next_ & 1;
      top_->s_axi_awvalid = 1;
      writes_.push_back({t.beats, unsigned(next_ & 1)});
      for (unsigned i = 0; i < t.beats; ++i) lasts_.push_back(i + 1 == t.beats);
    } else {
      if (top_->s_axi_arvalid || reads_.size() >= options_.in_flight) return;
      top_->s_axi_araddr = t.address;
      top_->s_axi_arlen = t.beats - 1;
      top_->s_axi_arid = next_ & 1;
      top_->s_axi_arvalid = 1;
      reads_.push_back({t.beats, unsigned(next_ & 1)});
    }
    ++next_;
  }

  void drive() {
    Vtop& t = *top_;
    t.s_axi_arsize = t.s_axi_awsize = kBusBytes == 4 ? 2 : kBusBytes == 8 ? 3 : 4;
    t.s_axi_arburst = t.s_axi_awburst = 1;
    issue();
    if (!t.s_axi_wvalid && !lasts_.empty() && !random_.below(options_.write_stall)) {
      std::memcpy(&t.s_axi_wdata, data_, kBusBytes);
      t.s_axi_wstrb = *reinterpret_cast<const uint16_t*>(strobes_);
      t.s_axi_wlast = lasts_.front();
      t.s_axi_wvalid = 1;
      data_ += kBusBytes;
      strobes_ += 2;
      lasts_.pop_front();
    }
    t.s_axi_rready = !random_.below(options_.read_stall);
    t.s_axi_bready = !random_.below(options_.write_stall);
  }

  void cycle() {
    Vtop& t = *top_;
    drive();
    t.clk = 0;
    t.eval();
    late_.push_back(dq_);
    // Wires: what the part drives arrives so many half cycles later.
    while (late_.size() > wire_delay_ + 1) late_.pop_front();
    t.pins_dq_i = late_.front();
    t.eval();
    const bool ar = t.s_axi_arvalid && t.s_axi_arready, aw = t.s_axi_awvalid && t.s_axi_awready;
    const bool w = t.s_axi_wvalid && t.s_axi_wready;
    if (t.s_axi_rvalid && t.s_axi_rready) take_read();
    if (t.s_axi_bvalid && t.s_axi_bready) take_response();
    SdramPins pins{t.pins_cke, t.pins_cs_n, t.pins_ras_n, t.pins_cas_n, t.pins_we_n, t.pins_ba,
                   t.pins_a,   t.pins_dqm,  t.pins_dq_o,  t.pins_dq_oe};
    t.clk = 1;
    t.eval();
    dq_ = part_.clock(pins).dq;
    if (!part_.error().empty()) fail(part_.error());
    late_.push_back(dq_);
    while (late_.size() > wire_delay_ + 1) late_.pop_front();
    t.pins_dq_i = late_.front();
    if (ar) t.s_axi_arvalid = 0;
    if (aw) t.s_axi_awvalid = 0;
    if (w) t.s_axi_wvalid = 0;
    ++cycle_;
  }

  void take_read() {
    if (reads_.empty()) return fail("read data that nobody asked for");
    Burst& burst = reads_.front();
    if (top_->s_axi_rid != burst.id) fail("rid is another burst's");
    if (top_->s_axi_rlast != (burst.left == 1)) fail("rlast is wrong");
    if (top_->s_axi_rresp) fail("rresp is not OKAY");
    std::memcpy(read_data_, &top_->s_axi_rdata, kBusBytes);
    read_data_ += kBusBytes;
    if (--burst.left == 0) reads_.pop_front();
  }

  void take_response() {
    if (writes_.empty()) return fail("a write response that nobody waits for");
    if (top_->s_axi_bid != writes_.front().id) fail("bid is another burst's");
    if (top_->s_axi_bresp) fail("bresp is not OKAY");
    writes_.pop_front();
  }

  struct Burst {
    unsigned left, id;
  };

  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Vtop> top_;
  std::vector<uint8_t> memory_;
  Sdram part_;
  Random random_;
  Options options_{};
  unsigned wire_delay_;
  std::string error_;
  uint64_t cycle_ = 0, start_ = 0, next_ = 0, count_ = 0;
  const Transfer* transfers_ = nullptr;
  const uint8_t *data_ = nullptr, *strobes_ = nullptr;
  uint8_t* read_data_ = nullptr;
  uint32_t dq_ = 0;
  std::deque<uint32_t> late_;
  std::deque<Burst> reads_, writes_;
  std::deque<bool> lasts_;
};

}  // namespace

#define EXPORT __attribute__((visibility("default")))

extern "C" {

EXPORT void* port_open(const SdramParameters* p, uint64_t bytes, unsigned wire_delay) {
  return new Bench(*p, bytes, wire_delay);
}
EXPORT void port_close(void* s) { delete static_cast<Bench*>(s); }
EXPORT uint8_t* port_memory(void* s) { return static_cast<Bench*>(s)->memory(); }
EXPORT const char* port_error(void* s) { return static_cast<Bench*>(s)->error(); }
EXPORT void port_advance(void* s, uint64_t cycles) { static_cast<Bench*>(s)->advance(cycles); }
EXPORT int port_run(void* s, const Transfer* transfers, uint64_t count, const uint8_t* data,
                    const uint8_t* strobes, uint8_t* read_data, const Options* options,
                    Outcome* outcome) {
  return static_cast<Bench*>(s)->run(transfers, count, data, strobes, read_data, *options, outcome);
}
}
