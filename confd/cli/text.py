"""
Values as text for terminals and scripts; escape sequences of agents and operators are made harmless.

PyYAML is not used: it writes strings such as C{1e3} without quotes, which YAML 1.2 reads as numbers, and it prints
changes of writing direction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime

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


#: A UUID; people read its beginning.
_UUID = re.compile(r"([0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def format_age(text: str | None, now: datetime) -> str:
    """
    Return an RFC 3339 time as seen at another time, such as C{5 min ago} or C{in 2 h}; C{never} for C{None}.

    A time that is no RFC 3339, or more than a hundred days away, is returned as L{format_time} has it.
    """
    if text is None:
        return "never"
    try:
        seconds = (now - datetime.fromisoformat(text)).total_seconds()
    except (ValueError, TypeError):
        return format_time(text)
    away = abs(seconds)
    if away >= 100 * _DAY:
        return format_time(text)
    if away < 1:
        return "now"
    units = ((_MINUTE, 1, "s"), (_HOUR, _MINUTE, "min"), (2 * _DAY, _HOUR, "h"), (100 * _DAY, _DAY, "d"))
    number, unit = next((int(away // size), unit) for below, size, unit in units if away < below)
    return f"{number} {unit} ago" if seconds > 0 else f"in {number} {unit}"


def short_id(text: str) -> str:
    """Return the beginning of a UUID, which names an agent for people; another identifier as it is."""
    found = _UUID.fullmatch(text)
    return text if found is None else found[1]


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
            elif _is_block(inner):
                yield from (*head[:-1], f"{head[-1]} {_block_head(inner)}", *_block_lines(inner, "  "))
            else:
                yield from (*head[:-1], f"{head[-1]} {_scalar(inner)}")
    elif isinstance(value, list) and value:
        for inner in value:
            if _is_block(inner):
                yield from (f"- {_block_head(inner)}", *_block_lines(inner, "  "))
                continue
            yield from (f"{'  ' if number else '- '}{line}" for number, line in enumerate(_yaml(inner)))
    else:
        yield _scalar(value)


def _is_block(value: JsonValue) -> bool:
    """Return whether a value is text of several lines that a block scalar shows unchanged."""
    if not isinstance(value, str) or "\n" not in value or value[0].isspace():
        return False
    return value.replace("\n", "").isprintable()


def _block_head(text: str) -> str:
    """Return the introduction of a block scalar, which says how many line breaks are at its end."""
    if not text.endswith("\n"):
        return "|-"
    return "|+" if text.endswith("\n\n") else "|"


def _block_lines(text: str, indent: str) -> list[str]:
    """Return the lines of a block scalar; empty lines have no indentation."""
    return [f"{indent}{line}" if line else "" for line in text.removesuffix("\n").split("\n")]


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
