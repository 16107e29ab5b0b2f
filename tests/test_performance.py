"""The scripts behind docs/performance.md."""

import json
import re
import runpy
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"


@pytest.fixture
def scripts(monkeypatch):
    """Return what imports a script by name, as the scripts import one another."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def load(name):
        return __import__(name)

    return load


def test_the_pages_have_every_block(scripts):
    performance = scripts("performance")
    pages = [ROOT / "docs" / "performance.md", ROOT / "README.md"]
    found = [m[1] for page in pages for m in performance.MARKED.findall(page.read_text())]
    assert sorted(found) == sorted(performance.BLOCKS)
    for page in pages:
        assert all(m[2].strip() for m in performance.MARKED.findall(page.read_text()))


def test_only_marked_text_is_replaced(scripts, monkeypatch):
    performance = scripts("performance")
    monkeypatch.setitem(performance.BLOCKS, "tools", lambda data: "new")
    page = "a\n<!-- performance: tools -->\nold\n<!-- end -->\nb\n<!-- performance: port -->\nc\n"
    page += "<!-- end -->\n"
    assert performance.replaced(page, {"tools"}, None) == page.replace("old", "new")
    assert performance.replaced(page, set(), None) == page


def test_tables_and_limits(scripts):
    blocks = scripts("performance_blocks")
    assert blocks.table(["a", "b"], [(1, "x")]) == "| a | b |\n| --- | ---: |\n| 1 | x |"
    assert (blocks.change(110, 100), blocks.share(1, 3)) == ("+10.0 %", "33.3 %")
    stalls = dict.fromkeys(("memory", "weights", "vector", "tokens", "controller"), 0)
    layer = {"engine": "matmul", "macs": 1600, "cycles": 100, "busy": 90, "stalls": stalls}
    assert blocks.limit(layer, 16) == "the array, 100 %"
    assert blocks.limit(layer, 256) == "array not filled, 84 %"
    waits = stalls | {"memory": 95}
    assert blocks.limit(layer | {"busy": 5, "stalls": waits}, 256) == "memory, 95 %"
    works = layer | {"engine": "vector", "busy": 60, "stalls": stalls | {"tokens": 40}}
    assert blocks.limit(works, 16) == "vector engine, 60 %"


def test_the_roofline_is_a_picture_of_its_points(scripts):
    roofline = scripts("roofline")
    roofs = [roofline.Roof("big <1>", 256, 8, "#00f"), roofline.Roof("small", 64, 8, "#0f0")]
    points = [
        roofline.Point("1", 32, 128, "#00f", large=True),
        roofline.Point("2", 32.5, 128, "#00f", large=True),
        roofline.Point("", 2, 16, "#0f0", large=False),
    ]
    text = roofline.roofline(roofs, points, ["1 one", "2 two"])
    assert text == roofline.roofline(roofs, points, ["1 one", "2 two"])
    tree = ElementTree.fromstring(text)
    circles = [e for e in tree.iter() if e.tag.endswith("circle")]
    texts = [e.text for e in tree.iter() if e.tag.endswith("text")]
    assert len(circles) == 3
    # Points that touch share a label; text is escaped.
    assert "1, 2" in texts and "big <1>" in texts and "2 two" in texts
    # 2 MACs a byte and 16 a cycle lie on the slope of 8 bytes a cycle.
    x, y = (float(circles[0].get(name)) for name in ("cx", "cy"))
    assert (x, y) == pytest.approx((roofline._x(2), roofline._y(16)), abs=0.1)


def test_bench_writes_reports(tmp_path, monkeypatch, capsys):
    model = ROOT / "accel" / "data" / "digits.tflite"
    out = tmp_path / "bench.json"
    arguments = ["bench.py", "--config", "test", "--device", "model", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--layers", str(model)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(SCRIPTS / "bench.py"), run_name="__main__")
    assert stopped.value.code == 0
    (report,) = json.loads(out.read_text())
    assert report["seconds"] > 0
    text = capsys.readouterr().out
    assert re.search(rf"digits .* {report['cycles']:,} ", text)
    assert "CONV_2D" in text


@pytest.mark.parametrize(
    "case", [pytest.param(n, marks=[pytest.mark.full] * (n % 3 != 2)) for n in range(12)]
)
def test_depthwise_layers_reach_their_goals(scripts, case):
    depthwise = scripts("depthwise")
    assert len(depthwise.CASES) == 12 and all(c.goal for c in depthwise.CASES[2::3])
    one = depthwise.CASES[case]
    value = depthwise.steady_utilization(one, "verilator")
    # The array's own limit: taps in use, and positions that give a result.
    rows = depthwise.Config.load(one.config).rows
    passes = {(16, 3): 1, (16, 5): 2, (8, 3): 2, (8, 5): 5}[rows, one.kernel]
    ideal = one.kernel**2 / (passes * rows) * one.width / (one.width + one.kernel - 1)
    assert one.goal <= value <= ideal
    assert value > 0.85 * ideal
    estimate = depthwise.steady_utilization(one, "model")
    assert estimate == pytest.approx(value, rel=0.02)
