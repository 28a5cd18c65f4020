"""Tests of L{confd.cli.text}: other parsers read it back, and a terminal prints it."""

import json

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.text import as_json, as_yaml, format_time

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "yes", "No", "y", "~", "null", "<<", "=", "0x1", "1e3", "1_000", "2026-01-01", "12:30:00", ".inf", "a: b",
        "a #b", "-", "- a", "?", "!", "&a", "*a", "%", "@", "`", "", " ", "a\n", "\u2028", "\ud7ff", "\U0001f600",
        "k" * 1100,
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


class FormTests(SynchronousTestCase):
    """JSON and YAML."""

    @given(VALUES)
    @example({"\x9b": [[], {}, [{"a": [1]}], 1e22, -1e-9, "\x85"]})
    def test_json_and_yaml_round_trip_and_are_printable(self, value):
        for text, read in (
            (as_yaml(value), yaml.safe_load),
            (as_json(value), json.loads),
            (as_json(value, None), json.loads),
        ):
            self.assertEqual(read(f"{text}\n"), value, text)
            self.assertTrue(all(each.isprintable() or each == "\n" for each in text))

    def test_yaml_is_block_style(self):
        value = {"url": "https://a.b/?c", "limits": {"rate": 10, "on": True}, "tags": ["eu", {"a": "b c"}], "none": {}}
        wanted = 'url: "https://a.b/?c"\nlimits:\n  rate: 10\n  "on": true\ntags:\n  - eu\n  - a: "b c"\nnone: {}'
        self.assertEqual(as_yaml(value), wanted)

    def test_yaml_shows_texts_of_several_lines_as_they_are(self):
        value = {"text": "--- a\n+++ b\n  \n x\n", "end": "a\nb", "more": ["a\n\n"], "odd": " a\nb", "tab": "a\n\tb"}
        wanted = "text: |\n  --- a\n  +++ b\n    \n   x\nend: |-\n  a\n  b\nmore:\n  - |+\n    a\n    \n"
        self.assertTrue(as_yaml(value).startswith(wanted.rstrip()), as_yaml(value))
        self.assertEqual(yaml.safe_load(as_yaml(value)), value)


class TimeTests(SynchronousTestCase):
    """L{format_time}."""

    def test_times_have_no_fraction(self):
        self.assertEqual(format_time("2026-11-24T19:50:01.123456Z"), "2026-11-24 19:50:01Z")
        self.assertEqual(format_time(None), "never")
