"""Tests of L{confd.web.server.head_memo}: a site with known heads answers as a site that reads each head."""

from __future__ import annotations

import re
from ipaddress import ip_network
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.web.auth.allowed_hosts import AllowedHosts, host_patterns
from confd.web.server.head_memo import MAX_KEPT_BYTES, HeadMemo
from confd.web.server.proxies import Proxies
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation, basic_authorization
from tests.web.sample_api import ADMIN, AGENT, SampleSite
from tests.web.test_smuggling import CHUNKED, FRAMING, HOST, PATHS

_VARYING = re.compile(rb'(Date: |X-Request-I[dD]: |"request_id":")[^\r"]*')

_AGENT, _ADMIN = (b"Authorization: " + basic_authorization(*each) + b"\r\n" for each in (AGENT, ADMIN))
_JSON = b"Content-Type: application/json\r\n"

#: Heads without their ends.
_HEADS = [
    b"GET /open HTTP/1.1\r\n" + HOST,
    b"GET /open HTTP/1.0\r\n" + HOST,
    b"HEAD /open HTTP/1.1\r\n" + HOST,
    b"GET /wish?limit=3 HTTP/1.1\r\n" + HOST + _AGENT,
    b"GET /wish?limit=x HTTP/1.1\r\nCookie: a=b\r\n" + HOST + _ADMIN,
    b"GET /wish HTTP/1.1\r\n" + HOST,
    b"POST /document HTTP/1.1\r\nContent-Length: 7\r\n" + HOST + _ADMIN + _JSON,
    b"POST /document HTTP/1.1\r\n" + CHUNKED + HOST + _ADMIN + _JSON,
    b"POST /document HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 7\r\n" + HOST + _ADMIN + _JSON,
    b"POST /document HTTP/1.1\r\nContent-Length: 9000\r\n" + HOST + _AGENT + _JSON,
    b"DELETE /things/NotFound/x HTTP/1.1\r\n" + HOST + _ADMIN,
    b"\r\nGET /nothing HTTP/1.1\r\n" + HOST,
    b"GET /open HTTP/1.1\r\nHost: elsewhere.example\r\n",
    b"GET /open HTTP/1.1\r\nHost: nowhere.example\r\n",
    b"GET /open HTTP/1.1\r\n" + HOST + b"X: " + b"x" * MAX_KEPT_BYTES + b"\r\n",
]
_MORE = [
    b"",
    b"Connection: close\r\n",
    b"Forwarded: for=203.0.113.9\r\n",
    b"Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 203.0.113.8\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    b"Upgrade-Insecure-Requests: 1\r\n",
    HOST,
]
_BODIES = [b"", b'{"a":1}', b"7\r\n" + b'{"a":1}' + b"\r\n0\r\n\r\n", b"7\r\nxxx", b"\r\n"]

MESSAGES = st.one_of(
    st.builds(
        lambda head, more, body: head + more + b"\r\n" + body,
        st.sampled_from(_HEADS),
        st.sampled_from(_MORE),
        st.sampled_from(_BODIES),
    ),
    st.sampled_from(list(FRAMING.values())),
    st.sampled_from([b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" for path in PATHS]),
)

#: A message, how often it is sent, the connection and the peer that send it, and where it is cut.
STEPS = st.lists(
    st.tuples(
        st.lists(MESSAGES, min_size=1, max_size=2).map(b"".join),
        st.integers(1, 3),
        st.integers(0, 1),
        st.sampled_from([LOOPBACK, ELSEWHERE]),
        st.lists(st.integers(0, 400), max_size=1),
    ),
    min_size=1,
    max_size=8,
)


class Door:
    """A sample site that believes proxies elsewhere and answers to a few hosts, and the connections to it."""

    def __init__(self, memo: HeadMemo) -> None:
        self.sample = SampleSite()
        self.site = self.sample.site
        self.site.head_memo, self.site.proxies = memo, Proxies((ip_network("192.0.2.0/24"),))
        self.site.allow_hosts(AllowedHosts(host_patterns("elsewhere.example")))
        self._callers: dict[object, Conversation] = {}

    def send(self, number: int, peer: object, pieces: list[bytes]) -> tuple[bytes, bool]:
        """Return the answer on a connection, without what differs in each answer, and whether the connection ended."""
        caller = self._callers.get((number, peer))
        if caller is None or caller.closed or caller.wire.disconnecting or caller.wire.ended:
            caller = self._callers[number, peer] = Conversation(self.site, self.sample.clock, peer)  # type: ignore[arg-type]
        before = len(caller.wire.sent)
        for piece in pieces:
            caller.send(piece)
        return _VARYING.sub(rb"\1", bytes(caller.wire.sent[before:])), caller.wire.ended

    def noted(self) -> tuple[object, ...]:
        """Return what the requests left behind: counts, refused attempts and documents."""
        attempts = [(each.who, each.action, each.target, type(error)) for each, error in self.sample.auditor.audit_log]
        return self.site.request_metrics._requests, attempts, self.sample.api.documents


class HeadMemoTests(SynchronousTestCase):
    """L{HeadMemo}."""

    @given(STEPS, st.integers(1, 3))
    def test_a_known_head_is_answered_as_any_other(
        self, steps: list[tuple[bytes, int, int, object, list[int]]], most: int
    ) -> None:
        with_memo, without = Door(HeadMemo(most)), Door(HeadMemo(0))
        for message, times, number, peer, cuts in steps:
            places = [0, *(cut % (len(message) + 1) for cut in cuts), len(message)]
            pieces = [message[start:end] for start, end in pairwise(places) if start < end]
            for _ in range(times):
                self.assertEqual(with_memo.send(number, peer, pieces), without.send(number, peer, pieces))
            self.assertLessEqual(len(with_memo.site.head_memo), most)
        self.assertEqual(with_memo.noted(), without.noted())

    def test_a_head_is_read_once(self) -> None:
        for body in (b"", b'{"a":1}'):
            sample = SampleSite()
            raw = (
                b"POST /document HTTP/1.1\r\n"
                + HOST
                + _ADMIN
                + _JSON
                + b"Content-Length: %d\r\n\r\n" % len(body)
                + body
            )
            for _ in range(3):
                sample.connect().send(raw)
            self.assertEqual((len(sample.site.head_memo), sample.site.head_memo.found), (1, 2))

    def test_the_connection_is_checked_for_each_request(self) -> None:
        for raw, peers, statuses in (
            (b"Host: nowhere.example\r\n", [LOOPBACK, LOOPBACK], [b"403", b"403"]),
            (
                HOST + b"Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 203.0.113.8\r\n",
                [LOOPBACK, ELSEWHERE],
                [b"200", b"400"],
            ),
        ):
            door = Door(HeadMemo())
            answers = [door.send(0, peer, [b"GET /open HTTP/1.1\r\n" + raw + b"\r\n"])[0] for peer in peers]
            self.assertEqual([answer[9:12] for answer in answers], statuses)

    def test_the_last_part_of_a_head_is_not_a_head(self) -> None:
        door, last = Door(HeadMemo()), b"open HTTP/1.1\r\n" + HOST + b"\r\n"
        self.assertEqual(door.send(0, LOOPBACK, [b"GET /", last])[0][9:12], b"200")
        self.assertEqual(door.send(1, LOOPBACK, [last])[0][9:12], b"400")

    def test_ambiguous_heads_and_long_heads_are_not_kept(self) -> None:
        sample = SampleSite()
        for path in PATHS:
            sample.connect().send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        sample.connect().send(b"GET /open HTTP/1.1\r\n" + HOST + b"X: " + b"x" * MAX_KEPT_BYTES + b"\r\n\r\n")
        self.assertEqual(len(sample.site.head_memo), 0)

    def test_a_request_cannot_change_the_headers_of_the_next(self) -> None:
        sample = SampleSite()
        raw = b"GET /later HTTP/1.1\r\n" + HOST + b"\r\n"
        sample.connect().send(raw)
        caller = sample.connect()
        caller.send(raw)
        [channel] = [each for each in sample.site._channels if each is caller.wire.protocol]
        channel.requests[0].requestHeaders.removeHeader(b"Host")
        self.assertEqual(sample.connect().get("/open").status, 200)
        third = sample.connect()
        third.send(raw)
        self.assertEqual(third.wire.protocol.requests[0].requestHeaders.getRawHeaders(b"Host"), [b"localhost"])
