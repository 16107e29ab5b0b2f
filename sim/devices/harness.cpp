// Main loop of the Verilator device: clock, AXI4 memory, AXI4-Lite register access.
//
// Python calls it once per register access and once per run, never per clock. The memory is
// pessimistic within AXI4's rules: a read sees memory as it is when the beat is sent, a write
// changes memory only when its response is sent. It checks what the accelerator drives and stops
// with a message at the first offence.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#if VM_COVERAGE
#include <unistd.h>

#include "verilated_cov.h"
#endif
#ifdef SDRAM
#include "sdram.h"
#endif
#ifdef TRACE
#include "verilated_vcd_c.h"
#endif
#ifdef PROBES
#include "probes.h"
#endif

namespace {

constexpr unsigned kBusBytes = BUS_BYTES;
constexpr unsigned kPage = 4096;
constexpr unsigned kMaxBursts = 16;   // outstanding bursts that the memory accepts per direction
constexpr unsigned kMaxBeats = 512;   // write beats accepted ahead of their responses
constexpr unsigned kRegisterTimeout = 10000;
constexpr unsigned kDecodeError = 3;

unsigned log2_of(unsigned value) {
  unsigned bits = 0;
  while ((1u << bits) < value) ++bits;
  return bits;
}

// Deterministic random bits for stalls (xorshift64*, Vigna 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0x1234567ull) {
    if (state_ == 0) state_ = 1;
  }
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

struct Address {
  uint64_t address;
  unsigned length, size, burst, id;
  bool operator==(const Address& o) const {
    return address == o.address && length == o.length && size == o.size && burst == o.burst &&
           id == o.id;
  }
};

struct Beat {
  uint8_t data[kBusBytes];
  uint32_t strobe;
  bool last;
  bool operator==(const Beat& o) const {
    return strobe == o.strobe && last == o.last && std::memcmp(data, o.data, kBusBytes) == 0;
  }
};

// What the accelerator offered and the memory has not taken: it must still be there next cycle.
template <typename T>
struct Held {
  bool waiting = false;
  T value{};
};

struct ReadBurst {
  Address request;
  uint64_t due;
  unsigned beat;
};

// An error response to the data beat that is `beats` further on; for writes, to its burst.
struct Injection {
  uint64_t beats = 0;
  unsigned response = 0;

  // Count beats; return the response for them.
  unsigned pass(uint64_t count) {
    if (response == 0) return 0;
    if (count <= beats) {
      beats -= count;
      return 0;
    }
    unsigned due = response;
    response = 0;
    return due;
  }
};

// Byte addresses that the host allows, for a check of its own: first and last.
struct Range {
  uint64_t first = 0, last = UINT64_MAX;
  bool holds(uint64_t from, uint64_t to) const { return from >= first && to <= last; }
};

struct Response {
  Address request;
  std::vector<Beat> beats;
  uint64_t due;
};

#ifdef SDRAM
// Set before a simulator is opened.
SdramParameters part_parameters;
#endif

class Simulator {
 public:
  Simulator(uint64_t memory_bytes, uint64_t memory_base, unsigned latency, unsigned stall_percent,
            uint64_t seed, const char* trace_path)
      : memory_bytes_(memory_bytes),
        memory_base_(memory_base),
        latency_(latency ? latency : 1),
        stall_percent_(stall_percent),
        random_(seed),
        context_(new VerilatedContext),
#ifdef SDRAM
        memory_(static_cast<uint8_t*>(std::calloc(memory_bytes, 1))),
        part_(part_parameters, memory_) {
#else
        memory_(static_cast<uint8_t*>(std::calloc(memory_bytes, 1))) {
#endif
#ifdef TRACE
    context_->traceEverOn(true);
#endif
#ifdef PROBES
    // Verilator registers the names of variables in the thread's context, whatever the model's is.
    Verilated::threadContextp(context_.get());
#endif
    top_.reset(new Vtop(context_.get(), "top"));
#ifdef TRACE
    if (trace_path != nullptr) {
      trace_.reset(new VerilatedVcdC);
      top_->trace(trace_.get(), 99);
      trace_->open(trace_path);
    }
#else
    (void)trace_path;
#endif
#ifdef PROBES
    probes_.reset(new Probes(*context_));
#endif
    reset(4);
    for (int i = 0; i < 4; ++i) step();
  }

#ifdef PROBES
  Probes& probes() { return *probes_; }
#endif

  ~Simulator() {
#ifdef PROBES
    Verilated::threadContextp(context_.get());
#endif
    top_->final();
#if VM_COVERAGE
    write_coverage();
#endif
#ifdef TRACE
    if (trace_) trace_->close();
#endif
    std::free(memory_);
  }

  uint8_t* memory() { return memory_; }
  uint64_t cycles() const { return cycle_; }
#ifdef SDRAM
  // Cycles with a burst outstanding, and what the part did.
  void counts(uint64_t* busy, SdramCounts* counts) const {
    *busy = busy_cycles_;
    *counts = part_.counts();
  }
#endif
  const char* error() const { return error_.c_str(); }

  // 1: irq is high; 0: it stayed low; -1: see error().
  int run(uint64_t limit) {
    for (uint64_t i = 0; i < limit; ++i) {
      if (top_->irq) return 1;
      step();
      if (!error_.empty()) return -1;
    }
    return top_->irq ? 1 : 0;
  }

  // Clock it so often, whatever `irq` says.
  int advance(uint64_t count) {
    for (uint64_t i = 0; i < count && error_.empty(); ++i) step();
    return error_.empty() ? 0 : -1;
  }

  // Reset accelerator and memory port together, as a system does; the memory keeps its bytes.
  void reset(uint64_t count) {
    held_ar_ = held_aw_ = Held<Address>();
    held_w_ = Held<Beat>();
    reads_.clear();
    writes_.clear();
    beats_.clear();
    partial_.clear();
    responses_.clear();
    top_->s_axi_awvalid = top_->s_axi_wvalid = top_->s_axi_bready = 0;
    top_->s_axi_arvalid = top_->s_axi_rready = 0;
#ifndef SDRAM
    top_->m_axi_rvalid = top_->m_axi_bvalid = 0;
#endif
    top_->rst = 1;
    for (uint64_t i = 0; i < count; ++i) step();
    top_->rst = 0;
  }

  void inject(unsigned write, uint64_t beats, unsigned response) {
    (write ? bad_write_ : bad_read_) = Injection{beats, response};
  }

  void allow(unsigned write, uint64_t first, uint64_t last) {
    (write ? may_write_ : may_read_) = Range{first, last};
  }

  int write_register(uint32_t offset, uint32_t value) {
    bool address_sent = false, data_sent = false, done = false;
    pause();
    top_->s_axi_awaddr = offset;
    top_->s_axi_wdata = value;
    top_->s_axi_wstrb = 15;
    for (unsigned i = 0; !done; ++i) {
      if (i == kRegisterTimeout) return fail("register write at 0x%x is not answered", offset);
      top_->s_axi_awvalid = !address_sent;
      top_->s_axi_wvalid = !data_sent;
      top_->s_axi_bready = !stall();
      settle();
      bool address_taken = top_->s_axi_awvalid && top_->s_axi_awready;
      bool data_taken = top_->s_axi_wvalid && top_->s_axi_wready;
      done = top_->s_axi_bvalid && top_->s_axi_bready;
      if (done && top_->s_axi_bresp) fail("no register at 0x%x", offset);
      edge();
      address_sent |= address_taken;
      data_sent |= data_taken;
    }
    top_->s_axi_awvalid = top_->s_axi_wvalid = top_->s_axi_bready = 0;
    return error_.empty() ? 0 : -1;
  }

  int read_register(uint32_t offset, uint32_t* value) {
    bool sent = false, done = false;
    pause();
    top_->s_axi_araddr = offset;
    for (unsigned i = 0; !done; ++i) {
      if (i == kRegisterTimeout) return fail("register read at 0x%x is not answered", offset);
      top_->s_axi_arvalid = !sent;
      top_->s_axi_rready = !stall();
      settle();
      bool taken = top_->s_axi_arvalid && top_->s_axi_arready;
      done = top_->s_axi_rvalid && top_->s_axi_rready;
      if (done) *value = top_->s_axi_rdata;
      if (done && top_->s_axi_rresp) fail("no register at 0x%x", offset);
      edge();
      sent |= taken;
    }
    top_->s_axi_arvalid = top_->s_axi_rready = 0;
    return error_.empty() ? 0 : -1;
  }

 private:
#if VM_COVERAGE
  // A file of its own for each simulator of each process.
  void write_coverage() {
    static unsigned number = 0;
    const char* directory = std::getenv("SYSTOLITE_COVERAGE");
    if (directory == nullptr) return;
    std::string name = std::to_string(getpid()) + "-" + std::to_string(number++) + ".dat";
    context_->coveragep()->write(std::string(directory) + "/" + name);
  }
#endif

  bool stall() { return random_.below(stall_percent_); }

  void pause() {
    while (stall()) step();
  }

  int fail(const char* format, ...) __attribute__((format(printf, 2, 3))) {
    if (!error_.empty()) return -1;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_ = std::string(text) + " (cycle " + std::to_string(cycle_) + ")";
    return -1;
  }

  void step() {
    settle();
    edge();
  }

  // Drive the memory's outputs for this cycle and let combinational logic settle.
  void settle() {
    drive();
    top_->clk = 0;
#ifdef PROBES
    probes_->begin(cycle_);
#endif
    top_->eval();
    dump(2 * cycle_);
  }

#ifdef SDRAM
  // Clock the accelerator with its controller, and the part with it.
  void edge() {
    Vtop& t = *top_;
    SdramPins pins{t.pins_cke, t.pins_cs_n, t.pins_ras_n, t.pins_cas_n, t.pins_we_n, t.pins_ba,
                   t.pins_a,   t.pins_dqm,  t.pins_dq_o,  t.pins_dq_oe};
    busy_cycles_ += t.busy;
    t.clk = 1;
    t.eval();
    t.pins_dq_i = part_.clock(pins).dq;
    if (!part_.error().empty()) fail("SDRAM: %s", part_.error().c_str());
    dump(2 * cycle_ + 1);
    ++cycle_;
  }

  void drive() {}
#else
  // Take this cycle's handshakes and clock the accelerator.
  void edge() {
    bool read_taken = top_->m_axi_rvalid && top_->m_axi_rready;
    bool response_taken = top_->m_axi_bvalid && top_->m_axi_bready;
    if (!top_->rst) sample();
#ifdef PROBES
    probes_->sample(cycle_);
#endif
    top_->clk = 1;
    top_->eval();
    // Inputs change behind the clock edge only.
    if (read_taken) top_->m_axi_rvalid = 0;
    if (response_taken) top_->m_axi_bvalid = 0;
    dump(2 * cycle_ + 1);
    ++cycle_;
  }

#endif

  void dump(uint64_t time) {
#ifdef TRACE
    if (trace_) trace_->dump(time);
#else
    (void)time;
#endif
  }

#ifndef SDRAM
  bool inside(const Address& a) const {
    uint64_t bytes = uint64_t(a.length + 1) << a.size;
    uint64_t start = (a.address & ~uint64_t(kBusBytes - 1)) - memory_base_;
    return a.address >= memory_base_ && start + bytes <= memory_bytes_;
  }

  uint8_t* place(const Address& a, unsigned beat) {
    uint64_t start = (a.address & ~uint64_t(kBusBytes - 1)) - memory_base_;
    return memory_ + start + uint64_t(beat) * kBusBytes;
  }

  void drive() {
    top_->m_axi_arready = reads_.size() < kMaxBursts && !stall();
    top_->m_axi_awready = writes_.size() < kMaxBursts && !stall();
    top_->m_axi_wready = beats_.size() < kMaxBeats && !stall();
    if (!top_->m_axi_rvalid && !reads_.empty() && reads_.front().due <= cycle_ && !stall()) {
      const ReadBurst& burst = reads_.front();
      bool ok = inside(burst.request);
      unsigned injected = bad_read_.pass(1);
      top_->m_axi_rvalid = 1;
      top_->m_axi_rid = burst.request.id;
      top_->m_axi_rlast = burst.beat == burst.request.length;
      top_->m_axi_rresp = injected ? injected : ok ? 0 : kDecodeError;
      if (ok)
        std::memcpy(&top_->m_axi_rdata, place(burst.request, burst.beat), kBusBytes);
      else
        std::memset(&top_->m_axi_rdata, 0, kBusBytes);
    }
    if (!top_->m_axi_bvalid && !responses_.empty() && responses_.front().due <= cycle_ &&
        !stall()) {
      Response& response = responses_.front();
      bool ok = inside(response.request);
      unsigned injected = bad_write_.pass(response.beats.size());
      top_->m_axi_bvalid = 1;
      top_->m_axi_bid = response.request.id;
      top_->m_axi_bresp = injected ? injected : ok ? 0 : kDecodeError;
      if (ok) store(response);
      responses_.pop_front();
    }
  }

  void store(const Response& response) {
    for (unsigned i = 0; i < response.beats.size(); ++i) {
      uint8_t* to = place(response.request, i);
      const Beat& beat = response.beats[i];
      uint64_t address = (response.request.address & ~uint64_t(kBusBytes - 1)) + i * kBusBytes;
      for (unsigned k = 0; k < kBusBytes; ++k)
        if (beat.strobe >> k & 1) {
          to[k] = beat.data[k];
          if (!may_write_.holds(address + k, address + k))
            fail("a write to 0x%llx, which the host does not allow",
                 static_cast<unsigned long long>(address + k));
        }
    }
  }

  template <typename T>
  bool take(Held<T>& held, bool valid, bool ready, const T& value, const char* channel) {
    if (held.waiting && !(valid && held.value == value))
      fail("%s changed before it was accepted", channel);
    held.waiting = valid && !ready;
    held.value = value;
    return valid && ready;
  }

  void check(const Address& a, const char* channel) {
    uint64_t start = a.address & ~uint64_t(kBusBytes - 1);
    if (a.burst != 1) fail("%s burst type %u is not INCR", channel, a.burst);
    if (a.size != log2_of(kBusBytes)) fail("%s beats of %u bytes", channel, 1u << a.size);
    const Range& allowed = channel[1] == 'w' ? may_write_ : may_read_;
    if (!allowed.holds(start, start + uint64_t(a.length + 1) * kBusBytes - 1))
      fail("%s burst at 0x%llx, where the host does not allow it", channel,
           static_cast<unsigned long long>(a.address));
    if (start % kPage + uint64_t(a.length + 1) * kBusBytes > kPage)
      fail("%s burst at 0x%llx of %u beats crosses 4 KiB", channel,
           static_cast<unsigned long long>(a.address), a.length + 1);
  }

  void sample() {
    Vtop& t = *top_;
    Address ar{t.m_axi_araddr, t.m_axi_arlen, t.m_axi_arsize, t.m_axi_arburst, t.m_axi_arid};
    if (take(held_ar_, t.m_axi_arvalid, t.m_axi_arready, ar, "ar")) {
      check(ar, "ar");
      reads_.push_back({ar, cycle_ + latency_, 0});
    }
    if (t.m_axi_rvalid && t.m_axi_rready &&
        reads_.front().beat++ == reads_.front().request.length)
      reads_.pop_front();
    Address aw{t.m_axi_awaddr, t.m_axi_awlen, t.m_axi_awsize, t.m_axi_awburst, t.m_axi_awid};
    if (take(held_aw_, t.m_axi_awvalid, t.m_axi_awready, aw, "aw")) {
      check(aw, "aw");
      writes_.push_back(aw);
    }
    if (t.m_axi_wvalid || held_w_.waiting) {
      Beat beat;
      std::memcpy(beat.data, &t.m_axi_wdata, kBusBytes);
      beat.strobe = t.m_axi_wstrb;
      beat.last = t.m_axi_wlast;
      if (take(held_w_, t.m_axi_wvalid, t.m_axi_wready, beat, "w")) {
        beats_.push_back(beat);
        if (beats_.size() >= kMaxBeats && writes_.empty()) fail("write data without address");
      }
    }
    match_writes();
  }

  void match_writes() {
    while (!writes_.empty() && !beats_.empty()) {
      const Address& request = writes_.front();
      const Beat& beat = beats_.front();
      bool last = partial_.size() == request.length;
      if (beat.last != last) fail("wlast is %d in beat %zu of %u", beat.last, partial_.size() + 1,
                                  request.length + 1);
      if (partial_.empty() && beat.strobe & ((1u << request.address % kBusBytes) - 1))
        fail("a strobe is set below the address 0x%llx",
             static_cast<unsigned long long>(request.address));
      partial_.push_back(beat);
      beats_.pop_front();
      if (last) {
        responses_.push_back({request, std::move(partial_), cycle_ + latency_});
        partial_.clear();
        writes_.pop_front();
      }
    }
  }

#endif

  uint64_t memory_bytes_, memory_base_, cycle_ = 0;
  unsigned latency_, stall_percent_;
  Random random_;
  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Vtop> top_;
#ifdef TRACE
  std::unique_ptr<VerilatedVcdC> trace_;
#endif
#ifdef PROBES
  std::unique_ptr<Probes> probes_;
#endif
  uint8_t* memory_;
#ifdef SDRAM
  Sdram part_;
  uint64_t busy_cycles_ = 0;
#endif
  std::string error_;
  Held<Address> held_ar_, held_aw_;
  Held<Beat> held_w_;
  std::deque<ReadBurst> reads_;
  std::deque<Address> writes_;
  std::deque<Beat> beats_;
  std::vector<Beat> partial_;
  std::deque<Response> responses_;
  Injection bad_read_, bad_write_;
  Range may_read_, may_write_;
};

}  // namespace

#define EXPORT __attribute__((visibility("default")))

extern "C" {

EXPORT void* sim_open(uint64_t memory_bytes, uint64_t memory_base, unsigned latency,
               unsigned stall_percent, uint64_t seed, const char* trace_path) {
  return new Simulator(memory_bytes, memory_base, latency, stall_percent, seed, trace_path);
}
EXPORT void sim_close(void* s) { delete static_cast<Simulator*>(s); }
EXPORT uint8_t* sim_memory(void* s) { return static_cast<Simulator*>(s)->memory(); }
EXPORT uint64_t sim_cycles(void* s) { return static_cast<Simulator*>(s)->cycles(); }
EXPORT const char* sim_error(void* s) { return static_cast<Simulator*>(s)->error(); }
EXPORT int sim_run(void* s, uint64_t limit) { return static_cast<Simulator*>(s)->run(limit); }
EXPORT int sim_advance(void* s, uint64_t count) {
  return static_cast<Simulator*>(s)->advance(count);
}
EXPORT void sim_reset(void* s, uint64_t count) { static_cast<Simulator*>(s)->reset(count); }
EXPORT void sim_inject(void* s, unsigned write, uint64_t beats, unsigned response) {
  static_cast<Simulator*>(s)->inject(write, beats, response);
}
EXPORT void sim_allow(void* s, unsigned write, uint64_t first, uint64_t last) {
  static_cast<Simulator*>(s)->allow(write, first, last);
}
#ifdef SDRAM
EXPORT void sim_part(const SdramParameters* parameters) { part_parameters = *parameters; }
EXPORT void sim_counts(void* s, uint64_t* busy, SdramCounts* counts) {
  static_cast<Simulator*>(s)->counts(busy, counts);
}
#endif
EXPORT int sim_write_register(void* s, uint32_t offset, uint32_t value) {
  return static_cast<Simulator*>(s)->write_register(offset, value);
}
EXPORT int sim_read_register(void* s, uint32_t offset, uint32_t* value) {
  return static_cast<Simulator*>(s)->read_register(offset, value);
}
#ifdef PROBES
EXPORT int sim_probe(void* s, const char* name) {
  return static_cast<Simulator*>(s)->probes().find(name);
}
EXPORT unsigned sim_probe_words(void* s, unsigned number) {
  return static_cast<Simulator*>(s)->probes().words(number);
}
EXPORT unsigned sim_probe_bits(void* s, unsigned number) {
  return static_cast<Simulator*>(s)->probes().bits(number);
}
EXPORT void sim_flip(void* s, unsigned number, unsigned word, unsigned bit, uint64_t cycle) {
  static_cast<Simulator*>(s)->probes().plan(number, word, bit, cycle);
}
EXPORT void sim_watch(void* s, unsigned flag, unsigned value) {
  static_cast<Simulator*>(s)->probes().watch(flag, value);
}
EXPORT uint64_t sim_record(void* s, int on, const void** events) {
  Probes& probes = static_cast<Simulator*>(s)->probes();
  probes.record(on != 0);
  *events = probes.events().data();
  return probes.events().size();
}
#endif
}
