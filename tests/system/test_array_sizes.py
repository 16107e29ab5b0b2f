"""Every array size on RTL: random networks whose parts are larger than the memories."""

import dataclasses

import numpy as np
import pytest

from accel.compiler.backend import build_image
from accel.compiler.reference import evaluate
from accel.config import PRESETS, Config
from accel.errors import ImageError
from accel.host.driver import Driver
from tests.random_networks import random_network

SMALL = {"scratchpad_bytes": 4096, "weight_bytes": 8192, "acc_depth": 32, "program_bytes": 4096}
BARE = Config(name="16x8", rows=16, cols=8, lanes=8, bus_bits=128, counters=False, **SMALL)
"""Without counters and depthwise mode; test_features.py uses its simulator, too."""
CONFIGS = [
    # Presets: their simulators serve other tests too.
    PRESETS["test"],
    PRESETS["small"],
    PRESETS["base"],
    Config(name="12x12", rows=12, cols=12, lanes=4, bus_bits=32, **SMALL),
    BARE,
    *(
        pytest.param(Config(rows=rows, cols=cols, lanes=lanes, **sizes), marks=pytest.mark.full)
        for rows, cols, lanes, sizes in (
            (8, 32, 4, SMALL),
            (32, 32, 32, {**SMALL, "scratchpad_bytes": 8192, "weight_bytes": 16384}),
            (12, 4, 4, SMALL),
            (4, 12, 1, {**SMALL, "scratchpad_banks": 1}),
            (32, 8, 2, {**SMALL, "scratchpad_banks": 8, "reads_in_flight": 1, "queue_depth": 4}),
        )
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.rows}x{c.cols}")
def test_random_networks(device, config):
    with device("verilator", config, stalls="sometimes", seed=1) as opened:
        driver = Driver(opened)
        for seed in range(12):
            network = random_network(seed, size=9, channels=40)
            rng = np.random.default_rng(seed)
            inputs = rng.integers(-128, 128, (2, *network.inputs[0].shape), np.int8)
            driver.load_image(build_image(network, config))
            expected = evaluate(network, [inputs])[0]
            for x, y in zip(inputs, expected, strict=True):
                result = driver.run([x])[0][0]
                np.testing.assert_array_equal(result.reshape(y.shape), y, f"network {seed}")


def test_an_image_for_another_configuration_is_refused(device):
    other = dataclasses.replace(PRESETS["test"], queue_depth=8)
    image = build_image(random_network(0), other)
    with device("model", PRESETS["test"]) as opened:
        with pytest.raises(ImageError, match="configuration"):
            Driver(opened).load_image(image)
