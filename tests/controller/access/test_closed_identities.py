"""An empty password closes its identity; API tokens take its place."""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import Attempt
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from confd.web.auth.principals import Grant, Role
from tests.controller.harness import ADMIN, AGENT, ControllerHarness


class ClosedIdentityTests(SynchronousTestCase):
    """Controllers on one store, with and without passwords."""

    def harness(self, **settings: str) -> ControllerHarness:
        """Start a controller."""
        harness = ControllerHarness(self.store, **settings)
        self.addCleanup(harness.stop)
        return harness

    def setUp(self) -> None:
        self.store = MemoryStore(a_draft(poll_interval=30), seconds=lambda: 0.0)

    def test_nobody_enters_with_an_empty_password(self) -> None:
        harness = self.harness(ADMIN_PASSWORD="", AGENT_PASSWORD="")
        for name, password in (ADMIN, AGENT, ("admin", ""), ("agent", ""), ("", "")):
            reply = harness.caller().get("/api/v1/config", auth=(name, password))
            self.assertEqual((reply.status, reply.code), (401, "wrong_credentials"))
            body = {"username": name, "password": password}
            headers = {"Origin": "http://localhost", "Host": "localhost"}
            self.assertIn(harness.caller().post("/signin", json=body, headers=headers).status, (401, 422))

    def test_one_empty_password_leaves_the_other_identity(self) -> None:
        harness = self.harness(AGENT_PASSWORD="")
        self.assertEqual(harness.caller().get("/api/v1/config", auth=ADMIN).status, 200)
        self.assertEqual(harness.caller().get("/api/v1/config", auth=AGENT).status, 401)
        self.assertEqual(harness.caller().get("/ready").json, {"status": "ready"})

    def test_controller_without_an_admin_says_so_until_it_has_one(self) -> None:
        harness = self.harness(ADMIN_PASSWORD="")
        with capturedLogs() as said:
            harness.clock.advance(1)
            self.assertIn("ADMIN_PASSWORD is empty", harness.caller().get("/ready").json["no_admin"])
        self.assertEqual([each["part"] for each in said if "part" in each], ["no_admin"])
        attempt = Attempt("admin", "10.0.0.1", "POST /api/v1/tokens", "boss", "r1", harness.now())
        secret, _ = harness.api_tokens.create("boss", "boss", [Grant(Role.ADMIN)], 60, attempt)
        caller = harness.caller()
        self.assertEqual(caller.get("/api/v1/tokens", headers={"Authorization": f"Bearer {secret}"}).status, 200)
        self.assertEqual(caller.get("/ready").json, {"status": "ready"})
        harness.clock.advance(60)
        self.assertIn("no_admin", harness.caller().get("/ready").json)
