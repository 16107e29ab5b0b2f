// The functions that sim/serial_port.py calls, around a main loop's `struct Simulation`, which has
// line (a UartLine), cycles, clock() and failed(), and has to be defined before.

#ifndef SYSTOLITE_SERIAL_H
#define SYSTOLITE_SERIAL_H

#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default")))

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

// Clocks the design `cycles` times, fewer when it has said something and the line is quiet, or
// when something is wrong.
EXPORT void serial_step(void* handle, uint64_t cycles) {
  auto& simulation = *static_cast<Simulation*>(handle);
  auto& line = simulation.line;
  for (uint64_t n = 0; n < cycles && !simulation.failed(); ++n) {
    simulation.top.rx = line.step(simulation.top.tx);
    simulation.clock();
    if (!line.from_board.empty() && line.quiet()) return;
  }
}

#endif
