"""Tests of L{confd.controller.access.operator_log}."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.access.operator_log import OperatorLog
from tests.controller.harness import ADMIN, ControllerHarness


class OperatorLogTests(SynchronousTestCase):
    """The lines of a controller whose operator changes things over HTTP."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.addCleanup(self.harness.stop)
        self.agent = self.harness.join()
        self.tag = self.harness.identity.cluster_id[:8]

    def said(self, *calls: tuple[str, str, Any]) -> list[str]:
        """Return the lines about some changes."""
        with capturedLogs() as events:
            for method, path, body in calls:
                reply = self.harness.caller().request(
                    method, path, auth=ADMIN, **({} if body is None else {"json": body})
                )
                self.assertIn(reply.status, (200, 201), reply)
        return [formatEvent(each) for each in events if each["log_namespace"].endswith("OperatorLog")]

    def test_each_change_of_an_operator_is_one_line(self) -> None:
        first, second = {"url": "http://a"}, {"name": "edge", "config": {"url": "http://b"}}
        self.assertEqual(
            self.said(
                ("POST", "/api/v1/config", first),
                ("POST", "/api/v1/config/rollback", {"version": 1}),
                ("POST", "/api/v1/namespaces", second),
                ("DELETE", "/api/v1/namespaces/edge", None),
                ("DELETE", f"/api/v1/agents/{self.agent}?block=true", None),
                ("DELETE", f"/api/v1/blocked/{self.agent}", None),
            ),
            [
                f"published version 2 of default ({self.tag}.1.2), by admin",
                f"published version 3 of default, with the document of version 1 ({self.tag}.1.3), by admin",
                f"published version 1 of edge ({self.tag}.1.1), by admin",
                "retired namespace edge",
                f"agent {self.agent} is blocked",
                f"agent {self.agent} is unblocked",
            ],
        )

    def test_preview_and_registration_are_no_changes_of_an_operator(self) -> None:
        with capturedLogs() as events:
            self.harness.join(agent_id=self.agent)
        self.assertEqual([each for each in events if each["log_namespace"].endswith("OperatorLog")], [])
        self.assertEqual(self.said(("POST", "/api/v1/config?dry_run=true", {"url": "http://a"})), [])

    def test_change_that_is_applied_twice_is_logged_once(self) -> None:
        self.said(("POST", "/api/v1/config", {"url": "http://a"}))
        log = OperatorLog()
        with capturedLogs() as events:
            for change in (*self.harness.changes(), *self.harness.changes()):
                log.apply(change)
        self.assertEqual(len([each for each in events if "published" in each["log_format"]]), 1)
