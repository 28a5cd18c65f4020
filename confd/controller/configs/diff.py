"""What two documents differ in: a patch for programs (RFC 6902), a text for people; in nearly linear time."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from operator import eq
from typing import TypeVar

from attrs import frozen

from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import pointer_to
from confd.model import Configuration

T = TypeVar("T")

#: Lines, of both sides together, that are compared each with each; what is longer and has nothing unique in common is
#: shown as replaced.
CLOSE_LOOK = 128

#: Characters of paths that a patch may have besides as many as both documents have bytes.
_SHORTEST_PATHS = 65536

#: Lines around a change.
_CONTEXT = 3


@frozen
class Difference:
    """
    What leads from one document to another.

    @ivar patch: a JSON patch: each operation is C{add}, C{remove} or C{replace}.
    @ivar text: a unified diff of the two, indented, in the order of the new one, and of the poll intervals; empty where
        all are equal.
    """

    patch: list[JsonObject]
    text: str


def difference(old: Configuration, new: Configuration, name: str = "") -> Difference:
    """
    Compare two configurations; for documents of a megabyte that takes a second, so not in the reactor's thread.

    @param name: of the new configuration, for people; empty for its version.
    """
    before, after = strict_json.decode(old.document.raw), strict_json.decode(new.document.raw)
    names = f"version {old.version}", name or f"version {new.version}"
    text = unified(_lines(ordered_like(before, after)), _lines(after), *names)
    if old.poll_interval != new.poll_interval:
        header = "" if text else f"--- {names[0]}\n+++ {names[1]}\n"
        text += f"{header}@@ poll interval @@\n-{old.poll_interval} s\n+{new.poll_interval} s\n"
    return Difference(_bounded(patch(before, after), after, len(old.document.raw) + len(new.document.raw)), text)


def _bounded(operations: Iterator[JsonObject], new: JsonValue, size: int) -> list[JsonObject]:
    """
    Return the operations, or a single replacement if their paths are longer than the documents.

    Each operation repeats all keys above it: below one long key, a megabyte of numbers would make a terabyte of paths.
    """
    left, found = _SHORTEST_PATHS + size, []
    for each in operations:
        left -= len(each["path"])
        if left < 0:
            return [{"op": "replace", "path": "", "value": new}]
        found.append(each)
    return found


def patch(old: JsonValue, new: JsonValue, path: str = "") -> Iterator[JsonObject]:
    """Return the operations that turn C{old} into C{new}, in order."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - new.keys():
            yield {"op": "remove", "path": pointer_to(path, key)}
        for key, value in new.items():
            if key in old:
                yield from patch(old[key], value, pointer_to(path, key))
            else:
                yield {"op": "add", "path": pointer_to(path, key), "value": value}
    elif isinstance(old, list) and isinstance(new, list):
        yield from _patch_list(old, new, path)
    elif not _same(old, new):
        yield {"op": "replace", "path": path, "value": new}


def _patch_list(old: list[JsonValue], new: list[JsonValue], path: str) -> Iterator[JsonObject]:
    """Keep equal ends; change the items between them one by one, then append or remove items."""
    start, end = _equal_ends(old, new, _same)
    first, last = len(old) - end, len(new) - end
    both = min(first, last)
    for index in range(start, both):
        yield from patch(old[index], new[index], f"{path}/{index}")
    for _ in range(both, first):
        yield {"op": "remove", "path": f"{path}/{both}"}
    for index in range(both, last):
        yield {"op": "add", "path": f"{path}/{index}", "value": new[index]}


def _same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two values are the same JSON: to Python, C{True} is 1, and 1.0 too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def ordered_like(old: JsonValue, new: JsonValue) -> JsonValue:
    """
    Return a value with its keys in the order of another value, since the order of keys means nothing.

    Keys that the other value lacks stay behind the key that precedes them.
    """
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [ordered_like(*pair) for pair in zip(old, new, strict=True)]
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return old
    lacking: dict[str | None, list[str]] = {}
    before: str | None = None
    for key in old:
        if key in new:
            before = key
        else:
            lacking.setdefault(before, []).append(key)
    order = lacking.get(None, [])
    for key in new:
        if key in old:
            order += [key, *lacking.get(key, ())]
    return {key: ordered_like(old[key], new[key]) if key in new else old[key] for key in order}


def _lines(value: JsonValue) -> list[str]:
    return json.dumps(value, ensure_ascii=False, indent=2).split("\n")


def unified(old: Sequence[str], new: Sequence[str], old_name: str, new_name: str) -> str:
    """Return a unified diff of two texts in lines, empty if they are equal."""
    groups = list(_Matcher(old, new).get_grouped_opcodes(_CONTEXT)) if old != new else []
    lines = [f"--- {old_name}", f"+++ {new_name}"] if groups else []
    for group in groups:
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        lines.append(f"@@ -{_range(i1, i2)} +{_range(j1, j2)} @@")
        for kind, a1, a2, b1, b2 in group:
            if kind == "equal":
                lines += [f" {line}" for line in old[a1:a2]]
            else:
                lines += [f"-{line}" for line in old[a1:a2]] + [f"+{line}" for line in new[b1:b2]]
    return "".join(f"{line}\n" for line in lines)


def _range(start: int, stop: int) -> str:
    """Lines count from 1; of nothing the line before it is named."""
    length = stop - start
    return f"{start + 1 if length else start},{length}"


class _Matcher(SequenceMatcher[str]):
    """
    Finds the lines in common in three steps, as comparing each with each takes quadratic time and more: equal ends,
    then lines that both sides have once (patience diff), then L{SequenceMatcher} where little is left in between.
    """

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, (), (), autojunk=False)
        self._old, self._new = old, new

    def get_matching_blocks(self) -> list[Match]:
        """As its parent does: blocks that touch are one."""
        blocks: list[Match] = []
        for a, b, size in _common(self._old, self._new):
            last = blocks[-1] if blocks else Match(0, 0, 0)
            if (last.a + last.size, last.b + last.size) == (a, b):
                blocks[-1:] = [Match(last.a, last.b, last.size + size)]
            else:
                blocks.append(Match(a, b, size))
        return [*blocks, Match(len(self._old), len(self._new), 0)]


def _common(old: Sequence[str], new: Sequence[str]) -> Iterator[Match]:
    """Blocks of equal lines, in order."""
    start, end = _equal_ends(old, new)
    i, j, i_end, j_end = start, start, len(old) - end, len(new) - end
    yield Match(0, 0, start)
    for a, b in _anchors(old[start:i_end], new[start:j_end]):
        yield from _close(old, new, i, start + a, j, start + b)
        i, j = start + a + 1, start + b + 1
        yield Match(i - 1, j - 1, 1)
    yield from _close(old, new, i, i_end, j, j_end)
    yield Match(i_end, j_end, end)


def _close(old: Sequence[str], new: Sequence[str], i1: int, i2: int, j1: int, j2: int) -> Iterator[Match]:
    if i1 < i2 and j1 < j2 and i2 - i1 + j2 - j1 <= CLOSE_LOOK:
        matcher = SequenceMatcher(None, old[i1:i2], new[j1:j2], autojunk=False)
        yield from (Match(i1 + a, j1 + b, size) for a, b, size in matcher.get_matching_blocks() if size)


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Lines that both have once, as many of them as stand in the same order (the longest increasing subsequence)."""
    seen_old, seen_new = Counter(old), Counter(new)
    where = {line: index for index, line in enumerate(new)}
    pairs = [(a, where[line]) for a, line in enumerate(old) if seen_old[line] == 1 == seen_new[line]]
    tops: list[int] = []
    chains: list[int] = []
    before: list[int] = []
    for number, (_, b) in enumerate(pairs):
        length = bisect_left(tops, b)
        before.append(chains[length - 1] if length else -1)
        tops[length : length + 1] = [b]
        chains[length : length + 1] = [number]
    found: list[tuple[int, int]] = []
    number = chains[-1] if chains else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _equal_ends(old: Sequence[T], new: Sequence[T], same: Callable[[T, T], bool] = eq) -> tuple[int, int]:
    """How many are equal at the beginning, and at the end of the rest."""
    most = min(len(old), len(new))
    start = 0
    while start < most and same(old[start], new[start]):
        start += 1
    end = 0
    while end < most - start and same(old[-1 - end], new[-1 - end]):
        end += 1
    return start, end
