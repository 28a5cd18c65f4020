"""The paths of agents, as a caller meets them."""

from __future__ import annotations

import uuid
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.model import Registration
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

AGENTS = "/api/v1/agents"


class RegisterTests(SynchronousTestCase):
    """POST C{/api/v1/register}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def register(self, **fields: object) -> Reply:
        """Register."""
        return self.harness.caller().post("/api/v1/register", json=fields, auth=AGENT)

    def test_new(self) -> None:
        """A new agent gets a UUID and what it needs to know."""
        reply = self.register(hostname="box", metadata="region=us-west")
        self.assertEqual(str(uuid.UUID(reply.json["agent_id"])), reply.json["agent_id"])
        self.assertEqual((reply.json["poll_url"], reply.json["poll_interval_seconds"]), ("/api/v1/config", 30))

    def test_go_agent(self) -> None:
        """No body at all, or fields that nobody knows, are no reason to refuse."""
        self.assertEqual(self.harness.caller().post("/api/v1/register", auth=AGENT).status, 200)
        self.assertEqual(self.register(version="1.2", pid=7).status, 200)

    def test_keeps_its_row(self) -> None:
        """With the id that it was given before; what it says of itself is new."""
        agent_id = self.harness.join(hostname="old")
        self.harness.clock.advance(5)
        for _ in range(3):
            self.assertEqual(self.register(agent_id=agent_id, hostname="new").json["agent_id"], agent_id)
        (agent,) = self.harness.caller().get(AGENTS, auth=ADMIN).json
        self.assertEqual((agent["hostname"], agent["registered_at"]), ("new", "2026-11-24T12:00:00.000Z"))

    def test_mistakes(self) -> None:
        """400 with the field; an unknown namespace is 404; an admin is no agent."""
        for field, value in (
            ("agent_id", "x" * 65),
            ("agent_id", "a b"),
            ("agent_id", "../x"),
            ("hostname", 5),
            ("hostname", "x" * 256),
            ("metadata", "x" * 1025),
            ("strategy", "x" * 33),
            ("namespace", None),
        ):
            reply = self.register(**{field: value})
            self.assertEqual((reply.status, reply.json["details"][0]["pointer"]), (400, f"/{field}"), value)
        self.assertEqual(self.register(namespace="nowhere").status, 404)
        self.assertEqual(self.harness.caller().post("/api/v1/register", json={}, auth=ADMIN).status, 403)
        self.assertEqual(self.harness.caller().get(AGENTS, auth=ADMIN).json, [])

    def test_too_large(self) -> None:
        """Its body is small."""
        self.assertEqual(self.register(metadata="x" * 9000).status, 413)

    def test_storage_fails(self) -> None:
        """What is not on disk is not answered."""
        self.harness.store.broken = "the disk is full"
        self.assertEqual(self.register().status, 503)
        self.assertEqual(self.harness.caller().get(AGENTS, auth=ADMIN).json, [])


class ListTests(SynchronousTestCase):
    """GET C{/api/v1/agents} and its children."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def agents(self, query: str = "") -> Reply:
        """A page."""
        return self.harness.caller().get(AGENTS + query, auth=ADMIN)

    def test_empty(self) -> None:
        """No agents are an empty array, not null."""
        self.assertEqual(self.agents().body, b"[]")

    def test_row(self) -> None:
        """Times are RFC 3339, and one that never was is null."""
        agent_id = self.harness.join(hostname="box", metadata="m", strategy="POLLER")
        (row,) = self.agents().json
        self.assertEqual(row["registered_at"], "2026-11-24T12:00:00.000Z")
        self.assertIsNone(row["last_poll"])
        self.harness.clock.advance(7)
        self.harness.caller().get("/api/v1/config", auth=AGENT, headers={"X-Agent-ID": agent_id})
        row = self.harness.caller().get(f"{AGENTS}/{agent_id}", auth=ADMIN).json
        self.assertEqual(row["last_poll"], "2026-11-24T12:00:07.000Z")
        self.assertEqual((row["hostname"], row["metadata"], row["strategy"]), ("box", "m", "POLLER"))

    def test_silent(self) -> None:
        """Not heard of in three intervals; one poll ends it."""
        agent_id = self.harness.join()
        self.harness.clock.advance(90)
        self.assertIsNone(self.agents().json[0]["state"])
        self.harness.clock.advance(1)
        self.assertEqual(self.agents().json[0]["state"], "silent")
        self.assertEqual(len(self.agents("?state=silent").json), 1)
        self.harness.caller().get("/api/v1/config", auth=AGENT, headers={"X-Agent-ID": agent_id})
        self.assertIsNone(self.agents().json[0]["state"])
        self.assertEqual(self.agents("?state=silent").json, [])

    def test_pages(self) -> None:
        """Following C{Link} meets each agent once."""
        joined = sorted(self.harness.join() for _ in range(25))
        met, path = [], f"{AGENTS}?limit=10"
        while path:
            reply = self.harness.caller().get(path, auth=ADMIN)
            met += [row["id"] for row in reply.json]
            link = reply.headers.get("link", "")
            rest = link.partition("<")[2].partition(">")[0]
            self.assertEqual(urlsplit(rest).path, "", "it stays below a proxy's prefix")
            path = urljoin(path, rest) if rest else ""
        self.assertEqual(met, joined)

    def test_bad_pages(self) -> None:
        """Limits are limits."""
        for query in ("?limit=0", "?limit=501", "?limit=x", "?limit=-1", "?before=1"):
            self.assertEqual(self.agents(query).status, 400, query)
        self.assertEqual(self.agents("?namespace=nowhere").status, 404)

    def test_namespaces(self) -> None:
        """Each shows its own."""
        self.harness.caller().post(
            "/api/v1/namespaces", json={"name": "blue", "config": {"url": "http://x"}}, auth=ADMIN
        )
        self.harness.join(namespace="blue")
        self.assertEqual((len(self.agents().json), len(self.agents("?namespace=blue").json)), (0, 1))

    def test_forget(self) -> None:
        """It is gone, and stays gone although it was about to be written."""
        agent_id = self.harness.join()
        self.harness.caller().get("/api/v1/config", auth=AGENT, headers={"X-Agent-ID": agent_id})
        self.assertEqual(self.harness.caller().delete(f"{AGENTS}/{agent_id}", auth=ADMIN).status, 200)
        self.harness.clock.advance(2)
        self.assertEqual(self.agents().json, [])
        self.assertEqual(self.successResultOf(self.harness.store.load_agents()), [])
        for method in ("GET", "DELETE"):
            reply = self.harness.caller().request(method, f"{AGENTS}/{agent_id}", auth=ADMIN)
            self.assertEqual((reply.status, reply.code), (404, "unknown_agent"))

    def test_unknown_poller(self) -> None:
        """A poll under an id that nobody knows is answered, and makes no row; the poller is asked to register again."""
        self.harness.caller().post("/api/v1/config", json={"url": "https://example.com"}, auth=ADMIN)
        headers = {"X-Agent-ID": "stranger"}
        for known, status in (("7", 200), ("2", 304)):
            reply = self.harness.caller().get("/api/v1/config", auth=AGENT, headers=headers | {"If-None-Match": known})
            self.assertEqual((reply.status, self.agents().json), (status, []))
            self.assertEqual(reply.headers.get("x-agent-known"), "false")
        for headers in ({"X-Agent-ID": self.harness.join()}, {}):
            reply = self.harness.caller().get("/api/v1/config", auth=AGENT, headers=headers)
            self.assertNotIn("x-agent-known", reply.headers)

    def test_roles(self) -> None:
        """Agents do not see each other."""
        for path in (AGENTS, f"{AGENTS}/x", "/api/v1/namespaces"):
            self.assertEqual(self.harness.caller().get(path, auth=AGENT).status, 403)
            self.assertEqual(self.harness.caller().get(path).status, 401)


class UnaddressableTests(SynchronousTestCase):
    """Ids that no path can carry."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def test_refused(self) -> None:
        bad = (".", "..", "a/b", "a b", "a?b", "a#b", "%2e%2e", "a\n", "\u00e9", "x" * 65)
        for agent_id in bad:
            reply = self.harness.caller().post("/api/v1/register", json={"agent_id": agent_id}, auth=AGENT)
            self.assertEqual((reply.status, reply.code), (400, "bad_agent_id"), agent_id)
            if agent_id.strip() == agent_id:
                self.assertEqual(self.harness.report(agent_id, 1).status, 400, agent_id)
        for agent_id in (".", "..", "a/b", "%2e"):
            for path in ("/api/v1/config", "/api/v1/stream"):
                reply = self.harness.caller().get(path, auth=AGENT, headers={"X-Agent-ID": agent_id})
                self.assertEqual((reply.status, reply.code), (400, "bad_agent_id"), path)

    def test_dots_among_others(self) -> None:
        for agent_id in ("...", ".a", "a..b"):
            self.assertEqual(self.harness.join(agent_id=agent_id), agent_id)

    def test_those_in_the_database_can_be_removed(self) -> None:
        for agent_id in (".", ".."):
            self.successResultOf(
                Deferred.fromCoroutine(self.harness.registry.register(Registration("h", "", agent_id, "", "default")))
            )
            shown = self.harness.caller().get(f"/api/v1/agents/-?id={agent_id}", auth=ADMIN)
            self.assertEqual((shown.status, shown.json["id"]), (200, agent_id))
            path = f"/api/v1/agents/-?id={agent_id}&block=true"
            self.assertEqual(self.harness.caller().delete(path, auth=ADMIN).status, 200)
            self.assertEqual(self.harness.caller().get(f"/api/v1/agents/-?id={agent_id}", auth=ADMIN).status, 404)
            self.assertEqual(self.harness.caller().delete(f"/api/v1/blocked/-?id={agent_id}", auth=ADMIN).status, 200)
            self.assertEqual(self.harness.caller().delete(f"/api/v1/agents/-?id={agent_id}", auth=ADMIN).status, 404)
