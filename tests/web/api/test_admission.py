"""Tests of L{confd.web.api.admission}: a site that keeps admissions answers as a site that makes all checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from confd.errors import Unavailable
from confd.runtime.offload import Offload
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import BasicAuth, Credential, IAuthenticator, LoopbackAuth, digest_of
from confd.web.auth.principals import Principal, Role
from confd.web.auth.throttle import Allowance, Throttle
from confd.web.server.head_memo import HeadMemo
from tests.budgets import budget
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation, site_on
from tests.web.sample_api import RecordingAuditor, SampleApi

_VARYING = re.compile(rb'(Date: |X-Request-I[dD]: |"request_id":")[^\r"]*')

_WHO = {"agent": ("agent", "a"), "admin": ("admin", "b"), "token": ("a1", "t"), "wrong": ("admin", "x")}
_TARGETS = [
    "/wish",
    "/wish?limit=x",
    "/wish?namespace=blue",
    "/names?namespace=blue",
    "/names?x=1",
    "/open",
    "/document",
]
_BODIES = {"good": b'{"name":"n"}', "bad": b'{"name":1}'}
_MORE = {
    "json": b"Content-Type: application/json\r\n",
    "text": b"Content-Type: text/plain\r\n",
    "zip": b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
    "page": b"Content-Type: application/json\r\nOrigin: http://elsewhere.example\r\n",
    "host": b"Content-Type: application/json\r\n",
}
_PEERS = {"here": LOOPBACK, "elsewhere": ELSEWHERE, "socket": UNIXAddress(b"")}

REQUESTS = st.tuples(
    st.just("send"),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(_TARGETS),
    st.sampled_from([*_WHO]),
    st.sampled_from([*_MORE]),
    st.sampled_from([*_BODIES]),
    st.sampled_from([*_PEERS]),
)
EVENTS = st.tuples(st.sampled_from(["renew", "move", "revoke", "unload", "load", "wait"]))

#: What happens, and how often each request is sent again later.
STEPS = st.lists(st.one_of(REQUESTS, EVENTS), min_size=1, max_size=5).flatmap(
    lambda steps: st.lists(st.sampled_from(steps), min_size=10, max_size=25)
)


def _request(method: str, target: str, who: str, more: str, body: str) -> bytes:
    host = b"elsewhere.example" if more == "host" else b"localhost"
    head = f"{method} {target} HTTP/1.1\r\nContent-Length: {len(_BODIES[body])}\r\n".encode()
    authorization = b"Authorization: " + basic_authorization(*_WHO[who]) + b"\r\n"
    return head + b"Host: " + host + b"\r\n" + authorization + _MORE[more] + b"\r\n" + _BODIES[body]


class Site:
    """
    A site whose callers change.

    @ivar namespace: of the agent that the token belongs to; empty for none.
    """

    def __init__(self, memo: HeadMemo, guard: Callable[[Site], IAuthenticator]) -> None:
        self.clock, self.auditor, self.loaded, self.namespace = Clock(), RecordingAuditor(), True, "default"
        self.passwords = {"agent": "a", "admin": "b"}
        self.guard = guard(self)
        edge = Dispatcher(
            self.guard,
            Offload(maybeDeferred),
            self.auditor,
            Allowance(self.clock, 8),
            check_loaded=self._check_loaded,
        )
        self.site = site_on(self.clock, edge, SampleApi())
        self.site.head_memo = memo
        self._callers = {name: Conversation(self.site, self.clock, peer) for name, peer in _PEERS.items()}

    def credentials(self) -> Sequence[Credential]:
        """Return the credentials that are valid now."""
        return [Credential.of(name, password, Role(name)) for name, password in self.passwords.items()]

    def find(self, agent_id: str, digest: bytes) -> tuple[str, str] | None:
        """Return the agent that a token belongs to."""
        known = self.namespace and digest == digest_of(b"a1", b"t")
        return ("a1", self.namespace) if known else None

    def _check_loaded(self) -> None:
        if not self.loaded:
            raise Unavailable("starting", "The controller is starting.")

    def step(self, what: str, *request: str) -> bytes:
        """Let something happen; return the answer to a request, without what differs in each answer."""
        self.clock.advance(0.5)
        if what == "send":
            *texts, peer = request
            caller = self._callers[peer]
            before = len(caller.wire.sent)
            caller.send(_request(*texts))
            return _VARYING.sub(rb"\1", bytes(caller.wire.sent[before:]))
        if what == "renew" and isinstance(self.guard, BasicAuth):
            self.passwords["admin"] = "x" if self.passwords["admin"] == "b" else "b"
            self.guard.renew(self.credentials(), self.clock.seconds())
        elif what in ("move", "revoke"):
            self.namespace = {"move": "blue", "revoke": ""}[what]
        elif what in ("load", "unload"):
            self.loaded = what == "load"
        elif what == "wait":
            self.clock.advance(60)
        return b""

    def noted(self) -> object:
        """Return what the requests left behind: counts and refused attempts."""
        attempts = [
            (each.who, each.action, each.target, each.namespace, each.subject, each.peer, type(error))
            for each, error in self.auditor.audit_log
        ]
        return self.site.request_metrics._requests, attempts


def _passwords(site: Site) -> IAuthenticator:
    return BasicAuth(site.credentials(), Throttle(site.clock, 4), site.find)


def _this_machine(site: Site) -> IAuthenticator:
    return LoopbackAuth(Principal.shared("local", Role.ADMIN))


class AdmissionTests(SynchronousTestCase):
    """L{Gate}."""

    @settings(max_examples=budget(150, 2000), deadline=None, database=None)
    @given(STEPS, st.sampled_from([_passwords, _passwords, _this_machine]))
    def test_a_kept_admission_changes_no_answer(
        self, steps: list[tuple[str, ...]], guard: Callable[[Site], IAuthenticator]
    ) -> None:
        keeping, checking = Site(HeadMemo(), guard), Site(HeadMemo(0), guard)
        for step in steps:
            self.assertEqual(keeping.step(*step), checking.step(*step), step)
        self.assertEqual(keeping.noted(), checking.noted())

    def _send(self, site: Site, who: str, times: int = 4) -> list[bytes]:
        """Return the status lines of the same change, sent several times."""
        step = "send", "POST", "/names?namespace=blue", who, "json", "good", "here"
        return [site.step(*step).split(b"\r\n")[0] for _ in range(times)]

    def test_an_admission_ends_with_its_password(self) -> None:
        site = Site(HeadMemo(), _passwords)
        self.assertEqual(self._send(site, "admin"), [b"HTTP/1.1 200 OK"] * 4)
        site.step("renew")
        self.assertEqual(self._send(site, "admin", 1), [b"HTTP/1.1 401 Unauthorized"])
        site.step("renew")
        self.assertEqual(self._send(site, "admin", 1), [b"HTTP/1.1 200 OK"])

    def test_memory_that_is_not_loaded_refuses_a_kept_admission(self) -> None:
        site = Site(HeadMemo(), _passwords)
        self._send(site, "admin")
        site.step("unload")
        self.assertEqual(self._send(site, "admin", 1), [b"HTTP/1.1 503 Service Unavailable"])
        [(attempt, _)] = site.auditor.audit_log
        # The place of a request is found later.
        self.assertEqual((attempt.who, attempt.namespace), ("admin", ""))

    def test_an_admission_at_a_unix_socket_is_none_at_an_address(self) -> None:
        site = Site(HeadMemo(), _this_machine)
        step = "send", "POST", "/names", "admin", "host", "good"
        for _ in range(3):
            self.assertIn(b"200 OK", site.step(*step, "socket"))
        self.assertIn(b"403 Forbidden", site.step(*step, "here"))

    def test_a_known_head_is_checked_once(self) -> None:
        """The property holds for admissions that are kept, not for want of them."""
        asked: list[str] = []

        class Counting(BasicAuth):
            def prepare(self, request):  # type: ignore[no-untyped-def]
                asked.append(request.uri.decode())
                return super().prepare(request)

        site = Site(HeadMemo(), lambda site: Counting(site.credentials()))
        self._send(site, "admin", 6)
        self.assertEqual(len(asked), 2)
