"""The golden machine's cycles are those of the RTL, per network and layer; causes sum to layers."""

from functools import cache

import pytest

import accel
from accel.commands.common import all_causes
from accel.config import PRESETS
from accel.host.inputs import random_inputs

NETWORKS = (
    "resnet8_cifar10",
    "kws_dscnn",
    "vww_mobilenetv1_96",
    "ad_toycar_fc",
    "person_detect",
    "micro_speech",
    "hello_world_sine",
    "mnist_conv_mean",
    "mnist_dw_mean",
    "mnist_resnet_add",
    "micro_kws_m_maxpool",
)
LARGE = ("resnet8_cifar10", "vww_mobilenetv1_96", "person_detect", "micro_kws_m_maxpool")
"""Networks of many cycles on a small array."""

NETWORK = 0.05
"""What the estimate of a network's cycles may be off."""
LAYER, LEAST = 0.10, 1000
"""What that of a layer may be off, if it takes more than so many cycles."""
CAUSE = 0.03
"""What the estimate of a cause may be off, as a share of the network's cycles."""
FEW = 24
"""Cycles of one cause that may differ in any case: some for each command of a tiny network."""

BUDGETS = {
    ("resnet8_cifar10", "base"): 55_000,
    ("kws_dscnn", "base"): 18_000,
    ("vww_mobilenetv1_96", "base"): 55_000,
    ("ad_toycar_fc", "base"): 40_000,
    ("resnet8_cifar10", "small"): 215_000,
    ("kws_dscnn", "small"): 58_000,
    ("vww_mobilenetv1_96", "small"): 155_000,
    ("ad_toycar_fc", "small"): 45_000,
}
"""Cycles on the RTL that must not be exceeded, with a latency of 20 (docs/performance.md)."""

CASES = [
    *((name, config, 20) for config in ("base", "small") for name in NETWORKS),
    *(
        pytest.param(name, "test", 20, marks=[pytest.mark.full] * (name in LARGE))
        for name in NETWORKS
    ),
    *(
        pytest.param(name, config, latency, marks=pytest.mark.full)
        for config, latency in (("base", 100), ("small", 100), ("base", 3))
        for name in NETWORKS
    ),
]


@cache
def compiled(path, config):
    """Return the image; the cases share it."""
    return accel.compile_model(path, config)


def check_sums(report):
    """Every cycle of the network belongs to a layer, every cycle of a layer has one cause."""
    assert sum(layer["cycles"] for layer in report["layers"]) == report["cycles"]
    for layer in report["layers"]:
        assert layer["busy"] + sum(layer["stalls"].values()) == layer["cycles"], layer["index"]
        assert min(layer["busy"], *layer["stalls"].values()) >= 0, layer["index"]


@pytest.mark.parametrize(("name", "config", "latency"), CASES)
def test_the_estimate_is_close_to_the_hardware(models, device, name, config, latency):
    image = compiled(models / "models" / f"{name}.tflite", config)
    (inputs,) = random_inputs(image.inputs, 0, 1)
    reports = []
    for device_name in ("model", "verilator"):
        opened = device(device_name, PRESETS[config], latency=latency)
        reports.append(accel.run(image, inputs, device=opened).report)
        check_sums(reports[-1])
    estimate, measured = reports
    if latency == 20:
        assert measured["cycles"] <= BUDGETS.get((name, config), measured["cycles"])
    assert estimate["cycles"] == pytest.approx(measured["cycles"], rel=NETWORK)
    for key in ("bytes_read", "bytes_written"):
        assert estimate[key] == measured[key]
    for ours, theirs in zip(estimate["layers"], measured["layers"], strict=True):
        if max(ours["cycles"], theirs["cycles"]) > LEAST:
            message = f"layer {ours['index']}, {ours['op']}"
            assert ours["cycles"] == pytest.approx(theirs["cycles"], rel=LAYER), message
    expected = all_causes(measured)["stalls"]
    for cause, cycles in all_causes(estimate)["stalls"].items():
        close = max(CAUSE * measured["cycles"], FEW)
        assert cycles == pytest.approx(expected[cause], abs=close), cause


def test_every_network_is_here(models):
    assert {p.stem for p in (models / "models").glob("*.tflite")} == set(NETWORKS)
