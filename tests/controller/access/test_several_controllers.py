"""API tokens on a controller beside another one that writes to the same store."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from confd.changes import Batch
from confd.controller.feed import REFRESH_INTERVAL_SECONDS, STALE_LIMIT_SECONDS
from confd.testing import a_draft
from tests.controller.access.test_tokens import VIEWER
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.controller.test_several_controllers import SharedStore, SharedStoreTestCase
from tests.conversation import Reply


class CountingStore(SharedStore):
    """
    Counts reads.

    @ivar reads: how often changes were read.
    """

    reads = 0

    def changes(self, after: int) -> Deferred[Batch]:
        self.reads += 1
        return super().changes(after)


class ElsewhereTests(SharedStoreTestCase):
    """Tokens that another controller creates and revokes."""

    store: Any

    def setUp(self) -> None:
        self.store = CountingStore(a_draft(1, poll_interval=30))
        self.harness = ControllerHarness(self.store)
        self.harness.clock.advance(1)
        self.elsewhere = ControllerHarness(self.store, clock=self.harness.clock)
        self.harness.clock.advance(1)
        self.addCleanup(self.harness.stop)
        self.addCleanup(self.elsewhere.stop)

    def create_elsewhere(self, **rest: object) -> Any:
        """Create a token on the other controller."""
        caller = self.elsewhere.caller()
        caller.ask("POST", "/api/v1/tokens", json={"name": "ci", "grants": VIEWER} | rest, auth=ADMIN)
        self.harness.clock.advance(REFRESH_INTERVAL_SECONDS)
        self.harness.clock.advance(10)
        reply = caller.answer()
        assert reply is not None
        return reply.json

    def poll(self, secret: str) -> Reply:
        """Poll with a token, and let a look at the store end."""
        caller = self.harness.caller()
        caller.ask("GET", "/api/v1/config", headers={"Authorization": f"Bearer {secret}"})
        self.harness.clock.advance(REFRESH_INTERVAL_SECONDS)
        reply = caller.answer()
        assert reply is not None
        return reply

    def test_token_of_another_controller_is_looked_up_before_it_is_refused(self) -> None:
        self.assertEqual(self.poll(self.create_elsewhere()["token"]).status, 200)

    def test_unknown_token_is_refused_after_the_look(self) -> None:
        reply = self.poll(f"confd_00000000_{'A' * 43}")
        self.assertEqual((reply.status, reply.code), (401, "wrong_credentials"))

    def test_look_that_fails_is_no_refusal_of_the_token(self) -> None:
        made = self.create_elsewhere()
        self.store.readable = False
        reply = self.poll(made["token"])
        self.assertEqual((reply.status, reply.code), (503, "storage_unavailable"))

    def test_flood_of_unknown_tokens_reads_the_store_seldom(self) -> None:
        before = self.store.reads
        callers = [self.harness.caller() for _ in range(200)]
        for number, caller in enumerate(callers):
            caller.ask("GET", "/api/v1/config", headers={"Authorization": f"Bearer confd_{number:08x}_{'A' * 43}"})
        self.harness.clock.pump([0.05] * 20)
        self.assertLessEqual(self.store.reads - before, 21)

    def test_known_token_is_refused_once_the_controller_is_stale(self) -> None:
        secret = self.create_elsewhere()["token"]
        self.assertEqual(self.poll(secret).status, 200)
        self.store.readable = False
        for passed, status in ((STALE_LIMIT_SECONDS / 2, 200), (STALE_LIMIT_SECONDS, 503)):
            self.harness.clock.pump([1] * int(passed))
            self.assertEqual(self.poll(secret).status, status)
        self.assertEqual(self.poll(secret).code, "controller_stale")

    def test_repeated_poll_notices_that_the_controller_is_stale(self) -> None:
        """The response cache answers it until then."""
        secret = self.create_elsewhere()["token"]
        self.poll(secret)
        caller = self.harness.caller()
        headers = {"Authorization": f"Bearer {secret}"}
        self.assertEqual([caller.get("/api/v1/config", headers=headers).status for _ in range(2)], [200, 200])
        self.store.readable = False
        self.harness.clock.pump([1] * int(STALE_LIMIT_SECONDS + 2))
        self.assertEqual(self.harness.caller().get("/api/v1/config", headers=headers).status, 503)

    def test_token_of_an_agent_is_refused_once_the_controller_is_stale(self) -> None:
        harness = ControllerHarness(self.store, clock=self.harness.clock, STALE_LIMIT="60")
        self.addCleanup(harness.stop)
        self.harness.clock.advance(1)
        caller = harness.caller()
        caller.ask("POST", "/api/v1/register", json={"hostname": "a"}, auth=AGENT)
        self.harness.clock.pump([REFRESH_INTERVAL_SECONDS, 10])
        joined = caller.answer()
        assert joined is not None
        self.assertEqual(joined.status, 200, joined.json)
        own = (joined.json["agent_id"], joined.json["token"])
        poller = harness.caller()
        self.assertEqual([poller.get("/api/v1/config", auth=own).status for _ in range(2)], [200, 200])
        self.store.readable = False
        self.harness.clock.pump([1] * 62)
        reply = harness.caller().get("/api/v1/config", auth=own)
        self.assertEqual((reply.status, reply.code), (503, "controller_stale"))
        self.assertRegex(reply.json["error"], "lost its database [67]. s ago")
        # The shared identity cannot be revoked.
        self.assertEqual(harness.caller().get("/api/v1/config", auth=AGENT).status, 200)
