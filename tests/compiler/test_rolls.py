"""Maps that roll over one another: how far apart, when, and that results stay right."""

from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.backend import build_image
from accel.compiler.layers import ConvLayer, FeatureMap, Network, Port
from accel.compiler.placement import place
from accel.compiler.reference import evaluate
from accel.compiler.rolls import Roll, find_rolls, offsets
from accel.config import PRESETS
from accel.host.driver import Driver
from sim.devices.model import ModelDevice

TEST = PRESETS["test"]  # 1,024 words of scratchpad
SHAPES = [  # kernel, stride, padding, results of 24 rows and columns
    ((3, 3), (1, 1), (1, 1), (24, 24)),
    ((1, 1), (1, 1), (0, 0), (24, 24)),
    ((5, 5), (1, 1), (2, 2), (24, 24)),
    ((3, 3), (2, 2), (1, 1), (12, 12)),
    ((3, 3), (1, 1), (0, 0), (22, 22)),
]


def conv(index, source, kernel, stride, padding, results, rng, channels=4):
    output = FeatureMap(index + 1, f"map{index + 1}", *results, channels)
    layer = ConvLayer(
        index=index, name=output.name, op="CONV_2D", macs=1, output=output, sources=(source,),
        weights=rng.integers(-127, 128, (channels, *kernel, source.channels), np.int8),
        bias=rng.integers(-99, 99, channels, np.int32),
        multiplier=np.full(channels, 1 << 30, np.int32), shift=np.full(channels, -7, np.int8),
        stride=stride, padding=padding, results=results,
        pad_value=0, output_zero=3, clamp_min=-128, clamp_max=127,
    )  # fmt: skip
    return layer, output


def chain(*shapes):
    """Return a network of convolutions, one behind the other."""
    rng = np.random.default_rng(len(shapes))
    first = item = FeatureMap(0, "x", 24, 24, 4)
    layers = []
    for index, shape in enumerate(shapes):
        layer, item = conv(index, item, *shape, rng)
        layers.append(layer)
    ports = [Port(m.name, (1, *m.shape), m) for m in (first, item)]
    return Network("chain", tuple(layers), (ports[0],), (ports[1],), {})


@pytest.mark.parametrize("shape", SHAPES)
def test_no_result_lies_over_a_row_that_is_still_read(shape):
    network = chain(shape)
    (roll,) = find_rolls(network.layers, {}, TEST)
    kernel, stride, padding, results = shape
    for rows in range(1, results[0]):
        for done in range(rows, results[0], rows):
            end = done * results[1] - roll.lead  # from the input's first word
            first_read = max(0, done * stride[0] - padding[0]) * 24
            assert end <= first_read
    assert roll == Roll(0, 0, 1, roll.lead)
    # Not further than it must be: with chunks of one row some result lies right before a row.
    ends = [
        n * results[1] - roll.lead - max(0, n * stride[0] - padding[0]) * 24
        for n in range(1, results[0])
    ]
    assert max(ends) == 0 or roll.lead == 0


def test_a_chain_takes_little_more_than_its_largest_map():
    rolls = [Roll(0, 10, 11, 24), Roll(1, 11, 12, 48)]
    assert offsets(rolls) == {12: (12, 0), 11: (12, 48), 10: (12, 72)}
    assert offsets([]) == {}


def test_maps_roll_where_they_would_not_fit_otherwise():
    """Two maps of 576 words do not fit 1,024: with rolling, nothing but the input moves."""
    network = chain(SHAPES[0], SHAPES[2], SHAPES[0], SHAPES[3])
    placement = place(network.layers, TEST)
    assert {1, 2, 3, 4} <= set(placement.resident)
    big = replace(TEST, scratchpad_bytes=8192)
    plain = place(network.layers, big).resident
    spans = sorted((plain[s], plain[s] + 576) for s in (1, 2))
    assert spans[0][1] <= spans[1][0]  # no need to


@pytest.mark.parametrize("seed", range(3))
def test_results_are_those_of_the_reference(seed):
    rng = np.random.default_rng(seed)
    shapes = [SHAPES[i] for i in rng.permutation(3)] + [SHAPES[3 + seed % 2]]
    network = chain(*shapes)
    image = build_image(network, TEST)
    x = rng.integers(-128, 128, (2, *network.inputs[0].shape), np.int8)
    (expected,) = evaluate(network, [x])
    with ModelDevice(TEST, memory_bytes=1 << 20) as device:
        driver = Driver(device)
        driver.load_image(image)
        for one, wanted in zip(x, expected, strict=True):
            (found,), stats = driver.run([one])
            np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
            assert stats.write_beats * 4 == wanted.size  # nothing but the result


def test_a_map_that_is_read_again_stays():
    """The first convolution's input is read by the last one, too."""
    network = chain(SHAPES[1], SHAPES[0])
    first, second = network.layers
    again = replace(second, sources=(first.sources[0],), index=2)
    assert [r.time for r in find_rolls([first, second, again], {}, TEST)] == [1]
