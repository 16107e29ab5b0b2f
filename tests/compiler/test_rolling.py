"""Loop recovery gives back exactly the sequence, and finds the loops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.compiler.rolling import Loop, roll


def unroll(nodes, distinct):
    """Return the symbols that the nodes stand for."""
    result = []
    for node in nodes:
        if isinstance(node, Loop):
            result += unroll(node.body, distinct) * node.count
        else:
            result.append(distinct[node])
    return result


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_unrolling_gives_the_sequence(symbols):
    assert unroll(*roll(symbols)) == symbols


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("", []),
        ("aaaa", [Loop(4, (0,))]),
        ("xababab", [0, Loop(3, (1, 2))]),
        ("aaabaaabc", [Loop(2, (Loop(3, (0,)), 1)), 2]),
    ],
)
def test_loops_are_found(text, nodes):
    assert roll(list(text))[0] == nodes


def test_deep_nests_shrink():
    inner = (["a"] * 7 + ["b"]) * 5 + ["c"]
    nodes, distinct = roll(inner * 9)
    assert nodes == [Loop(9, (Loop(5, (Loop(7, (0,)), 1)), 2))]
    assert distinct == ["a", "b", "c"]
