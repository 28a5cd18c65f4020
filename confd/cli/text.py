"""
Values as text for terminals and scripts; escape sequences of agents and operators are made harmless.

PyYAML is not used: it writes strings such as C{1e3} without quotes, which YAML 1.2 reads as numbers, and it prints
changes of writing direction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from confd.codec.strict_json import JsonValue
from confd.codec.text import printable

#: Strings that need no quotes in YAML 1.1 and 1.2.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII)
#: Words that YAML 1.1 or 1.2 reads as a boolean or null.
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
#: Longer keys need an introduction with C{?}; YAML demands it above 1024 characters.
_MAX_PLAIN_KEY_CHARS = 1000


def format_time(text: str | None) -> str:
    """Return an RFC 3339 time without its fraction; C{never} for C{None}."""
    return "never" if text is None else re.sub(r"\.\d+", "", printable(text).replace("T", " "))


def plural(number: int, thing: str) -> str:
    """Return a number with a noun, in the plural where necessary."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def as_json(value: JsonValue, indent: int | None = 2) -> str:
    """Return a value as JSON with every unprintable character escaped."""
    return _safe_json(json.dumps(value, ensure_ascii=False, indent=indent))


def as_yaml(value: JsonValue) -> str:
    """Return a value as block-style YAML that versions 1.1 and 1.2 read alike."""
    return "\n".join(_yaml(value))


def _safe_json(text: str) -> str:
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1].replace("\x7f", "\\u007f")
        for each in text
    )


def _yaml(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            name = _scalar(key)
            head = [f"{name}:"] if len(name) < _MAX_PLAIN_KEY_CHARS else [f"? {name}", ":"]
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


def _scalar(value: JsonValue) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return '"' + printable(value.replace("\\", r"\\").replace('"', r"\"")) + '"'
    if isinstance(value, float):
        text = repr(value)
        # Without a point, YAML 1.1 reads 1e+22 as a string.
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return json.dumps(value)
