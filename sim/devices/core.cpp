// Main loop of the simulated controller alone: clock, program load, window, tensor port, records.
//
// Python calls it once per program. What the controller reports on its retirement port is returned
// as records; stores are also kept in a copy of the program memory.

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr unsigned kProgramBits = PROGRAM_BITS;  // of a word address
constexpr unsigned kWindowBits = WINDOW_BITS;    // of a group's number
constexpr uint32_t kBase = PROGRAM_BASE;
// Verilator calls the port so: "interrupt" is a word of some compilers.
#define IRQ_PORT __SYM__interrupt

constexpr unsigned kDrain = 4;  // cycles that are simulated past the end

// Verilator's wide ports are arrays of 32-bit words, others numbers.
template <typename T>
uint32_t bits(const T& port, unsigned low, unsigned width) {
  uint64_t value;
  if constexpr (std::is_integral_v<T>) {
    value = static_cast<uint64_t>(port) >> low;
  } else {
    const unsigned word = low / 32;
    value = port[word];
    if (low % 32 + width > 32) value |= static_cast<uint64_t>(port[word + 1]) << 32;
    value >>= low % 32;
  }
  return static_cast<uint32_t>(width == 32 ? value : value & ((1ull << width) - 1));
}

// xorshift64*, Vigna 2014.
class Random {
 public:
  void seed(uint64_t seed) { state_ = seed * 0x9E3779B97F4A7C15ull + 0x1234567ull; }
  unsigned below(unsigned limit) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<unsigned>((state_ * 0x2545F4914F6CDD1Dull) >> 33) % limit;
  }
  bool chance(unsigned percent) { return percent != 0 && below(100) < percent; }

 private:
  uint64_t state_ = 1;
};

}  // namespace

extern "C" {

struct Record {
  uint32_t pc, insn, next;
  uint32_t rs1, rs2, rd;  // values
  uint32_t address, loaded, stored;
  uint8_t rs1_addr, rs2_addr, rd_addr, read_mask;
  uint8_t write_mask, trap, interrupt, halt;
  uint32_t cycle;
};

struct Options {
  uint64_t cycles;
  uint64_t seed;
  uint32_t stall_percent;      // of the tensor port, the window, and writes of program memory
  uint32_t interrupt_percent;  // chance per cycle that the line changes
  uint32_t tohost;             // a write that leaves this word not 0 ends the run, if not 0
  uint32_t capacity;           // of the records
};

enum End { kCycleLimit = 0, kDone = 1, kFault = 2, kToHost = 3, kRecordsFull = 4 };

struct Outcome {
  uint64_t cycles;
  uint64_t waiting;  // cycles in which the tensor port or TWAIT held the program
  uint32_t end, records, retired, exit_code, cause, address, pc, operations;
};

}  // extern "C"

class Core {
 public:
  Core() : memory_(1u << kProgramBits), window_(4u << kWindowBits) {
    top_.reset(new Vtop(&context_, "top"));
    top_->rst = 1;
    for (int i = 0; i < 4; ++i) step();
    top_->rst = 0;
    step();
  }
  ~Core() { top_->final(); }

  uint32_t* memory() { return memory_.data(); }
  uint8_t* window() { return window_.data(); }
  const uint32_t* operations() const { return operations_.data(); }

  // Write the copy of the program memory into the hardware.
  void load() {
    for (uint32_t i = 0; i < memory_.size(); ++i) write(i, memory_[i]);
    top_->program_request_valid = 0;
  }

  void run(const Options& o, Record* records, Outcome* out) {
    random_.seed(o.seed);
    *out = Outcome{};
    operations_.clear();
    line_ = false;
    asked_ = 0;
    busy_ = 0;
    top_->halt = 0;
    top_->IRQ_PORT = 0;
    top_->start = 1;
    step();
    top_->start = 0;
    unsigned drain = 0;
    bool ended = false;
    for (uint64_t cycle = 0; cycle < o.cycles && !(ended && ++drain > kDrain); ++cycle) {
      inputs(o);
      top_->eval();
      observe(o, records, out, cycle, &ended);
      step();
    }
    out->operations = static_cast<uint32_t>(operations_.size() / 5);
    top_->halt = 1;
    for (unsigned i = 0; i < 40; ++i) {
      window(0);
      step();
    }
    top_->halt = 0;
  }

 private:
  void step() {
    top_->clk = 0;
    top_->eval();
    top_->clk = 1;
    top_->eval();
  }

  void write(uint32_t index, uint32_t word) {
    const uint64_t payload = static_cast<uint64_t>(index) |
                             static_cast<uint64_t>(word) << kProgramBits |
                             1ull << (kProgramBits + 32);
    top_->program_request_payload = payload;
    top_->program_request_valid = 1;
    step();
  }

  void inputs(const Options& o) {
    if (random_.chance(o.interrupt_percent)) line_ = !line_;
    top_->IRQ_PORT = line_;
    top_->tensor_ready = !random_.chance(o.stall_percent);
    top_->idle = busy_ ? 5 : 15;
    if (busy_) --busy_;
    window(o.stall_percent);
    // The load engine rewrites a word with what it holds: stores wait. Never in the way of one
    // that is being made, so only words that programs leave alone.
    top_->program_request_valid = random_.chance(o.stall_percent / 2);
    const uint32_t last = static_cast<uint32_t>(memory_.size() - 1);
    top_->program_request_payload = static_cast<uint64_t>(last) |
                                    static_cast<uint64_t>(memory_[last]) << kProgramBits |
                                    1ull << (kProgramBits + 32);
    if (o.stall_percent == 0) top_->program_request_valid = 0;
  }

  void window(unsigned stall_percent) {
    top_->window_response = 0;
    top_->window_request_ready = asked_ == 0;
    if (asked_ > 1 && !random_.chance(stall_percent)) --asked_;
    if (asked_ == 1) {
      top_->window_response = 1 | static_cast<uint64_t>(answer_) << 1;
      asked_ = 0;
    }
  }

  void observe(const Options& o, Record* records, Outcome* out, uint64_t cycle, bool* ended) {
    if (top_->window_request_valid && top_->window_request_ready) access();
    if (top_->tensor_valid && top_->tensor_ready) {
      const auto& p = top_->tensor_payload;
      operations_.insert(operations_.end(), {bits(p, 0, 3), bits(p, 3, 7), bits(p, 10, 10),
                                             bits(p, 20, 32), bits(p, 52, 32)});
      busy_ = o.stall_percent ? 1 + random_.below(20) : 0;
    }
    out->retired += top_->retired;
    if (!*ended) {
      out->cycles = cycle + 1;
      out->waiting += (top_->tensor_valid && !top_->tensor_ready) || top_->waits;
    }
    if (top_->rvfi_valid) {
      Record r{};
      r.pc = top_->rvfi_pc_rdata;
      r.insn = top_->rvfi_insn;
      r.next = top_->rvfi_pc_wdata;
      r.rs1 = top_->rvfi_rs1_rdata;
      r.rs2 = top_->rvfi_rs2_rdata;
      r.rd = top_->rvfi_rd_wdata;
      r.address = top_->rvfi_mem_addr;
      r.loaded = top_->rvfi_mem_rdata;
      r.stored = top_->rvfi_mem_wdata;
      r.rs1_addr = top_->rvfi_rs1_addr;
      r.rs2_addr = top_->rvfi_rs2_addr;
      r.rd_addr = top_->rvfi_rd_addr;
      r.read_mask = top_->rvfi_mem_rmask;
      r.write_mask = top_->rvfi_mem_wmask;
      r.trap = top_->rvfi_trap;
      r.interrupt = top_->rvfi_intr;
      r.halt = top_->rvfi_halt;
      r.cycle = static_cast<uint32_t>(cycle);
      keep(o, r, out, ended);
      if (o.capacity) {
        records[out->records] = r;
        if (++out->records == o.capacity && !*ended) end(out, ended, kRecordsFull);
      } else {
        ++out->records;
      }
    }
    if (top_->done && !*ended) {
      out->exit_code = top_->exit_code;
      end(out, ended, kDone);
    }
    if (bits(top_->fault, 0, 1) && !*ended) {
      out->cause = bits(top_->fault, 1, CAUSE_BITS);
      out->address = bits(top_->fault, 1 + CAUSE_BITS, 32);
      out->pc = bits(top_->fault, 33 + CAUSE_BITS, 32);
      end(out, ended, kFault);
    }
  }

  void end(Outcome* out, bool* ended, End how) {
    *ended = true;
    out->end = how;
  }

  // Follow a store in the copy of the program memory.
  void keep(const Options& o, const Record& r, Outcome* out, bool* ended) {
    const uint32_t index = (r.address - kBase) / 4;
    if (!r.write_mask || index >= memory_.size() || r.address - kBase >= 4u * memory_.size()) return;
    for (unsigned byte = 0; byte < 4; ++byte) {
      if (!(r.write_mask >> byte & 1)) continue;
      const uint32_t mask = 0xFFu << 8 * byte;
      memory_[index] = (memory_[index] & ~mask) | (r.stored & mask);
    }
    if (o.tohost && r.address == o.tohost && memory_[index] && !*ended) {
      out->exit_code = memory_[index];
      end(out, ended, kToHost);
    }
  }

  void access() {
    const auto& p = top_->window_request_payload;
    const uint32_t group = bits(p, 1, kWindowBits), data = bits(p, 1 + kWindowBits, 32);
    const uint32_t mask = bits(p, 33 + kWindowBits, 4);
    for (unsigned byte = 0; byte < 4 && bits(p, 0, 1); ++byte)
      if (mask >> byte & 1) window_[4 * group + byte] = data >> 8 * byte & 0xFF;
    std::memcpy(&answer_, &window_[4 * group], 4);
    asked_ = 6;
  }

  VerilatedContext context_;
  std::unique_ptr<Vtop> top_;
  std::vector<uint32_t> memory_;
  std::vector<uint8_t> window_;
  std::vector<uint32_t> operations_;
  Random random_;
  bool line_ = false;
  unsigned asked_ = 0, busy_ = 0;
  uint32_t answer_ = 0;
};

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Core* core_open() { return new Core; }
EXPORT void core_close(Core* core) { delete core; }
EXPORT uint32_t* core_memory(Core* core) { return core->memory(); }
EXPORT uint8_t* core_window(Core* core) { return core->window(); }
EXPORT const uint32_t* core_operations(Core* core) { return core->operations(); }
EXPORT void core_load(Core* core) { core->load(); }
EXPORT void core_run(Core* core, const Options* options, Record* records, Outcome* outcome) {
  core->run(*options, records, outcome);
}
