"""Tests of L{confd.codec.selectors}."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.selectors import (
    EVERYTHING,
    MAX_BYTES,
    MAX_REQUIREMENTS,
    MAX_VALUES,
    matches,
    parse_selector,
)
from confd.errors import Malformed

WEB = {"id": "web:17", "hostname": "web 17.ü", "strategy": "NATS", "region": "eu", "tier": "edge", "canary": ""}


class MatchesTests(SynchronousTestCase):
    """L{matches}."""

    def assert_selects(self, *texts: str) -> None:
        """Fail unless each selector matches the agent C{WEB}."""
        for text in texts:
            self.assertIs(matches(WEB, parse_selector(text)), True, text)

    def assert_omits(self, *texts: str) -> None:
        """Fail if a selector matches the agent C{WEB}."""
        for text in texts:
            self.assertIs(matches(WEB, parse_selector(text)), False, text)

    def test_equality(self) -> None:
        self.assert_selects("region=eu", "region==eu", "region = eu", "canary=", "canary==", "id=web:17")
        self.assert_omits("region=us", "region=EU", "region=", "gpu=", "gpu=x", "canary=x")

    def test_inequality_matches_without_the_key(self) -> None:
        self.assert_selects("region!=us", "region!=", "gpu!=x", "gpu!=", "canary!=x")
        self.assert_omits("region!=eu", "canary!=", "canary != ")

    def test_sets(self) -> None:
        self.assert_selects(
            "region in (us,eu)", "region in(eu)", "canary in (,x)", "canary in (x,)", "tier in(\teu , edge)"
        )
        self.assert_omits("region in (us)", "gpu in (a)", "gpu in (,)", "region in (,)")

    def test_excluded_sets_match_without_the_key(self) -> None:
        self.assert_selects("region notin (us)", "gpu notin (a,b)", "gpu notin (,)")
        self.assert_omits("region notin (us,eu)", "canary notin (,)")

    def test_existence(self) -> None:
        self.assert_selects("region", "canary", "!gpu", "! gpu")
        self.assert_omits("gpu", "!region", "!canary")

    def test_comma_means_and(self) -> None:
        self.assert_selects("region=eu,tier=edge", "region , !gpu, tier in (edge,core)", "region=eu,region=eu")
        self.assert_omits("region=eu,gpu", "region=us,tier=edge", "region=eu,region=us")

    def test_empty_selector_matches_each_agent(self) -> None:
        self.assert_selects("", " \t")
        self.assertTrue(matches({}, EVERYTHING))

    def test_operators_can_be_keys_and_values(self) -> None:
        labels = {"in": "notin", "notin": "in"}
        for text in ("in in (notin)", "notin notin (notin)", "in=notin", "in,notin", "in in(notin),notin"):
            self.assertTrue(matches(labels, parse_selector(text)), text)


class ParseSelectorTests(SynchronousTestCase):
    """L{parse_selector}."""

    def assert_refused(self, text: str, column: int, problem: str) -> None:
        """Fail unless C{text} is no selector, for the problem at the column."""
        refused = self.assertRaises(Malformed, parse_selector, text)
        self.assertEqual((refused.code, refused.details), ("bad_selector", [{"column": column, "message": problem}]))
        self.assertEqual(refused.message, f"The selector is wrong at column {column}: {problem}.")

    def test_error_names_the_column(self) -> None:
        for text, column, problem in (
            (",", 1, "expected the key of a label and not ','"),
            ("a,", 3, "expected the key of a label and not the end of the selector"),
            ("a,,b", 3, "expected the key of a label and not ','"),
            ("=a", 1, "expected the key of a label and not '='"),
            ("!", 2, "expected the key of a label and not the end of the selector"),
            ("!!a", 2, "expected the key of a label and not '!'"),
            ("!=a", 1, "expected the key of a label and not '!='"),
            ("a, B=c", 4, "'B' cannot be the key of a label"),
            ("ä=c", 1, "'ä' cannot be the key of a label"),
            ("a>5", 1, "'a>5' cannot be the key of a label"),
            ("a b", 3, "expected an operator or ',' and not 'b'"),
            ("a (b)", 3, "expected an operator or ',' and not '('"),
            ("a IN (b)", 3, "expected an operator or ',' and not 'IN'"),
            ("a!b", 2, "expected an operator or ',' and not '!'"),
            ("!a=b", 3, "expected ',' or the end of the selector and not '='"),
            ("!a in (b)", 4, "expected ',' or the end of the selector and not 'in'"),
            ("a=b c", 5, "expected ',' or the end of the selector and not 'c'"),
            ("a=b=c", 4, "expected ',' or the end of the selector and not '='"),
            ("a=(b)", 3, "expected ',' or the end of the selector and not '('"),
            ("a=\u00fc", 3, "'ü' cannot be the value of a label"),
            ("a in b", 6, "expected '(' behind 'in' and not 'b'"),
            ("a in", 5, "expected '(' behind 'in' and not the end of the selector"),
            ("a notin ()", 10, "expected a value behind 'notin ('"),
            ("a in (b", 8, "expected ',' or ')' and not the end of the selector"),
            ("a in (b c)", 9, "expected ',' or ')' and not 'c'"),
            ("a in ((b))", 7, "expected ',' or ')' and not '('"),
            ("a in (b))", 9, "expected ',' or the end of the selector and not ')'"),
            ("a in (b) in (c)", 10, "expected ',' or the end of the selector and not 'in'"),
            ("x" * 64, 1, f"{'x' * 40!r} cannot be the key of a label"),
        ):  # fmt: skip
            self.assert_refused(text, column, problem)

    def test_length_is_limited_in_bytes(self) -> None:
        longest = f"hostname={'ü' * ((MAX_BYTES - 9) // 2)} "
        self.assertEqual(str(parse_selector(longest)), longest)
        self.assert_refused(f"{longest}ü", len(longest) + 1, "a selector has at most 1024 bytes")

    def test_number_of_requirements_is_limited(self) -> None:
        most = ",".join(["a"] * MAX_REQUIREMENTS)
        self.assertEqual(len(parse_selector(most).requirements), MAX_REQUIREMENTS)
        self.assert_refused(f"{most},b", len(most) + 2, "a selector has at most 16 requirements")

    def test_number_of_values_is_limited_over_all_requirements(self) -> None:
        most = f"a=b,a in ({','.join(['b'] * (MAX_VALUES - 1))}),c"
        self.assertEqual(len(parse_selector(most).requirements), 3)
        self.assert_refused(f"{most}=d", len(most) + 2, "a selector has at most 64 values")


# -- an evaluator of its own --

_KEY = r"([a-z0-9][a-z0-9._/-]{0,62})"
_WORD = r"[A-Za-z0-9._-]{0,63}"
_ALONE = re.compile(rf"\s*(!?)\s*{_KEY}\s*", re.ASCII)
_COMPARED = re.compile(rf"\s*{_KEY}\s*(==?|!=)\s*({_WORD})\s*", re.ASCII)
_LISTED = re.compile(rf"\s*{_KEY}\s+(not)?in\s*\((.*)\)\s*", re.ASCII | re.DOTALL)


def evaluated(text: str, labels: dict[str, str]) -> bool | None:
    """
    Evaluate a selector with expressions, requirement by requirement.

    @return: C{None} if C{text} is no selector.
    """
    if not text.strip():
        return True
    result = True
    for piece in re.split(r",(?![^(]*\))", text):
        if found := _COMPARED.fullmatch(piece):
            key, operator, value = found.groups()
            result &= (labels.get(key) == value) is (operator != "!=")
        elif found := _LISTED.fullmatch(piece):
            key, negated, inside = found.groups()
            values = [each.strip() for each in inside.split(",")]
            if values == [""] or not all(re.fullmatch(_WORD, each, re.ASCII) for each in values):
                return None
            result &= (key in labels and labels[key] in values) is not bool(negated)
        elif found := _ALONE.fullmatch(piece):
            result &= (found[2] in labels) is not bool(found[1])
        else:
            return None
    return result


_WORDS = st.sampled_from(["a", "b", "in", "notin", "x", "a.b/c"])
_GAPS = st.sampled_from(["", " ", "\t ", "\n"])
_VALUES = st.sampled_from(["", "a", "x", "Y", "in"])


@st.composite
def _selectors(draw: st.DrawFn) -> str:
    """Draw a valid selector."""

    def requirement() -> str:
        key, gap, value = draw(_WORDS), draw(_GAPS), draw(_VALUES)
        kind = draw(
            st.sampled_from(["%k", "!%g%k", "%k%g=%v", "%k%g==%g%v", "%k%g!=%g%v", "%k in%g(%l)", "%k\tnotin (%l)"])
        )
        listed = draw(st.lists(_VALUES, min_size=2, max_size=3)) if draw(st.booleans()) else ["a"]
        for name, text in (("%k", key), ("%g", gap), ("%v", value), ("%l", f"{gap},{gap}".join(listed))):
            kind = kind.replace(name, text)
        return f"{draw(_GAPS)}{kind}{draw(_GAPS)}"

    return ",".join(requirement() for _ in range(draw(st.integers(1, 4))))


_TOKENS = st.lists(
    st.sampled_from(["a", "b", "in", "notin", "X", "=", "==", "!=", "!", "(", ")", ",", " ", "\t", "ä", ">"]),
    max_size=14,
).map("".join)
_LABELS = st.dictionaries(_WORDS, _VALUES, max_size=4)


class GrammarTests(SynchronousTestCase):
    """The parser agrees with an evaluator that shares no code with it."""

    @given(_selectors(), _LABELS)
    def test_valid_selectors(self, text: str, labels: dict[str, str]) -> None:
        expected = evaluated(text, labels)
        self.assertIsNotNone(expected)
        self.assertIs(matches(labels, parse_selector(text)), expected)

    @given(_TOKENS, _LABELS)
    @example("a in (b),!in", {"a": "b"})
    def test_any_tokens(self, text: str, labels: dict[str, str]) -> None:
        found: bool | None
        try:
            found = matches(labels, parse_selector(text))
        except Malformed as refused:
            found = None
            [detail] = refused.details
            column = detail["column"]
            assert isinstance(column, int)
            self.assertTrue(1 <= column <= len(text) + 1, column)
        self.assertIs(found, evaluated(text, labels))

    @given(st.text(max_size=60))
    def test_any_text_is_a_selector_or_refused(self, text: str) -> None:
        try:
            parsed = parse_selector(text)
        except Malformed as refused:
            self.assertEqual(refused.code, "bad_selector")
        else:
            self.assertIs(matches({"a": "b"}, parsed) in (True, False), True)
