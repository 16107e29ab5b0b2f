// Main loop of a board's top: its oscillator, the serial port, and the SDRAM at its pins.
//
// Time passes in phases, PHASES to a cycle of the accelerator's clock (2: its edges). The models of
// clock primitives (sim/primitives) make their outputs of `phase`, which changes each time.
// boardtop.py writes module `simulation`, with the same ports whatever the board is.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "Vtop.h"
#include "sdram.h"
#include "uart.h"
#include "verilated.h"

namespace {

// sim/devices/boardtop.py fills it.
struct BoardParameters {
  uint64_t bit_cycles, oscillator_hz, clock_hz, memory_bytes;
  // From the edge of the memory's clock to the phase after which read data change.
  uint64_t hold_phases, access_phases;
  SdramParameters part;
};

struct Simulation {
  explicit Simulation(const BoardParameters& p)
      : line(p.bit_cycles), parameters(p), memory(p.memory_bytes), part(p.part, memory.data()) {
    top.rx = 1;
    top.eval();
    read_complaint();
#if SDRAM
    pins = read_pins();
#endif
  }
  ~Simulation() { top.final(); }

  void clock() {
    for (unsigned n = 0; n < PHASES; ++n) advance();
    ++cycles;
  }

  bool failed() const { return !error.empty(); }

  VerilatedContext context;
  Vtop top{&context};
  UartLine line;
  uint64_t cycles = 0;
  std::string error;
  BoardParameters parameters;
  std::vector<uint8_t> memory;
  Sdram part;

 private:
  void advance() {
    // Edges of the oscillator come as often as its frequency says, in the phase next to their time.
    oscillator += 2 * parameters.oscillator_hz;
    if (oscillator >= PHASES * parameters.clock_hz) {
      oscillator -= PHASES * parameters.clock_hz;
      top.oscillator = !top.oscillator;
    }
    top.phase = !top.phase;
#if SDRAM
    const bool clock_before = top.sdram_clk;
    top.eval();
    const SdramPins now = read_pins();
    pins_before = pins;
    pins = now;
    if (top.sdram_clk && !clock_before) clock_part();
    // Between one word and the next nobody knows what is there.
    if (since == parameters.hold_phases) top.sdram_dq = ~top.sdram_dq & kAll;
    if (since == parameters.access_phases) top.sdram_dq = word;
    ++since;
#else
    top.eval();
#endif
  }

  void fail(const std::string& text) {
    if (error.empty()) error = text + ", cycle " + std::to_string(cycles);
  }

  // What a model of a primitive has to say: Verilog's text, its first letter in the highest byte.
  void read_complaint() {
    for (unsigned n = COMPLAINT / 8; n-- > 0;)
      if (const char letter = top.complaint[n / 4] >> 8 * (n % 4)) error += letter;
  }

#if SDRAM
  SdramPins read_pins() const {
    const unsigned driven = top.sdram_dq__en;
    return {top.sdram_cke, top.sdram_cs_n, top.sdram_ras_n, top.sdram_cas_n, top.sdram_we_n,
            top.sdram_ba,  top.sdram_a,    top.sdram_dqm,   top.sdram_dq__out & driven, driven != 0};
  }

  // A rising edge at the part. It takes the pins of before; who lets them change with it leaves no
  // time to hold them.
  void clock_part() {
    if (std::memcmp(&pins, &pins_before, sizeof pins)) fail("hold: pins change with the memory's clock");
    if (pins.dq_oe && top.sdram_dq__en != kAll) fail("DQ is driven in part");
    word = part.clock(pins_before).dq;
    if (!part.error().empty()) fail(part.error());
    since = 0;
  }

  static constexpr unsigned kAll = ~0u >> (32 - SDRAM);
  SdramPins pins{}, pins_before{};
  uint64_t since = ~0ull;
#endif
  uint64_t oscillator = 0;
  uint32_t word = 0;
};

}  // namespace

#include "serial.h"

EXPORT void* board_open(const BoardParameters* p) { return new Simulation(*p); }

EXPORT const char* board_error(void* handle) {
  return static_cast<Simulation*>(handle)->error.c_str();
}

EXPORT uint8_t* board_memory(void* handle) {
  return static_cast<Simulation*>(handle)->memory.data();
}

EXPORT void board_counts(void* handle, SdramCounts* counts) {
  *counts = static_cast<Simulation*>(handle)->part.counts();
}
