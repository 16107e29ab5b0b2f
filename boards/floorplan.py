"""A picture of a placed design: every tile in the colour of the unit that has most cells there."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import groupby

from boards.placement import UNITS, PlacedCell

__all__ = ["draw"]

_TILE = 8
_LEGEND = 200
_FONT = 'font-family="sans-serif" font-size="12"'
_COLOURS = (
    # Paul Tol's muted and bright schemes: apart for colour-blind readers, too.
    *("#332288", "#4477AA", "#CC6677", "#DDCC77", "#AA4499", "#117733", "#44AA99"),
    *("#EE7733", "#BBBBBB", "#882255", "#88CCEE", "#999933", "#000000"),
)


def draw(cells: Sequence[PlacedCell], title: str, size: tuple[int, int] | None = None) -> str:
    """Return the picture as SVG; y grows downwards as in the tool's own pictures.

    Parameters
    ----------
    cells : sequence of PlacedCell
    title : str
    size : tuple of int, optional
        Tiles of the FPGA, columns and rows; by default those that have cells.
    """
    colours = dict(zip(UNITS, _COLOURS, strict=True))
    tiles: dict[tuple[int, int], Counter[str]] = {}
    for cell in cells:
        tiles.setdefault((cell.y, cell.x), Counter())[cell.unit] += 1
    columns, rows = size or (
        1 + max((cell.x for cell in cells), default=0),
        1 + max((cell.y for cell in cells), default=0),
    )
    width, height = columns * _TILE, max(rows * _TILE, 18 * len(UNITS) + 30)
    view = f"0 0 {width + _LEGEND + 20} {height + 40}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" {_FONT}>',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="10" y="18">{escape(title)}</text>',
        '<g transform="translate(10,28)">',
        f'<rect width="{width}" height="{rows * _TILE}" fill="#f2f2f2" stroke="#888888"/>',
    ]
    for unit in UNITS:
        # One path for all tiles of a unit, neighbours in a row joined.
        places = sorted(
            place for place, count in tiles.items() if count.most_common(1)[0][0] == unit
        )
        if places:
            lines.append(f'<path fill="{colours[unit]}" d="{_strips(places)}"/>')
    lines.append(f'</g><g transform="translate({width + 20},40)">')
    present = Counter(cell.unit for cell in cells)
    for i, unit in enumerate(u for u in UNITS if present[u]):
        y = 18 * i
        lines.append(
            f'<rect y="{y}" width="12" height="12" fill="{colours[unit]}"/>'
            f'<text x="18" y="{y + 11}">{unit}</text>'
        )
    return "\n".join([*lines, "</g></svg>", ""])


def _strips(places: Sequence[tuple[int, int]]) -> str:
    """Return a path around tiles, given as row and column in their order."""
    parts = []
    for _, strip in groupby(enumerate(places), key=lambda item: (item[1][0], item[1][1] - item[0])):
        tiles = [place for _, place in strip]
        y, x = tiles[0]
        length = len(tiles) * _TILE
        parts.append(f"M{x * _TILE} {y * _TILE}h{length}v{_TILE}h-{length}z")
    return "".join(parts)
