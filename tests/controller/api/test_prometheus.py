"""Tests of C{GET /api/v1/prometheus/agents}, by the format that Prometheus documents for http_sd."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.options import read
from confd.runtime.settings import AgentSettings
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

PATH = "/api/v1/prometheus/agents"


class TargetsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def get(self, query: str = "", **rest: Any) -> Reply:
        """Read the list."""
        return self.harness.caller().get(PATH + query, auth=ADMIN, **rest)

    def addresses(self, query: str = "") -> list[str]:
        """Return the addresses in the list."""
        return [each for group in self.get(query).json for each in group["targets"]]

    def test_format(self) -> None:
        self.harness.join(
            agent_id="a", hostname="web-1", strategy="STREAM", advertise="Host.Example:8081", metadata="tier=edge"
        )
        self.harness.caller().post("/api/v1/agents/a/labels", json={"rack.row/x": "7", "tier": "core"}, auth=ADMIN)
        reply = self.get()
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "application/json"))
        self.assertEqual(
            reply.json,
            [
                {
                    "targets": ["host.example:8081"],
                    "labels": {
                        "__meta_confd_id": "a",
                        "__meta_confd_hostname": "web-1",
                        "__meta_confd_namespace": "default",
                        "__meta_confd_strategy": "STREAM",
                        "__meta_confd_label_rack_row_x": "7",
                        "__meta_confd_label_tier": "core",
                    },
                }
            ],
        )

    def test_agents_without_an_address_and_blocked_agents_are_left_out_and_silent_ones_are_not(self) -> None:
        self.assertEqual(self.addresses(), [])
        self.harness.join(agent_id="without")
        for name in ("c", "b", "forgotten", "blocked"):
            self.harness.join(agent_id=name, advertise=f"{name}:1")
        self.harness.caller().delete("/api/v1/agents/forgotten", auth=ADMIN)
        self.harness.caller().delete("/api/v1/agents/blocked?block=true", auth=ADMIN)
        self.harness.clock.advance(600)
        self.assertEqual(self.addresses(), ["b:1", "c:1"])

    def test_newest_registration_counts(self) -> None:
        self.harness.join(agent_id="a", advertise="one:1")
        self.harness.join(agent_id="a", advertise="two:2")
        self.assertEqual(self.addresses(), ["two:2"])
        self.harness.join(agent_id="a")
        self.assertEqual(self.addresses(), [])

    def test_namespaces(self) -> None:
        self.harness.caller().post("/api/v1/namespaces", json={"name": "x", "config": {"url": "http://x/"}}, auth=ADMIN)
        self.harness.join(agent_id="a", advertise="a:1")
        self.harness.join(agent_id="b", advertise="b:1", namespace="x")
        self.assertEqual(self.addresses(), ["a:1", "b:1"])
        self.assertEqual(self.addresses("?namespace=x"), ["b:1"])
        self.assertEqual(
            (self.get("?namespace=nowhere").status, self.get("?namespace=nowhere").code), (404, "unknown_namespace")
        )
        token = self.harness.caller().post(
            "/api/v1/tokens", json={"name": "p", "grants": [{"role": "viewer", "namespaces": ["x"]}]}, auth=ADMIN
        )
        bearer = {"Authorization": f"Bearer {token.json['token']}"}
        granted = self.harness.caller().get(PATH, headers=bearer)
        self.assertEqual([each["targets"] for each in granted.json], [["b:1"]])
        self.assertEqual(self.harness.caller().get(PATH + "?namespace=default", headers=bearer).status, 403)
        self.assertEqual(self.harness.caller().get(PATH, auth=AGENT).status, 403)

    def test_etag(self) -> None:
        self.harness.join(agent_id="a", advertise="a:1")
        tag = self.get().headers["etag"]
        again = self.get(headers={"If-None-Match": tag})
        self.assertEqual((again.status, again.body), (304, b""))
        self.harness.join(agent_id="b", advertise="b:1")
        self.assertEqual(self.get(headers={"If-None-Match": tag}).status, 200)

    def test_503_while_the_controller_starts(self) -> None:
        self.harness = ControllerHarness(started=False)
        self.assertEqual(self.get().status, 503)

    def test_address_is_a_host_and_a_port_only(self) -> None:
        for wrong in (
            "host",
            "host:0",
            "host:99999",
            "user:secret@host:1",
            "http://host:1",
            "host:1/path",
            "host:1?x",
            "::1:80",
            ":80",
            "ho st:1",
            "host:1\n",
        ):
            reply = self.harness.caller().post("/api/v1/register", json={"advertise": wrong}, auth=AGENT)
            self.assertEqual((reply.status, reply.code), (422, "bad_advertise"), wrong)
            self.assertNotIn("secret", reply.json["error"])
        for right in ("10.0.0.7:8081", "[::1]:80", "a.b:65535"):
            self.harness.join(agent_id="a", advertise=right)
            self.assertEqual(self.addresses(), [right])


class SettingTests(SynchronousTestCase):
    def test_advertise(self) -> None:
        environ = {"AGENT_LISTEN": "tcp:8081", "AGENT_ADVERTISE": "Web-1.example:8081"}
        self.assertEqual(read(AgentSettings, {}, environ).agent_advertise, "web-1.example:8081")
