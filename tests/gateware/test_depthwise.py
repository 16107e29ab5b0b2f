"""The matmul engine's depthwise mode and grouped words against the golden machine."""

import numpy as np
import pytest

from accel.isa import Engine
from sim.engines import run_command
from sim.errors import ProgramError
from sim.spaces import Spaces
from tests.gateware.matmulbench import command, convolution, flat, make_config, run

WIDTH = 9
"""Words of an image row; odd, so that rows below one another lie in different banks."""


def depthwise(config, groups, taps, *, rows=3, gap=0, pixels=4, kernel=1, **fields):
    """Return a chunk of `rows` x `pixels` results; every array row may have a weight."""
    skip = config.rows - 1 - (groups - 1) * taps
    positions = skip + (pixels - 1) * (gap + 1) + 1
    return command(
        (positions, rows, 1, kernel, 1),
        [(1, 0, 1), (WIDTH, 1, 0), (0, 0, 0), (groups * WIDTH, groups, 0), (0, 0, 0)],
        input_address=fields.pop("at", 50),
        input_y=-1,
        input_x=-2,
        input_height=rows + 1,
        input_width=positions - 3,
        groups=groups,
        taps=taps,
        group_step=WIDTH,
        group_step_y=1,
        skip=skip,
        gap=gap,
        **fields,
    )


def large(size, *others):
    """Return test parameters; those of 16 x 16 arrays take long."""
    marks = [pytest.mark.full] if size in (16, (16, 16)) else []
    return pytest.param(size, *others, marks=marks)


MODES = [
    (4, 1, 3), (8, 1, 8), (8, 2, 3), (12, 1, 5), (12, 2, 5), (12, 3, 3), (16, 3, 3), (16, 3, 5),
]  # fmt: skip


@pytest.mark.parametrize(("size", "groups", "taps"), [large(*mode) for mode in MODES])
def test_columns_filter_their_own_byte(size, groups, taps):
    config = make_config(size, size, acc_depth=32)
    commands = [
        depthwise(config, groups, taps, pad_value=-128),
        depthwise(config, groups, taps, gap=1, kernel=2, acc_address=32, weight_address=size),
        depthwise(config, groups, taps, gap=2, at=3, pixels=2, accumulate=1, pad_value=127),
    ]
    run(config, commands)


@pytest.mark.parametrize("size", [large(8), large(12), large(16)])
def test_modes_follow_one_another(size):
    """Each word is delayed by its own command's taps, whatever comes before and behind."""
    config = make_config(size, size, acc_depth=32)
    modes = [(g, t) for s, g, t in MODES if s == size]
    commands = []
    for i, (groups, taps) in enumerate(modes * 2):
        places = {"acc_address": 32 * (i % 2), "weight_address": size * (i % 5)}
        commands.append(depthwise(config, groups, taps, at=20 + i, **places))
        commands.append(flat(5 + i, 2, at=7 * i, acc_address=places["acc_address"], accumulate=1))
        commands.append(depthwise(config, *modes[i // 2], at=90, accumulate=1, **places))
    run(config, commands)


@pytest.mark.parametrize(("size", "groups"), [((8, 4), 2), ((12, 4), 3), large((16, 16), 3)])
def test_grouped_words_fill_four_rows_each(size, groups):
    config = make_config(*size, acc_depth=32)
    grouped = {"groups": groups, "group_step": 5, "group_step_y": 1}
    commands = [
        convolution(5, pad_value=9, **grouped),
        convolution(5, pad_value=9, acc_address=32),
        convolution(5, kernel=1, pad=0, accumulate=1, **grouped),
    ]
    run(config, commands)


def test_what_the_array_cannot_do_is_refused():
    square, wide = make_config(8, 8), make_config(4, 8)
    for config, fields, message in (
        (square, depthwise(square, 3, 3), "3 groups; this configuration has 2"),
        (square, depthwise(square, 2, 5), "2 groups of 5 taps on 8 array rows"),
        (square, depthwise(square, 2, 4), "2 groups of 4 taps on 8 array rows"),
        (wide, depthwise(wide, 1, 3), "as many array rows as columns"),
        (square, depthwise(square, 2, 3) | {"group_step": 8}, "read the same bank at once"),
        (square, depthwise(square, 2, 3) | {"skip": 3}, "before the first of a row"),
        (square, depthwise(square, 2, 3) | {"skip": 200}, "leaves no output pixel"),
    ):
        spaces = Spaces(config)
        spaces.weights[:] = 1
        with pytest.raises(ProgramError, match=message):
            run_command(config, spaces, Engine.MATMUL, fields)


def test_positions_without_result_cost_a_cycle_each():
    config = make_config(8, 8, acc_depth=32)
    fields = depthwise(config, 2, 3, gap=1)
    bench = run(config, [fields])
    assert len(bench.inputs) == fields["count_col"] * fields["count_row"]
    assert np.all(np.diff(bench.inputs) == 1)
