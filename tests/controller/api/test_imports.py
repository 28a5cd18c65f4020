"""The import of another system's history."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

CONFIG, IMPORT = "/api/v1/config", "/api/v1/config/import"


def versions(*numbers: int) -> list[dict[str, Any]]:
    """Versions as a client sends them."""
    return [{"version": each, "config": {"url": f"https://example.com/{each}"}} for each in numbers]


class ImportTests(SynchronousTestCase):
    """POST C{/api/v1/config/import}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.addCleanup(lambda: self.successResultOf(self.harness.stop()))

    def take(self, *numbers: int, query: str = "", auth: Any = ADMIN, **more: Any) -> Reply:
        return self.harness.caller().post(IMPORT + query, json={"versions": versions(*numbers), **more}, auth=auth)

    def get(self, path: str, **more: Any) -> Reply:
        return self.harness.caller().get(path, auth=ADMIN, **more)

    def history(self) -> list[Any]:
        return [each["version"] for each in self.get(f"{CONFIG}/history").json["items"]]

    def test_all_versions(self) -> None:
        """Numbers, interval and times are kept, and the next publish follows."""
        body = versions(2, 3)
        body[0]["created_at"] = "2025-03-04T05:06:07+02:00"
        reply = self.harness.caller().post(IMPORT, json={"versions": body, "poll_interval_seconds": 10}, auth=ADMIN)
        self.assertEqual((reply.status, reply.json["version"]), (200, 3), reply)
        current = self.get(CONFIG).json
        self.assertEqual((current["version"], current["poll_interval_seconds"]), (3, 10))
        self.assertEqual(current["data"], body[1]["config"])
        self.assertEqual(self.history(), [3, 2, 1])
        self.assertEqual(self.get(f"{CONFIG}/versions/2").json["created_at"], "2025-03-04T03:06:07.000Z")
        made = self.harness.caller().post(CONFIG, json={"url": "https://example.com/next"}, auth=ADMIN)
        self.assertEqual(made.json["version"], 4)

    def test_missing_versions_count_as_pruned(self) -> None:
        self.assertEqual(self.take(40, 41).json["version"], 41)
        self.assertEqual(self.history(), [41, 40])
        for number in (1, 39):
            self.assertEqual(self.get(f"{CONFIG}/versions/{number}").status, 410)

    def test_go_agent_that_holds_the_current_number(self) -> None:
        """It keeps the number, and takes the next publish."""
        self.take(41)
        asked = {"If-None-Match": "41"}
        self.assertEqual(self.harness.caller().get(CONFIG, auth=AGENT, headers=asked).status, 304)
        self.harness.caller().post(CONFIG, json={"url": "https://example.com/next"}, auth=ADMIN)
        self.assertEqual(self.harness.caller().get(CONFIG, auth=AGENT, headers=asked).json["version"], 42)

    def test_after_a_publish(self) -> None:
        """Refused, unless forced; a lower number then becomes the next one."""
        self.harness.caller().post(CONFIG, json={"url": "https://example.com/new"}, auth=ADMIN)
        refused = self.take(7)
        self.assertEqual((refused.status, refused.json["code"]), (409, "already_published"))
        self.assertEqual(self.take(6, 7, query="?force=true").json["version"], 7)
        self.assertEqual(self.take(2, query="?force=true").json["version"], 8)
        self.assertEqual(self.history(), [8, 7, 6])

    def test_nothing_was_published_there(self) -> None:
        """Its version 1 becomes version 2 here, as this database has a version 1."""
        self.assertEqual(self.take(1).json["version"], 2)

    def test_refused(self) -> None:
        """Bad input changes nothing; agents may not import."""
        for body in (
            {"versions": []}, {"versions": versions(3, 2)}, {"versions": versions(2, 2)}, {"versions": versions(0)},
            {"versions": versions(10**9 + 1)}, {}, {"versions": [{"version": 2, "config": []}]},
            {"versions": versions(2), "poll_interval_seconds": 0},
            {"versions": [{**versions(2)[0], "created_at": "yesterday"}]},
        ):  # fmt: skip
            self.assertEqual(self.harness.caller().post(IMPORT, json=body, auth=ADMIN).status, 400, body)
        unfit = {"versions": [{"version": 2, "config": {"no": "url"}}]}
        self.assertEqual(self.harness.caller().post(IMPORT, json=unfit, auth=ADMIN).status, 422)
        self.assertEqual(self.take(2, auth=AGENT).status, 403)
        self.assertEqual(self.take(2, query="?namespace=none").status, 404)
        self.assertEqual(self.history(), [1])
