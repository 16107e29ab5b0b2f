// Reads elements from standard input, each with parameters of its own, sends them through the
// requantiser one every PERIOD cycles, and writes a byte for each to standard output.

#include <cstdint>
#include <cstdio>
#include <vector>

#include "Vtop.h"

struct Element {
    uint32_t x, lane[3], bounds;
};

int main() {
    std::vector<Element> elements;
    Element element;
    while (std::fread(&element, sizeof element, 1, stdin) == 1) elements.push_back(element);
    Vtop top;
    auto clock = [&] {
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
    };
    auto write_result = [&] { std::putchar(static_cast<uint8_t>(top.y)); };
    for (size_t i = 0; i <= elements.size(); i++) {
        if (i < elements.size()) {
            for (int k = 0; k < 3; k++) top.lane[k] = elements[i].lane[k];
            top.bounds = elements[i].bounds;
        }
        top.first = 1;
        top.eval();
        clock();
        top.first = 0;
        if (i < elements.size()) top.x = elements[i].x;
        top.eval();
        // The element before left the last stage at the edge just passed.
        if (i > 0) write_result();
        for (int cycle = 1; cycle < PERIOD; cycle++) clock();
    }
    return 0;
}
