// Main loop of a design that has a clock, a reset and a serial port, and needs nothing else.
//
// A design with more pins (an SDRAM) has a main loop of its own with these functions, on uart.h.

#include <cstdint>

#include "Vtop.h"
#include "uart.h"
#include "verilated.h"

namespace {

struct Simulation {
  explicit Simulation(unsigned bit_cycles) : line(bit_cycles) {
    top.rst = 1;
    top.rx = 1;
    for (int n = 0; n < 4; ++n) clock();
    top.rst = 0;
  }

  void clock() {
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    ++cycles;
  }

  VerilatedContext context;
  Vtop top{&context};
  UartLine line;
  uint64_t cycles = 0;
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void* serial_open(unsigned bit_cycles) { return new Simulation(bit_cycles); }

EXPORT void serial_close(void* handle) { delete static_cast<Simulation*>(handle); }

EXPORT uint64_t serial_cycles(void* handle) { return static_cast<Simulation*>(handle)->cycles; }

EXPORT uint64_t serial_framing_errors(void* handle) {
  return static_cast<Simulation*>(handle)->line.framing_errors;
}

// Bytes for the board.
EXPORT void serial_push(void* handle, const uint8_t* bytes, unsigned count) {
  auto& queue = static_cast<Simulation*>(handle)->line.to_board;
  queue.insert(queue.end(), bytes, bytes + count);
}

// Bytes of the board, `capacity` at most; returns how many.
EXPORT unsigned serial_pop(void* handle, uint8_t* bytes, unsigned capacity) {
  auto& queue = static_cast<Simulation*>(handle)->line.from_board;
  unsigned count = 0;
  for (; count < capacity && !queue.empty(); ++count) {
    bytes[count] = queue.front();
    queue.pop_front();
  }
  return count;
}

// Clocks the design `cycles` times, fewer when it has said something and the line is quiet.
EXPORT void serial_step(void* handle, uint64_t cycles) {
  auto& simulation = *static_cast<Simulation*>(handle);
  auto& line = simulation.line;
  for (uint64_t n = 0; n < cycles; ++n) {
    simulation.top.rx = line.step(simulation.top.tx);
    simulation.clock();
    if (!line.from_board.empty() && line.quiet()) return;
  }
}
