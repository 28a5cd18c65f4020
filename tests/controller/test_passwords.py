"""A password that is another one from now on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from confd.web.auth.basic import Credential
from confd.web.auth.principals import Role
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation

NEW = ("admin", "another one")


class RenewTests(SynchronousTestCase):
    """What follows once the guard knows another one."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def renew(self) -> None:
        """The admin has another password."""
        credentials = [Credential.of(*AGENT, Role.AGENT), Credential.of(*NEW, Role.ADMIN)]
        self.harness.site.cut(self.harness.auth.renew(credentials, self.harness.clock.seconds()))
        self.harness.clock.advance(0)

    def status(self, path: str, auth: tuple[str, str]) -> int:
        """Of a GET."""
        return self.harness.caller().get(path, auth=auth).status

    def test_at_once(self) -> None:
        """The old one is wrong, the new one right, and others do not notice."""
        self.renew()
        statuses = [self.status("/api/v1/agents", each) for each in (ADMIN, NEW, ADMIN, NEW)]
        self.assertEqual(statuses, [401, 200, 401, 200])
        self.assertEqual(self.status("/api/v1/config", AGENT), 200)

    def test_remembered(self) -> None:
        """What was let in with the same bytes a moment ago is not any more."""
        tag = self.harness.tag()
        statuses = []
        for _ in range(3):
            reply = self.harness.caller().get("/api/v1/config", auth=ADMIN, headers={"If-None-Match": f'"{tag}"'})
            statuses.append((reply.status, self.harness.site.response_cache.answered))
        self.assertEqual(statuses, [(304, 0), (304, 1), (304, 2)])
        self.renew()
        self.assertEqual(self.status("/api/v1/config", NEW), 200)
        reply = self.harness.caller().get("/api/v1/config", auth=ADMIN, headers={"If-None-Match": f'"{tag}"'})
        self.assertEqual((reply.status, self.harness.site.response_cache.answered), (401, 2))

    def in_flight(self, method: str, auth: tuple[str, str] = ADMIN) -> Conversation:
        """A request of which the last byte of the body is still to come."""
        caller = self.harness.caller()
        caller.send(
            b"%s /api/v1/config HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: 19\r\n\r\n"
            % (method.encode(), basic_authorization(*auth))
            + b'{"url":"http://x/"'
        )
        return caller

    def test_in_flight(self) -> None:
        """A change that began with the old one is not refused half-way; what is read, or begins later, is."""
        before = [self.in_flight("POST"), self.in_flight("GET")]
        self.harness.clock.advance(1)
        self.renew()
        self.renew()
        statuses = []
        for caller in (*before, self.in_flight("POST"), self.in_flight("POST", NEW)):
            caller.send(b"}")
            self.harness.clock.advance(0)
            answer = caller.answer()
            statuses.append(answer and answer.status)
        self.assertEqual(statuses, [200, 401, 401, 200])

    def stream(self, path: str, auth: tuple[str, str]) -> Conversation:
        """One that is open."""
        caller = self.harness.caller()
        caller.ask("GET", path, auth=auth)
        (begun,) = caller.replies()
        self.assertEqual(begun.status, 200)
        return caller

    def test_streams(self) -> None:
        """What was opened with the old one ends; with the password of others, and with tokens, it goes on."""
        joined = self.harness.caller().post("/api/v1/register", json={}, auth=AGENT).json
        old = [self.stream(path, ADMIN) for path in ("/api/v1/events", "/api/v1/stream")]
        others = [self.stream("/api/v1/stream", auth) for auth in (AGENT, (joined["agent_id"], joined["token"]))]
        waiting = self.harness.caller()
        waiting.ask("POST", "/api/v1/config?wait=applied&timeout=5", json={"url": "http://x/"}, auth=ADMIN)
        self.renew()
        self.assertEqual([each.closed for each in old], [True, True])
        self.assertEqual([each.closed for each in others], [False, False])
        self.harness.clock.pump([1.0] * 6)
        answer = waiting.answer()
        self.assertEqual(answer and answer.status, 202, "a change that was let in is answered")

    def test_same(self) -> None:
        """Where nothing is another one, nobody notices."""
        caller = self.stream("/api/v1/events", ADMIN)
        self.renew()
        revalidate = self.stream("/api/v1/events", NEW)
        self.renew()
        self.assertEqual((caller.closed, revalidate.closed), (True, False))
