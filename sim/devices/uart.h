// The far end of a board's serial port, for any main loop that clocks one: 8N1 on two pins.

#ifndef SYSTOLITE_UART_H
#define SYSTOLITE_UART_H

#include <cstdint>
#include <deque>

class UartLine {
 public:
  explicit UartLine(unsigned bit_cycles) : bit_cycles_(bit_cycles) {}

  std::deque<uint8_t> to_board;    // bytes still to be sent
  std::deque<uint8_t> from_board;  // bytes received
  uint64_t framing_errors = 0;     // bytes of the board without a stop bit

  // Once per clock: takes the level of the board's tx, returns the one of its rx.
  bool step(bool tx) {
    receive(tx);
    return send();
  }

  // Nothing is on the line or waits for it.
  bool quiet() const { return to_board.empty() && !sending_ && !receiving_; }

 private:
  bool send() {
    if (!sending_) {
      if (to_board.empty()) return true;
      // Start bit, data, stop bit, lowest first.
      send_bits_ = static_cast<unsigned>(to_board.front()) << 1 | 1u << 9;
      to_board.pop_front();
      send_cycles_ = 0;
      sending_ = true;
    }
    const bool level = send_bits_ >> (send_cycles_ / bit_cycles_) & 1;
    if (++send_cycles_ == 10 * bit_cycles_) sending_ = false;
    return level;
  }

  void receive(bool tx) {
    if (!receiving_) {
      if (tx) return;
      receiving_ = true;
      receive_cycles_ = 0;
      receive_bits_ = 0;
    }
    if (receive_cycles_ % bit_cycles_ == bit_cycles_ / 2) {
      const unsigned bit = receive_cycles_ / bit_cycles_;
      receive_bits_ |= static_cast<unsigned>(tx) << bit;
      if (bit == 9) {
        if (!tx) ++framing_errors;
        from_board.push_back(static_cast<uint8_t>(receive_bits_ >> 1));
        receiving_ = false;
      }
    }
    ++receive_cycles_;
  }

  unsigned bit_cycles_;
  bool sending_ = false, receiving_ = false;
  unsigned send_bits_ = 0, send_cycles_ = 0;
  unsigned receive_bits_ = 0, receive_cycles_ = 0;
};

#endif
