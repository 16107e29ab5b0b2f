"""The roofline picture of docs/performance.md, as SVG text: a function of its points alone."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Point", "Roof", "roofline"]

WIDTH, HEIGHT = 920, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 640, 30, 490
INTENSITY = (1 / 16, 1024.0)
RATE = (0.5, 512.0)
"""What the axes show: multiply-accumulates per byte, and per cycle."""

CLOSE = 9
"""Points nearer than this share a label."""


@dataclass(frozen=True)
class Roof:
    """A configuration's limits.

    Parameters
    ----------
    name : str
    peak : float
        Multiply-accumulates per cycle.
    bandwidth : float
        Bytes per cycle of the memory port.
    color : str
    """

    name: str
    peak: float
    bandwidth: float
    color: str


@dataclass(frozen=True)
class Point:
    """A network or a layer.

    Parameters
    ----------
    label : str
        Next to the point; none where it is empty.
    intensity, rate : float
    color : str
    large : bool
        A network; layers are small rings.
    """

    label: str
    intensity: float
    rate: float
    color: str
    large: bool


def _place(value: float, limits: tuple[float, float], low: float, high: float) -> float:
    """Return where a value lies on a logarithmic axis."""
    begin, end = (math.log2(limit) for limit in limits)
    clipped = min(max(value, limits[0]), limits[1])
    return low + (math.log2(clipped) - begin) / (end - begin) * (high - low)


def _x(intensity: float) -> float:
    return _place(intensity, INTENSITY, LEFT, RIGHT)


def _y(rate: float) -> float:
    return _place(rate, RATE, BOTTOM, TOP)


def _powers(limits: tuple[float, float]) -> list[float]:
    first, last = (round(math.log2(limit)) for limit in limits)
    return [2.0**n for n in range(first, last + 1)]


def _axes() -> Iterable[str]:
    yield '  <g stroke="#e4e4e4">'
    for value in _powers(INTENSITY):
        yield f'    <path d="M{_x(value):.1f} {TOP}V{BOTTOM}"/>'
    for value in _powers(RATE):
        yield f'    <path d="M{LEFT} {_y(value):.1f}H{RIGHT}"/>'
    yield "  </g>"
    yield f'  <path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="#333"/>'
    yield '  <g font-size="11" fill="#333">'
    yield '    <g text-anchor="middle">'
    for value in _powers(INTENSITY):
        yield f'      <text x="{_x(value):.1f}" y="{BOTTOM + 16}">{value:g}</text>'
    yield "    </g>"
    yield '    <g text-anchor="end">'
    for value in _powers(RATE):
        yield f'      <text x="{LEFT - 6}" y="{_y(value) + 4:.1f}">{value:g}</text>'
    yield "    </g>"
    yield "  </g>"
    middle_x, middle_y = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    yield '  <g text-anchor="middle" fill="#111">'
    yield f'    <text x="{middle_x:g}" y="{BOTTOM + 42}">MACs per byte of memory traffic</text>'
    yield (
        f'    <text transform="translate(22 {middle_y:g}) rotate(-90)">MACs per cycle (RTL)</text>'
    )
    yield "  </g>"


def _roofs(roofs: Sequence[Roof]) -> Iterable[str]:
    for roof in roofs:
        start = max(INTENSITY[0], RATE[0] / roof.bandwidth)
        path = (
            f"M{_x(start):.1f} {_y(start * roof.bandwidth):.1f}"
            f"L{_x(roof.peak / roof.bandwidth):.1f} {_y(roof.peak):.1f}H{RIGHT}"
        )
        yield f'  <path d="{path}" fill="none" stroke="{roof.color}" stroke-width="2"/>'
        yield (
            f'  <text x="{RIGHT - 4}" y="{_y(roof.peak) - 6:.1f}" text-anchor="end" '
            f'font-size="12" fill="{roof.color}">{escape(roof.name)}</text>'
        )


def _points(points: Iterable[Point], beside: str) -> Iterable[str]:
    """Draw points; those of the colour `beside` have labels beside them, the others below."""
    labels: list[tuple[float, float, str, list[str]]] = []
    for point in sorted(points, key=lambda p: p.large):
        x, y = _x(point.intensity), _y(point.rate)
        fill = point.color if point.large else "none"
        size = 5 if point.large else 3
        yield (
            f'  <circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{fill}" '
            f'stroke="{point.color}" stroke-width="1.2"/>'
        )
        near = (
            texts
            for at_x, at_y, color, texts in labels
            if color == point.color and math.hypot(at_x - x, at_y - y) < CLOSE
        )
        if point.label:
            found = next(near, None)
            if found is None:
                labels.append((x, y, point.color, [point.label]))
            else:
                found.append(point.label)
    for x, y, color, texts in labels:
        place = f'x="{x + 7:.1f}" y="{y + 4:.1f}"'
        if color != beside:
            place = f'x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle"'
        yield f'  <text {place} font-size="11" fill="{color}">{escape(", ".join(texts))}</text>'


def roofline(roofs: Sequence[Roof], points: Sequence[Point], legend: Sequence[str]) -> str:
    """Return the picture.

    Parameters
    ----------
    roofs : sequence of Roof
    points : sequence of Point
    legend : sequence of str
        Lines of text beside the diagram.
    """
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="14" role="img">'
        ),
        "  <title>Roofline: multiply-accumulates per cycle against those per byte</title>",
        f'  <rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *_axes(),
        *_roofs(roofs),
        *_points(points, roofs[0].color),
        '  <g font-size="12" fill="#111">',
    ]
    for number, text in enumerate(legend):
        lines.append(
            f'    <text x="{RIGHT + 24}" y="{TOP + 10 + 20 * number}">{escape(text)}</text>'
        )
    return "\n".join([*lines, "  </g>", "</svg>"]) + "\n"
