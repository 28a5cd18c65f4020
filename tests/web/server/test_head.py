"""Tests of L{confd.web.server.head}: the bytes are those of Twisted, whatever the headers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from confd.web.server.head import encode_head

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
