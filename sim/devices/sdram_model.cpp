// The SDRAM model alone, for tests that clock it by hand.

#include <vector>

#include "sdram.h"

namespace {

struct Alone {
  Alone(const SdramParameters& p, uint64_t bytes) : memory(bytes), part(p, memory.data()) {}
  std::vector<uint8_t> memory;
  Sdram part;
};

}  // namespace

extern "C" {

void* sdram_open(const SdramParameters* p, uint64_t bytes) { return new Alone(*p, bytes); }
void sdram_close(void* s) { delete static_cast<Alone*>(s); }
uint8_t* sdram_memory(void* s) { return static_cast<Alone*>(s)->memory.data(); }
const char* sdram_error(void* s) { return static_cast<Alone*>(s)->part.error().c_str(); }

// One edge: whether the part drives DQ until the next one, and what.
int sdram_clock(void* s, const SdramPins* pins, uint32_t* dq) {
  SdramOutput output = static_cast<Alone*>(s)->part.clock(*pins);
  *dq = output.dq;
  return output.drives;
}

// So many edges without a command.
void sdram_idle(void* s, const SdramPins* pins, uint64_t edges) {
  for (uint64_t i = 0; i < edges; ++i) static_cast<Alone*>(s)->part.clock(*pins);
}
}
