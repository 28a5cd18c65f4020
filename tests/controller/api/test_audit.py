"""The audit, as a caller meets it."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import AuditEntry, verify
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

AUDIT = "/api/v1/audit"


class AuditApiTests(SynchronousTestCase):
    """GET C{/api/v1/audit}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def get(self, path: str = AUDIT, auth: tuple[str, str] | None = ADMIN) -> Reply:
        """Ask for it."""
        return self.harness.caller().get(path, auth=auth)

    def publish(self, **carried: Any) -> Reply:
        """Publish something."""
        return self.harness.caller().post("/api/v1/config", json={"url": "https://ip.me"}, **carried)

    def test_empty(self) -> None:
        self.assertEqual(self.get().json, {"items": []})

    def test_done_and_refused(self) -> None:
        """Newest first, as soon as it was answered; the object of a refusal is named as well."""
        refused = self.publish(auth=AGENT)
        [first] = self.get().json["items"]
        done = self.publish(auth=ADMIN)
        [second, revalidate] = self.get().json["items"]
        self.assertEqual(revalidate, first)
        common = {
            "at": "2026-11-24T12:00:00.000Z",
            "peer": "127.0.0.1",
            "action": "POST /api/v1/config",
            "target": "default",
            "namespace": "default",
        }
        expected = {
            "number": 1,
            "who": "agent",
            "subject": "agent",
            "outcome": "forbidden",
            "detail": "",
            "previous": "",
        }
        named = {"request_id": refused.headers["x-request-id"], "hash": first["hash"]}
        self.assertEqual(first, common | expected | named)
        expected = {
            "number": 2,
            "who": "admin",
            "subject": "admin",
            "outcome": "done",
            "detail": self.harness.tag(),
            "previous": first["hash"],
        }
        named = {"request_id": done.headers["x-request-id"], "hash": second["hash"]}
        self.assertEqual(second, common | expected | named)

    def test_pages(self) -> None:
        """They lead from the newest to the first, and can be verified away from here."""
        for _ in range(7):
            self.publish(auth=ADMIN)
        path, entries, pages = f"{AUDIT}?limit=3", list[AuditEntry](), 0
        while path:
            page = self.get(path).json
            entries += msgspec.convert(page["items"], list[AuditEntry])
            path = f"{AUDIT}?limit=3&before={page['next']}" if "next" in page else ""
            pages += 1
        self.assertEqual((pages, [entry.number for entry in entries]), (3, [7, 6, 5, 4, 3, 2, 1]))
        self.assertIsNone(verify(entries, (5, entries[2].hash)).wrong)
        self.assertEqual(self.get(f"{AUDIT}?before={10**30}&limit=1").json["items"][0]["number"], 7)

    def test_mistakes(self) -> None:
        for query in ("limit=0", "limit=501", "limit=x", "before=0", "before=-1", "before=x", "namespace=default"):
            reply = self.get(f"{AUDIT}?{query}")
            self.assertEqual((reply.status, reply.code), (400, "bad_field"), query)

    def test_only_for_the_admin(self) -> None:
        self.assertEqual(self.get(auth=None).status, 401)
        self.assertEqual(self.get(auth=AGENT).status, 403)
        self.assertEqual(self.get().json, {"items": []})

    def test_broken_store(self) -> None:
        """Reading goes on, and what was refused meanwhile comes with the store's return."""
        self.publish(auth=ADMIN)
        self.harness.store.broken = "The disk is full."
        self.assertEqual(self.publish(auth=ADMIN).status, 503)
        self.assertEqual(self.publish(auth=None).status, 401)
        self.assertEqual([entry["outcome"] for entry in self.get().json["items"]], ["done"])
        self.harness.store.broken = None
        outcomes = [entry["outcome"] for entry in self.get().json["items"]]
        self.assertEqual(outcomes, ["unauthenticated", "storage_unavailable", "done"])

    def test_dry_run(self) -> None:
        """One changes nothing and is not on record; who may not even try is."""
        path, document = "/api/v1/config?dry_run=true", {"url": "https://ip.me"}
        self.assertEqual(self.harness.caller().post(path, json=document, auth=ADMIN).status, 200)
        self.assertEqual(self.harness.caller().post(path, json=document, auth=AGENT).status, 403)
        self.assertEqual([entry["outcome"] for entry in self.get().json["items"]], ["forbidden"])

    def test_stop(self) -> None:
        """What was refused in the last second is on record."""
        self.publish(auth=None)
        self.successResultOf(self.harness.stop())
        [entry] = self.successResultOf(self.harness.store.audit(10, None))
        self.assertEqual(entry.outcome, "unauthenticated")

    def test_retry(self) -> None:
        """Each attempt is listed, with the tag that the first one made."""
        headers = {"Idempotency-Key": "k"}
        for _ in range(2):
            self.publish(auth=ADMIN, headers=headers)
        first, second = self.get().json["items"]
        self.assertEqual(first["detail"], second["detail"])
        self.assertNotEqual(first["request_id"], second["request_id"])
