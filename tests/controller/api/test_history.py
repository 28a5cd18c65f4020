"""The history, one version of it, and what two differ in, as a caller meets them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

CONFIG = "/api/v1/config"
LONG = "99999999999999999999"


class HistoryTests(SynchronousTestCase):
    """GET C{/api/v1/config/history} and C{/api/v1/config/versions/{v}}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def publish(self, count: int, query: str = "") -> None:
        for number in range(count):
            self.harness.caller().post(CONFIG + query, json={"url": f"http://{number}/"}, auth=ADMIN)

    def get(self, path: str) -> Reply:
        return self.harness.caller().get(CONFIG + path, auth=ADMIN)

    def versions(self, query: str) -> Any:
        body = self.get(f"/history{query}").json
        return [each["version"] for each in body["items"]], body.get("next")

    def test_line(self) -> None:
        """All but the document; version 1 is among them."""
        self.harness.clock.advance(1)
        self.publish(1, "?comment=why&poll_interval=7")
        newest, first = self.get("/history").json["items"]
        self.assertEqual(
            newest,
            {
                "version": 2,
                "epoch": 1,
                "tag": self.harness.tag(),
                "created_at": "2026-11-24T12:00:01.000Z",
                "author": "admin",
                "comment": "why",
                "checksum": self.harness.snapshot.require("default").configuration.document.checksum,
                "poll_interval_seconds": 7,
            },
        )
        self.assertEqual((first["version"], first["poll_interval_seconds"]), (1, 30))

    def test_pages(self) -> None:
        self.publish(6)
        for query, expected in (
            ("", ([7, 6, 5, 4, 3, 2, 1], None)),
            ("?limit=3", ([7, 6, 5], 5)),
            ("?limit=3&before=5", ([4, 3, 2], 2)),
            ("?limit=3&before=2", ([1], None)),
            ("?limit=4&before=5", ([4, 3, 2, 1], None)),
            ("?before=1", ([], None)),
            (f"?limit=1&before={LONG}", ([7], 7)),
        ):
            self.assertEqual(self.versions(query), expected, query)

    def test_bad_pages(self) -> None:
        for query in (
            "limit=0",
            "limit=501",
            "limit=-1",
            "limit=x",
            "limit=1e1",
            "before=0",
            "before=-1",
            "before=",
            "x=1",
        ):
            self.assertEqual(self.get(f"/history?{query}").status, 400, query)
        self.assertEqual(self.get("/history?namespace=no").code, "unknown_namespace")

    def test_version(self) -> None:
        self.publish(1)
        self.publish(1, "?comment=later")
        there = self.get("/versions/2").json
        self.assertEqual((there["version"], there["epoch"], there["data"]), (2, 1, {"url": "http://0/"}))
        self.assertEqual((there["author"], there["comment"]), ("admin", ""))
        self.assertNotIn("rollback_of", there)
        # What a poll says of the current version is said here too.
        polled = self.harness.caller().get(CONFIG, auth=AGENT).json
        there = self.get("/versions/3").json
        for name in polled.keys() - {"signing_key", "signing_keys"}:
            self.assertEqual(there[name], polled[name], name)

    def test_version_that_is_not_there(self) -> None:
        for version in ("0", "2", LONG):
            reply = self.get(f"/versions/{version}")
            self.assertEqual((reply.status, reply.code), (404, "unknown_version"), version)
        for version in ("-1", "x", "1.0", "1/x", ""):
            self.assertEqual(self.get(f"/versions/{version}").status, 404, version)
        self.assertEqual(self.get("/versions/1?namespace=no").code, "unknown_namespace")

    def test_pruned(self) -> None:
        self.harness = ControllerHarness(MemoryStore(a_draft(poll_interval=30), keep=2))
        self.publish(3)
        self.assertEqual(self.versions(""), ([4, 3], None))
        for path in ("/versions/2", "/diff?from=2", "/diff?from=3&to=1"):
            reply = self.get(path)
            self.assertEqual((reply.status, reply.code), (410, "version_pruned"), path)

    def test_retired(self) -> None:
        """Nobody is shown the history of a namespace that is not there; made again, it goes on."""
        body = {"name": "blue", "config": {"url": "http://x/"}}
        self.harness.caller().post("/api/v1/namespaces", json=body, auth=ADMIN)
        self.harness.caller().delete("/api/v1/namespaces/blue", auth=ADMIN)
        for path in ("/history", "/versions/1", "/diff?from=1"):
            separator = "&" if "?" in path else "?"
            self.assertEqual(self.get(f"{path}{separator}namespace=blue").code, "unknown_namespace")
        self.harness.caller().post("/api/v1/namespaces", json=body, auth=ADMIN)
        self.assertEqual(self.versions("?namespace=blue"), ([2, 1], None))

    def test_who_may(self) -> None:
        for path in ("/history", "/versions/1", "/diff?from=1"):
            for auth, status in ((None, 401), (AGENT, 403)):
                self.assertEqual(self.harness.caller().get(CONFIG + path, auth=auth).status, status)

    def test_starting(self) -> None:
        self.harness = ControllerHarness(started=False)
        for path in ("/history", "/versions/1", "/diff?from=1"):
            self.assertEqual(self.get(path).code, "starting")


class DiffTests(SynchronousTestCase):
    """GET C{/api/v1/config/diff}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        for document in ({"url": "http://a/", "list": [1, 2]}, {"url": "http://a/", "list": [1, 3]}):
            self.harness.caller().post(CONFIG, json=document, auth=ADMIN)

    def get(self, query: str) -> Reply:
        return self.harness.caller().get(f"{CONFIG}/diff?{query}", auth=ADMIN)

    def test_two_versions(self) -> None:
        body = self.get("from=3&to=2").json
        self.assertEqual((body["from"], body["to"]), (3, 2))
        self.assertEqual(body["patch"], [{"op": "replace", "path": "/list/1", "value": 2}])
        self.assertTrue(body["text"].startswith("--- version 3\n+++ version 2\n"))

    def test_with_the_current_configuration(self) -> None:
        self.assertEqual(self.get("from=2").json["to"], 3)
        same = self.get("from=3").json
        self.assertEqual((same["patch"], same["text"]), ([], ""))

    def test_bad_versions(self) -> None:
        for query in ("", "to=2", "from=0", "from=-1", "from=x", "from=1e0", "from=1&to=0", "from=1&to=", "from=1&x=1"):
            self.assertEqual(self.get(query).status, 400, query)
        for query in ("from=4", "from=1&to=4", f"from={LONG}", f"from=1&to={LONG}"):
            self.assertEqual(self.get(query).code, "unknown_version", query)

    def test_large_ones_are_compared_elsewhere(self) -> None:
        """The reactor goes on meanwhile."""
        harness = ControllerHarness()
        harness.caller().post(CONFIG, json={"url": "http://a/", "pad": "x" * 10_000}, auth=ADMIN)
        harness.clock.threaded.clear()
        harness.clock.threads_busy = True
        caller = harness.caller()
        caller.ask("GET", f"{CONFIG}/diff?from=1", auth=ADMIN)
        self.assertIsNone(caller.answer())
        self.assertEqual(len(harness.clock.threaded), 1)
