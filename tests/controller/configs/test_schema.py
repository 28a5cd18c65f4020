"""Which documents may be published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.controller.configs.schema import Schema
from confd.errors import StartError, Unprocessable
from confd.runtime.offload import LARGE_BYTES


class BuiltInTests(SynchronousTestCase):
    """The schema of a controller that was given none."""

    def violations(self, value: dict[str, Any]) -> Any:
        """What is wrong with a document."""
        return self.assertRaises(Unprocessable, Schema.load(None).check, value).details

    def test_fits(self) -> None:
        """An http or https URL, and whatever else."""
        for url in ("http://x", "HTTPS://api.github.com/a?b#c", "http://[::1]:80/", "http://x/" + "y" * 2039):
            Schema.load(None).check({"url": url, "more": [1, {"deep": None}]})

    def test_unfit(self) -> None:
        """Each violation has its pointer and a sentence that says what is expected."""
        self.assertEqual(self.violations({}), [{"pointer": "", "message": '"url" is a required property'}])
        for url in (
            "",
            "x",
            "ftp://x",
            "http://",
            "http:///x",
            "http://a b",
            "http://x\n",
            " http://x",
            "javascript:1",
        ):
            self.assertEqual(
                self.violations({"url": url}), [{"pointer": "/url", "message": f"{url!r} is not an http or https URL"}]
            )
        for value in (None, 5, True, ["http://x"], {}):
            self.assertEqual(self.violations({"url": value})[0]["pointer"], "/url")

    def test_too_long(self) -> None:
        """The answer says so without repeating all of it."""
        (violation,) = self.violations({"url": "http://x/" + "y" * 4000})
        self.assertIn("longer than 2048", violation["message"])
        self.assertLess(len(violation["message"]), 400)


class OwnTests(SynchronousTestCase):
    """C{CONFIG_SCHEMA}."""

    def load(self, text: str) -> Schema:
        """A schema from a file."""
        path = Path(self.mktemp())
        path.write_text(text)
        return Schema.load(str(path))

    def refused(self, text: str) -> str:
        """Why a file is refused."""
        return str(self.assertRaises(StartError, self.load, text))

    def test_every_violation(self) -> None:
        """Pointers are escaped as RFC 6901 says."""
        schema = self.load('{"properties": {"a/b~c": {"type": "integer"}, "l": {"items": {"maximum": 3}}}}')
        error = self.assertRaises(Unprocessable, schema.check, {"a/b~c": "x", "l": [1, 9]})
        self.assertEqual({violation["pointer"] for violation in error.details}, {"/a~1b~0c", "/l/1"})

    def test_bounded_answer(self) -> None:
        """A document that is wrong everywhere does not make an endless answer."""
        schema = self.load('{"items": {}, "additionalProperties": {"type": "string"}}')
        error = self.assertRaises(Unprocessable, schema.check, {str(key): key for key in range(5000)})
        self.assertEqual(len(error.details), 100)

    def test_large_document(self) -> None:
        """Only its first violation is looked for: the others would hold up all other requests for seconds."""
        schema = self.load('{"required": ["a"], "additionalProperties": {"items": {"type": "string"}}}')
        for value, pointers in (({"a": [1] * 9000}, {"/a/0"}), ({"b": ["x"] * 9000}, {""}), ({"b": [1]}, {"", "/b/0"})):
            error = self.assertRaises(Unprocessable, schema.check, value, LARGE_BYTES)
            self.assertEqual(len(error.details), 1)
            self.assertIn(error.details[0]["pointer"], pointers)
        schema.check({"a": ["x"] * 9000}, LARGE_BYTES)

    def test_not_a_schema(self) -> None:
        """One line that names the setting."""
        for text in ("{", "[]", '{"type": 5}', '{"pattern": "(?=x)"}', '{"a": 1, "a": 2}'):
            reason = self.refused(text)
            self.assertTrue(reason.startswith("CONFIG_SCHEMA: "), reason)
            self.assertNotIn("\n", reason)

    def test_byte_order_marks(self) -> None:
        """That of UTF-8 is taken; that of UTF-16 is named."""
        self.assertRaises(Unprocessable, self.load('\ufeff{"required": ["a"]}').check, {})
        path = Path(self.mktemp())
        path.write_text("{}", "utf-16")
        self.assertIn("byte order mark of UTF-16", str(self.assertRaises(StartError, Schema.load, str(path))))

    def test_fetches_nothing(self) -> None:
        """A schema cannot make the controller fetch a URL or a file."""
        for reference in ("http://127.0.0.1:1/x", "file:///etc/passwd"):
            self.assertIn("CONFIG_SCHEMA", self.refused(f'{{"$ref": "{reference}"}}'))

    def test_no_file(self) -> None:
        """Said by name."""
        self.assertIn("/nowhere", str(self.assertRaises(StartError, Schema.load, "/nowhere")))
