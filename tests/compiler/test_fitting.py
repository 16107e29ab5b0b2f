"""Layers too large for a scratchpad, and what they become: the same bytes on every configuration."""

import dataclasses

import numpy as np
import pytest

from accel.compiler.backend import build_image
from accel.compiler.fitting import fitted
from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    FeatureMap,
    Network,
    PoolLayer,
    Port,
    Rescale,
)
from accel.compiler.moves import moved
from accel.compiler.quantize import IDENTITY, average_rescale
from accel.compiler.reference import evaluate
from accel.config import PRESETS
from accel.host.driver import Driver
from accel.numerics import preprocess_softmax, softmax_table
from sim.devices import open_device

TINY = dataclasses.replace(PRESETS["test"], scratchpad_bytes=2048, name="tiny")
COLUMN = dataclasses.replace(TINY, rows=32, cols=4, scratchpad_bytes=4096, name="column")
CONFIGS = {config.name: config for config in (TINY, COLUMN)}


def network_of(layers: list, source: FeatureMap, output: FeatureMap) -> Network:
    """Return layers with one input and one output as a network."""
    ports = [Port(m.name, (1, *m.shape), m) for m in (source, output)]
    return Network("large", tuple(layers), (ports[0],), (ports[1],))


def check(network: Network, config, *kinds: type) -> None:
    """Compare the golden machine with the reference, before and after the layers are replaced."""
    assert [type(layer) for layer in fitted(network, config).layers] == list(kinds)
    x = np.random.default_rng(0).integers(-128, 128, (2, *network.inputs[0].shape), np.int8)
    (wanted,) = evaluate(network, [x])
    np.testing.assert_array_equal(evaluate(fitted(network, config), [x])[0], wanted)
    image = build_image(network, config)
    with open_device("model", config, memory_bytes=1 << 22) as device:
        driver = Driver(device)
        driver.load_image(image)
        result = np.stack([driver.run([sample])[0][0] for sample in x])
    np.testing.assert_array_equal(result.reshape(wanted.shape), wanted)


def pool(operation: str, window: tuple[int, int], stride: tuple[int, int], same: bool) -> Network:
    """Return a network of one pooling over 40 x 30 x 5."""
    source = FeatureMap(0, "x", 40, 30, 5)
    sizes, padding = [], []
    for size, k, s in zip(source.shape[:2], window, stride, strict=True):
        out = -(-size // s) if same else (size - k) // s + 1
        sizes.append(out)
        padding.append(max((out - 1) * s + k - size, 0) // 2 if same else 0)
    output = FeatureMap(1, "y", *sizes, 5)
    counts = range(1, window[0] * window[1] + 1)
    layer = PoolLayer(
        index=0,
        name="y",
        op="POOL",
        input=source,
        output=output,
        operation=operation,
        window=window,
        stride=stride,
        padding=(padding[0], padding[1]),
        rescale={n: average_rescale(n) if operation == "sum" else IDENTITY for n in counts},
        output_zero=3 if operation == "sum" else 0,
        clamp_min=-20,
        clamp_max=90,
    )
    return network_of([layer], source, output)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("stride, parts", [((13, 15), 8), ((1, 1), 1)])
def test_a_sum_over_a_large_window_is_a_convolution(config, stride, parts):
    network = pool("sum", (40, 30), stride, parts > 1)
    check(network, config, *[ConvLayer] * parts)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("stride, same", [((7, 9), True), ((1, 1), False)])
def test_a_maximum_over_a_large_window_is_taken_in_two_steps(config, stride, same):
    check(pool("max", (35, 27), stride, same), config, PoolLayer, PoolLayer)


def softmax(source: FeatureMap, depth: int) -> Network:
    """Return a network of one softmax over runs of `depth` elements."""
    layer = ControllerLayer(
        index=0,
        name="y",
        op="SOFTMAX",
        output=dataclasses.replace(source, storage=1, name="y"),
        kernel="softmax",
        sources=(source,),
        arguments=(depth,),
        tables=(softmax_table(*preprocess_softmax(1.0, 0.05)),),
        pixelwise=depth == source.channels,
    )
    return network_of([layer], source, layer.output)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", [(24, 12), (1, 300)])
def test_softmax_on_a_large_map_is_done_in_parts(config, size):
    check(softmax(FeatureMap(0, "x", *size, 7), 7), config, ControllerLayer)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_softmax_across_the_pixels_of_a_large_map_moves_the_runs_together(config):
    network = softmax(FeatureMap(0, "x", 20, 13, 1), 130)
    layers = fitted(network, config).layers
    assert sum(isinstance(layer, ControllerLayer) for layer in layers) == 1
    check(network, config, *map(type, layers))


def test_parts_are_a_loop_of_the_program():
    image = build_image(softmax(FeatureMap(0, "x", 64, 20, 7), 7), PRESETS["test"])
    assert image.program_words < 4 * 680, "eight calls of the kernel are there three times"


def test_a_convolution_s_kernel_that_does_not_fit_is_cut():
    source, output = FeatureMap(0, "x", 40, 40, 3), FeatureMap(1, "y", 3, 2, 6)
    rng = np.random.default_rng(1)
    layer = ConvLayer(
        index=0,
        name="y",
        op="CONV_2D",
        sources=(source,),
        output=output,
        weights=rng.integers(-127, 128, (6, 31, 33, 3), np.int8),
        bias=np.zeros(6, np.int32),
        multiplier=np.full(6, 1 << 30, np.int32),
        shift=np.full(6, -12, np.int8),
        stride=(4, 7),
        output_zero=0,
        clamp_min=-128,
        clamp_max=127,
        results=(3, 2),
    )
    for config in CONFIGS.values():
        check(network_of([layer], source, output), config, ConvLayer)


@pytest.mark.parametrize(
    "strides",
    [(1, 4200, 2100), (-1, 4200, -2100), (0, 2100, 4200)],
    ids=["transposed", "backwards", "repeated"],
)
def test_movements_of_many_steps_run_on_the_controller(strides):
    source, output = FeatureMap(0, "x", 2, 2, 2100), FeatureMap(1, "y", 2100, 2, 2)
    first = sum(-s * (n - 1) for s, n in zip(strides, output.shape, strict=True) if s < 0)
    places = np.indices(output.shape)
    index = first + sum(p * s for p, s in zip(places, strides, strict=True))
    layers = moved(0, "y", "TRANSPOSE", (source,), index, output)
    network = network_of(layers, source, output)
    assert [type(layer) for layer in layers] == [ControllerLayer]
    x = np.random.default_rng(0).integers(-128, 128, (1, 2, 2, 2100), np.int8)
    (wanted,) = evaluate(network, [x])
    np.testing.assert_array_equal(wanted[0], x.reshape(-1)[index])
    image = build_image(network, PRESETS["base"])
    with open_device("model", PRESETS["base"]) as device:
        driver = Driver(device)
        driver.load_image(image)
        np.testing.assert_array_equal(driver.run([x[0]])[0][0].reshape(index.shape), wanted[0])


def test_pooling_that_fits_stays():
    network = pool("sum", (3, 3), (1, 1), True)
    assert fitted(network, PRESETS["base"]).layers == network.layers
    assert isinstance(network.layers[0].rescale[9], Rescale)
