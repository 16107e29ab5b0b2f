/* softmax: int8 softmax along runs of `depth` elements, bit-exact to TensorFlow Lite Micro.
 *
 * The map's elements in C order (y, x, c) are taken `depth` at a time; depth == channels is the
 * softmax of every pixel's channels. The output has scale 1/256 and zero point -128.
 *
 * Inputs:    0: the map; the output has its shape and may be the same bytes.
 * Arguments: 0: depth, 1 .. 8191; divides the number of elements.
 * Tables:    0: 256 entries, accel.numerics.softmax_table: exp(-d * scale) in Q0.31 by the distance
 *               d of an element from the largest one.
 *
 * Source: reference_ops::Softmax (TensorFlow Lite, kernels/internal/reference/softmax.h) on int8,
 * GetReciprocal (kernels/internal/common.h), one_over_one_plus_x_for_x_in_0_1 (gemmlowp,
 * fixedpoint.h).
 */
#include "accel.h"

/* Return 2**62 / x in the source's rounding, for x from 2**31 to 2**32 - 1, at most 2**31 - 1. */
static int32_t reciprocal(uint32_t x)
{
    int32_t half = (int32_t)(x >> 1);
    /* Newton-Raphson in Q2.29, started at 48/17 - 32/17 * d. */
    int32_t estimate = 1515870810 + accel_multiply_high(half, -1010580540);
    for (int round = 0; round < 3; round++) {
        int32_t error = (1 << 29) - accel_multiply_high(half, estimate);
        estimate += accel_multiply_high(estimate, error) * 4;
    }
    /* 2 saturates. */
    return estimate >= 1 << 30 ? INT32_MAX : estimate << 1;
}

ACCEL_KERNEL(softmax)
{
    const struct accel_map *in = accel_input(block, 0), *out = &block->output;
    const uint32_t depth = accel_argument(block, 0);
    const int32_t *table = accel_tables(block);
    struct accel_cursor input = accel_begin(in), output = accel_begin(out);

    for (uint32_t elements = in->height * in->width * in->channels; elements; elements -= depth) {
        int32_t largest = -128;
        struct accel_cursor walk = input;
        for (uint32_t left = depth; left;) {
            uint32_t run = accel_run(block, in, &walk, left);
            for (const int8_t *x = walk.at, *end = x + run; x != end; x++)
                if (__builtin_expect(*x > largest, 0))
                    largest = *x;
            accel_advance(block, in, &walk, run);
            left -= run;
        }

        uint32_t sum = 0; /* Q12.19 */
        walk = input;
        for (uint32_t left = depth; left;) {
            uint32_t run = accel_run(block, in, &walk, left);
            for (const int8_t *x = walk.at, *end = x + run; x != end; x++)
                sum += ((uint32_t)table[largest - *x] + (1u << 11)) >> 12;
            accel_advance(block, in, &walk, run);
            left -= run;
        }

        uint32_t exponent = 35;
        for (; sum >> 31 == 0; sum <<= 1)
            exponent--;
        int32_t scale = reciprocal(sum);
        if (exponent > 31) { /* every result rounds to 0 */
            scale = 0;
            exponent = 31;
        }
        const uint32_t half = 1u << (exponent - 1);

        for (uint32_t left = depth; left;) {
            /* Both maps have one shape: their runs are the same. */
            uint32_t run = accel_run(block, in, &input, left);
            int8_t *y = output.at;
            for (const int8_t *x = input.at, *end = x + run; x != end; x++, y++) {
                int32_t product = accel_multiply_high(scale, table[largest - *x]);
                uint32_t result = ((uint32_t)product + half) >> exponent;
                /* At most 256, which saturates. */
                *y = (int8_t)(result - (result >> 8) - 128);
            }
            accel_advance(block, in, &input, run);
            accel_advance(block, out, &output, run);
            left -= run;
        }
    }
}
