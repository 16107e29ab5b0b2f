/* Kernels for the controller: what no engine does, in C.
 *
 * A kernel is one function, declared with ACCEL_KERNEL(name) and built by accel/firmware/build.py:
 *
 *     #include "accel.h"
 *
 *     ACCEL_KERNEL(negate)
 *     {
 *         const struct accel_map *in = accel_input(block, 0), *out = &block->output;
 *         for (uint32_t y = 0; y < out->height; y++)
 *             for (uint32_t x = 0; x < out->width; x++)
 *                 for (uint32_t c = 0; c < out->channels; c++)
 *                     accel_write(block, out, y, x, c, ~accel_read(block, in, y, x, c));
 *     }
 *
 * It runs while all engines are idle, sees its maps in a window onto the scratchpad, and returns
 * when its output is complete. Rules that the build enforces: no writable globals (locals only, at
 * most ACCEL_STACK_BYTES of stack, no recursion), no tables of pointers, no library but division,
 * multiplication and 64-bit multiplication. There is no memory but the maps, the argument block
 * and the stack.
 */
#ifndef ACCEL_H
#define ACCEL_H

#include <stdint.h>

/* Stack a kernel may use, in bytes, its callees included. */
#define ACCEL_STACK_BYTES 160

/* An int8 map of height x width pixels, in the scratchpad. Channels lie in groups of `rows`: one
 * plane each, `plane` bytes apart. In a plane the pixels lie row by row, `slot` bytes apart, and
 * the first `rows` of those bytes are the group's channels. */
struct accel_map {
    uint32_t address; /* of element (0, 0, 0) */
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t plane;
};

/* What a kernel is called with. Behind it in memory: the input maps, the argument words, and the
 * tables one after another. */
struct accel_block {
    uint32_t rows;      /* channels in a group: 4, 8, 12, 16 or 32 */
    uint32_t slot;      /* bytes from one pixel to the next: a power of two, >= rows */
    uint32_t inputs;    /* number of input maps */
    uint32_t arguments; /* number of argument words */
    struct accel_map output;
};

/* The kernel function: first in the blob, called with `block`. */
#define ACCEL_KERNEL(name)                                                    \
    __attribute__((section(".text.entry"), used)) void name(                  \
        const struct accel_block *block)

/* Return input map number `index`. */
static inline const struct accel_map *accel_input(const struct accel_block *block, uint32_t index)
{
    return &block->output + 1 + index;
}

/* Return argument word number `index`. */
static inline uint32_t accel_argument(const struct accel_block *block, uint32_t index)
{
    return ((const uint32_t *)accel_input(block, block->inputs))[index];
}

/* Return the first word of the first table. */
static inline const int32_t *accel_tables(const struct accel_block *block)
{
    return (const int32_t *)accel_input(block, block->inputs) + block->arguments;
}

/* Return where element (y, x, c) lies. Not cheap: two multiplications and a division. Loops over
 * channels do better with a cursor. */
static inline int8_t *accel_element(const struct accel_block *block, const struct accel_map *map,
                                    uint32_t y, uint32_t x, uint32_t c)
{
    uint32_t address = map->address + (y * map->width + x) * block->slot;
#ifdef __riscv_mul
    address += c / block->rows * map->plane + c % block->rows;
#else
    for (; c >= block->rows; c -= block->rows)
        address += map->plane;
    address += c;
#endif
    return (int8_t *)address;
}

/* Return element (y, x, c) of a map. */
static inline int32_t accel_read(const struct accel_block *block, const struct accel_map *map,
                                 uint32_t y, uint32_t x, uint32_t c)
{
    return *accel_element(block, map, y, x, c);
}

/* Set element (y, x, c) of a map to the low byte of `value`. */
static inline void accel_write(const struct accel_block *block, const struct accel_map *map,
                               uint32_t y, uint32_t x, uint32_t c, int32_t value)
{
    *accel_element(block, map, y, x, c) = (int8_t)value;
}

/* A place in a map, moving through its elements in C order (y, x, c), c fastest. Elements come in
 * runs of consecutive bytes:
 *
 *     struct accel_cursor cursor = accel_begin(map);
 *     for (uint32_t left = map->channels; left != 0;) {
 *         uint32_t run = accel_run(block, map, &cursor, left);
 *         ... cursor.at[0] .. cursor.at[run - 1] ...
 *         accel_advance(block, map, &cursor, run);
 *         left -= run;
 *     }
 */
struct accel_cursor {
    int8_t *at;       /* the element */
    int8_t *pixel;    /* channel 0 of its pixel */
    uint32_t channel; /* its channel */
    uint32_t lane;    /* its place in its group: channel % rows */
};

/* Return the place of element (0, 0, 0). */
static inline struct accel_cursor accel_begin(const struct accel_map *map)
{
    struct accel_cursor cursor = {(int8_t *)map->address, (int8_t *)map->address, 0, 0};
    return cursor;
}

/* Return how many elements from here on lie in consecutive bytes, at most `limit`. */
static inline uint32_t accel_run(const struct accel_block *block, const struct accel_map *map,
                                 const struct accel_cursor *cursor, uint32_t limit)
{
    uint32_t in_group = block->rows - cursor->lane;
    uint32_t in_pixel = map->channels - cursor->channel;
    uint32_t run = in_group < in_pixel ? in_group : in_pixel;
    return run < limit ? run : limit;
}

/* Move on by `count` elements, at most what accel_run returned. */
static inline void accel_advance(const struct accel_block *block, const struct accel_map *map,
                                 struct accel_cursor *cursor, uint32_t count)
{
    cursor->at += count;
    cursor->lane += count;
    cursor->channel += count;
    if (cursor->channel == map->channels) {
        cursor->pixel += block->slot;
        cursor->at = cursor->pixel;
        cursor->channel = cursor->lane = 0;
    } else if (cursor->lane == block->rows) {
        cursor->at += map->plane - block->rows;
        cursor->lane = 0;
    }
}

/* TensorFlow Lite Micro's arithmetic (gemmlowp's fixed point), as accel/numerics.py has it. */

#ifndef __riscv_mul
/* Return (a * b + (1 << 30) - less) >> 31; a and b are below 2**31, less is 0 or 1. In runtime.c. */
uint32_t accel_multiply_high_plain(uint32_t a, uint32_t b, uint32_t less);
#endif

/* Return the high 32 bits of 2 * a * b, rounded as gemmlowp does (half up). Neither is -2**31. */
static inline int32_t accel_multiply_high(int32_t a, int32_t b)
{
#ifdef __riscv_mul
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
#else
    uint32_t negative = (uint32_t)(a ^ b) >> 31;
    uint32_t high = accel_multiply_high_plain((uint32_t)(a < 0 ? -a : a),
                                              (uint32_t)(b < 0 ? -b : b), negative);
    return negative ? -(int32_t)high : (int32_t)high;
#endif
}

/* Return x / 2**exponent, 0 <= exponent <= 31, rounded half away from zero. */
static inline int32_t accel_shift_right(int32_t x, uint32_t exponent)
{
    uint32_t magnitude = x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
    uint32_t rounded = (magnitude >> exponent) + (exponent ? magnitude >> (exponent - 1) & 1 : 0);
    return x < 0 ? (int32_t)(0u - rounded) : (int32_t)rounded;
}

/* Return x times multiplier * 2**(shift - 31), shift from -31 to 30, rounded twice; the value is
 * not -2**31 after a shift left. */
static inline int32_t accel_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    int32_t shifted = shift > 0 ? (int32_t)((uint32_t)x << shift) : x;
    int32_t high = accel_multiply_high(shifted, multiplier);
    return shift < 0 ? accel_shift_right(high, (uint32_t)-shift) : high;
}

/* Return x limited to low .. high. */
static inline int32_t accel_clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

#endif
