"""Packed first layers: which ones, the words they read, and what the host sees."""

import dataclasses

import numpy as np
import pytest

from accel.compiler.backend import build_image
from accel.compiler.layers import ConvLayer, ElementwiseLayer, FeatureMap, Network, Port, Rescale
from accel.compiler.packing import PackedMap, can_cut, pack_inputs
from accel.compiler.reference import evaluate
from accel.config import PRESETS, Config
from accel.host.driver import Driver

TWELVE = Config(name="12x12", rows=12, cols=12, lanes=4)


def first_layer(
    *, size=(9, 11), channels=3, kernel=(3, 3), outputs=8, stride=(1, 1), padding=(1, 1), **values
):
    """Return a network of one convolution; its results are as many as the padding allows."""
    height, width = size
    results = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, k, s, d in zip(
            size, padding, kernel, stride, values.get("dilation", (1, 1)), strict=True
        )
    )
    source = FeatureMap(1, "input", height, width, channels, zero_point=-5)
    output = FeatureMap(2, "output", *results, outputs)
    rng = np.random.default_rng(0)
    layer = ConvLayer(
        index=0,
        name="output",
        op="CONV_2D",
        sources=(source,),
        output=output,
        weights=rng.integers(-128, 128, (outputs, *kernel, channels), np.int8),
        bias=np.zeros(outputs, np.int32),
        multiplier=np.full(outputs, 1 << 30, np.int32),
        shift=np.full(outputs, -8, np.int8),
        stride=stride,
        padding=padding,
        pad_value=-5,
        output_zero=0,
        clamp_min=-128,
        clamp_max=127,
        results=results,
        **values,
    )
    ports = [Port(m.name, (1, *m.shape), m) for m in (source, output)]
    return Network("first", (layer,), (ports[0],), (ports[1],))


def packed(network, config="base"):
    config = PRESETS[config] if isinstance(config, str) else config
    return pack_inputs(network, network.layers, config)[0]


@pytest.mark.parametrize("config", [*(PRESETS[n] for n in ("test", "small", "base")), TWELVE])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"stride": (2, 2), "padding": (0, 0)},
        {"channels": 1, "kernel": (10, 4), "size": (49, 10), "stride": (2, 2), "padding": (4, 1)},
        {"channels": 1, "kernel": (3, 15), "size": (7, 20), "padding": (1, 7)},
        {"channels": 2, "kernel": (5, 5), "padding": (2, 2)},
        {"size": (9, 12), "channels": 1, "stride": (2, 2), "outputs": 2},
        {"size": (9, 12), "outputs": 5, "padding": (1, 0)},
        {"channels": 1, "kernel": (1, 7), "size": (3, 30), "stride": (1, 3), "padding": (0, -2)},
    ],
)
def test_words_hold_the_windows(config, shape):
    network = first_layer(**shape)
    layer, result = network.layers[0], packed(network, config)
    source = layer.sources[0]
    if result is layer:
        pytest.skip("does not pay here")
    pixels = np.random.default_rng(1).integers(-128, 128, (source.width, source.channels), np.int8)
    # Two pixels that share the columns see one window, a stride wider.
    stride, width = layer.stride[1], layer.kernel[1]
    reach = width + (result.pixels - 1) * stride
    columns = np.arange(result.sources[0].width) * stride * result.pixels - layer.padding[1]
    for cols in range(1, len(columns) + 1):
        if not can_cut(result, cols, config):
            continue
        for first in range(0, len(columns), cols):
            words = columns[first : first + cols]
            for skip in range(0, result.sources[0].channels, config.rows):
                fields = result.sources[0].fields(first, len(words), skip, config.word_slot)
                row = pixels.ravel()[fields["memory_address"] :][: fields["pack_bytes"]]
                pads = ((fields["pack_lead"], fields["pack_tail"]),)
                stream = np.pad(row, pads, constant_values=fields["pack_value"])
                wide = np.pad(pixels, ((200, 200), (0, 0)), constant_values=-5)
                for i, column in enumerate(words):
                    window = wide[200 + column :][:reach].ravel()
                    wanted = window[skip : skip + config.rows]
                    start = i * fields["pack_step"]
                    np.testing.assert_array_equal(stream[start : start + len(wanted)], wanted)


def test_a_packed_layer_is_the_same_sum():
    layer = packed(first_layer())
    assert (layer.kernel, layer.stride, layer.padding) == ((3, 1), (1, 1), (1, 0))
    column = first_layer().layers[0].weights[:, :, 1, 2]
    np.testing.assert_array_equal(layer.weights[:, :, 0, 5], column)


EVEN = {"size": (9, 12)}
"""A row of twelve results."""


@pytest.mark.parametrize(
    ("config", "shape", "pixels"),
    [
        ("base", EVEN, 2),
        ("base", EVEN | {"outputs": 9}, 1),  # more than half of the columns
        ("base", EVEN | {"kernel": (3, 5), "padding": (1, 2)}, 1),  # windows of two words
        ("base", {}, 1),  # an odd number of results
        ("small", EVEN | {"channels": 1, "outputs": 4}, 2),
        ("small", EVEN | {"channels": 1}, 1),
        # Columns of one slice, and of slices that have no half.
        (dataclasses.replace(PRESETS["small"], lanes=8), EVEN | {"channels": 1, "outputs": 4}, 2),
        (dataclasses.replace(TWELVE, lanes=12), EVEN | {"channels": 1, "outputs": 6}, 2),
        (dataclasses.replace(TWELVE, lanes=4), EVEN | {"channels": 1, "outputs": 6}, 1),
    ],
)
def test_two_pixels_share_the_columns(config, shape, pixels):
    assert packed(first_layer(**shape), config).pixels == pixels


def test_shared_columns_give_both_pixels():
    network = first_layer(**EVEN, outputs=5)
    layer, result = network.layers[0], packed(network)
    half = PRESETS["base"].cols // 2
    assert (result.results, result.sources[0].channels) == ((9, 6), 4 * 3)
    taps = layer.weights.reshape(5, 3, 9)
    np.testing.assert_array_equal(result.weights[:5, :, 0, :9], taps)
    np.testing.assert_array_equal(result.weights[half : half + 5, :, 0, 3:], taps)
    assert np.count_nonzero(result.weights) == 2 * np.count_nonzero(taps)
    for name in ("bias", "multiplier", "shift"):
        values = getattr(result, name)
        np.testing.assert_array_equal(values[:5], getattr(layer, name))
        np.testing.assert_array_equal(values[half : half + 5], getattr(layer, name))


WHOLE_WORDS = dataclasses.replace(PRESETS["test"], name="whole-words", lanes=4)
"""A slice is a word, so the second of two pixels is the upper half of a slice."""


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("model", PRESETS["test"]),
        ("verilator", PRESETS["test"]),
        ("model", WHOLE_WORDS),
        pytest.param("verilator", WHOLE_WORDS, marks=pytest.mark.full),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_packed_layers_are_exact(device, name, config):
    driver = Driver(device(name, config, stalls="sometimes", seed=3))
    pixels = []
    for number, shape in enumerate(
        (
            {"size": (5, 12), "channels": 1, "outputs": 2, "kernel": (4, 3)},
            {"size": (9, 23), "channels": 1, "outputs": 2, "stride": (1, 2), "kernel": (3, 2)},
            {"size": (50, 50), "channels": 1, "outputs": 2, "stride": (1, 1)},  # streamed
            {"size": (6, 10), "channels": 2, "outputs": 2, "kernel": (1, 1), "padding": (0, 0)},
            {"size": (6, 7), "channels": 1, "outputs": 5},
        )
    ):
        network = first_layer(**shape)
        pixels.append(packed(network, config).pixels)
        source = network.inputs[0].map
        x = np.random.default_rng(number).integers(-128, 128, (1, *source.shape), np.int8)
        driver.load_image(build_image(network, config))
        (result,), _ = driver.run([x])
        (expected,) = evaluate(network, [x])
        np.testing.assert_array_equal(result.reshape(expected.shape), expected, str(shape))
    assert pixels == [2, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("config", "shape", "packs"),
    [
        ("base", {}, True),
        ("small", {}, False),  # nine bytes take two words, as grouped kernel rows do
        ("small", {"channels": 2, "kernel": (5, 5), "padding": (2, 2)}, True),
        ("test", {}, False),  # nine bytes take three words of four, as three pixels do
        ("test", {"channels": 1}, True),
        ("base", {"channels": 16}, False),
        ("base", {"dilation": (1, 2), "padding": (2, 2)}, False),
        ("base", {"dilation": (2, 1), "padding": (2, 1)}, True),
        ("base", {"stride": (1, 22), "padding": (1, 1)}, False),  # 66 bytes are too long a step
        ("base", {"kernel": (3, 15), "channels": 10, "padding": (1, 7)}, False),
    ],
)
def test_which_layers_are_packed(config, shape, packs):
    assert isinstance(packed(first_layer(**shape), config).sources[0], PackedMap) == packs


def test_depthwise_layers_are_not_packed():
    network = first_layer(outputs=3)
    layer = network.layers[0]
    weights = layer.weights * np.eye(3, dtype=np.int8)[:, None, None]
    network = dataclasses.replace(network, layers=(dataclasses.replace(layer, weights=weights),))
    assert packed(network) is network.layers[0]


def test_an_input_with_two_readers_is_not_packed():
    network = first_layer()
    source = network.layers[0].sources[0]
    other = ElementwiseLayer(
        index=1,
        name="other",
        op="TANH",
        operation="table",
        a=source,
        output=FeatureMap(3, "other", *source.shape),
        table_a=np.arange(-128, 128, dtype=np.int32),
        rescale=Rescale(0, 1 << 30, 1),
    )
    network = dataclasses.replace(network, layers=(network.layers[0], other))
    assert packed(network) is network.layers[0]


def test_tiles_of_padding_alone_are_not_cut():
    config = PRESETS["small"]
    layer = packed(first_layer(channels=2, kernel=(5, 5), padding=(2, 2)), config)
    # The second plane holds a window's last pixel: of the last columns' windows that is padding.
    assert can_cut(layer, 11, config)
    assert not can_cut(layer, 5, config)


def test_the_host_sees_a_compact_tensor():
    network = first_layer()
    image = build_image(network, PRESETS["base"])
    tensor = image.inputs[0]
    assert (tensor.rows, tensor.slot, tensor.memory_bytes) == (3, 3, 9 * 11 * 3)
    values = np.arange(9 * 11 * 3).astype(np.int8).reshape(tensor.shape)
    assert tensor.pack(values) == values.tobytes()
    # Bursts of whole beats stay inside the image.
    assert tensor.address % 64 == 0
    assert image.memory_bytes >= tensor.address + -(-tensor.memory_bytes // 64) * 64
    assert build_image(network, PRESETS["test"]).inputs[0].slot == 4
