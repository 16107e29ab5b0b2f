"""docs/operators.md names the engines that operators really run on."""

import pytest

from accel.compiler.backend import build_image
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.network import lower_graph
from accel.config import PRESETS
from scripts.operator_notes import NOTES
from tests.random_models import KINDS, draw_case

SEEDS = range(6)


def engines(model: bytes, op: str) -> set[str]:
    """Return the engines that the reports of two configurations show for an operator."""
    network = lower_graph(read_tflite(model))
    images = [build_image(network, PRESETS[name]) for name in ("base", "test")]
    return {row.engine for image in images for row in image.layers if row.op == op}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_engines(kind):
    op = kind.split()[0]
    found = set().union(
        *(engines(draw_case(seed, operator=kind, length=1).model, op) for seed in SEEDS)
    )
    assert found <= set(NOTES[op].engines)
    # One that every random case takes is named, too.
    assert found or not NOTES[op].engines
