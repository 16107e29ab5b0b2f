// Main loop of a design that has a clock, a reset and a serial port, and needs nothing else.

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

  bool failed() const { return false; }

  VerilatedContext context;
  Vtop top{&context};
  UartLine line;
  uint64_t cycles = 0;
};

}  // namespace

#include "serial.h"

EXPORT void* serial_open(unsigned bit_cycles) { return new Simulation(bit_cycles); }
