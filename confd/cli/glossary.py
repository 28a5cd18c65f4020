"""The glossary: the terms of confd and their explanations, from the page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_TERM = re.compile(r"   (\S.*)")
_LINE = re.compile(r"      (.*)")
_MARKUP = re.compile(r"``([^`]*)``|:\w+:`([^`<]*)(?: <[^`]*>)?`|\*([^*]+)\*")


def read_glossary() -> Mapping[str, str]:
    """Return the explanations by term, in plain text; terms of one entry share an explanation."""
    entries: dict[str, list[str]] = {}
    current: list[str] = []
    text = files("confd.cli").joinpath("glossary.rst").read_text("utf-8").partition(".. glossary::")[2]
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            current.append(found[1])
        elif (found := _TERM.fullmatch(line)) and not found[1].startswith(":"):
            current = []
            entries |= {term.strip(): current for term in found[1].split(",")}
    return {
        term: _MARKUP.sub(lambda found: next(filter(None, found.groups())), " ".join(lines))
        for term, lines in entries.items()
    }
