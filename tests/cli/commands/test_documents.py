"""Tests of L{confd.cli.commands.documents}: arguments become a document, or an error of one sentence."""

import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.commands.documents import MAX_DOCUMENT_BYTES, change, find, load, sources
from confd.cli.errors import CommandError, Exit

BASE = {"url": "https://a", "limits": {"rate": 1}, "servers": [{"url": "x"}], "a.b": 1}


class ChangeTests(SynchronousTestCase):
    """C{key=value}."""

    def test_values_are_json_where_possible_and_keys_lead_into_objects_and_arrays(self):
        for assignment, key, value in (
            ("url=https://b?x=1", "url", "https://b?x=1"),
            ("limits.rate=10", "limits.rate", 10),
            ("limits.burst.max=1.5", "limits.burst.max", 1.5),
            ("servers.0.url=y", "servers.0.url", "y"),
            ('servers.1={"url": "z"}', "servers.1.url", "z"),
            ("a\\.b=true", "a\\.b", True),
            ('name="true"', "name", "true"),
            ("empty=", "empty", ""),
            ("none=null", "none", None),
        ):
            with self.subTest(assignment=assignment):
                self.assertEqual(find(change(BASE, [assignment], ()), key), value)
        self.assertEqual(BASE["limits"], {"rate": 1})

    def test_impossible_changes_name_the_key(self):
        for assignment, status in (
            ("url.x=1", Exit.USAGE),
            ("servers.first=1", Exit.USAGE),
            ("servers.7=1", Exit.NOT_FOUND),
            ("servers.7.url=1", Exit.NOT_FOUND),
            ("=1", Exit.USAGE),
            ("a..b=1", Exit.USAGE),
            ("list=[1,", Exit.INVALID),
            ("number=1e999", Exit.INVALID),
        ):
            with self.subTest(assignment=assignment):
                failure = self.assertRaises(CommandError, change, BASE, [assignment], ())
                self.assertIs(failure.status, status)
                self.assertIn(assignment.partition("=")[0], failure.sentence)

    def test_unset_removes_keys_and_items_and_names_a_missing_one(self):
        changed = change(BASE, (), ["limits.rate", "servers.0", "url"])
        self.assertEqual(changed, {"limits": {}, "servers": [], "a.b": 1})
        for key in ("nothing", "limits.no", "servers.4", "no.way"):
            self.assertIs(self.assertRaises(CommandError, change, BASE, (), [key]).status, Exit.NOT_FOUND)

    @given(
        st.dictionaries(
            st.text(st.characters(exclude_characters="=\\"), min_size=1), st.integers() | st.text("ab é\n'")
        )
    )
    def test_every_key_can_be_written(self, wanted):
        words = [key.replace(".", "\\.") + "=" + json.dumps(value) for key, value in wanted.items()]
        self.assertEqual(change({}, words, ()), wanted)


class LoadTests(SynchronousTestCase):
    """Files and standard input."""

    def _refused(self, raw):
        failure = self.assertRaises(CommandError, load, "-", io.BytesIO(raw))
        self.assertIs(failure.status, Exit.INVALID)
        return failure.sentence

    def test_load_reads_a_file_or_standard_input(self):
        path = Path(self.mktemp())
        path.write_text('{"a": 1}')
        self.assertEqual(load(str(path), io.BytesIO()), {"a": 1})
        self.assertEqual(load("-", io.BytesIO(b'{"a": 2}')), {"a": 2})

    def test_load_names_the_place_of_a_mistake(self):
        self.assertIn("line 2, column 1", self._refused(b"{\n!"))
        self.assertIn("object", self._refused(b"[1]"))
        self.assertIn("twice", self._refused(b'{"a": 1, "a": 2}'))
        self.assertIn(str(MAX_DOCUMENT_BYTES), self._refused(b'"' + b"x" * MAX_DOCUMENT_BYTES + b'"'))
        failure = self.assertRaises(CommandError, load, "/nonexistent", io.BytesIO())
        self.assertIs(failure.status, Exit.USAGE)
        self.assertIn("KEY=VALUE", failure.sentence)

    def test_load_accepts_one_utf8_byte_order_mark_and_names_other_encodings(self):
        self.assertEqual(load("-", io.BytesIO(b'\xef\xbb\xbf{"a": 2}')), {"a": 2})
        path = Path(self.mktemp())
        path.write_text('{"a": 1}', "utf-8-sig")
        self.assertEqual(load(str(path), io.BytesIO()), {"a": 1})
        self.assertIn("byte order mark", self._refused(b"\xef\xbb\xbf\xef\xbb\xbf{}"))
        for encoding in ("utf-16", "utf-32"):
            self.assertIn("byte order mark of UTF-16", self._refused('{"a": 1}'.encode(encoding)))

    def test_first_word_without_equals_sign_or_with_a_path_is_the_file(self):
        self.assertEqual(sources(("a.json", "b=1")), ("a.json", ("b=1",)))
        self.assertEqual(sources(("a=1", "b=1")), (None, ("a=1", "b=1")))
        self.assertEqual(sources(("./a=1.json",)), ("./a=1.json", ()))
        self.assertRaises(CommandError, sources, ("a.json", "b.json"))
        self.assertRaises(CommandError, sources, ("a=1", "b.json"))
