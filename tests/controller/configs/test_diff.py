"""Differences lead from one document to the other, whatever the two are, and take no time to speak of."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import unified_diff
from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.controller.configs import diff
from confd.model import Configuration
from confd.testing import a_draft

_SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 1.5, "", "a", "ü/~", "\u2028"])
_KEYS = st.sampled_from(["a", "b", "", "~", "/", "0", "1", "a/b~c"])
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner), max_leaves=12)
_DOCUMENTS = st.dictionaries(_KEYS, _VALUES)
#: Few different ones, so that the two sides have some in common.
_TEXTS = st.lists(st.sampled_from("abcdefgh"), max_size=30)


def configuration(version: int, value: dict[str, Any]) -> Configuration:
    return Configuration("", 1, version, "default", strict_json.document(value), 30, a_draft().made_at)


def turned(value: Any) -> Any:
    """Return a value with its keys in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


def apply_text(old: Sequence[str], text: str) -> list[str]:
    """What a unified diff makes of a text; proves that it speaks of this one."""
    made: list[str] = []
    at = 0
    for line in text.split("\n")[2:-1]:
        hunk = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", line)
        if hunk:
            start, length, new_start, new_length = map(int, hunk.groups())
            until = start - 1 if length else start
            made += old[at:until]
            at = until
            assert len(made) == (new_start - 1 if new_length else new_start), line
        elif line[0] == "+":
            made.append(line[1:])
        else:
            assert old[at] == line[1:], (at, line)
            made += [line[1:]] * (line[0] == " ")
            at += 1
    return made + list(old[at:])


class BoundTests(SynchronousTestCase):
    """What a difference may take."""

    def test_long_keys(self) -> None:
        """Each operation repeats the keys above it; where that is too much, one operation replaces the document."""
        for count, single in ((5, False), (3000, True)):
            both = [{"k" * 5000: {"n": [number] * count}} for number in (1, 2)]
            found = diff.difference(configuration(1, both[0]), configuration(2, both[1]))
            self.assertEqual(len(found.patch), 1 if single else count)
            self.assertEqual(jsonpatch.JsonPatch(found.patch).apply(both[0]), both[1])


class PatchTests(SynchronousTestCase):
    """The operations of RFC 6902, held against another implementation of it."""

    @given(_DOCUMENTS, _DOCUMENTS)
    def test_leads_from_one_to_the_other(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        operations = list(diff.patch(old, new))
        made = jsonpatch.JsonPatch(operations).apply(old)
        self.assertEqual(strict_json.canonical(made), strict_json.canonical(new))

    @given(_DOCUMENTS)
    def test_nothing_leads_to_the_same(self, value: dict[str, Any]) -> None:
        there = configuration(1, value)
        self.assertEqual(diff.difference(there, there), diff.Difference([], ""))

    def test_says_little(self) -> None:
        for old, new, expected in (
            ({"a": 1, "b": 2}, {"b": 3}, [("remove", "/a"), ("replace", "/b")]),
            ({"a": [1, 2, 3]}, {"a": [0, 1, 2, 3]}, [("add", "/a/0")]),
            ({"a": [1, 2, 3]}, {"a": [1, 3]}, [("remove", "/a/1")]),
            ({"a": [{"b": 1}, 2]}, {"a": [{"b": 2}, 2]}, [("replace", "/a/0/b")]),
            ({"a": True}, {"a": 1}, [("replace", "/a")]),
            ({"a/~": 1}, {"a/~": None}, [("replace", "/a~1~0")]),
            ({"a": {}}, {"a": []}, [("replace", "/a")]),
        ):
            steps = [(each["op"], each["path"]) for each in diff.patch(old, new)]
            self.assertEqual(steps, expected, (old, new))


class TextTests(SynchronousTestCase):
    """Unified diffs."""

    @given(_DOCUMENTS, _DOCUMENTS)
    def test_of_documents(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        text = diff.difference(configuration(3, old), configuration(4, new)).text
        if text:
            self.assertTrue(text.startswith("--- version 3\n+++ version 4\n@@ -"), text)

    @given(_DOCUMENTS, _DOCUMENTS)
    def test_order_of_keys_is_that_of_the_new_document_and_no_difference(
        self, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        ordered = diff.ordered_like(old, new)
        self.assertEqual(ordered, old)
        self.assertEqual([key for key in ordered if key in new], [key for key in new if key in old])
        self.assertEqual(json.dumps(diff.ordered_like(turned(new), new)), json.dumps(new))

    def test_diff_follows_the_order_of_the_document(self) -> None:
        old = {"url": "http://a", "a": 1, "gone": 2, "z": {"y": 1, "b": 2}}
        new = {"z": {"y": 1, "b": 3}, "url": "http://b", "a": 1, "new": 4}
        text = diff.difference(configuration(1, old), configuration(2, new)).text
        wanted = """--- version 1
+++ version 2
@@ -1,9 +1,9 @@
 {
   "z": {
     "y": 1,
-    "b": 2
+    "b": 3
   },
-  "url": "http://a",
+  "url": "http://b",
   "a": 1,
-  "gone": 2
+  "new": 4
 }
"""
        self.assertEqual(text, wanted)

    @given(_TEXTS, _TEXTS)
    def test_leads_from_one_to_the_other(self, old: list[str], new: list[str]) -> None:
        self.assertEqual(apply_text(old, diff.unified(old, new, "a", "b")), new)

    @given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
    def test_same_as_of_the_standard_library(self, one: int, two: int, length: int) -> None:
        """Where lines are unique there is one shortest way."""
        old = [f"line {number}" for number in range(length)]
        new = [f"line {number}" for number in range(length) if number != one]
        new[two:two] = ["new"]
        lines = [f"{line}\n" for line in unified_diff(old, new, "a", "b", lineterm="")]
        # It leaves a count of 1 out.
        expected = [re.sub(r"([-+]\d+)(?= )", r"\1,1", line) if line[0] == "@" else line for line in lines]
        self.assertEqual(diff.unified(old, new, "a", "b"), "".join(expected))

    def test_far_apart(self) -> None:
        """Two edits of a large document are two hunks."""
        old = {f"key{number:06}": {"v": number} for number in range(20000)}
        new = old | {"key000003": {"v": -1}, "key019990": {"v": -1}}
        text = diff.difference(configuration(1, old), configuration(2, new)).text
        self.assertEqual((text.count("@@ -"), text.count("\n-"), text.count("\n+")), (2, 2, 3))

    def test_nothing_in_common(self) -> None:
        """What would take the standard library hours is shown as replaced."""
        old = [str(number % 2) for number in range(100_000)]
        new = [str(number % 3 % 2) for number in range(100_000)]
        text = diff.unified(["same", *old], ["same", *new], "a", "b")
        self.assertEqual(apply_text(["same", *old], text), ["same", *new])
