"""Tests of L{confd.codec.strict_json}."""

import hashlib
import json
import random

import msgspec
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.errors import Malformed, Unprocessable

#: Whatever strict JSON can say.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
numbers = st.integers(-strict_json.MAX_INTEGER, strict_json.MAX_INTEGER) | st.floats(
    allow_nan=False, allow_infinity=False
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)

#: Ways of being wrong, each with its code (F-41).
FAULTS = {
    "nothing": (b"", "not_json"),
    "spaces": (b"  \n", "not_json"),
    "half": (b'{"url": "htt', "not_json"),
    "HTML": (b"<html></html>", "not_json"),
    "trailing bytes": (b'{"a": 1} x', "not_json"),
    "two values": (b"{}{}", "not_json"),
    "trailing comma": (b'{"a": 1,}', "not_json"),
    "single quotes": (b"{'a': 1}", "not_json"),
    "a comment": (b'{"a": 1} // one', "not_json"),
    "no quotes": (b"{a: 1}", "not_json"),
    "a number as key": (b"{1: 1}", "not_json"),
    "leading zero": (b"01", "not_json"),
    "plus": (b"+1", "not_json"),
    "hex": (b"0x10", "not_json"),
    "raw NUL": (b'"\0"', "not_json"),
    "raw newline": (b'"\n"', "not_json"),
    "bad escape": (b'"\\x41"', "not_json"),
    "half escape": (b'"\\u12"', "not_json"),
    "byte order mark": (b"\xef\xbb\xbf{}", "not_json"),
    "UTF-16 with mark": ('{"a": 1}'.encode("utf-16"), "not_utf8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16-le"), "not_json"),
    "Latin-1": ('{"a": "ä"}'.encode("latin-1"), "not_utf8"),
    "overlong": (b'"\xc0\x80"', "not_utf8"),
    "encoded surrogate": (b'"\xed\xa0\x80"', "not_utf8"),
    "NaN": (b'{"a": NaN}', "not_finite"),
    "Infinity": (b"[Infinity]", "not_finite"),
    "minus Infinity": (b"-Infinity", "not_finite"),
    "1e999": (b'{"a": 1e999}', "not_finite"),
    "minus 1e999": (b'{"a": -1e999}', "not_finite"),
    "5 000 digits": (b"1" * 5_000, "not_finite"),
    "5 000 digits below zero": (b"[-" + b"1" * 5_000 + b"]", "not_finite"),
    "duplicate keys": (b'{"a": 1, "a": 1}', "duplicate_key"),
    "duplicate keys below": (b'[{"b": {"a": 1, "c": 2, "a": 3}}]', "duplicate_key"),
    "duplicate keys, one escaped": (b'{"a": 1, "\\u0061": 2}', "duplicate_key"),
    "lone high surrogate": (b'"\\ud800"', "bad_character"),
    "lone low surrogate": (b'["\\udc00"]', "bad_character"),
    "surrogates in the wrong order": (b'"\\udc00\\ud800"', "bad_character"),
    "lone surrogate in a key": (b'{"\\ud800": 1}', "bad_character"),
    "NUL": (b'{"a": "\\u0000"}', "bad_character"),
    "NUL in a key": (b'{"\\u0000": 1}', "bad_character"),
    "NUL far below": (b'{"a": [[{"b": [1, "x\\u0000y"]}]]}', "bad_character"),
    "100 000 brackets": (b"[" * 100_000, "too_deep"),
    "100 000 braces": (b'{"a":' * 100_000, "too_deep"),
    "100 000 pairs": (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
}


def nested(depth, opening=b"[", closing=b"]"):
    """So many levels around nothing."""
    return opening * (depth - 1) + b"[]" + closing * (depth - 1)


class DecodeTests(SynchronousTestCase):
    """Strict JSON in."""

    def test_each_mistake_has_one_code_and_one_sentence(self):
        for name, (raw, code) in FAULTS.items():
            with self.subTest(fault=name):
                error = self.assertRaises(Malformed, strict_json.decode, raw)
                self.assertEqual(error.code, code)
                self.assertRegex(error.message, r"\A[A-Z][^\n]{20,150}\.\Z")

    def test_a_mistake_of_grammar_has_its_place(self):
        error = self.assertRaises(Malformed, strict_json.decode, b'{\n "a" 1}')
        self.assertIn("line 2, column 6", error.message)

    def test_byte_order_marks_are_refused_with_an_advice(self):
        for encoding, words in (("utf-8-sig", "UTF-8 without one"), ("utf-16", "of UTF-16; save it as UTF-8")):
            message = self.assertRaises(Malformed, strict_json.decode, "{}".encode(encoding)).message
            self.assertIn("byte order mark", message)
            self.assertIn(words, message)
        self.assertIn("mark of UTF-16", self.assertRaises(Malformed, strict_json.decode, b"\xfe\xff\0{\0}").message)

    def test_sixteen_levels_are_read_and_seventeen_are_not(self):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            strict_json.decode(nested(16, opening, closing))
            self.assertEqual(
                self.assertRaises(Malformed, strict_json.decode, nested(17, opening, closing)).code, "too_deep"
            )

    def test_scalars_do_not_count_as_a_level(self):
        self.assertEqual(strict_json.decode(b"[" * 16 + b"1" + b"]" * 16)[0][0][0][0], [[[[[[[[[[[[1]]]]]]]]]]]])

    def test_unusual_strict_json_is_accepted(self):
        for raw, value in (
            (b" {} ", {}),
            (b"null", None),
            (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
            (b'"\\\\u0000"', "\\u0000"),
            (b'"\\\\ud800"', "\\ud800"),
            (b'{"A": 1, "a": 2}', {"A": 1, "a": 2}),
            (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
            (b"9007199254740993", 9007199254740993),
            (b"1e-999", 0.0),
            ('"\u2028\x7f\ufeff"'.encode(), "\u2028\x7f\ufeff"),
            (b'{"__proto__": 1, "": 2}', {"__proto__": 1, "": 2}),
        ):
            with self.subTest(raw=raw):
                self.assertEqual(strict_json.decode(raw), value)

    @given(values)
    def test_the_output_of_the_standard_library_reads_back(self, value):
        for ascii_only in (True, False):
            self.assertEqual(strict_json.decode(json.dumps(value, ensure_ascii=ascii_only).encode()), value)

    @given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_any_bytes_give_a_value_or_malformed(self, raw):
        self._survives(raw)

    @given(st.text('[]{}":,\\u0dD89ae+-.1 \n', max_size=60))
    def test_nearly_valid_json_gives_a_value_or_malformed(self, text):
        self._survives(text.encode())

    @given(values, st.randoms(use_true_random=False))
    def test_damaged_json_gives_a_value_or_malformed(self, value, dice):
        raw = bytearray(json.dumps(value).encode())
        at = dice.randrange(len(raw))
        raw[at : at + 1] = dice.choice([b"", bytes([dice.randrange(256)]), raw[at : at + 1] * 2])
        self._survives(bytes(raw))

    @given(st.lists(st.sampled_from(("a", "b", "a\\u0062")), max_size=3), st.sampled_from((1, "a", {"a": [1]}, [])))
    def test_a_key_that_comes_twice_is_found_beside_any_value(self, keys, value):
        self._survives("{{{}}}".format(",".join(f'"{key}": {json.dumps(value)}' for key in keys)).encode())

    def test_both_decoders_agree_on_mistakes_and_odd_numbers(self):
        odd = b"-0", b"-0.0", b"1E5", b"4.9e-324", b"1" * 400, b"1" * 401, b"18446744073709551616", b"0.1e1"
        for raw in (*(raw for raw, _ in FAULTS.values()), *odd):
            with self.subTest(raw=raw[:40]):
                self._survives(raw)

    def _survives(self, raw):
        """Fail unless C{decode} gives the value, or the error, of the decoder that takes longer."""
        try:
            expected = strict_json.decode_with_reason(raw)
        except Malformed as error:
            found = self.assertRaises(Malformed, strict_json.decode, raw)
            self.assertEqual((found.code, found.message), (error.code, error.message))
            return
        value = strict_json.decode(raw)
        self.assertEqual(repr(value), repr(expected))
        self.assertEqual(strict_json.decode(strict_json.encode(value)), value)


class ChecksumTests(SynchronousTestCase):
    """Checksums and documents."""

    def test_a_checksum_matches_one_computed_by_hand(self):
        expected = hashlib.sha256(b'{"a":[1,true,null],"url":"https://ip.me"}').hexdigest()
        self.assertEqual(strict_json.checksum({"url": "https://ip.me", "a": [1.0, True, None]}), f"sha256:{expected}")

    @given(values)
    def test_the_checksum_is_sha_256_of_the_canonical_form(self, value):
        self.assertEqual(strict_json.checksum(value), f"sha256:{hashlib.sha256(rfc8785.dumps(value)).hexdigest()}")

    def test_what_msgspec_sorts_or_writes_otherwise_has_the_canonical_form(self):
        rows = {
            "a key that UTF-16 sorts first": ({"\ufb33": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ufb33":1}'),
            "such a key after a quote": ({'"\ufb33': 1, '"\U0001f600': 2}, '{"\\"\U0001f600":2,"\\"\ufb33":1}'),
            "such a text as a value": ({"a": "\U0001f600", "b": 1}, '{"a":"\U0001f600","b":1}'),
            "a whole number with a fraction": ({"a": [1.0, -0.0]}, '{"a":[1,0]}'),
            "a large number": ({"a": 1e21, "b": 1e20}, '{"a":1e+21,"b":100000000000000000000}'),
            "a number in a text": ({"a": "1.0 \\", "b": "1e5"}, '{"a":"1.0 \\\\","b":"1e5"}'),
            "the largest integer": ({"a": 2**53 - 1}, '{"a":9007199254740991}'),
            "control characters": (
                {"a": "\x01\x08\t\n\x0c\r\x1f\x7f/\u2028"},
                '{"a":"\\u0001\\b\\t\\n\\f\\r\\u001f\x7f/\u2028"}',
            ),
        }
        for name, (value, expected) in rows.items():
            with self.subTest(name):
                self.assertEqual(strict_json.canonical(value).decode(), expected)

    def test_a_number_that_json_cannot_hold_has_no_canonical_form(self):
        for number in (float("nan"), float("inf"), float("-inf")):
            self.assertRaises(Unprocessable, strict_json.canonical, {"a": [number]})

    @given(st.dictionaries(texts, values, max_size=6), st.integers())
    def test_the_order_of_keys_does_not_change_the_checksum(self, value, seed):
        names = list(value)
        random.Random(seed).shuffle(names)
        shuffled = {name: value[name] for name in names}
        self.assertEqual(strict_json.document(shuffled).checksum, strict_json.document(value).checksum)

    @given(values)
    def test_the_text_of_a_document_has_its_checksum(self, value):
        document = strict_json.document(value)
        self.assertEqual(strict_json.checksum(strict_json.decode(document.raw)), document.checksum)
        self.assertEqual(strict_json.checksum(msgspec.json.decode(document.raw)), document.checksum)

    def test_a_document_keeps_the_order_of_its_keys(self):
        self.assertEqual(
            strict_json.document(strict_json.decode(b'{"b": "\xc3\xa4", "a": 1.5}')).raw, b'{"b":"\xc3\xa4","a":1.5}'
        )

    def test_an_integer_that_other_readers_round_has_no_checksum(self):
        for number in (2**53, -(2**53), 2**63, 2**64, 10**30, 10**399):
            for value in (number, {"a": [number]}):
                for make in (strict_json.checksum, strict_json.document):
                    error = self.assertRaises(Unprocessable, make, value)
                    self.assertEqual(error.code, "integer_out_of_range")
        self.assertEqual(strict_json.document(2**53 - 1).raw, b"9007199254740991")
        self.assertEqual(strict_json.document(-(2**53) + 1).raw, b"-9007199254740991")
