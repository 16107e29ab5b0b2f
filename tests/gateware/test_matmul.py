"""The matmul engine against the golden machine: sums, and the cycle of every request."""

from itertools import pairwise

import numpy as np
import pytest

from accel.gateware.ports import ACCUMULATOR_LATENCY
from accel.isa import Engine
from sim.engines import run_command
from tests.gateware.matmulbench import Bench, command, convolution, flat, make_config, run


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8), (12, 12)])
def test_convolutions_with_padding_strides_and_dilation(rows, cols):
    config = make_config(rows, cols, acc_depth=32)
    commands = [
        convolution(5, groups=2, pad_value=-128, accumulate=0),
        convolution(6, stride=2, pad_value=5, acc_address=32, weight_address=3 * rows),
        convolution(5, dilation=2, pad=2, pad_value=127, accumulate=1),
        convolution(4, kernel=1, pad=0, acc_address=40),
    ]
    bench = run(config, commands)
    for fields, (first, last) in zip(commands, bench.spans(), strict=True):
        pixels = fields["count_col"] * fields["count_row"]
        tiles = fields["count_k0"] * fields["count_k1"] * fields["count_k2"]
        assert last - first + 1 <= (tiles - 1) * max(pixels, rows, cols) + pixels
        assert last - first + 1 >= tiles * pixels


def test_random_loops():
    """Any strides: addresses and coordinates wrap, words are read twice or never."""
    config = make_config(4, 4)
    rng = np.random.default_rng(11)
    commands = []
    for _ in range(12):
        col, row = rng.integers(1, 5, 2)
        counts = [int(n) for n in (col, row, *rng.integers(1, 4, 3))]
        strides = rng.integers(-3, 4, (5, 3)) * np.array([37, 1, 1])
        half = int(rng.integers(2)) * config.acc_depth
        commands.append(
            command(
                counts,
                strides,
                input_address=int(rng.integers(1 << 20)),
                input_y=int(rng.integers(-4, 5)),
                input_x=int(rng.integers(-4, 5)),
                input_height=int(rng.integers(1, 6)),
                input_width=int(rng.integers(1, 6)),
                weight_address=int(rng.integers(config.weight_words)),
                acc_address=half + int(rng.integers(config.acc_depth - col * row + 1)),
                accumulate=int(rng.integers(2)),
                pad_value=int(rng.integers(-128, 128)),
            )
        )
    run(config, commands)


def test_extreme_coordinates():
    config = make_config(4, 4)
    commands = [
        command(
            (4, 1, 1, 1, 1),
            [(1, y_step, x_step), *[(0, 0, 0)] * 4],
            input_y=y,
            input_x=x,
            input_height=65535,
            input_width=height,
            acc_address=4 * i,
            pad_value=77,
        )
        for i, (y, x, y_step, x_step, height) in enumerate(
            [
                (32766, 0, 1, 0, 1),
                (-32768, 0, -1, 0, 1),
                (0, -2, 0, 1, 65535),
                (0, 32765, 0, 1, 40000),
            ]
        )
    ]
    run(config, commands)


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8), (12, 12)])
def test_tiles_of_one_pixel_follow_without_bubble(rows, cols):
    tiles = 6
    bench = run(make_config(rows, cols), [flat(1, tiles, acc_address=3)])
    period = {following - start for start, following in pairwise(bench.inputs)}
    assert max(period) == max(rows, cols)
    assert bench.inputs[-1] - bench.inputs[1] == (tiles - 2) * max(rows, cols)
    # With weights to load first, an idle engine takes two cycles more than with them loaded.
    assert bench.inputs[0] - bench.accepted[0] <= 4


@pytest.mark.parametrize("rows, cols", [(4, 4), (8, 4), (4, 8)])
def test_commands_follow_with_two_idle_cycles(rows, cols):
    config = make_config(rows, cols, acc_depth=32)
    pixels = 2 * max(rows, cols)
    commands = [
        flat(pixels, tiles, at=7 * i, acc_address=32 * (i % 2), weight_address=rows * i)
        for i, tiles in enumerate((1, 2, 3, 1, 1))
    ]
    bench = run(config, commands)
    for (first, last), fields in zip(bench.spans(), commands, strict=True):
        assert last - first + 1 == pixels * fields["count_k0"]
    for (_, last), (first, _) in pairwise(bench.spans()):
        assert first - last == 3


@pytest.mark.parametrize("pixels", [1, 2, 3, 5])
def test_short_commands_accumulate_on_one_entry(pixels):
    """The second command's first entry is the first one's last: no update is lost."""
    config = make_config(4, 4)
    commands = [
        flat(pixels, tiles, at=i, acc_address=i * (pixels - 1), accumulate=1)
        for i, tiles in enumerate((1, 1, 2))
    ]
    commands.insert(0, flat(16, 1))
    run(config, commands, gap=1)


@pytest.mark.parametrize("contention", [0.0, 0.3, 0.9])
def test_weight_port_contention_only_delays(contention):
    config = make_config(8, 4)
    commands = [
        flat(pixels, tiles, weight_address=16 * i, acc_address=(i % 2) * 16, accumulate=i // 2 % 2)
        for i, (pixels, tiles) in enumerate([(3, 4), (12, 3), (1, 2), (16, 2), (1, 1), (1, 1)])
    ]
    bench = run(config, commands, contention=contention, seed=int(contention * 10))
    assert len(bench.tiles) == sum(f["count_k0"] for f in commands)
    assert min(following - start for start, following in pairwise(bench.tiles)) >= 8


def test_a_burst_has_no_gap_and_says_so():
    bench = run(make_config(8, 4), [flat(1, 3)])
    assert [following - start for start, following in pairwise(bench.tiles)] == [8, 8]


@pytest.mark.parametrize("gap, pixels", [(1, 1), (1, 5), (7, 5), (60, 5)])
def test_busy_covers_every_command(gap, pixels):
    """Up to four commands are in the pipeline, or one that comes late."""
    config = make_config(4, 4)
    commands = [
        flat(pixels, 1, acc_address=16 * (i % 2), weight_address=8 * i, accumulate=1)
        for i in range(8)
    ]
    bench = run(config, commands, gap=gap)
    if gap == pixels == 1:
        assert bench.accepted[4] <= bench.completed[1][0]
    start = bench.accepted[0]
    assert not any(bench.busy[: start + 1])
    running = np.zeros(len(bench.busy), bool)
    for accepted, (completed, _, _) in zip(bench.accepted, bench.completed, strict=True):
        running[accepted + 1 : completed + 1] = True
    assert bench.busy == running.astype(int).tolist()


def test_reads_between_commands():
    """The read in the cycle after a completion sees the sums, beside the next command's work."""
    config = make_config(4, 4)
    commands = [flat(8, 2), flat(16, 12, at=9, acc_address=16)]
    reads = [(1, a, s) for a in range(8) for s in range(2)] + [(1, 16, 0)]
    bench = Bench(config, commands, reads=reads).run()
    done = [cycle for cycle, _, _ in bench.completed]
    assert bench.read_cycles[:16] == list(range(done[0] + 1, done[0] + 17))
    # The entry of the running command waits for its end.
    assert bench.read_cycles[16] == done[1] + 1
    assert len(bench.responses) == 17 and ACCUMULATOR_LATENCY == 4
    for fields in commands:
        run_command(config, bench.spaces, Engine.MATMUL, fields)
    expected = [bench.spaces.accumulators[a, 2 * s : 2 * s + 2].tolist() for _, a, s in reads]
    assert bench.responses == expected
