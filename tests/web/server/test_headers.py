"""Tests of L{confd.web.server.headers}: the headers are those of Twisted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers, InvalidHeaderName

from confd.web.server.headers import CheckedHeaders, canonical

NAMES = st.sampled_from(["ETag", "etag", "X-Request-ID", "x-request-id", "www-authenticate", "Cookie", "te", "a"])
VALUES = st.text("ab \t\r\n\x0b\x85\u2028;é", max_size=8)


class CheckedHeadersTests(SynchronousTestCase):
    """L{CheckedHeaders}."""

    @given(st.lists(st.tuples(NAMES, VALUES, st.booleans())), NAMES)
    def test_headers_are_those_of_twisted(self, headers: list[tuple[str, str, bool]], asked: str) -> None:
        checked, stock = CheckedHeaders({}), Headers()
        for name, value, as_text in headers:
            if as_text:
                checked.set(name, value)
                stock.setRawHeaders(name, [value])
            else:
                checked.set(name.encode(), value.encode())
                stock.setRawHeaders(name.encode(), [value.encode()])
        self.assertEqual(list(checked.getAllRawHeaders()), list(stock.getAllRawHeaders()))
        self.assertEqual(checked.getRawHeaders(asked), stock.getRawHeaders(asked))
        self.assertEqual(checked.getRawHeaders(asked.encode(), [b""]), stock.getRawHeaders(asked.encode(), [b""]))
        for name in (asked, asked.encode()):
            self.assertEqual(checked.hasHeader(name), stock.hasHeader(name))

    def test_a_name_that_is_no_token_is_refused(self) -> None:
        for name in ("a b", "a:", "a\r\nb", "", "é"):
            self.assertRaises(InvalidHeaderName, CheckedHeaders({}).set, name, "x")
            self.assertRaises(InvalidHeaderName, canonical, name.encode())
