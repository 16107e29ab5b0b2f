// A strict model of an SDR SDRAM: it keeps data and stops at the first broken rule.
//
// clock() is one rising edge of the part's clock: it takes the pins as they stood before the edge
// and returns what the part drives until the next one. Every rule has a name, which begins the
// message of error(); tests/sim/test_sdram.py breaks each. Only what the controller uses exists:
// no auto precharge, no burst stop, no self refresh, no power down; they are violations.

#ifndef SYSTOLITE_SDRAM_H
#define SYSTOLITE_SDRAM_H

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

// What a data sheet says, in picoseconds where not in clock cycles. sim/devices/sdram.py fills it.
struct SdramParameters {
  uint64_t period, row_bits, column_bits, data_bits, cycle_cas2, cycle_cas3;
  uint64_t rcd, rp, ras, ras_max, rc, rfc, rrd, wr, wr_cycles, rrd_cycles, mrd_cycles;
  uint64_t refresh, init, init_refreshes;
};

struct SdramPins {
  uint32_t cke, cs_n, ras_n, cas_n, we_n, ba, a, dqm, dq, dq_oe;
};

struct SdramOutput {
  bool drives;
  uint32_t dq;
};

struct SdramCounts {
  uint64_t edges, reads, writes, activates, precharges, refreshes, data_words;
};

class Sdram {
 public:
  // `memory` has 4 * 2**(row_bits + column_bits) words and is the caller's.
  Sdram(const SdramParameters& p, uint8_t* memory) : p_(p), memory_(memory) {
    bytes_ = p.data_bits / 8;
    all_masked_ = (1u << bytes_) - 1;
  }

  const std::string& error() const { return error_; }
  const SdramCounts& counts() const { return counts_; }
  bool ready() const { return mode_set_ && init_refreshes_ >= p_.init_refreshes; }

  SdramOutput clock(const SdramPins& pins) {
    ++edge_;
    ++counts_.edges;
    check_level(pins);
    check_bus(pins);
    if (!pins.cs_n) command(pins);
    take_write(pins);
    dqm_before_[edge_ & 3] = pins.dqm;
    check_time();
    return drive();
  }

 private:
  static constexpr uint64_t kNever = ~0ull;
  static constexpr unsigned kRing = 32;
  static constexpr unsigned kPostponed = 8;

  struct Bank {
    bool open = false;
    uint64_t row = 0;
    uint64_t activated = kNever, precharged = kNever, written = kNever, read_end = 0;
  };
  struct Word {
    uint64_t edge = kNever;
    uint64_t offset = 0;
  };

  uint64_t since(uint64_t edge) const { return (edge_ - edge) * p_.period; }

  void fail(const char* rule, const char* format, ...) __attribute__((format(printf, 3, 4))) {
    if (!error_.empty()) return;
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_ = std::string(rule) + ": " + text + " (edge " + std::to_string(edge_) + ")";
  }

  void at_least(const char* rule, uint64_t edge, uint64_t ps, uint64_t cycles, const char* what,
                unsigned bank) {
    if (edge == kNever) return;
    if (since(edge) < ps || edge_ - edge < cycles)
      fail(rule, "%s of bank %u after %llu ps, at least %llu ps and %llu cycles", what, bank,
           (unsigned long long)since(edge), (unsigned long long)ps, (unsigned long long)cycles);
  }

  void check_level(const SdramPins& pins) {
    if (!pins.cke) fail("CKE", "the clock is disabled");
    if (!ready() && pins.dqm != all_masked_)
      fail("DQM", "DQM is not high before the end of the initialisation");
  }

  // Who drives DQ at this edge.
  void check_bus(const SdramPins& pins) {
    const bool ours = driving(edge_);
    if (pins.dq_oe && ours) fail("contention", "both sides drive DQ");
    if (pins.dq_oe && drove_before_) fail("turnaround", "DQ is driven right behind a read word");
    drove_before_ = ours;
  }

  bool driving(uint64_t edge) const {
    const Word& word = out_[edge % kRing];
    // DQM acts on reads two clocks later.
    return word.edge == edge && dqm_before_[(edge - 2) & 3] != all_masked_;
  }

  void command(const SdramPins& pins) {
    const unsigned code = pins.ras_n << 2 | pins.cas_n << 1 | pins.we_n;
    if (code == 7) return;
    if (p_.init > edge_ * p_.period) fail("init_wait", "a command before the initial wait is over");
    at_least("tRFC", refreshed_, p_.rfc, 1, "a command", pins.ba);
    at_least("tMRD", mode_edge_, 0, p_.mrd_cycles, "a command", pins.ba);
    if (!all_precharged_ && !(code == 2 && pins.a >> 10 & 1))
      fail("init_order", "the first command does not precharge all banks");
    switch (code) {
      case 3: return activate(pins);
      case 5: return access(pins, false);
      case 4: return access(pins, true);
      case 2: return precharge(pins);
      case 1: return refresh();
      case 0: return set_mode(pins);
      default: fail("command", "burst stop is not supported");
    }
  }

  void activate(const SdramPins& pins) {
    Bank& bank = banks_[pins.ba];
    ++counts_.activates;
    if (!ready()) fail("init_order", "ACTIVE before the initialisation is complete");
    if (bank.open) fail("bank_state", "ACTIVE of bank %u, which has a row open", pins.ba);
    at_least("tRP", bank.precharged, p_.rp, 1, "ACTIVE", pins.ba);
    at_least("tRC", bank.activated, p_.rc, 1, "ACTIVE", pins.ba);
    for (unsigned i = 0; i < 4; ++i)
      if (i != pins.ba) at_least("tRRD", banks_[i].activated, p_.rrd, p_.rrd_cycles, "ACTIVE", i);
    bank.open = true;
    bank.row = pins.a & ((1u << p_.row_bits) - 1);
    bank.activated = edge_;
    bank.written = kNever;
  }

  void access(const SdramPins& pins, bool write) {
    Bank& bank = banks_[pins.ba];
    ++(write ? counts_.writes : counts_.reads);
    if (!ready()) fail("init_order", "an access before the initialisation is complete");
    if (!bank.open) return fail("closed_row", "an access to bank %u, which has no row", pins.ba);
    if (pins.a >> 10 & 1) fail("command", "auto precharge is not supported");
    at_least("tRCD", bank.activated, p_.rcd, 1, "an access", pins.ba);
    if (edge_ < column_end_) fail("burst", "an access cuts off the burst before");
    column_end_ = edge_ + burst_;
    const uint64_t column = pins.a & ((1u << p_.column_bits) - 1);
    const uint64_t row = (bank.row << 2 | pins.ba) << p_.column_bits;
    for (unsigned i = 0; i < burst_; ++i) {
      const uint64_t place = (column & ~uint64_t(burst_ - 1)) | ((column + i) & (burst_ - 1));
      const Word word{edge_ + i + (write ? 0 : cas_), (row | place) * bytes_};
      if (write)
        in_[word.edge % kRing] = word;
      else
        out_[word.edge % kRing] = word;
    }
    if (write)
      bank.written = edge_ + burst_ - 1;
    else
      bank.read_end = edge_ + burst_;
  }

  void precharge(const SdramPins& pins) {
    ++counts_.precharges;
    const bool all = pins.a >> 10 & 1;
    all_precharged_ |= all;
    for (unsigned i = 0; i < 4; ++i) {
      if (!all && i != pins.ba) continue;
      Bank& bank = banks_[i];
      if (bank.open) {
        at_least("tRAS", bank.activated, p_.ras, 1, "PRECHARGE", i);
        if (bank.written != kNever) {
          if (edge_ <= bank.written) fail("burst", "PRECHARGE cuts off a write of bank %u", i);
          else at_least("tWR", bank.written, p_.wr, p_.wr_cycles, "PRECHARGE", i);
        }
        if (edge_ < bank.read_end) fail("burst", "PRECHARGE cuts off a read of bank %u", i);
        // The command is counted from here; of an idle bank it does nothing.
        bank.precharged = edge_;
      } else if (bank.precharged == kNever) {
        bank.precharged = edge_;
      }
      bank.open = false;
    }
  }

  void all_idle(const char* what) {
    for (unsigned i = 0; i < 4; ++i) {
      if (banks_[i].open) fail("bank_state", "%s while bank %u has a row open", what, i);
      at_least("tRP", banks_[i].precharged, p_.rp, 1, what, i);
    }
  }

  void refresh() {
    all_idle("REFRESH");
    for (unsigned i = 0; i < 4; ++i)
      at_least("tRC", banks_[i].activated, p_.rc, 1, "REFRESH", i);
    ++counts_.refreshes;
    refreshed_ = edge_;
    if (ready())
      ++refreshes_;
    else
      ++init_refreshes_;
    start_refreshing();
  }

  void set_mode(const SdramPins& pins) {
    all_idle("MODE REGISTER SET");
    const unsigned length = pins.a & 7, cas = pins.a >> 4 & 7;
    if (length > 3 || pins.a >> 3 & 1 || pins.a >> 7 || pins.ba)
      fail("mode", "a mode that is not supported: 0x%x", pins.a);
    const uint64_t shortest = cas == 2 ? p_.cycle_cas2 : cas == 3 ? p_.cycle_cas3 : kNever;
    if (p_.period < shortest)
      fail("cas_latency", "CAS latency %u at a period of %llu ps", cas,
           (unsigned long long)p_.period);
    burst_ = 1u << length;
    cas_ = cas;
    mode_edge_ = edge_;
    mode_set_ = true;
    start_refreshing();
  }

  void start_refreshing() {
    if (ready() && init_end_ == kNever) init_end_ = edge_;
  }

  void take_write(const SdramPins& pins) {
    const Word& word = in_[edge_ % kRing];
    if (word.edge != edge_) return;
    ++counts_.data_words;
    if (!pins.dq_oe && pins.dqm != all_masked_) fail("write_data", "nobody drives DQ in a write");
    for (unsigned i = 0; i < bytes_; ++i)
      if (!(pins.dqm >> i & 1)) memory_[word.offset + i] = pins.dq >> 8 * i;
  }

  void check_time() {
    if (init_end_ != kNever) {
      const uint64_t due = since(init_end_) / p_.refresh;
      if (due > refreshes_ + kPostponed)
        fail("tREFI", "%llu of %llu refreshes are missing",
             (unsigned long long)(due - refreshes_), (unsigned long long)due);
    }
    for (unsigned i = 0; i < 4; ++i)
      if (banks_[i].open && since(banks_[i].activated) > p_.ras_max)
        fail("tRAS_max", "a row of bank %u is open for too long", i);
  }

  SdramOutput drive() {
    const uint64_t next = edge_ + 1;
    // Whoever samples DQ while nobody drives it gets this.
    SdramOutput output{false, uint32_t(edge_ * 0x9E3779B9u) >> (32 - p_.data_bits)};
    if (!driving(next)) return output;
    ++counts_.data_words;
    output.drives = true;
    const uint8_t* from = memory_ + out_[next % kRing].offset;
    const uint32_t masked = dqm_before_[(next - 2) & 3];
    for (unsigned i = 0; i < bytes_; ++i)
      if (!(masked >> i & 1)) {
        output.dq &= ~(0xFFu << 8 * i);
        output.dq |= uint32_t(from[i]) << 8 * i;
      }
    return output;
  }

  SdramParameters p_;
  uint8_t* memory_;
  unsigned bytes_ = 2, burst_ = 1, cas_ = 3;
  uint32_t all_masked_ = 3;
  uint32_t dqm_before_[4] = {};
  uint64_t edge_ = 0, column_end_ = 0;
  uint64_t refreshed_ = kNever, mode_edge_ = kNever, init_end_ = kNever;
  uint64_t init_refreshes_ = 0, refreshes_ = 0;
  bool all_precharged_ = false, mode_set_ = false, drove_before_ = false;
  Bank banks_[4];
  Word in_[kRing], out_[kRing];
  SdramCounts counts_{};
  std::string error_;
};

#endif
