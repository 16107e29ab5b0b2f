/* Arithmetic that the compiler calls by name where the instruction set lacks it. Only what a
 * kernel uses becomes part of its blob.
 *
 * Names and meaning: "The GCC low-level runtime library" (GCC internals manual), integer routines.
 */
#include "accel.h"

#ifndef __riscv_mul
uint32_t accel_multiply_high_plain(uint32_t a, uint32_t b, uint32_t less)
{
    uint32_t sum = (1u << 30) - less;
    if (a == 0 || b == 0)
        return 0;
    /* Bits that leave the sum are final; the one above b ends 31 turns. */
    b |= 1u << 31;
    do {
        if (b & 1)
            sum += a;
        sum >>= 1;
        b >>= 1;
    } while (b != 1);
    return sum;
}
#endif

uint32_t __mulsi3(uint32_t a, uint32_t b)
{
    uint32_t result = 0;
    if (a < b) {
        uint32_t larger = b;
        b = a;
        a = larger;
    }
    /* As many turns as the smaller factor has bits. */
    for (; b; b >>= 1, a += a)
        if (b & 1)
            result += a;
    return result;
}

uint64_t __muldi3(uint64_t a, uint64_t b)
{
    const uint32_t factor = (uint32_t)a;
    uint32_t bits = (uint32_t)b, low = 0, high = 0;
    for (int turn = 0; turn < 32; turn++, bits += bits) {
        high += high + (low >> 31);
        low += low;
        if (bits >> 31) {
            low += factor;
            high += low < factor;
        }
    }
    if (a >> 32)
        high += __mulsi3((uint32_t)(a >> 32), (uint32_t)b);
    if (b >> 32)
        high += __mulsi3((uint32_t)(b >> 32), factor);
    return (uint64_t)high << 32 | low;
}

/* Return the quotient, and the rest in *rest. Division by 0 gives what the M extension gives. */
static uint32_t divide(uint32_t a, uint32_t b, uint32_t *rest)
{
    uint32_t quotient = 0, left = 0;
    for (int turn = 0; turn < 32; turn++, a += a) {
        uint32_t carry = left >> 31;
        left += left + (a >> 31);
        quotient += quotient;
        if (carry || left >= b) {
            left -= b;
            quotient++;
        }
    }
    *rest = left;
    return quotient;
}

uint32_t __udivsi3(uint32_t a, uint32_t b)
{
    uint32_t rest;
    return divide(a, b, &rest);
}

uint32_t __umodsi3(uint32_t a, uint32_t b)
{
    uint32_t rest;
    divide(a, b, &rest);
    return rest;
}

static uint32_t magnitude(int32_t x)
{
    return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
}

int32_t __divsi3(int32_t a, int32_t b)
{
    uint32_t rest, quotient = divide(magnitude(a), magnitude(b), &rest);
    return (int32_t)(b != 0 && (a ^ b) < 0 ? 0u - quotient : quotient);
}

int32_t __modsi3(int32_t a, int32_t b)
{
    uint32_t rest;
    divide(magnitude(a), magnitude(b), &rest);
    return (int32_t)(a < 0 ? 0u - rest : rest);
}
