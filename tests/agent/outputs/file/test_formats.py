"""Tests of C{confd.agent.outputs.file.formats}: an independent parser of each format reads the same value back."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import tomllib

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.file import formats
from confd.agent.outputs.file.formats import write
from confd.codec.values import FormatError, resolve, valid_pointer
from tests.budgets import budget

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "yes",
        "null",
        "~",
        "0x1f",
        "1e3",
        "1_000",
        "12:30:45",
        "2026-01-01",
        "=",
        "<<",
        "- a",
        "a: b",
        "# c",
        "",
        " a ",
        "%s",
    ]
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


def read_properties(text: str) -> dict[str, str]:
    """Read Java properties that have no continuation lines, as java.util.Properties does."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"((?:\\.|[^\\=])*)=((?:\\.|[^\\])*)", line)
        assert match is not None, line
        found[_unescaped(match[1])] = _unescaped(match[2])
    return found


def _unescaped(text: str) -> str:
    named = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

    def one(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else named.get(match[2], match[2])

    units = re.sub(r"\\(?:u([0-9a-f]{4})|(.))", one, text)
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


class FormatTests(SynchronousTestCase):
    """What each format writes, and what it rejects."""

    def assert_rejected(self, name: str, value: object, pointer: str) -> None:
        error = self.assertRaises(FormatError, write, name, value)
        self.assertEqual(error.pointer, pointer, error)

    @given(VALUES)
    @settings(deadline=None, max_examples=budget(60, 200))
    def test_json_and_yaml_round_trip(self, value: object) -> None:
        self.assertEqual(json.loads(write("json", value)), value)
        self.assertEqual(yaml.safe_load(write("yaml", value)), value)

    @given(st.dictionaries(KEYS, VALUES, max_size=4))
    @settings(deadline=None, max_examples=budget(60, 200))
    def test_toml_round_trips_or_is_rejected(self, value: dict[str, object]) -> None:
        try:
            text = write("toml", value).decode()
        except FormatError:
            return
        self.assertEqual(tomllib.loads(text), value)

    @given(st.dictionaries(KEYS, SCALARS, max_size=4))
    @settings(deadline=None, max_examples=budget(60, 200))
    def test_properties_round_trip(self, value: dict[str, object]) -> None:
        expected = {key: _plain(each) for key, each in value.items()}
        self.assertEqual(read_properties(write("properties", value).decode("ascii")), expected)

    @given(st.dictionaries(KEYS, st.dictionaries(KEYS, SCALARS, max_size=3), max_size=3))
    @settings(deadline=None, max_examples=budget(60, 200))
    def test_ini_round_trips_or_is_rejected(self, value: dict[str, dict[str, object]]) -> None:
        try:
            text = write("ini", value).decode()
        except FormatError:
            return
        parser = configparser.RawConfigParser(default_section="\0")
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(text)
        expected = {key: {name: _plain(each) for name, each in section.items()} for key, section in value.items()}
        self.assertEqual({key: dict(parser[key]) for key in parser.sections()}, expected)

    def test_a_shell_reads_an_environment_file(self) -> None:
        value = {"A": 'a"b$c`d\\e', "B": "", "C": " x ", "D": "ü'", "E": True, "F": None, "G": 1.5}
        text = write("env", value).decode() + 'printf "%s|" "$A" "$B" "$C" "$D" "$E" "$F" "$G"\n'
        found = subprocess.run(["sh"], input=text.encode(), capture_output=True, check=True).stdout.decode()
        self.assertEqual(found, "a\"b$c`d\\e|| x |ü'|true||1.5|")

    def test_what_a_format_cannot_express_is_rejected_with_its_place(self) -> None:
        for name, value, pointer in (
            ("toml", {"a": {"b/c": None}}, "/a/b~1c"),
            ("toml", {"a": [1, "x"]}, "/a"),
            ("toml", [], ""),
            ("properties", {"a": ["x,y"]}, "/a/0"),
            ("properties", {"a": [{}]}, "/a/0"),
            ("properties", {"a.b": 1, "a": {"b": 2}}, "/a.b"),
            ("ini", {"a": {"b": {}}}, "/a/b"),
            ("ini", {"a": {"b": "x\ny"}}, "/a/b"),
            ("ini", {"a": {"b=": 1}}, "/a/b="),
            ("ini", {"a": {"b": "x ; y"}}, "/a/b"),
            ("env", {"a": {}}, "/a"),
            ("env", {"a-b": 1}, "/a-b"),
            ("env", {"A": "x\ny"}, "/A"),
            ("env", {"A": "x\u2028y"}, "/A"),
            ("raw", {}, ""),
            ("raw", 1, ""),
            ("json", {"a": float("inf")}, ""),
        ):
            with self.subTest(name=name, value=value):
                if name == "json":
                    self.assertRaises(ValueError, write, name, value)
                else:
                    self.assert_rejected(name, value, pointer)

    def test_a_file_has_a_limit(self) -> None:
        self.assert_rejected("raw", "x" * (formats.MAX_FILE_BYTES + 1), "")
        self.assertEqual(write("raw", "x\ny"), b"x\ny")

    def test_pointers(self) -> None:
        document = {"a": [{"b/c": 1, "d~e": 2}], "": 3}
        for pointer, value in (("", document), ("/a/0/b~1c", 1), ("/a/0/d~0e", 2), ("/", 3)):
            self.assertEqual(resolve(document, pointer), value)
        for pointer in ("/b", "/a/1", "/a/-", "/a/00", "/a/0/b", "/a/0/b~1c/x"):
            self.assertRaises(FormatError, resolve, document, pointer)
        self.assertEqual([valid_pointer(each) for each in ("", "/a", "/~1", "a", "/~2")], [True] * 3 + [False] * 2)

    def test_the_suffix_names_the_format(self) -> None:
        for path, name in (
            ("/a/x.yml", "yaml"),
            ("/a/.env", "env"),
            ("/a/x.JSON", "json"),
            ("/a/x.conf", "ini"),
            ("/a/x", None),
        ):
            self.assertEqual(formats.format_of(path), name)


def _plain(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
