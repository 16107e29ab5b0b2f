/* clip_sum: output = input 0 + input 1, limited to low .. high.
 *
 * Inputs:    0, 1: maps of the output's shape.
 * Arguments: 0: low, 1: high, signed.
 */
#include "accel.h"

ACCEL_KERNEL(clip_sum)
{
    const struct accel_map *a = accel_input(block, 0), *b = accel_input(block, 1);
    const struct accel_map *out = &block->output;
    const int32_t low = (int32_t)accel_argument(block, 0);
    const int32_t high = (int32_t)accel_argument(block, 1);

    for (uint32_t y = 0; y < out->height; y++)
        for (uint32_t x = 0; x < out->width; x++)
            for (uint32_t c = 0; c < out->channels; c++) {
                int32_t sum = accel_read(block, a, y, x, c) + accel_read(block, b, y, x, c);
                accel_write(block, out, y, x, c, accel_clamp(sum, low, high));
            }
}
