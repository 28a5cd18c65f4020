"""
YAML as people write configurations, read as JSON.

The reader accepts the part of YAML that all readers understand alike. C{true} and C{false} are the only booleans, dates
stay strings, and anchors, tags and keys that occur twice are rejected. PyYAML is used for its parser of events only: a
stack replaces its recursive composer, so that deep nesting cannot exhaust the interpreter's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf

import yaml
from attrs import define, field, frozen

from confd.codec.strict_json import MAX_DEPTH, JsonObject, JsonValue
from confd.errors import Malformed

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
#: What JSON cannot hold.
_NOT_FINITE = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)
#: Numbers of YAML 1.1 in notations that JSON lacks: C{0644}, C{0x1F}, C{1_000}, and C{10:30}, which is 630.
_AMBIGUOUS_NUMBER = re.compile(r"[-+]?(?:0[xob]?[0-9a-fA-F_]+|[1-9][0-9]*_[0-9_]*|[1-9][0-9]*(?::[0-5]?[0-9])+)")
_CONSTANTS: dict[str, JsonValue] = {"true": True, "false": False, "null": None, "~": None, "": None}
#: Words that YAML 1.1 reads as booleans, and spellings of the constants that JSON lacks, all in lower case.
_AMBIGUOUS_WORDS = frozenset(["yes", "no", "on", "off", "y", "n", "true", "false", "null"])

#: Digits of a number at most, since the conversion takes quadratic time.
_MAX_DIGITS = 400


@frozen
class YamlDocument:
    """
    A value, and what readers may understand differently.

    @ivar warnings: sentences that name a line each.
    """

    value: JsonValue
    warnings: tuple[str, ...]


def read_yaml(text: str) -> YamlDocument:
    """
    Read the one document of a YAML text.

    @raise Malformed: C{bad_yaml}: the sentence names the line.
    """
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise _mistake(line, f"{error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _mistake(line, "the character is not allowed in YAML") from None
    return YamlDocument(builder.result, tuple(builder.warnings))


def _mistake(line: int, what: str) -> Malformed:
    return Malformed("bad_yaml", f"The mistake is in line {line}: {what}.")


@define(eq=False)
class _Open:
    """
    A list or an object that is not complete.

    @ivar key: key that waits for its value.
    """

    value: JsonValue
    key: str | None = None


@define(eq=False)
class _Builder:
    """Builds a value from events of PyYAML."""

    result: JsonValue = None
    warnings: list[str] = field(factory=list)
    _stack: list[_Open] = field(factory=list)
    _documents: int = 0

    def take(self, event: yaml.Event) -> None:
        """
        Add one event.

        @raise Malformed: it is of the part of YAML that is not accepted.
        """
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _mistake(line, "a second document begins here; keep one document in a file")
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            raise _mistake(line, "anchors and aliases are not accepted; write the value out")
        if event.tag is not None:
            raise _mistake(line, f"the tag {event.tag} is not accepted; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            self._add(event.value if event.style is not None else self._plain(event.value, line), line)
            return
        value: JsonObject | list[JsonValue] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._add(value, line)
        self._stack.append(_Open(value))
        if len(self._stack) > MAX_DEPTH:
            raise _mistake(line, f"the value is nested deeper than {MAX_DEPTH} levels")

    def _add(self, value: JsonValue, line: int) -> None:
        if not self._stack:
            self.result = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is not None:
            parent.value[parent.key] = value
            parent.key = None
        elif not isinstance(value, str):
            raise _mistake(line, "this key is not a string; write it in quotes")
        elif value in parent.value:
            raise _mistake(line, f"the key {value!r} occurs twice; keep one of the two")
        else:
            parent.key = value

    def _plain(self, text: str, line: int) -> JsonValue:
        """Return the value of a text without quotes."""
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        for pattern, convert in _NUMBERS:
            if pattern.fullmatch(text):
                number = convert(text) if len(text) <= _MAX_DIGITS else inf
                if number in (inf, -inf):
                    raise _mistake(line, "the number is too large to represent")
                return number
        if _NOT_FINITE.fullmatch(text):
            raise _mistake(line, f"JSON has no number {text}; write a string in quotes")
        if text.lower() in _AMBIGUOUS_WORDS or _AMBIGUOUS_NUMBER.fullmatch(text):
            self.warnings.append(f"Line {line}: {text} is read as a string; write quotes to say so.")
        return text


_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], JsonValue]], ...] = ((_INTEGER, int), (_FLOAT, float))
