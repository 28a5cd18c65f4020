"""Tests of L{confd.cli.commands.documents}: arguments become a document, or an error of one sentence."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.commands.documents import change, find, sources
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
            ("hosts.0.name=a", "hosts.0.name", "a"),
            ("hosts.0.0=a", "hosts.0.0", "a"),
            ("servers.1.url=z", "servers.1.url", "z"),
            ("key:=[1]", "key.0", 1),
            ('text:="true"', "text", "true"),
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
            ("text:=plain", Exit.INVALID),
            ("text:=", Exit.INVALID),
            ("hosts.1.name=a", Exit.USAGE),
            ("years.2026=a", Exit.USAGE),
        ):
            with self.subTest(assignment=assignment):
                failure = self.assertRaises(CommandError, change, BASE, [assignment], ())
                self.assertIs(failure.status, status)
                self.assertIn(assignment.partition("=")[0].rstrip(":"), failure.sentence)

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
        words = [key.replace(".", "\\.") + ":=" + json.dumps(value) for key, value in wanted.items()]
        self.assertEqual(change({}, words, ()), wanted)


class SourcesTests(SynchronousTestCase):
    """The arguments of a command."""

    def test_first_word_without_equals_sign_or_with_a_path_is_the_file(self):
        self.assertEqual(sources(("a.json", "b=1")), ("a.json", ("b=1",)))
        self.assertEqual(sources(("a=1", "b=1")), (None, ("a=1", "b=1")))
        self.assertEqual(sources(("./a=1.json",)), ("./a=1.json", ()))
        self.assertRaises(CommandError, sources, ("a.json", "b.json"))
        self.assertRaises(CommandError, sources, ("a=1", "b.json"))
