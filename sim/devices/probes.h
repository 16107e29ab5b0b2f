// Probes of the Verilator device: flip a stored bit, and note what named signals do.
//
// Works on the variables that Verilator was told to keep public; their names are instance paths
// below the top module joined by dots, without the numbers that a generator adds to tell
// submodules from signals of the same name (`bank$12` is `bank`).

#ifndef SYSTOLITE_PROBES_H
#define SYSTOLITE_PROBES_H

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "verilated.h"
#include "verilated_syms.h"

struct ProbeEvent {
  uint64_t cycle, flag, value;
  uint32_t watch, unused;
};

class Probes {
 public:
  explicit Probes(const VerilatedContext& context) {
    for (const auto& scope : *const_cast<VerilatedContext&>(context).scopeNameMap()) {
      VerilatedVarNameMap* variables = scope.second->varsp();
      if (variables == nullptr) continue;
      for (auto& entry : *variables)
        found_.push_back({plain(std::string(scope.first) + "." + entry.first), &entry.second});
    }
  }

  // Number of the variable with this name, or -1.
  int find(const std::string& name) const {
    for (size_t i = 0; i < found_.size(); ++i)
      if (found_[i].name == name) return static_cast<int>(i);
    return -1;
  }

  // Words of a memory (0 for other variables) and bits of a word.
  unsigned words(unsigned number) const {
    const VerilatedVar& v = *found_[number].variable;
    return v.udims() ? v.elements(1) : 0;
  }
  unsigned bits(unsigned number) const { return found_[number].variable->entBits(); }

  // Change a bit at the start of a cycle.
  void plan(unsigned number, unsigned word, unsigned bit, uint64_t cycle) {
    flip_ = {number, word, bit, cycle, true};
  }

  void watch(unsigned flag, unsigned value) { watches_.push_back({flag, value}); }
  void record(bool on) {
    recording_ = on;
    if (on) events_.clear();
  }
  const std::vector<ProbeEvent>& events() const { return events_; }

  // Before anything of the cycle is evaluated.
  void begin(uint64_t cycle) {
    if (!flip_.planned || cycle < flip_.cycle) return;
    flip_.planned = false;
    const VerilatedVar& v = *found_[flip_.number].variable;
    uint8_t* word = static_cast<uint8_t*>(v.datap()) + flip_.word * v.entSize();
    // All of Verilator's words are little endian, as every host that it runs on is.
    word[flip_.bit / 8] ^= uint8_t(1u << flip_.bit % 8);
  }

  // When all signals have settled.
  void sample(uint64_t cycle) {
    if (!recording_) return;
    for (uint32_t i = 0; i < watches_.size(); ++i) {
      uint64_t flag = get(watches_[i].flag);
      if (flag) events_.push_back({cycle, flag, get(watches_[i].value), i, 0});
    }
  }

 private:
  struct Found {
    std::string name;
    VerilatedVar* variable;
  };
  struct Watch {
    unsigned flag, value;
  };
  struct Flip {
    unsigned number, word, bit;
    uint64_t cycle;
    bool planned;
  };

  // Without the names of model and top module, and without numbers behind `$`.
  static std::string plain(const std::string& path) {
    std::string name;
    for (size_t i = path.find('.', path.find('.') + 1) + 1; i < path.size(); ++i) {
      if (path[i] == '$')
        while (i + 1 < path.size() && path[i + 1] >= '0' && path[i + 1] <= '9') ++i;
      else if (path[i] != '\\' && path[i] != ' ')
        name += path[i];
    }
    return name;
  }

  uint64_t get(unsigned number) const {
    const VerilatedVar& v = *found_[number].variable;
    uint64_t value = 0;
    std::memcpy(&value, v.datap(), v.entSize() < 8 ? v.entSize() : 8);
    return value;
  }

  std::vector<Found> found_;
  std::vector<Watch> watches_;
  std::vector<ProbeEvent> events_;
  Flip flip_{};
  bool recording_ = false;
};

#endif
