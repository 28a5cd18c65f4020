"""
Draw the sequence diagrams: C{python docs/diagrams/draw.py} writes an SVG into C{docs/images} for each text here.

A text has a C{title:}, its C{parties:} from left to right, and a line for each step: C{A -> B: call},
C{A --> B: answer}, or C{== heading}. The test of the documents fails while a picture differs from its text.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
IMAGES = FOLDER.parent / "images"

#: Pixels between two parties, between two steps, and of the margin.
_COLUMN, _ROW, _MARGIN = 138, 30, 14
_BOX_WIDTH, _BOX_HEIGHT, _TITLE_HEIGHT = 126, 32, 40

_INK, _QUIET, _LINE, _ARROW = "#1d2b3a", "#4d5f73", "#c3cedb", "#2b5f9e"
_STEP = re.compile(r"(.+?) (-->|->) (.+?): (.+)")


def draw(source: str) -> str:
    """
    Return the picture of a diagram as SVG.

    @raise ValueError: a line is not a step, or names an unknown party.
    """
    lines = [line for line in source.splitlines() if line.strip()]
    title, parties = lines[0].removeprefix("title: "), lines[1].removeprefix("parties: ").split(" | ")
    places = {party: _MARGIN + _COLUMN * (index + 0.5) for index, party in enumerate(parties)}
    width = 2 * _MARGIN + _COLUMN * len(parties)
    top = _TITLE_HEIGHT + _BOX_HEIGHT
    height = top + _ROW * (len(lines) - 2) + 2 * _MARGIN
    shapes = [_box(party, x) for party, x in places.items()]
    shapes += [_line(x, top, x, height - _MARGIN, f'stroke="{_LINE}"') for x in places.values()]
    for row, line in enumerate(lines[2:]):
        y = top + _ROW * (row + 1)
        shapes.append(_heading(line[3:], y, width) if line.startswith("== ") else _step(line, places, y))
    return "\n".join([*_head(title, width, height), *shapes, "</svg>", ""])


def _head(title: str, width: float, height: float) -> list[str]:
    fonts = "system-ui, -apple-system, 'Segoe UI', sans-serif"
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="{fonts}" '
        'font-size="12" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title>',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="{_ARROW}"/></marker></defs>',
        f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="10" '
        'fill="#ffffff" stroke="#d5dce5"/>',
        _text(title, _MARGIN, 25, f'fill="{_INK}" font-size="16" font-weight="600"'),
    ]


def _box(party: str, x: float) -> str:
    style = 'fill="#eef3fa" stroke="#8aa0bd" rx="6"'
    left = x - _BOX_WIDTH / 2
    box = f'<rect x="{left:g}" y="{_TITLE_HEIGHT}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" {style}/>'
    label = f'fill="{_INK}" text-anchor="middle" font-weight="600"'
    return box + _text(party, x, _TITLE_HEIGHT + 20, label)


def _heading(text: str, y: float, width: float) -> str:
    band = f'<rect x="1" y="{y - 19:g}" width="{width - 2:g}" height="24" fill="#f3f6f9"/>'
    return band + _text(text, _MARGIN, y - 3, f'fill="{_QUIET}" font-weight="600"')


def _step(line: str, places: dict[str, float], y: float) -> str:
    found = _STEP.fullmatch(line)
    if found is None or {found[1], found[3]} - places.keys():
        raise ValueError(f"not a step between two parties: {line}")
    start, end, text = places[found[1]], places[found[3]], found[4]
    style = f'stroke="{_ARROW}" marker-end="url(#a)"' + (' stroke-dasharray="5 4"' if found[2] == "-->" else "")
    if start == end:
        # A step of one party is a loop beside its line; its text stands where there is room.
        loop = f'<path d="M{start:g} {y - 10:g}h14v12h-13" fill="none" {style}/>'
        if start > max(places.values()) - 1.5 * _COLUMN:
            return loop + _label(text, start - 8, y, "end")
        return loop + _label(text, start + 20, y, "start")
    arrow = _line(start, y, end, y, style)
    room = abs(end - start)
    if len(text) * 6.3 < room:
        return arrow + _label(text, (start + end) / 2, y - 5, "middle")
    leftward = max(start, end) > max(places.values()) - 1.5 * _COLUMN
    anchor, x = ("end", max(start, end) - 6) if leftward else ("start", min(start, end) + 6)
    return arrow + _label(text, x, y - 5, anchor)


def _label(text: str, x: float, y: float, anchor: str) -> str:
    halo = 'stroke="#ffffff" stroke-width="4" paint-order="stroke"'
    return _text(text, x, y, f'fill="{_INK}" text-anchor="{anchor}" {halo}')


def _text(text: str, x: float, y: float, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" {style}/>'


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.txt")):
        (IMAGES / f"{path.stem}-sequence.svg").write_text(draw(path.read_text("utf-8")), "utf-8")
