"""Tests of L{confd.codec.labels}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.labels import MAX_LABELS, check_changes, merge, parse_metadata
from confd.errors import Unprocessable


class ParseMetadataTests(SynchronousTestCase):
    """L{parse_metadata}."""

    def parsed(self, metadata: str) -> tuple[dict[str, str], list[str]]:
        """Return the labels and the ignored pieces of a metadata."""
        found = parse_metadata(metadata)
        return dict(found.labels), list(found.ignored)

    def test_pieces_are_labels(self) -> None:
        for metadata, labels in (
            ("", {}),
            ("region=eu", {"region": "eu"}),
            ("region=eu,tier=Edge-1.x_", {"region": "eu", "tier": "Edge-1.x_"}),
            (" region=eu , gpu,, ", {"region": "eu", "gpu": ""}),
            ("example.com/stage_1-a=", {"example.com/stage_1-a": ""}),
            (f"{'k' * 63}={'v' * 63}", {"k" * 63: "v" * 63}),
        ):
            self.assertEqual(self.parsed(metadata), (labels, []), metadata)

    def test_invalid_pieces_are_ignored(self) -> None:
        for piece in (
            "=a", "a=b=c", "A=b", "-a=b", ".a", "_a", "/a", "ä=b", "a=ä", "a b=c", "a=b c", "a =b", "a= b", "a=b/c",
            "a\n=b", "a\x00=b", f"{'k' * 64}=a", f"a={'v' * 64}", "id=x", "hostname=x", "strategy", "٣=a", "a=٣",
        ):  # fmt: skip
            self.assertEqual(self.parsed(f"x=1, {piece} ,y"), ({"x": "1", "y": ""}, [piece]), piece)

    def test_first_of_two_labels_with_one_key_counts(self) -> None:
        self.assertEqual(self.parsed("a=1,b=2,a=3,a"), ({"a": "1", "b": "2"}, ["a=3", "a"]))

    def test_labels_beyond_the_limit_are_ignored(self) -> None:
        pieces = [f"k{number}" for number in range(MAX_LABELS + 2)]
        labels, ignored = self.parsed(",".join(pieces))
        self.assertEqual((list(labels), ignored), (pieces[:MAX_LABELS], pieces[MAX_LABELS:]))

    @given(st.text(st.sampled_from("aZ0=,._/- \x00ä") | st.characters(), max_size=200))
    def test_each_piece_is_a_label_or_ignored(self, metadata: str) -> None:
        found = parse_metadata(metadata)
        pieces = [each.strip() for each in metadata.split(",") if each.strip()]
        self.assertEqual(len(found.labels) + len(found.ignored), len(pieces))
        self.assertLessEqual(set(found.ignored), set(pieces))
        written = ",".join(f"{key}={value}" for key, value in found.labels.items())
        self.assertEqual(parse_metadata(written).labels, found.labels)
        self.assertEqual(check_changes(found.labels), found.labels)


class CheckChangesTests(SynchronousTestCase):
    """L{check_changes}."""

    def test_valid_changes_are_returned(self) -> None:
        changes = {"stage": "canary", "old": None, "a/b": "", "k" * 63: "v" * 63}
        self.assertEqual(check_changes(changes), changes)
        self.assertEqual(check_changes({}), {})

    def test_details_point_to_each_invalid_label(self) -> None:
        changes = {"ok": "x", "id": "a", "Stage": "b", "a/b~c": None, "x/y": "ä", "n": 5, "o": ["a"], "hostname": None}
        refused = self.assertRaises(Unprocessable, check_changes, changes)
        self.assertEqual(refused.code, "bad_label")
        pointers = [each["pointer"] for each in refused.details]
        self.assertEqual(pointers, ["/id", "/Stage", "/a~1b~0c", "/x~1y", "/n", "/o", "/hostname"])
        self.assertEqual(refused.message, "id: the controller sets this key itself.")

    def test_sentence_about_a_long_key_is_short(self) -> None:
        refused = self.assertRaises(Unprocessable, check_changes, {"k" * 8000: "x"})
        self.assertLess(len(refused.message), 250)


class MergeTests(SynchronousTestCase):
    """L{merge}."""

    def test_changes_replace_add_and_remove(self) -> None:
        before = {"stage": "canary", "old": "1", "keep": "x"}
        merged = merge(before, {"stage": "prod", "old": None, "new": "", "never": None})
        self.assertEqual(list(merged.items()), [("keep", "x"), ("new", ""), ("stage", "prod")])
        self.assertEqual(before["old"], "1")

    def test_number_of_labels_is_limited_after_the_merge(self) -> None:
        full = {f"k{number}": "" for number in range(MAX_LABELS)}
        self.assertEqual(len(merge(full, {"k0": None, "new": "x"})), MAX_LABELS)
        self.assertEqual(self.assertRaises(Unprocessable, merge, full, {"new": "x"}).code, "bad_label")
