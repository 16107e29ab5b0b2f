/* gather: moves elements: transposes, reshapes that move data, slices and repetitions.
 *
 * The output's elements in C order (y, x, c) are the input's elements that four nested loops walk
 * to, outermost first. The input's place is (pixel, channel), pixels counted row by row.
 *
 * Inputs:    0: any shape; not the output's bytes.
 * Arguments: 0, 1: pixel and channel of the first element.
 *            2 + 3 * k .. 4 + 3 * k, loop k = 0 .. 3: its count, at least 1, and the pixels and
 *            channels from the place before to the place where its next turn begins, while the
 *            loops inside k begin anew. The pixels may be negative; the channels are from 0 to the
 *            input's channels - 1, carrying into the pixels.
 *            The counts' product is the number of output elements.
 *
 * accel.firmware.gather_arguments makes these arguments of counts and strides.
 */
#include "accel.h"

#define OUTER 3 /* loops around the innermost one */

/* A place, or the way from one to another: bytes, channel in its pixel, lane in its group. */
struct place {
    uint32_t byte;
    uint32_t channel;
    uint32_t lane;
};

/* Return the way over pixels and channels, from lane 0. */
static struct place make_step(const struct accel_block *block, const struct accel_map *map,
                              const uint32_t *pixels_and_channels)
{
    struct place step = {pixels_and_channels[0] * block->slot, pixels_and_channels[1],
                         pixels_and_channels[1]};
    while (step.lane >= block->rows) {
        step.lane -= block->rows;
        step.byte += map->plane;
    }
    step.byte += step.lane;
    return step;
}

/* Take a step. `end` is the way from a pixel's channel 0 to behind its last one. */
static inline __attribute__((always_inline)) void move(struct place *at, struct place step,
                                                       struct place end, uint32_t rows,
                                                       uint32_t next_group, uint32_t next_pixel)
{
    at->byte += step.byte;
    at->channel += step.channel;
    at->lane += step.lane;
    if (at->lane >= rows) {
        at->lane -= rows;
        at->byte += next_group;
    }
    if (at->channel >= end.channel) {
        at->channel -= end.channel;
        at->byte += next_pixel;
        if (at->lane < end.lane) {
            at->lane += rows;
            at->byte -= next_group;
        }
        at->lane -= end.lane;
    }
}

ACCEL_KERNEL(gather)
{
    const struct accel_map *in = accel_input(block, 0), *out = &block->output;
    const uint32_t *arguments = (const uint32_t *)accel_input(block, block->inputs);
    const uint32_t *loop = arguments + 2, *inner = loop + 3 * OUTER;
    const uint32_t all_channels[] = {0, in->channels};
    const struct place end = make_step(block, in, all_channels);
    const struct place step = make_step(block, in, inner + 1);
    const uint32_t next_group = in->plane - block->rows, next_pixel = block->slot - end.byte;
    uint32_t turns[OUTER] = {loop[0], loop[3], loop[6]};
    struct place at = make_step(block, in, arguments);
    struct accel_cursor output = accel_begin(out);

    at.byte += in->address;
    for (;;) {
        for (uint32_t left = inner[0];;) {
            *output.at = *(const int8_t *)at.byte;
            accel_advance(block, out, &output, 1);
            if (--left == 0)
                break;
            move(&at, step, end, block->rows, next_group, next_pixel);
        }
        int k = OUTER - 1;
        while (--turns[k] == 0) {
            turns[k] = loop[3 * k];
            if (k-- == 0)
                return;
        }
        move(&at, make_step(block, in, loop + 3 * k + 1), end, block->rows, next_group, next_pixel);
    }
}
