"""A controller beside another one that writes to the same store: it answers "no" only after a look at the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import Batch
from confd.controller.feed import APPLY_WAIT_SECONDS, REFRESH_INTERVAL_SECONDS, RETRY_SECONDS, STALE_LIMIT_SECONDS
from confd.controller.streams.stream_ends import LIFE_SECONDS, SPREAD_SECONDS
from confd.errors import Unavailable
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.testing import MemoryStore, a_draft
from confd.web.auth.basic import digest_of
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation, Reply

CONFIG = "/api/v1/config"


class SharedStore(MemoryStore):
    """
    A store of several controllers: it gives no hints, and its reads can fail.

    @ivar readable: whether changes can be read.
    """

    interval: Any = 3600.0
    readable = True

    def subscribe(self, hint: Callable[[], object]) -> None:
        super().subscribe(lambda: None)

    def changes(self, after: int) -> Deferred[Batch]:
        if not self.readable:
            return fail(Unavailable("storage_unavailable", "The database is away."))
        return super().changes(after)


class SharedStoreTestCase(SynchronousTestCase):
    """A controller that has loaded version 1 of the default namespace; later writes come from elsewhere."""

    def setUp(self) -> None:
        self.store = SharedStore(a_draft(1, poll_interval=30))
        self.harness = ControllerHarness(self.store)
        self.harness.clock.advance(1)

    def publish_elsewhere(self, number: int = 2) -> str:
        """Publish as another controller would; return the tag."""
        revision = self.successResultOf(self.store.publish(a_draft(number))).value
        return str(revision.configuration.tag)

    def register_elsewhere(self, token: str = "secret", namespace: str = DEFAULT_NAMESPACE) -> None:
        """Register the agent C{a} as another controller would."""
        digest = digest_of(b"a", token.encode())
        registration = Registration(agent_id="a", namespace=namespace)
        self.successResultOf(self.store.register(registration, digest, self.harness.now()))

    def refresh(self) -> None:
        """Let the controller read what the others wrote."""
        refreshed = self.harness.feed.refresh()
        self.harness.clock.advance(REFRESH_INTERVAL_SECONDS)
        self.successResultOf(refreshed)

    def ask(self, method: str, path: str, auth: tuple[str, str] = ADMIN, **carried: Any) -> Reply:
        """Ask, and let a look at the store end."""
        caller = self.harness.caller()
        caller.ask(method, path, auth=auth, **carried)
        self.harness.clock.pump([REFRESH_INTERVAL_SECONDS] * 3)
        reply = caller.answer()
        if reply is None:
            # Nothing hints at the change of the request itself.
            self.harness.clock.advance(APPLY_WAIT_SECONDS)
            reply = caller.answer()
        assert reply is not None, path
        return reply


class NegativeAnswerTests(SharedStoreTestCase):
    """What this controller does not know yet."""

    def test_positive_answers_come_from_memory(self) -> None:
        self.publish_elsewhere()
        self.assertEqual(self.ask("GET", CONFIG).json["version"], 1)

    def test_poll_that_names_a_newer_tag(self) -> None:
        tag = self.publish_elsewhere()
        reply = self.ask("GET", CONFIG, AGENT, headers={"If-None-Match": f'"{tag}"'})
        self.assertEqual((reply.status, reply.headers["etag"]), (304, f'"{tag}"'))

    def test_stream_that_names_a_newer_tag(self) -> None:
        tag = self.publish_elsewhere()
        caller = self.harness.caller()
        caller.ask("GET", "/api/v1/stream", auth=AGENT, headers={"Last-Event-ID": tag})
        self.harness.clock.advance(REFRESH_INTERVAL_SECONDS)
        self.assertEqual(self.harness.tag(), tag)

    def test_unknown_namespace(self) -> None:
        self.successResultOf(self.store.create_namespace(a_draft(1, namespace="blue")))
        for path in (CONFIG, "/api/v1/config/history", "/api/v1/agents", "/api/v1/config/convergence"):
            self.setUp()
            self.successResultOf(self.store.create_namespace(a_draft(1, namespace="blue")))
            self.assertEqual(self.ask("GET", f"{path}?namespace=blue").status, 200, path)
            self.assertEqual(self.ask("GET", f"{path}?namespace=no").code, "unknown_namespace", path)

    def test_registration_for_an_unknown_namespace(self) -> None:
        self.successResultOf(self.store.create_namespace(a_draft(1, namespace="blue")))
        reply = self.ask("POST", "/api/v1/register", AGENT, json={"hostname": "a", "namespace": "blue"})
        self.assertEqual(reply.status, 200)

    def test_report_of_an_unknown_version(self) -> None:
        self.register_elsewhere()
        self.refresh()
        tag = self.publish_elsewhere()
        body = {"agent_id": "a", "version": tag, "state": "applied"}
        self.assertEqual(self.ask("POST", "/api/v1/report", AGENT, json=body).status, 200)

    def test_convergence_of_an_unknown_version(self) -> None:
        self.publish_elsewhere()
        self.assertEqual(self.ask("GET", "/api/v1/config/versions/2/convergence").json["version"], 2)
        self.assertEqual(self.ask("GET", "/api/v1/config/versions/3/convergence").code, "unknown_version")

    def test_dry_run(self) -> None:
        self.publish_elsewhere()
        reply = self.ask("POST", f"{CONFIG}?dry_run=true", json={"url": "http://new/"})
        self.assertEqual(reply.json["version"], 3)

    def test_diff(self) -> None:
        self.publish_elsewhere()
        self.assertEqual(self.ask("GET", "/api/v1/config/diff?from=1").json["to"], 2)

    def test_failed_look_is_no_negative_answer(self) -> None:
        self.store.readable = False
        named = {"headers": {"X-Agent-ID": "a"}}
        for method, path, auth, rest in (
            ("GET", f"{CONFIG}?namespace=blue", ADMIN, {}),
            ("GET", CONFIG, ("a", "secret"), {}),
            ("GET", CONFIG, AGENT, named),
            ("GET", "/api/v1/agents/a", ADMIN, {}),
            ("POST", "/api/v1/report", AGENT, {"json": {"agent_id": "a", "version": 1, "state": "applied"}}),
        ):
            reply = self.ask(method, path, auth, **rest)
            self.assertEqual((reply.status, reply.code), (503, "storage_unavailable"), path)


class AgentOfAnotherControllerTests(SharedStoreTestCase):
    """An agent that registered at another controller a moment ago."""

    def setUp(self) -> None:
        super().setUp()
        self.register_elsewhere()

    def test_poll_with_its_token(self) -> None:
        self.assertEqual(self.ask("GET", CONFIG, ("a", "secret")).status, 200)
        self.assertEqual(self.ask("GET", CONFIG, ("a", "wrong")).code, "wrong_credentials")

    def test_poll_with_its_id(self) -> None:
        reply = self.ask("GET", CONFIG, AGENT, headers={"X-Agent-ID": "a"})
        self.assertEqual((reply.status, reply.headers.get("x-agent-known")), (200, None))
        reply = self.ask("GET", CONFIG, AGENT, headers={"X-Agent-ID": "b"})
        self.assertEqual((reply.status, reply.headers.get("x-agent-known")), (200, "false"))

    def test_report(self) -> None:
        body = {"agent_id": "a", "version": 1, "state": "applied"}
        self.assertEqual(self.ask("POST", "/api/v1/report", AGENT, json=body).status, 200)
        reply = self.ask("POST", "/api/v1/report", AGENT, json={**body, "agent_id": "b"})
        self.assertEqual((reply.status, reply.code), (404, "unknown_agent"))

    def test_report_after_a_move(self) -> None:
        self.successResultOf(self.store.create_namespace(a_draft(1, namespace="blue")))
        self.refresh()
        self.register_elsewhere(namespace="blue")
        body = {"agent_id": "a", "version": 1, "state": "applied", "namespace": "blue"}
        self.assertEqual(self.ask("POST", "/api/v1/report", AGENT, json=body).status, 200)

    def test_shown_labelled_and_forgotten(self) -> None:
        self.assertEqual(self.ask("GET", "/api/v1/agents/a").json["id"], "a")
        self.setUp()
        self.assertEqual(self.ask("POST", "/api/v1/agents/a/labels", json={"rack": "7"}).status, 200)
        self.setUp()
        self.assertEqual(self.ask("DELETE", "/api/v1/agents/a").status, 200)
        self.assertEqual(self.ask("GET", "/api/v1/agents/b").code, "unknown_agent")

    def test_blocked(self) -> None:
        self.successResultOf(self.store.block("a"))
        self.assertEqual(self.ask("DELETE", "/api/v1/blocked/a").status, 200)
        self.assertEqual(self.ask("DELETE", "/api/v1/blocked/b").code, "not_blocked")


class ReadReadinessTests(SharedStoreTestCase):
    """C{/ready/read}."""

    def ready(self, path: str = "/ready/read") -> int:
        """Return the status."""
        return int(self.harness.caller().get(path).status)

    def test_ready_while_the_storage_fails(self) -> None:
        self.assertEqual(self.harness.caller().get("/ready/read").json, {"status": "ready"})
        self.store.broken = "The disk is full."
        self.assertEqual((self.ready("/ready"), self.ready()), (503, 200))

    def test_not_before_the_configurations_are_loaded(self) -> None:
        self.harness = ControllerHarness(started=False)
        self.assertEqual(self.ready(), 503)
        self.harness.start()
        self.assertEqual(self.ready(), 200)

    def test_not_while_the_controller_stops(self) -> None:
        self.successResultOf(self.harness.stop())
        self.assertEqual(self.ready(), 503)

    def test_not_after_the_changes_could_not_be_read_for_long(self) -> None:
        self.store.readable = False
        self.harness.feed.hint()
        self.harness.clock.advance(STALE_LIMIT_SECONDS - 1)
        self.assertEqual(self.ready(), 200)
        self.harness.clock.advance(2)
        reply = self.harness.caller().get("/ready/read")
        self.assertEqual((reply.status, [each["part"] for each in reply.json["details"]]), (503, ["feed"]))
        self.store.readable = True
        self.harness.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.ready(), 200)


class StreamEndTests(SharedStoreTestCase):
    """Streams beside other controllers."""

    def listen(self, auth: tuple[str, str] = AGENT, path: str = "/api/v1/stream") -> Conversation:
        """Open a stream."""
        caller = self.harness.caller()
        caller.ask("GET", path, auth=auth)
        self.harness.clock.pump([REFRESH_INTERVAL_SECONDS] * 3)
        self.assertFalse(ended(caller))
        return caller

    def test_streams_of_token_holders_end_in_turn_once_tokens_cannot_be_checked(self) -> None:
        self.register_elsewhere()
        holders, shared = [self.listen(("a", "secret")) for _ in range(60)], self.listen()
        self.refresh()
        self.store.readable = False
        self.harness.feed.hint()
        self.harness.clock.pump([1.0] * (round(STALE_LIMIT_SECONDS) - 2))
        self.assertFalse(any(map(ended, holders)))
        most, before = 0, 0
        for _ in range(round(SPREAD_SECONDS) + 4):
            self.harness.clock.advance(1)
            gone = sum(map(ended, holders))
            most, before = max(most, gone - before), gone
        self.assertEqual((before, ended(shared)), (60, False))
        self.assertLessEqual(most, 4)

    def test_streams_stay_where_the_database_returns(self) -> None:
        self.register_elsewhere()
        caller = self.listen(("a", "secret"))
        self.store.readable = False
        self.harness.feed.hint()
        self.harness.clock.pump([1.0] * (round(STALE_LIMIT_SECONDS) - 2))
        self.store.readable = True
        self.harness.clock.pump([1.0] * 60)
        self.assertFalse(ended(caller))

    def test_each_stream_ends_after_a_while(self) -> None:
        callers = [self.listen(path=path) for path in ["/api/v1/stream"] * 10] + [self.listen(ADMIN, "/api/v1/events")]
        self.harness.clock.advance(LIFE_SECONDS[0] - 1)
        self.assertFalse(any(map(ended, callers)))
        self.harness.clock.pump([60.0] * 30)
        some = sum(map(ended, callers))
        self.assertTrue(0 < some < len(callers), some)
        self.harness.clock.pump([60.0] * 31)
        self.assertTrue(all(map(ended, callers)))

    def test_stream_of_a_sole_controller_stays(self) -> None:
        self.harness = ControllerHarness()
        caller = self.listen()
        self.harness.clock.pump([60.0] * 100)
        self.assertFalse(ended(caller))


def ended(caller: Conversation) -> bool:
    """Return whether a stream is over."""
    return caller.replies()[-1].whole
