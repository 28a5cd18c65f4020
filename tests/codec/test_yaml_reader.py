"""Tests of L{confd.codec.yaml_reader}: YAML that all readers understand alike, and refusals of the rest."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.yaml_reader import read_yaml
from confd.codec.yaml_writer import write_yaml
from confd.errors import Malformed

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)


class ReadTests(SynchronousTestCase):
    """Values, warnings and refusals."""

    @given(VALUES)
    def test_reads_what_the_writer_writes(self, value):
        found = read_yaml(write_yaml(value))
        self.assertEqual((found.value, found.warnings), (value, ()))

    @given(st.text())
    def test_any_text_is_a_value_or_malformed(self, text):
        try:
            read_yaml(text)
        except Malformed as error:
            self.assertIn("line", error.message)

    def test_plain_scalars(self):
        for text, value in (
            ("true", True), ("null", None), ("~", None), ("", None), ("-12", -12), ("+1", 1), ("0", 0), ("0.5", 0.5),
            (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("2026-11-29", "2026-11-29"), ("1.2.3", "1.2.3"), (".", "."),
("10.0.0.1", "10.0.0.1"), ("'true'", "true"), ('"1"', "1"), ("a b", "a b"),
        ):  # fmt: skip
            with self.subTest(text=text):
                found = read_yaml(f"a: {text}")
                self.assertEqual(found.value, {"a": value})
                self.assertEqual(found.warnings, ())

    def test_warns_of_words_and_numbers_that_readers_take_for_different_values(self):
        for text in ("yes", "No", "ON", "off", "y", "True", "FALSE", "Null", "0644", "007", "0x1F", "1_000", "10:30"):
            with self.subTest(text=text):
                found = read_yaml(f"b: 1\na: {text}")
                self.assertEqual(found.value["a"], text)
                (warning,) = found.warnings
                self.assertTrue(warning.startswith(f"Line 2: {text} is read as a string"), warning)

    def test_refusals_name_the_line(self):
        for text, said in (
            ("a: 1\nb: &x 2", "anchors"),
            ("a: 1\nb: *x", "anchors"),
            ("a: 1\nb: !!str 2", "tag"),
            ("a: 1\na: 2", "twice"),
            ("a: 1\n2: x", "not a string"),
            ("a: 1\n[b]: x", "not a string"),
            ("a: 1\n---\nb: 2", "second document"),
            ("a: 1\nb: .inf", ".inf"),
            ("a: 1\nb: 1e999", "too large"),
            ("a: 1\nb: " + "1" * 5000, "too large"),
            ("a: 1\nb: " + "[" * 100_000, "deeper"),
            ("a: 1\nb: \x01", "not allowed"),
            ("a: 1\n\tb: 1", "tab"),
        ):
            with self.subTest(text=text[:20]):
                error = self.assertRaises(Malformed, read_yaml, text)
                self.assertIn("line 2", error.message)
                self.assertIn(said, error.message.replace("'\\t'", "tab"))
