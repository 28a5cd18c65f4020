"""A controller beside another one that writes to the same store: it answers "no" only after a look at the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import Batch
from confd.controller.feed import REFRESH_INTERVAL_SECONDS, RETRY_SECONDS, STALE_LIMIT_SECONDS
from confd.errors import Unavailable
from confd.testing import MemoryStore, a_draft
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

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

    def ask(self, method: str, path: str, auth: tuple[str, str] = ADMIN, **carried: Any) -> Reply:
        """Ask, and let a look at the store end."""
        caller = self.harness.caller()
        caller.ask(method, path, auth=auth, **carried)
        self.harness.clock.advance(REFRESH_INTERVAL_SECONDS)
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
        agent_id = self.harness.join()
        tag = self.publish_elsewhere()
        caller = self.harness.caller()
        caller.ask(
            "POST", "/api/v1/report", auth=AGENT, json={"agent_id": agent_id, "version": tag, "state": "applied"}
        )
        self.harness.clock.pump([REFRESH_INTERVAL_SECONDS] * 2)
        reply = caller.answer()
        assert reply is not None
        self.assertEqual(reply.status, 200)

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
        reply = self.ask("GET", f"{CONFIG}?namespace=blue")
        self.assertEqual((reply.status, reply.code), (503, "storage_unavailable"))


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
