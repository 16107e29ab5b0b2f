"""Layers from graphs: reshapes that move nothing, what is refused, folded constants."""

import numpy as np
import pytest

from accel.compiler.graph import Activation, Quantization, Tensor
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    ElementwiseLayer,
    PoolLayer,
    ReshapeLayer,
)
from accel.compiler.network import lower_graph
from accel.compiler.quantize import MAX_AVERAGE, activation_range, average_rescale
from accel.compiler.reference import evaluate
from accel.data import digits_model, load_digits
from accel.errors import ModelError
from accel.numerics import multiply_by_quantized_multiplier
from tests.compiler.tiny_models import ModelBuilder, options, run_tflm


def test_digits():
    network = lower_graph(read_tflite(digits_model(), "digits.tflite"))
    kinds = [ConvLayer] * 3 + [ElementwiseLayer, PoolLayer, ReshapeLayer, ConvLayer]
    kinds.append(ControllerLayer)
    assert [type(layer) for layer in network.layers] == kinds
    pool, reshape, dense, softmax = network.layers[4:]
    assert reshape.output.storage == pool.output.storage
    assert dense.kernel == (2, 2)
    assert dense.sources[0].shape == pool.output.shape
    assert network.outputs[0].map == softmax.output
    digits = load_digits()
    (result,) = evaluate(network, [digits.x])
    np.testing.assert_array_equal(result, digits.y_tflm)
    assert len(digits.label) >= 20
    assert (result.argmax(axis=1) == digits.label).mean() >= 0.95
    np.testing.assert_array_equal(
        digits.image[..., None], np.round((digits.x.astype(int) + 128) / 255 * 16)
    )


def chain(*steps, shape=(1, 4, 6, 2)) -> bytes:
    """Return a model of reshapes (their shapes) and other operators, one after the other."""
    b = ModelBuilder()
    first = last = b.tensor("in", shape, 0.5, 2)
    for i, step in enumerate(steps):
        if isinstance(step, tuple):
            target = b.tensor(f"t{i}", step, 0.5, 2)
            wanted = b.tensor(f"s{i}", (len(step),), None, data=step, dtype=np.int32)
            b.operator("RESHAPE", [last, wanted], target, options("Reshape", newShape=list(step)))
        elif step == "add":
            target = b.tensor(f"t{i}", last.shape, 0.5, 2)
            b.operator("ADD", [last, last], target, options("Add"))
        elif step == "softmax":
            target = b.tensor(f"t{i}", last.shape, 1 / 256, -128)
            b.operator("SOFTMAX", [last], target, options("Softmax", beta=1.0))
        else:
            w = np.random.default_rng(i).integers(-9, 9, (3, int(np.prod(last.shape))))
            target = b.tensor(f"t{i}", (1, 3), 2.0, 0)
            weights = b.tensor(f"w{i}", w.shape, 0.5, 0, w)
            b.operator("FULLY_CONNECTED", [last, weights], target, options("FullyConnected"))
        last = target
    return b.build([first], [last])


@pytest.mark.parametrize(
    "steps",
    [
        ["add", (1, 48), "dense"],
        ["add", (1, 24, 2), "add", (1, 4, 6, 2), "add"],
        [(1, 48), (1, 6, 8), "add"],
        ["add", (1, 12, 2, 2), (1, 2, 6, 4)],
        ["add", (1, 48), "softmax", (1, 6, 8)],
        ["softmax", "add"],
        ["add", "dense", (1, 1, 1, 3), "add", (3,)],
    ],
    ids=str,
)
def test_reshapes_that_move_nothing(steps):
    model = chain(*steps)
    network = lower_graph(read_tflite(model))
    for layer in network.layers:
        if isinstance(layer, ReshapeLayer):
            assert layer.input.storage == layer.output.storage
    x = np.random.default_rng(1).integers(-128, 128, (5, 1, 4, 6, 2)).astype(np.int8)
    expected = np.array(run_tflm(model, x))
    (result,) = evaluate(network, [x])
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


def test_a_reshape_that_moves_elements_is_done_for_the_reader_that_needs_it():
    model = chain("add", (1, 6, 8), "add")
    network = lower_graph(read_tflite(model))
    assert [layer.index for layer in network.layers if isinstance(layer, ConvLayer)] != []
    x = np.random.default_rng(1).integers(-128, 128, (5, 1, 4, 6, 2)).astype(np.int8)
    expected = np.array(run_tflm(model, x))
    (result,) = evaluate(network, [x])
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


def dense_model(bias: int, x_scale: float, y_scale: float) -> bytes:
    b = ModelBuilder()
    x = b.tensor("x", (1, 4), x_scale, 0)
    w = b.tensor("w", (1, 4), 0.5, 0, np.full((1, 4), 127))
    c = b.tensor("b", (1,), None, 0, [bias], np.int32)
    y = b.tensor("y", (1, 1), y_scale, 0)
    b.operator("FULLY_CONNECTED", [x, w, c], y, options("FullyConnected"))
    return b.build([x], [y])


def test_sums_that_could_leave_int32_are_refused():
    most = 2**31 - 1 - 128 * 127 * 4
    assert lower_graph(read_tflite(dense_model(most, 0.5, 0.5)))
    assert lower_graph(read_tflite(dense_model(-most, 0.5, 0.5)))
    for bias in (most + 1, -most - 1):
        with pytest.raises(ModelError, match=r"sums of its output channel 0 can leave 32 bits"):
            lower_graph(read_tflite(dense_model(bias, 0.5, 0.5)))


def test_scales_too_far_apart_are_refused():
    with pytest.raises(ModelError, match=r"its scales differ by a factor of .*below 2\*\*30"):
        lower_graph(read_tflite(dense_model(0, 1e6, 1e-6)))


def output(scale: float, zero: int) -> Tensor:
    quantization = Quantization((float(np.float32(scale)),), (zero,))
    return Tensor(0, "y", (1,), np.dtype(np.int8), quantization)


def test_activation_ranges():
    assert activation_range(Activation.NONE, output(0.1, 3)) == (-128, 127)
    assert activation_range(Activation.RELU, output(0.1, -128)) == (-128, 127)
    assert activation_range(Activation.RELU, output(0.1, 5)) == (5, 127)
    assert activation_range(Activation.RELU6, output(0.1, -20)) == (-20, 40)
    # 6 / 4 is a half: it rounds away from zero.
    assert activation_range(Activation.RELU6, output(4, 0)) == (0, 2)
    assert activation_range(Activation.RELU_N1_TO_1, output(0.4, 7)) == (4, 10)
    with pytest.raises(ModelError, match="too small for its fused activation"):
        activation_range(Activation.RELU6, output(1e-20, 0))


def divided(total: np.ndarray, count: int) -> np.ndarray:
    """TFLM's pooling: integer division after adding half the count, away from zero."""
    half = (np.abs(total) + count // 2) // count
    return np.where(total < 0, -half, half)


def test_average_is_exact_for_every_sum():
    for count in range(1, 200):
        total = np.arange(-128 * count, 128 * count + 1)
        r = average_rescale(count)
        result = multiply_by_quantized_multiplier(total + r.bias, r.multiplier, r.shift)
        np.testing.assert_array_equal(result, divided(total, count))


def test_average_is_exact_for_every_window():
    """Both sides rise with the sum: equal before and after each step means equal everywhere."""
    for count in range(1, MAX_AVERAGE + 1):
        quotient = np.arange(1, 129)
        # The smallest sum that gives each quotient, and the one before it.
        first = quotient * count - count // 2
        edges = np.concatenate([first - 1, first, [0, 128 * count]])
        edges = np.concatenate([edges, -edges])
        np.testing.assert_array_equal(divided(first, count), quotient)
        np.testing.assert_array_equal(divided(first - 1, count), quotient - 1)
        r = average_rescale(count)
        result = multiply_by_quantized_multiplier(edges, r.multiplier, r.shift)
        np.testing.assert_array_equal(result, divided(edges, count))
        assert 0 < r.multiplier < 2**31


def test_average_of_too_many_is_refused():
    with pytest.raises(ModelError, match="averages 2896 elements; at most 2895"):
        average_rescale(MAX_AVERAGE + 1)
