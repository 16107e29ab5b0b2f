"""MobileNetV2 with random weights: compile time, and TFLM's bytes on golden machine and RTL."""

import time

import numpy as np
import pytest
from tflite_micro.python.tflite_micro import runtime

import accel
from accel.config import PRESETS
from tests.mobilenet import BLOCKS, mobilenet_v2, random_images

COMPILE_SECONDS = 120
"""Limit for the whole network on `base`; on two cores of 2026 it takes about four."""


def tflm(model, images):
    """Return TFLM's [probabilities, logits], each stacked over the images."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=24 << 20)
    results = []
    for image in images:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        results.append([interpreter.get_output(k)[0].copy() for k in range(2)])
    return [np.array(r) for r in zip(*results, strict=True)]


def check(model, size, config, device, count):
    """Compare a network's two outputs on random images, and return the seconds of compiling."""
    images = random_images(size, count, seed=1)
    expected = tflm(model, images)
    # A network whose activations die or saturate gives the same few bytes for everything.
    for logits in expected[1]:
        assert len(np.unique(logits)) > min(len(logits), 256) // 2
        assert np.mean((logits == -128) | (logits == 127)) < 0.05
    assert count == 1 or np.mean(expected[1][0] != expected[1][1]) > 0.8
    started = time.perf_counter()
    image = accel.compile_model(model, config)
    seconds = time.perf_counter() - started
    result = accel.run(image, images, device=device)
    for got, wanted in zip(result.outputs, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    return seconds


@pytest.mark.parametrize(
    ("device_name", "config", "count"),
    [("model", "base", 2), ("model", "small", 1), ("verilator", "base", 1)],
)
def test_reduced_network(device, device_name, config, count):
    model = mobilenet_v2(96, 0.35, classes=100, pooling="MEAN", seed=3)
    with device(device_name, PRESETS[config]) as opened:
        check(model, 96, PRESETS[config], opened, count)


def test_reduced_network_larger_than_the_chip(device):
    blocks = ((1, 8, 1, 1), (6, 16, 2, 2), (6, 24, 2, 2))
    model = mobilenet_v2(48, 1.0, classes=40, blocks=blocks, seed=4)
    assert len(blocks) < len(BLOCKS)
    with device("model", PRESETS["test"]) as opened:
        check(model, 48, PRESETS["test"], opened, 2)


@pytest.mark.full
@pytest.mark.parametrize(
    ("device_name", "config", "count"),
    [("model", "base", 4), ("verilator", "base", 2), ("model", "small", 2), ("model", "test", 1)],
)
def test_whole_network(device, device_name, config, count):
    model = mobilenet_v2(224, 1.0)
    with device(device_name, PRESETS[config]) as opened:
        seconds = check(model, 224, PRESETS[config], opened, count)
    if config == "base":
        assert seconds < COMPILE_SECONDS
