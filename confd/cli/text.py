"""
Values as text that a terminal shows and nothing else: what agents and operators wrote could hold escape sequences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from confd.codec.text import printable

#: What a key or a string has to look like to need no quotes in YAML 1.1 and 1.2.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII)
#: Words that some version of YAML takes for something else than text.
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
#: YAML wants keys longer than 1024 characters introduced.
_LONG_KEY = 1000


def shown_time(text: str | None) -> str:
    """An RFC 3339 time as people read it."""
    return "never" if text is None else re.sub(r"\.\d+", "", printable(text).replace("T", " "))


def counted(number: int, thing: str) -> str:
    """So many things."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def as_json(value: Any, indent: int | None = 2) -> str:
    """JSON that is UTF-8, with what is not printable escaped."""
    return _safe_json(json.dumps(value, ensure_ascii=False, indent=indent))


def as_yaml(value: Any) -> str:
    """YAML, in the block style, that readers of versions 1.1 and 1.2 understand alike."""
    return "\n".join(_yaml(value))


def _safe_json(text: str) -> str:
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1].replace("\x7f", "\\u007f")
        for each in text
    )


def _yaml(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            name = _scalar(key)
            head = [f"{name}:"] if len(name) < _LONG_KEY else [f"? {name}", ":"]
            if isinstance(inner, (dict, list)) and inner:
                yield from head
                yield from (f"  {line}" for line in _yaml(inner))
            else:
                yield from (*head[:-1], f"{head[-1]} {_scalar(inner)}")
    elif isinstance(value, list) and value:
        for inner in value:
            yield from (f"{'  ' if number else '- '}{line}" for number, line in enumerate(_yaml(inner)))
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return '"' + printable(value.replace("\\", r"\\").replace('"', r"\"")) + '"'
    if isinstance(value, float):
        text = repr(value)
        # Without a point, YAML 1.1 takes 1e+22 for text.
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return json.dumps(value)
