"""The part of JSONPath (RFC 9535) that C{-o jsonpath=} takes: names, indexes and C{[*]}."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from confd.codec.strict_json import JsonValue
from confd.codec.text import printable

_STEP = re.compile(
    r"""
    \.?\[ (?: (?P<index>-?[0-9]{1,9}) | (?P<all>\*) | '(?P<single>[^']*)' | "(?P<double>[^"]*)" ) \]
    | \. (?: (?P<star>\*) | (?P<name> (?: [^.\[\]*'"\s{}\\] | \\. )+ ) )
    """,
    re.VERBOSE,
)


class JsonPath:
    """A path through a JSON value."""

    def __init__(self, text: str) -> None:
        """
        @param text: such as C{$.items[*].id} or C{.items[0].id}, with or without braces around it, as for kubectl.
        @raise ValueError: it is no path, or uses more of JSONPath.
        """
        inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
        rest = inner.removeprefix("$")
        if rest[:1] not in ("", ".", "["):
            rest = f".{rest}"
        #: C{None} stands for all members.
        self._steps: list[str | int | None] = []
        while rest not in ("", "."):
            found = _STEP.match(rest)
            if found is None:
                raise ValueError(f"{printable(text)!r} is no path of names, [0] and [*], such as .items[*].id")
            self._add(found)
            rest = rest[found.end() :]

    def _add(self, found: re.Match[str]) -> None:
        if found["all"] or found["star"]:
            self._steps.append(None)
        elif found["index"]:
            self._steps.append(int(found["index"]))
        elif found["name"]:
            self._steps.append(re.sub(r"\\(.)", r"\1", found["name"]))
        else:
            self._steps.append(found["single"] if found["single"] is not None else found["double"])

    def find(self, value: JsonValue) -> Sequence[JsonValue]:
        """Return the values at this path, in their order; none where the path leads nowhere."""
        found: Sequence[JsonValue] = [value]
        for step in self._steps:
            found = [inner for each in found for inner in (_members(each) if step is None else _member(each, step))]
        return found


def _members(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _member(value: JsonValue, step: str | int) -> Iterator[JsonValue]:
    if isinstance(value, dict) and str(step) in value:
        yield value[str(step)]
    elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
        yield value[step]
