"""A memo changes no behaviour: with it and without it the same bytes are answered by the same, but for date and id."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from ipaddress import ip_network
from itertools import pairwise
from typing import Any
from weakref import ref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from confd.codec.strict_json import document
from confd.model import DEFAULT_NAMESPACE
from confd.runtime.metrics import Metrics
from confd.runtime.offload import Offload
from confd.testing.examples import a_draft
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import BasicAuth, Credential
from confd.web.auth.principals import Role
from confd.web.auth.throttle import Throttle
from confd.web.server.proxies import Proxies
from confd.web.server.response_cache import MAX_REQUEST_BYTES, ResponseCache
from confd.web.server.site import BoundedSite, Limits
from tests.budgets import budget
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation

#: Peers elsewhere are proxies, and are believed.
PROXIES = Proxies((ip_network("192.0.2.0/24"),))

_VARYING = re.compile(rb'(Date: |X-Request-I[dD]: |"request_id":")[^\r"]*')

_HOST = b"Host: localhost\r\n"
_AUTH = b"Authorization: " + basic_authorization(*AGENT) + b"\r\n"


def site_of(harness: ControllerHarness, response_cache: ResponseCache | None) -> tuple[Dispatcher, BoundedSite]:
    """The current configuration at the harness, behind a door of its own, which remembers who was wrong."""
    credentials = [Credential.of(*AGENT, Role.AGENT), Credential.of(*ADMIN, Role.ADMIN)]
    guard = BasicAuth(credentials, Throttle(harness.clock, 3), harness.registry.agent_tokens.holder)
    dispatcher = Dispatcher(guard, Offload(maybeDeferred))
    limits = Limits(connections=100)
    return dispatcher, BoundedSite(
        harness.clock, dispatcher.resource(harness.apis[0]), limits, dispatcher.large, response_cache, PROXIES
    )


def _counted(site: BoundedSite) -> list[str]:
    """What it counted, without how long anything took."""
    metrics = Metrics()
    site.request_metrics.expose(metrics)
    return [
        line
        for line in metrics.exposition().decode().splitlines()
        if line.startswith(("confd_http_requests", "confd_http_request_duration_seconds_count"))
    ]


class Twins:
    """
    One controller behind two doors, one of them with a memo; what comes to one comes to the other.
    """

    def __init__(self) -> None:
        self.harness = ControllerHarness()
        self.response_cache = ResponseCache(40_000)
        self.sites = site_of(self.harness, self.response_cache)[1], site_of(self.harness, None)[1]
        self.agent = self.harness.join()
        self.callers: dict[tuple[int, Any], tuple[Conversation, ...]] = {}

    def send(self, number: int, peer: Any, raw: bytes) -> None:
        """Over the connection with this number; a new one where it is closed."""
        there = self.callers.get((number, peer))
        if there is None or all(each.closed for each in there):
            there = self.callers[number, peer] = self.connect(peer)
        for each in there:
            each.send(raw)

    def connect(self, peer: Any) -> tuple[Conversation, ...]:
        """A connection to each door."""
        return tuple(Conversation(each, self.harness.clock, peer) for each in self.sites)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.harness.clock.advance(seconds)

    def check(self, case: SynchronousTestCase) -> None:
        """Both have said the same, and go on or have ended alike."""
        for there in self.callers.values():
            with_memo, without = ((_VARYING.sub(rb"\1", bytes(each.wire.sent)), each.closed) for each in there)
            case.assertEqual(with_memo, without)
        case.assertEqual(_counted(self.sites[0]), _counted(self.sites[1]))


def _requests(twins: Twins) -> st.SearchStrategy[bytes]:
    """Polls: plain, odd and hostile ones."""
    tag = twins.harness.tag().encode()
    paths = [b"/api/v1/config", b"/api/v1/config?namespace=default", b"/api/v1/config?namespace=no", b"//api/v1/config"]
    headers = [
        _AUTH,
        _AUTH,
        b"authorization:" + _AUTH.partition(b":")[2],
        b"Authorization: " + basic_authorization(*ADMIN) + b"\r\n",
        b"Authorization: " + basic_authorization("agent", "wrong") + b"\r\n",
        b'If-None-Match: "%s"\r\n' % tag,
        b'If-None-Match: W/"%s", x\r\n' % tag,
        b"If-None-Match: 1\r\n",
        b"X-Agent-ID: " + twins.agent.encode() + b"\r\n",
        b"X-Agent-ID: somebody\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Expect: 100-continue\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X: %\r\n",
        b"X-Forwarded-For: 203.0.113.9\r\n",
        b"Forwarded: for=203.0.113.9\r\n",
        b'Forwarded: for="\r\n',
        b" folded\r\n",
        b"no colon\r\n",
        b"X: \x00\r\n",
    ]
    # Most of them are whole and right, so that there is something to remember.
    common = [b"".join([_HOST, _AUTH, *more]) for more in ([], [headers[5]], [headers[8]], [headers[5], headers[8]])]
    head = st.one_of(st.sampled_from(common), st.permutations([_HOST, _AUTH, headers[5], headers[8]]).map(b"".join))
    odd = st.lists(st.sampled_from([_HOST, *headers]), max_size=6).map(b"".join)
    return st.builds(
        lambda method, path, version, fields, end: method + b" " + path + b" " + version + b"\r\n" + fields + end,
        st.sampled_from([b"GET"] * 9 + [b"HEAD", b"get", b"POST", b"\r\nGET"]),
        st.sampled_from(paths[:1] * 6 + paths),
        st.sampled_from([b"HTTP/1.1"] * 9 + [b"HTTP/1.0", b"HTTP/2.0"]),
        st.one_of(head, head, odd),
        st.sampled_from([b"\r\n"] * 12 + [b"\r\n\r\n", b"\n", b"\r\nabc", b"\r\n0\r\n\r\n", b""]),
    )


def _pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    """The same bytes, as they may arrive."""
    at = [0, *sorted(min(each, len(raw)) for each in cuts), len(raw)]
    return [raw[one:other] for one, other in pairwise(at) if one < other]


def make_same_tests(make: Callable[[], Twins]) -> type[SynchronousTestCase]:
    """
    The tests that two doors of one controller say the same.

    @param make: makes the two.
    """

    class SameTests(SynchronousTestCase):
        """Whatever comes, and whatever happens in between."""

        @settings(deadline=None, max_examples=budget(20, 50))
        @given(st.data())
        def test_same(self, data: st.DataObject) -> None:
            _compare(self, make(), data)

    return SameTests


def _compare(case: SynchronousTestCase, twins: Twins, data: st.DataObject) -> None:
    requests = data.draw(st.lists(_requests(twins), min_size=1, max_size=4))
    polls = st.lists(st.sampled_from(requests), min_size=1, max_size=3).map(b"".join)
    cuts: st.SearchStrategy[list[int]] = st.one_of(st.just([]), st.just([]), st.lists(st.integers(0, 500), max_size=3))
    for _ in range(data.draw(st.integers(1, 12))):
        event = data.draw(st.sampled_from(["poll"] * 8 + ["publish", "forget", "wait"]))
        if event == "poll":
            peer, number = data.draw(st.sampled_from([LOOPBACK, ELSEWHERE])), data.draw(st.integers(0, 2))
            for piece in _pieces(data.draw(polls), data.draw(cuts)):
                twins.send(number, peer, piece)
        elif event == "publish":
            case.successResultOf(twins.harness.configs.publish(a_draft()))
        elif event == "forget":
            twins.harness.caller().delete(f"/api/v1/agents/{twins.agent}", auth=ADMIN)
        else:
            twins.wait(data.draw(st.sampled_from([1, 11, 29])))
        twins.check(case)


class ResponseCacheSameTests(make_same_tests(Twins)):  # type: ignore[misc]
    """What a memo answers is what the handler would."""


class ResponseCacheTests(SynchronousTestCase):
    """What is remembered, for how long, and of whom."""

    def setUp(self) -> None:
        self.twins = Twins()
        self.poll = self._poll(self.twins.harness.tag())

    def _poll(self, tag: str, *more: bytes) -> bytes:
        condition = f'If-None-Match: "{tag}"\r\n'.encode()
        return b"GET /api/v1/config HTTP/1.1\r\n" + _HOST + _AUTH + condition + b"".join(more) + b"\r\n"

    def _send(self, raw: bytes, peer: Any = LOOPBACK) -> bool:
        """Send it; whether the memo had the answer."""
        before = self.twins.response_cache.answered
        self.twins.send(0, peer, raw)
        self.twins.check(self)
        return self.twins.response_cache.answered > before

    def test_remembered(self) -> None:
        """The second time it is known, on whichever connection; both answers are whole."""
        self.assertEqual([self._send(self.poll) for _ in range(3)], [False, True, True])
        self.twins.send(1, LOOPBACK, self.poll)
        self.twins.check(self)
        self.assertEqual([each.status for each in self.twins.callers[0, LOOPBACK][0].replies()], [304] * 3)

    def test_cleared(self) -> None:
        """Nothing is left of it, and it begins anew."""
        self.assertEqual([self._send(self.poll) for _ in range(2)], [False, True])
        self.twins.response_cache.clear()
        self.assertEqual(len(self.twins.response_cache), 0)
        self.assertEqual([self._send(self.poll) for _ in range(2)], [False, True])

    def test_bodies(self) -> None:
        """So are answers with a body, percent signs and all."""
        self.successResultOf(
            self.twins.harness.configs.publish(a_draft(document=document({"url": "https://ip.me/%(id)b%%%"})))
        )
        raw = self._poll("none")
        self.assertEqual([self._send(raw) for _ in range(2)], [False, True])

    def test_publish(self) -> None:
        """A newer version is sent at once."""
        self._send(self.poll)
        self.successResultOf(self.twins.harness.configs.publish(a_draft()))
        self._send(self.poll)
        self.assertEqual([each.status for each in self.twins.callers[0, LOOPBACK][0].replies()], [304, 200])

    def test_keeps_no_configuration(self) -> None:
        """One that is not current any more is let go: who polls another version never asks with those bytes again."""
        self._send(self.poll)
        there = ref(self.twins.harness.snapshot.require(DEFAULT_NAMESPACE))
        self.successResultOf(self.twins.harness.configs.publish(a_draft()))
        gc.collect()
        self.assertIsNone(there())

    def test_poll_is_noted(self) -> None:
        """An agent that is answered from memory was heard of all the same."""
        raw = self._poll(self.twins.harness.tag(), b"X-Agent-ID: " + self.twins.agent.encode() + b"\r\n")
        self._send(raw)
        for _ in range(3):
            self.twins.harness.clock.advance(20)
            conversation = Conversation(self.twins.sites[0], self.twins.harness.clock)
            conversation.send(raw)
            record = self.twins.harness.registry.get(self.twins.agent)
            self.assertEqual(record.last_poll, self.twins.harness.now())

    def test_forgotten_agent(self) -> None:
        """Nor is one that was forgotten taken for known."""
        raw = self._poll(self.twins.harness.tag(), b"X-Agent-ID: " + self.twins.agent.encode() + b"\r\n")
        self._send(raw)
        self.twins.harness.caller().delete(f"/api/v1/agents/{self.twins.agent}", auth=ADMIN)
        self._send(raw)
        last = self.twins.callers[0, LOOPBACK][0].replies()[-1]
        self.assertEqual(last.headers["x-agent-known"], "false")

    def test_throttled(self) -> None:
        """Where others guess, the same bytes are refused as they would be without a memo."""
        self._send(self.poll)
        wrong = self.poll.replace(_AUTH, b"Authorization: " + basic_authorization("agent", "wrong") + b"\r\n")
        for _ in range(4):
            self._send(wrong, ELSEWHERE)
        self._send(self.poll, ELSEWHERE)
        self.assertEqual(self.twins.callers[0, ELSEWHERE][0].replies()[-1].status, 429)

    def test_behind_a_proxy(self) -> None:
        """Where they come from is what the proxy says, and what a stranger says counts for nothing."""
        right, wrong = (
            b"GET /api/v1/config HTTP/1.1\r\n"
            + _HOST
            + b"Authorization: "
            + basic_authorization(*shown)
            + b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
            for shown in (ADMIN, ("admin", "wrong"))
        )
        # Of a stranger's nothing is read, and so nothing is remembered that would count for a proxy.
        self.assertEqual([self._send(right) for _ in range(2)], [False, False])
        for _ in range(4):
            self._send(wrong, ELSEWHERE)
        self._send(right, ELSEWHERE)
        self.assertEqual(self.twins.callers[0, ELSEWHERE][0].replies()[-1].status, 429)
        self._send(right.replace(b"113.9", b"113.8"), ELSEWHERE)
        self._send(right, LOOPBACK)
        self.assertEqual({each[0].replies()[-1].status for each in self.twins.callers.values()}, {200})

    def test_proxy_is_remembered(self) -> None:
        """What comes through a proxy is answered again, and no stranger is then taken for whom the proxy named."""
        raw = self.poll[:-2] + b"X-Forwarded-For: 203.0.113.9\r\n\r\n"
        self.assertEqual([self._send(raw, ELSEWHERE) for _ in range(2)], [False, True])
        wrong = self.poll.replace(_AUTH, b"Authorization: " + basic_authorization("agent", "wrong") + b"\r\n")
        for _ in range(4):
            self._send(wrong[:-2] + b"X-Forwarded-For: 203.0.113.9\r\n\r\n", ELSEWHERE)
        self.assertTrue(self._send(raw, LOOPBACK))

    def test_draining(self) -> None:
        """A site that stops says so in each answer."""
        self._send(self.poll)
        caller = Conversation(self.twins.sites[0], self.twins.harness.clock)
        caller.send(self.poll[:60])
        self.twins.sites[0].drain()
        caller.send(self.poll[60:])
        self.assertEqual([each.headers.get("connection") for each in caller.replies()], ["close"])

    def test_interim_answer(self) -> None:
        """A request that is answered in two parts is not remembered."""
        raw = self._poll(self.twins.harness.tag(), b"Expect: 100-continue\r\n")
        self.assertEqual([self._send(raw) for _ in range(3)], [False, False, False])

    def test_empty_lines(self) -> None:
        """Between requests one empty line is taken each time, and not two, whatever is remembered."""
        self._send(self.poll)
        for piece in (b"\r\n", self.poll, b"\r\n", self.poll, b"\r\n", b"\r\n", self.poll):
            self._send(piece)
        self.assertEqual([each.status for each in self.twins.callers[0, LOOPBACK][0].replies()], [304] * 3 + [400])

    def test_bounded(self) -> None:
        """What is long is not remembered, and what is remembered has its room."""
        long = self._poll("x" * MAX_REQUEST_BYTES)
        self.assertEqual([self._send(long) for _ in range(2)], [False, False])
        most = 0
        for number in range(60):
            self._send(self._poll(str(number)))
            most = max(most, len(self.twins.response_cache))
        self.assertIn(most, range(10, 40))
        self.assertTrue(self._send(self._poll("59")))
