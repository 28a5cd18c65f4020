"""Tests of L{confd.web.server.head}: the bytes are those of Twisted, whatever the headers."""

from __future__ import annotations

import time
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel, datetimeToString, stringToDatetime
from twisted.web.http_headers import Headers

from confd.web.server.head import FRESH_SECONDS, HttpDate, encode_head, request_ids

NAMES = st.sampled_from([b"ETag", b"Date", b"Set-Cookie", b"x-request-id", b"WWW-Authenticate"])
VALUES = st.lists(st.binary(max_size=8), max_size=3)


class HeadTests(SynchronousTestCase):
    """The head of a response."""

    @given(
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]),
        st.sampled_from([(200, b"OK"), (304, b"Not Modified"), (599, b"")]),
        st.dictionaries(NAMES, VALUES),
    )
    def test_head_is_that_of_twisted(
        self, version: bytes, status: tuple[int, bytes], given_headers: dict[bytes, list[bytes]]
    ) -> None:
        channel, headers = HTTPChannel(), Headers(given_headers)
        transport = channel.transport = StringTransport()
        code, reason = b"%d" % status[0], status[1]
        channel.writeHeaders(version, code, reason, headers)
        self.assertEqual(encode_head(version, code, reason, headers.getAllRawHeaders()), transport.value())

    def test_the_date_is_that_of_twisted(self) -> None:
        before = int(time.time())
        date = HttpDate(Clock().seconds).now()
        self.assertTrue(before <= stringToDatetime(date) <= time.time())
        self.assertEqual(date, datetimeToString(stringToDatetime(date)))

    def test_the_date_is_written_again_when_it_may_have_changed(self) -> None:
        clock = Clock()
        date = HttpDate(clock.seconds)
        first = date.now()
        self.assertIs(date.now(), first)
        clock.advance(FRESH_SECONDS)
        again = date.now()
        self.assertIsNot(again, first)
        clock.advance(FRESH_SECONDS / 2)
        self.assertIs(date.now(), again)

    def test_ids_are_sixteen_digits_and_differ(self) -> None:
        ids = list(islice(request_ids(), 1000)) + list(islice(request_ids(), 1000))
        self.assertEqual(len(set(ids)), 2000)
        for each in ids:
            self.assertRegex(each, "^[0-9a-f]{16}$")
