"""Tests of L{confd.cli.document_files}: files become documents, or an error of one sentence."""

import io
import json
import os
import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.document_files import MAX_DOCUMENT_BYTES, load, load_folder, parse
from confd.cli.errors import CommandError, Exit


class LoadTests(SynchronousTestCase):
    """Files and standard input."""

    def _refused(self, raw):
        failure = self.assertRaises(CommandError, load, "-", io.BytesIO(raw))
        self.assertIs(failure.status, Exit.INVALID)
        return failure.sentence

    def test_load_reads_a_file_or_standard_input(self):
        path = Path(self.mktemp())
        path.write_text('{"a": 1}')
        self.assertEqual(load(str(path), io.BytesIO()).value, {"a": 1})
        self.assertEqual(load("-", io.BytesIO(b'{"a": 2}')).value, {"a": 2})

    def test_load_names_the_place_of_a_mistake(self):
        self.assertIn("line 2, column 1", self._refused(b"{\n!"))
        self.assertIn("object", self._refused(b"[1]"))
        self.assertIn("twice", self._refused(b'{"a": 1, "a": 2}'))
        self.assertIn(str(MAX_DOCUMENT_BYTES), self._refused(b'"' + b"x" * MAX_DOCUMENT_BYTES + b'"'))
        failure = self.assertRaises(CommandError, load, "/nonexistent", io.BytesIO())
        self.assertIs(failure.status, Exit.USAGE)
        self.assertIn("KEY=VALUE", failure.sentence)

    def test_load_accepts_one_utf8_byte_order_mark_and_names_other_encodings(self):
        self.assertEqual(load("-", io.BytesIO(b'\xef\xbb\xbf{"a": 2}')).value, {"a": 2})
        path = Path(self.mktemp())
        path.write_text('{"a": 1}', "utf-8-sig")
        self.assertEqual(load(str(path), io.BytesIO()).value, {"a": 1})
        self.assertIn("byte order mark", self._refused(b"\xef\xbb\xbf\xef\xbb\xbf{}"))
        for encoding in ("utf-16", "utf-32"):
            self.assertIn("byte order mark of UTF-16", self._refused('{"a": 1}'.encode(encoding)))
            for format_ in ("yaml", "toml"):
                raw = io.BytesIO("a = 1".encode(encoding))
                failure = self.assertRaises(CommandError, load, "-", raw, format_)
                self.assertIn("byte order mark of UTF-16", failure.sentence)

    def test_format_wins_over_the_suffix(self):
        for format_, text in (("json", '{"a": 1}'), ("yaml", "a: 1"), ("toml", "a = 1")):
            path = Path(self.mktemp()).with_suffix(".conf")
            path.write_text(text)
            self.assertEqual(load(str(path), io.BytesIO(), format_).value, {"a": 1})
            self.assertEqual(load("-", io.BytesIO(text.encode()), format_).value, {"a": 1})
            if format_ != "json":
                failure = self.assertRaises(CommandError, load, str(path), io.BytesIO())
                self.assertEqual(failure.details, ("For YAML or TOML, add --format yaml or --format toml.",))


class FormatTests(SynchronousTestCase):
    """The suffix of a file says its format."""

    def test_formats_of_the_same_document(self):
        for suffix, raw in (
            (".json", b'{"url": "x", "limits": {"rate": 1.5}, "on": [true, null]}'),
            (".yaml", b"url: x\nlimits:\n  rate: 1.5\n'on': [true, ~]\n"),
            (".yml", b"{url: x, limits: {rate: 1.5}, 'on': [true, null]}"),
        ):
            with self.subTest(suffix=suffix):
                found = parse(raw, "a", suffix)
                self.assertEqual(found.value, {"url": "x", "limits": {"rate": 1.5}, "on": [True, None]})
                self.assertEqual(found.warnings, ())

    def test_dates_of_toml_become_strings(self):
        raw = b"day = 2026-11-29\nat = 10:30:00\nthen = 2026-11-29T10:30:00Z\n[limits]\nrate = 1\n"
        self.assertEqual(
            parse(raw, "a", ".toml").value,
            {"day": "2026-11-29", "at": "10:30:00", "then": "2026-11-29T10:30:00+00:00", "limits": {"rate": 1}},
        )

    def test_mistakes_name_file_and_place(self):
        for suffix, raw, said in (
            (".yaml", b"a: 1\na: 2\n", "line 2"),
            (".yaml", b"- 1\n", "mapping"),
            (".yaml", b"", "mapping"),
            (".yaml", b"a: \xff", "UTF-8"),
            (".yaml", b'a: "\\0"', "NUL"),
            (".yaml", b'a: "\\uD800"', "surrogate"),
            (".toml", b"a = 1\na = 2\n", "line 2"),
            (".toml", b"a = nan\n", "NaN"),
            (".toml", b"a = " + b"[" * 20 + b"]" * 20, "nested"),
            (".toml", b"a = " + b"[" * 100_000, "nested"),
            (".json", b"{'a': 1}", "line 1"),
        ):
            with self.subTest(raw=raw[:20]):
                failure = self.assertRaises(CommandError, parse, raw, f"edge{suffix}", suffix)
                self.assertIs(failure.status, Exit.INVALID)
                self.assertIn(said, failure.sentence)
                self.assertTrue(failure.sentence.startswith(f"edge{suffix}: "), failure.sentence)

    @given(st.binary(), st.sampled_from([".json", ".yaml", ".toml"]))
    def test_any_bytes_are_a_document_or_a_sentence(self, raw, suffix):
        try:
            value = parse(raw, "a", suffix).value
        except CommandError as failure:
            self.assertIs(failure.status, Exit.INVALID)
        else:
            json.dumps(value, allow_nan=False)
            if suffix == ".toml":
                self.assertEqual(set(value), set(tomllib.loads(raw.decode())))


class FolderTests(SynchronousTestCase):
    """One file for each namespace."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, **files):
        for name, text in files.items():
            (self.folder / name.replace("_", ".")).write_text(text)

    def refusal(self):
        failure = self.assertRaises(CommandError, load_folder, self.folder)
        self.assertIs(failure.status, Exit.USAGE)
        return failure.sentence

    def test_documents_in_the_order_of_their_namespaces(self):
        self.write(web_json='{"a": 1}', edge_yaml="a: yes\n", default_toml="a = 3\n")
        found = load_folder(self.folder).documents
        self.assertEqual(
            {name: each.value for name, each in found.items()},
            {"default": {"a": 3}, "edge": {"a": "yes"}, "web": {"a": 1}},
        )
        self.assertEqual(list(found), ["default", "edge", "web"])
        self.assertEqual(len(found["edge"].warnings), 1)

    def test_other_files_are_ignored(self):
        self.write(_hidden_json="{", README_md="x", web_json="{}")
        (self.folder / "sub.json").mkdir()
        found = load_folder(self.folder)
        self.assertEqual(list(found.documents), ["web"])
        self.assertEqual(found.ignored, (".hidden.json", "README.md", "sub.json"))

    def test_mistakes(self):
        self.write(edge_json="{}", edge_yaml="{}")
        self.assertEqual(self.refusal(), f"{self.folder} has edge.json and edge.yaml; keep one.")
        (self.folder / "edge.yaml").rename(self.folder / "Not_a_name.yaml")
        self.assertIn("'Not_a_name'", self.refusal())
        self.folder = self.folder / "nothing"
        self.assertIn("cannot be read", self.refusal())

    def test_links_stay_in_the_folder(self):
        """A mounted ConfigMap has links to C{..data}, which is a link, too."""
        hidden = self.folder / "..2026"
        hidden.mkdir()
        (hidden / "web.json").write_text('{"a": 1}')
        (self.folder / "..data").symlink_to("..2026")
        (self.folder / "web.json").symlink_to("..data/web.json")
        self.assertEqual(load_folder(self.folder).documents["web"].value, {"a": 1})
        (self.folder / "edge.json").symlink_to("/etc/passwd")
        self.assertIn("leads out", self.refusal())
        (self.folder / "edge.json").unlink()
        (self.folder / "edge.json").symlink_to("edge.json")
        self.assertIn("edge.json", self.refusal())

    def test_pipes_are_not_opened(self):
        os.mkfifo(self.folder / "edge.json")
        self.assertIn("not a regular file", self.refusal())
