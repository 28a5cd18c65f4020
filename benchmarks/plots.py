"""Bar charts as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from attrs import frozen

_WIDTH, _LEFT, _ROW, _TOP = 720, 190, 26, 34

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
 font-family="sans-serif" font-size="12">
<rect width="{width}" height="{height}" fill="#ffffff"/>
"""


@frozen
class Chart:
    """
    A chart of values on one scale.

    @ivar title: the quantity with its unit.
    @ivar bars: names and values, from top to bottom.
    @ivar ours: the names of the highlighted bars.
    """

    title: str
    bars: Sequence[tuple[str, float]]
    ours: Sequence[str] = ("confd",)


def svg(charts: Sequence[Chart]) -> str:
    """Return the charts as one picture, one below the other."""
    height = sum(_TOP + _ROW * len(each.bars) + 10 for each in charts)
    pieces, at = [_HEAD.format(width=_WIDTH, height=height)], 0
    for each in charts:
        pieces.append(_chart(each, at))
        at += _TOP + _ROW * len(each.bars) + 10
    return "".join([*pieces, "</svg>\n"])


def _chart(chart: Chart, top: int) -> str:
    lines = [f'<text x="8" y="{top + 20}" font-size="14" fill="#1b1f24">{escape(chart.title)}</text>']
    most = max((value for _, value in chart.bars), default=0.0) or 1.0
    for number, (name, value) in enumerate(chart.bars):
        y = top + _TOP + _ROW * number
        length = (_WIDTH - _LEFT - 90) * max(value, 0.0) / most
        colour = "#1f6feb" if any(name.startswith(ours) for ours in chart.ours) else "#8c959f"
        lines += [
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end" fill="#1b1f24">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y + 3}" width="{length:.1f}" height="{_ROW - 8}" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 6:.1f}" y="{y + 15}" fill="#1b1f24">{number_of(value)}</text>',
        ]
    return "\n".join(lines) + "\n"


def number_of(value: float) -> str:
    """Format a value for readers."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
