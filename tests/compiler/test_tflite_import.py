"""Damaged and unsupported files: one line each, never a crash, never slow."""

import copy
import time
from functools import partial

import flatbuffers
import numpy as np
import pytest
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from accel.compiler.graph import Activation, Conv2D, Padding
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.network import lower_graph
from accel.data import digits_model
from accel.errors import ModelError
from tests.compiler.tiny_models import ModelBuilder, options


def conv_model(**changes) -> bytes:
    """Return a 3x3 convolution of 5x6x2 to 5x6x3, with some of its parts replaced."""
    get = {
        "x_shape": (1, 5, 6, 2),
        "x_scale": 0.5,
        "x_zero": 3,
        "x_dtype": np.int8,
        "x_data": None,
        "w_shape": (3, 3, 3, 2),
        "w_scale": (0.1, 0.2, 0.3),
        "w_zero": 0,
        "w_dtype": np.int8,
        "b_shape": (3,),
        "b_dtype": np.int32,
        "y_shape": (1, 5, 6, 3),
        "y_scale": 0.25,
        "y_zero": -5,
        "op": "CONV_2D",
        "inputs": None,
        "kind": "Conv2D",
        "options": {},
        "edit": None,
    } | changes
    b = ModelBuilder()
    x = b.tensor("x", get["x_shape"], get["x_scale"], get["x_zero"], get["x_data"], get["x_dtype"])
    w = b.tensor(
        "w", get["w_shape"], get["w_scale"], get["w_zero"], np.ones(get["w_shape"]), get["w_dtype"]
    )
    c = b.tensor("b", get["b_shape"], None, 0, np.ones(get["b_shape"]), get["b_dtype"])
    y = b.tensor("y", get["y_shape"], get["y_scale"], get["y_zero"])
    settings = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    if get["kind"] != "Conv2D":
        settings = {}
    b.operator(
        get["op"], get["inputs"] or [x, w, c], y, options(get["kind"], **settings | get["options"])
    )
    if get["edit"]:
        get["edit"](b)
    return b.build([x], [y])


def edited(change) -> bytes:
    """Return the convolution with its file's own structure changed by `change(model)`."""
    model = schema.ModelT.InitFromPackedBuf(conv_model())
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_resolved_attributes():
    graph = read_tflite(conv_model(options={"fusedActivationFunction": 3}), "conv.tflite")
    (node,) = graph.nodes
    assert graph.name == "conv"
    assert isinstance(node, Conv2D)
    assert node.padding == Padding(1, 1, 1, 1)
    assert (node.stride, node.dilation, node.activation) == ((1, 1), (1, 1), Activation.RELU6)
    assert node.weights.quantization.scales == tuple(float(np.float32(s)) for s in (0.1, 0.2, 0.3))
    assert (node.input.scale, node.input.zero_point, node.output.zero_point) == (0.5, 3, -5)
    assert not node.weights.data.flags.writeable


def test_uneven_padding_is_at_the_end():
    model = conv_model(y_shape=(1, 3, 3, 3), options={"strideH": 2, "strideW": 2})
    assert read_tflite(model).nodes[0].padding == Padding(1, 0, 1, 1)


def grow_subgraphs(model) -> None:
    model.subgraphs.append(model.subgraphs[0])


def signature(values):
    def change(model) -> None:
        model.subgraphs[0].tensors[0].shapeSignature = values

    return change


def grow_unused(model) -> None:
    """Add what nothing refers to: a string, a scalar and an empty tensor."""
    for kind, shape in ((5, [3]), (0, []), (2, [0])):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = b"unused", kind, shape
        model.subgraphs[0].tensors.append(tensor)


def without_bias(model) -> None:
    model.subgraphs[0].operators[0].inputs = [0, 1, -1]


@pytest.mark.parametrize("change", [grow_subgraphs, grow_unused, without_bias])
def test_what_does_not_matter_is_accepted(change):
    network = lower_graph(read_tflite(edited(change)))
    assert [layer.op for layer in network.layers] == ["CONV_2D"]


def test_shared_buffers():
    def share(model) -> None:
        # A second tensor of the same buffer.
        tensors = model.subgraphs[0].tensors
        tensors.append(copy.deepcopy(tensors[2]))
        model.subgraphs[0].operators[0].inputs = [0, 1, len(tensors) - 1]

    first, second = (lower_graph(read_tflite(m)).layers[0] for m in (conv_model(), edited(share)))
    np.testing.assert_array_equal(first.bias, second.bias)


def test_open_batch_is_one_inference():
    assert read_tflite(edited(signature([-1, 5, 6, 2])))


CASES = {
    "operator": (
        partial(conv_model, op="L2_NORMALIZATION"),
        r"operator 0 L2_NORMALIZATION \(output tensor 'y'\) is not supported; supported: ADD, ",
    ),
    "control flow": (partial(conv_model, op="WHILE"), r"operator 0 WHILE .* is not supported"),
    "branch": (partial(conv_model, op="IF"), r"operator 0 IF .* is not supported"),
    "resource": (
        partial(conv_model, op="READ_VARIABLE"),
        r"operator 0 READ_VARIABLE .* is not supported",
    ),
    "float weights": (
        partial(conv_model, w_dtype=np.float32, w_scale=None),
        r"operator 0 CONV_2D .* has weights of type float32, not int8",
    ),
    "uint8 weights": (
        partial(conv_model, w_dtype=np.uint8),
        r"operator 0 CONV_2D .* has weights of type uint8, not int8",
    ),
    "float": (
        partial(conv_model, x_dtype=np.float32, x_scale=None),
        r"has input 0 'x' of type float32, not int8",
    ),
    "int16": (partial(conv_model, x_dtype=np.int16), r"tensor 0 'x' has type int16"),
    "uint8": (partial(conv_model, x_dtype=np.uint8), r"has input 0 'x' of type uint8, not int8"),
    "int32": (partial(conv_model, x_dtype=np.int32), r"input 0 'x' of type int32, not int8"),
    "batch": (
        partial(conv_model, x_shape=(2, 5, 6, 2), y_shape=(2, 5, 6, 3)),
        r"shape \[2, 5, 6, 2\]; batch must be 1",
    ),
    "rank": (
        partial(conv_model, x_shape=(1, 30, 2)),
        r"'x' of shape \[1, 30, 2\]; it must have 4 dim",
    ),
    "constant": (
        partial(conv_model, x_data=np.zeros((1, 5, 6, 2))),
        r"has a constant input 'x'|writes a tensor",
    ),
    "weight zero point": (
        partial(conv_model, w_zero=1),
        r"weights 'w' with a zero point that is not 0",
    ),
    "per-channel input": (
        partial(conv_model, x_scale=(0.5,) * 1, x_zero=400),
        r"input 0 'x' with a zero point outside -128 .. 127",
    ),
    "no quantization": (
        partial(conv_model, y_scale=None),
        r"output 'y' that is not quantised per tensor",
    ),
    "scales": (partial(conv_model, w_scale=(0.1, 0.2)), r"tensor 1 'w' has 2 scales along axis 0"),
    "zero scale": (
        partial(conv_model, y_scale=0.0),
        r"tensor 3 'y' has a scale that is not a positive",
    ),
    "nan scale": (
        partial(conv_model, y_scale=float("nan")),
        r"'y' has a scale that is not a positive",
    ),
    "channels": (
        partial(conv_model, w_shape=(3, 3, 3, 4)),
        r"weights \[3, 3, 3, 4\] for 2 input and 3",
    ),
    "biases": (partial(conv_model, b_shape=(4,)), r"has 4 biases for 3 output channels"),
    "bias type": (partial(conv_model, b_dtype=np.int8), r"has biases of type int8, not int32"),
    "output size": (partial(conv_model, y_shape=(1, 4, 6, 3)), r"its input and options give 5x6"),
    "stride": (partial(conv_model, options={"strideW": 0}), r"has stride 1x0"),
    "padding": (partial(conv_model, options={"padding": 7}), r"has padding number 7"),
    "activation": (
        partial(conv_model, options={"fusedActivationFunction": 4}),
        r"has fused activation TANH, which is not supported; supported: NONE, RELU, RELU6",
    ),
    "options": (partial(conv_model, kind="Add"), r"has no options of its own"),
    "dynamic": (
        partial(edited, signature([1, -1, 6, 2])),
        r"'x' has a dynamic shape \(dimension 1\)",
    ),
    "dimension": (
        partial(conv_model, x_shape=(1, 0, 6, 2)),
        r"'x' has shape \[1, 0, 6, 2\]; dimensions",
    ),
    "buffer": (
        partial(edited, lambda m: setattr(m.subgraphs[0].tensors[1], "buffer", 77)),
        r"tensor 1 'w' refers to buffer 77 of ",
    ),
    "short buffer": (
        partial(edited, lambda m: setattr(m.buffers[1], "data", m.buffers[1].data[:5])),
        r"tensor 1 'w' has 5 bytes of data; its shape needs 54",
    ),
    "outside": (
        partial(edited, lambda m: setattr(m.buffers[1], "offset", 4096)),
        r"'w' has its data behind the flatbuffer",
    ),
    "variable": (
        partial(edited, lambda m: setattr(m.subgraphs[0].tensors[0], "isVariable", True)),
        r"tensor 0 'x' is a variable",
    ),
    "tensor index": (
        partial(edited, lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [0, 99, 2])),
        r"inputs of operator 0 refer to tensor 99 of 4",
    ),
    "code index": (
        partial(edited, lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 9)),
        r"operator 0 has code 9 of 1",
    ),
    "loop": (
        partial(edited, lambda m: setattr(m.subgraphs[0].operators[0], "outputs", [0])),
        r"writes a tensor that already has a value",
    ),
    "unknown input": (
        partial(edited, lambda m: setattr(m.subgraphs[0], "inputs", [3])),
        r"reads tensor 'x' before it is computed",
    ),
    "no operators": (
        partial(edited, lambda m: setattr(m.subgraphs[0], "operators", [])),
        r"output tensor 'y' is never computed",
    ),
    "version": (
        partial(edited, lambda m: setattr(m, "version", 2)),
        r"schema version 2 is not supported",
    ),
    "custom": (
        partial(
            edited, lambda m: vars(m.operatorCodes[0]).update(builtinCode=32, customCode="a\nb")
        ),
        r"operator 0 CUSTOM a\?b \(output tensor 'y'\) is not supported",
    ),
    "empty": (b"", r"bad.tflite is empty"),
    "text": (b"a text file, not a model\n" * 9, r"bad.tflite is not a TensorFlow Lite model"),
    "identifier": (
        digits_model().replace(b"TFL3", b"TFL2", 1),
        r"bad.tflite is not a TensorFlow Lite model: bytes 4 to 7",
    ),
    "truncated": (digits_model()[:9000], r"bad.tflite(:| is) damaged or truncated"),
    "header only": (digits_model()[:8], r"bad.tflite(:| is) damaged or truncated"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_by_name(case):
    content, message = CASES[case]
    with pytest.raises(ModelError, match=message) as refusal:
        lower_graph(read_tflite(content() if callable(content) else content, "bad.tflite"))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("bad.tflite")


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read model .*absent.tflite: No such file"):
        read_tflite(tmp_path / "absent.tflite")
    with pytest.raises(ModelError, match=r"cannot read model .*: Is a directory"):
        read_tflite(tmp_path)


def test_path_gives_the_name(tmp_path):
    path = tmp_path / "digits.tflite"
    path.write_bytes(digits_model())
    assert read_tflite(path).name == "digits"


def mutated(rng: np.random.Generator, content: bytes, kind: int) -> bytes:
    data = bytearray(content)
    if kind == 0:
        for _ in range(rng.integers(1, 20)):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif kind == 1:
        data = data[: rng.integers(len(data))]
    else:
        # Aligned words become counts and offsets that lead anywhere.
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(len(data) // 4)) * 4
            value = int(rng.choice([0, 1, 2**32 - 1, 2**31 - 1, 2**31, len(data), 65535]))
            data[place : place + 4] = value.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["bits", "cut", "words"])
def test_mutations_are_read_or_refused(kind):
    rng = np.random.default_rng(20 + kind)
    refused = 0
    for content in (digits_model(), conv_model()):
        for _ in range(50):
            started = time.perf_counter()
            try:
                lower_graph(read_tflite(mutated(rng, content, kind)))
            except ModelError as error:
                refused += 1
                assert "\n" not in str(error)
            assert time.perf_counter() - started < 1
    assert refused > 10
