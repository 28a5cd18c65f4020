"""Pictures of a terminal as SVG, from the bytes that a program wrote to it."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_PIECES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r|\n)|([^\x1b\r\n]+)")

#: A picture without fonts of other sites.
_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
 font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def screen_of(written: str) -> str:
    """Return the lines on a terminal, with their colours, after a program wrote C{written}."""
    lines, row = [""], 0
    for found in _PIECES.finditer(written):
        number, kind, control, text = found.groups()
        if control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif kind == "A":
            row = max(0, row - int(number or 1))
        elif kind == "K":
            lines[row] = ""
        elif kind == "m":
            lines[row] += found[0]
        elif text:
            lines[row] += text
    return "\n".join(lines).rstrip("\n")


def picture(screen: str, columns: int, title: str) -> str:
    """
    Return an SVG picture of a terminal.

    @param screen: see L{screen_of}.
    @param columns: width of the terminal in characters.
    @param title: text above the terminal.
    """
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen))
    svg = console.export_svg(title=title, theme=MONOKAI, code_format=_FORMAT, unique_id="t")
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)
