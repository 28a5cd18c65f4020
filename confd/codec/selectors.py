"""
Selectors of agents by their labels, in the grammar of Kubernetes.

A selector is a list of requirements, separated by commas. A label must meet each of them::

    region in (us, eu), tier!=edge, canary, !gpu
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NoReturn

from attrs import define, frozen

from confd.codec.labels import KEY, RESERVED, VALUE
from confd.errors import Malformed

#: Limits of a selector.
MAX_BYTES, MAX_REQUIREMENTS, MAX_VALUES = 1024, 16, 64

#: An operator, a parenthesis, a comma or a word, after blanks. The last token is empty.
_TOKEN = re.compile(r"[ \t\r\n]*([=!]=|[=!(),]|[^ \t\r\n=!(),]*)")

_SYMBOLS = frozenset({"=", "==", "!=", "!", "(", ")", ",", ""})


@frozen
class Requirement:
    """
    One condition on the labels of an agent.

    @ivar operator: C{notin} also holds for agents without the key.
    @ivar values: empty for C{exists} and C{absent}.
    """

    key: str
    operator: Literal["in", "notin", "exists", "absent"]
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels of an agent meet this requirement."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None


@frozen
class Selector:
    """
    A parsed selector.

    @ivar text: the selector as it was written.
    @ivar requirements: all of them must hold; without any, each agent matches.
    """

    text: str
    requirements: Sequence[Requirement]

    def __str__(self) -> str:
        return self.text


#: The selector that each agent matches.
EVERYTHING = Selector("", ())


def matches(labels: Mapping[str, str], selector: Selector) -> bool:
    """Return whether the labels of an agent meet all requirements of a selector."""
    return all(requirement.holds(labels) for requirement in selector.requirements)


def parse_selector(text: str) -> Selector:
    """
    Parse a selector.

    @raise Malformed: C{bad_selector}; C{details} has the column of the error, which counts characters from 1.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_BYTES:
        fitting = raw[:MAX_BYTES].decode("utf-8", "ignore")
        _refuse(len(fitting) + 1, f"a selector has at most {MAX_BYTES} bytes")
    parser = _Parser(list(_tokens(text)))
    return Selector(text, tuple(parser.requirements()))


@frozen
class _Token:
    """
    A token of a selector.

    @ivar text: empty at the end of the selector.
    @ivar column: of its first character, from 1.
    """

    text: str
    column: int

    def __str__(self) -> str:
        return repr(self.text[:40]) if self.text else "the end of the selector"


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        assert found is not None
        yield _Token(found[1], found.start(1) + 1)
        if not found[1]:
            return
        at = found.end()


@define
class _Parser:
    """A parser with one token of lookahead; C{in} and C{notin} are keywords only behind a key."""

    _tokens: Sequence[_Token]
    _at: int = 0
    _values: int = 0

    def requirements(self) -> Iterator[Requirement]:
        """Yield the requirements up to the end of the selector."""
        if not self._next.text:
            return
        for _ in range(MAX_REQUIREMENTS):
            yield self._requirement()
            if not self._next.text:
                return
            self._take(",", "expected ',' or the end of the selector")
        _refuse(self._next.column, f"a selector has at most {MAX_REQUIREMENTS} requirements")

    def _requirement(self) -> Requirement:
        if self._next.text == "!":
            self._at += 1
            return Requirement(self._key(), "absent")
        key = self._key()
        match self._next.text:
            case "" | ",":
                return Requirement(key, "exists")
            case "=" | "==":
                return Requirement(key, "in", self._equal(key))
            case "!=":
                return Requirement(key, "notin", self._equal(key))
            case "in":
                return Requirement(key, "in", self._list(key))
            case "notin":
                return Requirement(key, "notin", self._list(key))
        return _refuse(self._next.column, f"expected an operator or ',' and not {self._next}")

    def _key(self) -> str:
        token = self._next
        if token.text in _SYMBOLS:
            _refuse(token.column, f"expected the key of a label and not {token}")
        if KEY.fullmatch(token.text) is None:
            _refuse(token.column, f"{token} cannot be the key of a label")
        self._at += 1
        return token.text

    def _equal(self, key: str) -> frozenset[str]:
        """Return the value behind an operator, which may be empty."""
        self._at += 1
        return frozenset({self._value(key)})

    def _list(self, key: str) -> frozenset[str]:
        """Return the values in parentheses; a value may be empty, but C{()} has none."""
        self._at += 1
        keyword = self._tokens[self._at - 1]
        self._take("(", f"expected '(' behind {keyword}")
        if self._next.text == ")":
            _refuse(self._next.column, f"expected a value behind '{keyword.text} ('")
        values = {self._value(key)}
        while self._next.text == ",":
            self._at += 1
            values.add(self._value(key))
        self._take(")", "expected ',' or ')'")
        return frozenset(values)

    def _value(self, key: str) -> str:
        token = self._next
        self._values += 1
        if self._values > MAX_VALUES:
            _refuse(token.column, f"a selector has at most {MAX_VALUES} values")
        if token.text in _SYMBOLS:
            return ""
        # The id or the hostname of an agent may have characters that no other label has.
        if key not in RESERVED and VALUE.fullmatch(token.text) is None:
            _refuse(token.column, f"{token} cannot be the value of a label")
        self._at += 1
        return token.text

    def _take(self, symbol: str, expected: str) -> None:
        if self._next.text != symbol:
            _refuse(self._next.column, f"{expected} and not {self._next}")
        self._at += 1

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]


def _refuse(column: int, problem: str) -> NoReturn:
    raise Malformed(
        "bad_selector",
        f"The selector is wrong at column {column}: {problem}.",
        [{"column": column, "message": problem}],
    )
