"""Agents with tokens of their own, and the namespaces of the shared identity of agents."""

from __future__ import annotations

from typing import Any

from tests.controller.access.test_tokens import DOCUMENT, TokenCase
from tests.controller.harness import AGENT
from tests.conversation import Reply

TAG = "1a2b3c4d.1.1"


class OwnTokenTests(TokenCase):
    """A token that an agent got when it registered."""

    def setUp(self) -> None:
        super().setUp()
        self.ask("POST", "/api/v1/namespaces", json={"name": "edge", "config": DOCUMENT})
        joined = self.ask("POST", "/api/v1/register", auth=AGENT, json={"hostname": "web-1"}).json
        self.own = joined["agent_id"], joined["token"]

    def poll(self, namespace: str, **rest: Any) -> Reply:
        """Poll a namespace, twice with the same bytes; the response cache may answer the second poll."""
        caller = self.harness.caller()
        replies = [caller.get(f"/api/v1/config?namespace={namespace}", **rest) for _ in range(2)]
        caller.hang_up()
        self.assertEqual(replies[0].status, replies[1].status)
        return replies[1]

    def test_token_is_valid_in_the_namespace_of_its_agent_only(self) -> None:
        self.assertEqual(self.poll("default", auth=self.own).status, 200)
        report = {"agent_id": self.own[0], "version": TAG, "state": "applied", "namespace": "edge"}
        for reply in (
            self.poll("edge", auth=self.own),
            self.poll("no-such-namespace", auth=self.own),
            self.ask("GET", "/api/v1/stream?namespace=edge", auth=self.own),
            self.ask("POST", "/api/v1/register", auth=self.own, json={"namespace": "edge"}),
            self.ask("POST", "/api/v1/report", auth=self.own, json=report),
        ):
            self.assertEqual((reply.status, reply.code), (401, "token_of_other_namespace"))
            self.assertIn("www-authenticate", reply.headers)
        self.assertEqual(self.harness.registry.get(self.own[0]).namespace, "default")

    def test_agent_moves_with_the_shared_identity_and_its_old_token_is_void(self) -> None:
        moved = self.ask(
            "POST", "/api/v1/register", auth=AGENT, json={"agent_id": self.own[0], "namespace": "edge"}
        ).json
        self.assertEqual(self.poll("edge", auth=(moved["agent_id"], moved["token"])).status, 200)
        for namespace in ("default", "edge"):
            self.assertEqual(self.poll(namespace, auth=self.own).code, "wrong_credentials")

    def test_other_endpoints_refuse_an_agent_as_before(self) -> None:
        for namespace in ("default", "edge"):
            reply = self.ask("GET", f"/api/v1/agents?namespace={namespace}", auth=self.own)
            self.assertEqual((reply.status, reply.code), (403, "forbidden"))
            self.assertIn("This needs the admin identity", reply.json["error"])


class NarrowedTests(TokenCase):
    """C{AGENT_NAMESPACES}"""

    settings = {"AGENT_NAMESPACES": "default, pay-*"}

    def test_shared_identity_of_agents_is_for_these_namespaces(self) -> None:
        for name, status in (("default", 200), ("pay-in", 200), ("edge", 404)):
            if name != "default":
                self.ask("POST", "/api/v1/namespaces", json={"name": name, "config": DOCUMENT})
            polled = self.ask("GET", f"/api/v1/config?namespace={name}", auth=AGENT)
            joined = self.ask("POST", "/api/v1/register", auth=AGENT, json={"namespace": name})
            self.assertEqual((polled.status, joined.status), (status, status), name)
        unknown = self.ask("GET", "/api/v1/config?namespace=no-such", auth=AGENT)
        hidden = self.ask("GET", "/api/v1/config?namespace=edge", auth=AGENT)
        self.assertEqual(unknown.json["error"].replace("no-such", "edge"), hidden.json["error"])
