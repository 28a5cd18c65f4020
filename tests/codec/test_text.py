"""Tests of L{confd.codec.text}."""

from hypothesis import given
from hypothesis.strategies import characters, text
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.text import pointer_to, printable

ANY_TEXT = text(characters(codec=None, exclude_categories=()))


class PrintableTests(SynchronousTestCase):
    """L{printable}."""

    def test_escapes(self) -> None:
        """Controls, line breaks, changes of direction, and halves of surrogate pairs."""
        for given_text, expected in (
            ("a b\u00fc", "a b\u00fc"),
            ("\x1b[31m", r"\x1b[31m"),
            ("a\r\nb", r"a\r\nb"),
            ("\u202e", r"\u202e"),
            ("\U000e0001", r"\U000e0001"),
            ("\udc80", r"\udc80"),
            (7, "7"),
        ):
            self.assertEqual(printable(given_text), expected)

    @given(ANY_TEXT)
    def test_result_prints_on_one_line_and_keeps_printable_text(self, value: str) -> None:
        self.assertTrue(printable(value).isprintable())
        self.assertTrue(printable(value) == value or not value.isprintable())

    @given(ANY_TEXT)
    def test_limit_holds_for_the_result(self, value: str) -> None:
        self.assertLessEqual(len(printable(value, 5)), 5)
        self.assertTrue(printable(value).startswith(printable(value, 5)))


class PointerToTests(SynchronousTestCase):
    """L{pointer_to}."""

    def test_escapes_the_characters_of_pointers(self) -> None:
        self.assertEqual(pointer_to(pointer_to("", "a/b~1"), 0), "/a~1b~01/0")
