"""What the first commands wait for, and where element-wise results lie."""

import dataclasses

import numpy as np
import pytest

from accel.compiler.backend import build_image
from accel.compiler.emission import Commands
from accel.compiler.emission.convolution import _opening_pieces
from accel.compiler.filters import Axis, Filter
from accel.compiler.layers import FeatureMap, Network, PoolLayer, Port, Rescale
from accel.compiler.placement import place
from accel.compiler.plans import Part
from accel.compiler.schedule import Span, Step
from accel.config import PRESETS
from accel.isa import Engine
from tests.compiler.test_packing import first_layer

BASE = PRESETS["base"]


@pytest.fixture
def steps(monkeypatch):
    """Return a list that receives the commands of the networks that are built."""
    seen = []
    append = Commands.step

    def note(self, *args, **values):
        append(self, *args, **values)
        seen.append(self.steps[-1])

    monkeypatch.setattr(Commands, "step", note)
    return seen


def words(step: Step, memory: str) -> int:
    return sum(s.stop - s.start for s in step.writes if s.memory == memory)


def test_the_first_matmul_waits_for_one_tile_and_a_few_rows(steps):
    build_image(first_layer(size=(32, 32), outputs=16), BASE)
    first = next(i for i, step in enumerate(steps) if step.engine == Engine.MATMUL)
    loads = steps[:first]
    assert [step.engine for step in loads] == [Engine.LOAD, Engine.LOAD]
    assert words(loads[0], "scratchpad") <= 4 * 32
    assert words(loads[1], "weights") == BASE.rows
    # The rest of the block, the parameters last: the first requantisation is far.
    rest = [s for s in steps[first:] if words(s, "weights")]
    assert [words(step, "weights") for step in rest] == [2 * BASE.rows, 9]
    vector = next(i for i, step in enumerate(steps) if step.engine == Engine.VECTOR)
    assert steps.index(rest[-1]) < vector


def test_a_first_layer_that_waits_for_its_input_has_small_chunks(steps):
    build_image(first_layer(size=(96, 96), channels=1, stride=(2, 2), outputs=16), BASE)
    chunks = {s.values["count_row"] for s in steps if s.engine == Engine.MATMUL}
    assert chunks == {1}


def test_the_first_chunk_s_commands_are_one_after_another_in_the_weights(steps):
    build_image(first_layer(size=(32, 32), outputs=16), BASE)
    first, second, third = [s.values for s in steps if s.engine == Engine.MATMUL][:3]
    assert (first["count_k1"], second["count_k1"], third["count_k1"]) == (1, 2, 3)
    assert (first["accumulate"], second["accumulate"], third["accumulate"]) == (0, 1, 0)
    assert second["weight_address"] - first["weight_address"] == BASE.rows
    assert third["weight_address"] == first["weight_address"]
    assert second["input_y"] - first["input_y"] == 1


@pytest.mark.parametrize(
    ("part", "tiles"),
    [
        (Part(0, 0, 1, 0, 1, 0, 1), [1]),
        (Part(0, 0, 1, 0, 1, 0, 40), [1, 39]),
        (Part(0, 0, 3, 0, 5, 0, 2), [5, 10, 15]),
        (Part(0, 0, 12, 0, 1, 0, 1, Filter(0, Axis(3, 4), Axis(1, 1))), [1, 3]),
        (Part(0, 0, 6, 0, 6, 0, 1, Filter(3, Axis(3, 2), Axis(3, 2))), [2, 2]),
        (Part(0, 0, 3, 0, 1, 0, 1, Filter(0, Axis(3, 1), Axis(1, 1))), [1]),
    ],
)
def test_opening_pieces_are_the_part(part, tiles):
    pieces = list(_opening_pieces(part))
    assert [piece.tiles for piece, _ in pieces] == tiles
    assert [before for _, before in pieces] == [sum(tiles[:i]) for i in range(len(tiles))]
    places = [
        (g, ky)
        for piece, _ in pieces
        for g in range(piece.g0, piece.g0 + piece.ng)
        for ky in range(piece.ky0, piece.ky0 + piece.nky)
    ]
    assert places == [(g, ky) for g in range(part.ng) for ky in range(part.nky)]


def pooled(size: tuple[int, int], channels: int) -> Network:
    """Return a convolution and an average of all its pixels."""
    network = first_layer(size=size, channels=channels, outputs=channels)
    layer = network.layers[0]
    output = FeatureMap(3, "mean", 1, 1, channels)
    pool = PoolLayer(
        index=1,
        name="mean",
        op="pool",
        output=output,
        input=layer.output,
        operation="sum",
        window=size,
        stride=(1, 1),
        rescale={size[0] * size[1]: Rescale(0, 1 << 30, -6)},
    )
    port = Port("mean", (1, *output.shape), output)
    return dataclasses.replace(network, layers=(layer, pool), outputs=(port,))


def test_a_plane_is_pooled_under_the_next_one_s_convolution():
    network = pooled((8, 8), 64)
    layers = network.layers
    placement = place(layers, BASE)
    result = Span("scratchpad", placement.resident[3], placement.resident[3] + 4)
    read = placement.resident[1]
    assert result.stop <= read or read + 4 * 64 <= result.start
    # Without room for both the result lies where the input was.
    tight = dataclasses.replace(BASE, scratchpad_bytes=8192)
    assert place(layers, tight).resident[3] in range(placement.resident[1], 4 * 64)


def test_long_windows_are_commands_of_their_own(steps):
    build_image(pooled((8, 8), 64), BASE)
    sums = [s for s in steps if s.engine == Engine.VECTOR and s.values["window_row"] == 8]
    assert [s.values["slices"] for s in sums] == [1] * 4


def test_a_map_command_has_few_cycles_or_one_row(steps):
    network = pooled((40, 40), 16)
    pool = dataclasses.replace(
        network.layers[1],
        operation="max",
        window=(2, 2),
        stride=(2, 2),
        output=FeatureMap(3, "max", 20, 20, 16),
        rescale={4: Rescale(0, 1 << 30, 1)},
    )
    port = Port("max", (1, 20, 20, 16), pool.output)
    build_image(
        dataclasses.replace(network, layers=(network.layers[0], pool), outputs=(port,)), BASE
    )
    rows = [s.values["count_row"] for s in steps if s.values.get("window_row") == 2]
    assert rows == [3] * 6 + [2]
    assert np.prod([3, 20, 2, 2]) <= 4096 // BASE.rows
