"""The image file: what is saved is loaded, and anything else is refused."""

import dataclasses
import hashlib
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import image as image_module
from accel.config import PRESETS
from accel.errors import ImageError
from accel.image import Image, Layer, Segment, Tensor, write_atomically


def make_tensor(**changes):
    values = {
        "name": "x",
        "shape": (1, 3, 2, 5),
        "dtype": "int8",
        "address": 64,
        "height": 3,
        "width": 2,
        "channels": 5,
        "rows": 4,
        "slot": 4,
    }
    return Tensor(**{**values, **changes})


def make_image(**changes):
    values = {
        "config": PRESETS["test"],
        "model": "toy",
        "program_address": 0,
        "program_words": 4,
        "memory_bytes": 4096,
        "segments": (
            Segment(address=0, data=bytes(range(16))),
            Segment(address=256, data=b"weights"),
        ),
        "inputs": (make_tensor(),),
        "outputs": (
            make_tensor(name="y", scale=0.5, zero_point=-3),
            make_tensor(name="z", dtype="uint8", table=tuple(range(256))),
        ),
        "layers": (Layer(index=0, name="y", op="CONV_2D", engine="matmul", macs=7, stamp=0),),
    }
    return Image(**{**values, **changes})


def test_a_saved_image_is_loaded_equal(tmp_path):
    path = tmp_path / "toy.img"
    image = make_image()
    image.save(path)
    assert Image.load(path) == image
    assert image.macs == 7
    assert [p.name for p in tmp_path.iterdir()] == ["toy.img"]


def test_the_same_image_gives_the_same_bytes():
    assert make_image().to_bytes() == make_image().to_bytes()


@pytest.mark.parametrize("length", [0, 7])
def test_a_file_without_the_magic_is_no_image(length):
    with pytest.raises(ImageError, match=r"^toy.img is not a compiled image$"):
        Image.from_bytes(make_image().to_bytes()[:length], "toy.img")


@pytest.mark.parametrize("length", [8, 40, 60, 200, -1])
def test_a_truncated_file_is_refused(length):
    with pytest.raises(ImageError, match=r"^toy.img is truncated$"):
        Image.from_bytes(make_image().to_bytes()[:length], "toy.img")


@given(st.data())
def test_any_changed_byte_is_found(data):
    content = bytearray(make_image().to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ImageError):
        Image.from_bytes(bytes(content))


def test_trailing_bytes_are_found():
    with pytest.raises(ImageError, match="damaged"):
        Image.from_bytes(make_image().to_bytes() + b"x")


def test_another_format_version_is_refused(monkeypatch):
    monkeypatch.setattr(image_module, "FORMAT_VERSION", 99)
    content = make_image().to_bytes()
    monkeypatch.undo()
    with pytest.raises(ImageError, match="image format 99, this version reads 3"):
        Image.from_bytes(content)


def test_unknown_metadata_is_refused():
    content = make_image().to_bytes()
    header = image_module._HEADER
    magic, version, text_bytes, data_bytes, _ = header.unpack_from(content)
    body = content[header.size :].replace(b'"program_words"', b'"program_wordz"')
    digest = hashlib.sha256(body).digest()
    with pytest.raises(ImageError, match="does not fit this version"):
        Image.from_bytes(header.pack(magic, version, text_bytes, data_bytes, digest) + body)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match="cannot read .*none.img: No such file"):
        Image.load(tmp_path / "none.img")


def test_an_image_is_not_saved_where_there_is_no_directory(tmp_path):
    with pytest.raises(ImageError, match="cannot write"):
        make_image().save(tmp_path / "none" / "toy.img")


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"old"


@pytest.mark.parametrize(("rows", "slot"), [(4, 4), (8, 8), (12, 16), (16, 16)])
@pytest.mark.parametrize("plane_words", [0, 9])
def test_packing_is_the_layout_of_the_architecture(rows, slot, plane_words):
    tensor = make_tensor(
        channels=19, shape=(1, 3, 2, 19), rows=rows, slot=slot, plane_words=plane_words
    )
    values = np.random.default_rng(0).integers(-128, 128, tensor.shape, np.int8)
    memory = tensor.pack(values)
    assert len(memory) == tensor.memory_bytes
    plane = (plane_words or 6) * slot
    for y, x, c in np.ndindex(3, 2, 19):
        place = c // rows * plane + (y * 2 + x) * slot + c % rows
        assert np.frombuffer(memory, np.int8)[place] == values[0, y, x, c]
    assert np.array_equal(tensor.unpack(memory), values)


def test_a_vector_is_one_pixel():
    tensor = make_tensor(shape=(1, 10), height=1, width=1, channels=10)
    values = np.arange(10, dtype=np.int8)
    assert tensor.pack(values) == bytes([*range(10), 0, 0])
    assert tensor.unpack(tensor.pack(values)).shape == (1, 10)


def test_replacing_the_configuration_changes_the_fingerprint():
    image = make_image(config=dataclasses.replace(PRESETS["test"], queue_depth=8))
    assert Image.from_bytes(image.to_bytes()).config == image.config
    assert image.config.fingerprint != PRESETS["test"].fingerprint


def test_float_values_are_converted_by_scale_and_zero_point():
    tensor = make_tensor(dtype="float32", scale=0.5, zero_point=3)
    values = np.full(tensor.shape, 2.2, np.float32)
    values.flat[0] = 1e9
    result = tensor.unpack(tensor.pack(values).ljust(tensor.memory_bytes, b"\0"))
    # 2.2 / 0.5 rounds to 4; 1e9 saturates at 127, which stands for (127 - 3) / 2.
    assert result.dtype == np.float32
    assert result.flat[0] == 62.0 and (result.reshape(-1)[1:] == 2.0).all()


def test_bytes_without_sign_are_converted_by_table():
    inward = make_tensor(dtype="uint8", table=tuple(range(-128, 128)))
    values = np.arange(np.prod(inward.shape), dtype=np.uint8).reshape(inward.shape)
    plain = make_tensor()
    assert inward.pack(values) == plain.pack((values.astype(np.int16) - 128).astype(np.int8))
    outward = make_tensor(dtype="uint8", table=tuple(range(256)))
    got = outward.unpack(inward.pack(values).ljust(outward.memory_bytes, b"\0"))
    assert got.dtype == np.uint8 and np.array_equal(got, values)
