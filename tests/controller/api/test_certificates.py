"""Tests of the certificates of the controller."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.codec.certificate import Certificate, read_certificate, root_of, verify_certificate
from confd.codec.signing import KeyRing
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

CONFIG = "/api/v1/config"


class CertificateTests(SynchronousTestCase):
    """GET C{/api/v1/config/versions/{v}/certificate}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        for agent_id in ("b", "a", "c"):
            self.harness.join(agent_id=agent_id)

    def certificate(self, version: object = 1, query: str = "", auth: Any = ADMIN) -> Reply:
        """Ask for a certificate."""
        return self.harness.caller().get(f"{CONFIG}/versions/{version}/certificate{query}", auth=auth)

    def publish(self) -> None:
        """Publish another document."""
        self.harness.caller().post(CONFIG, json={"url": "http://new/"}, auth=ADMIN)

    def read(self, query: str = "", version: int = 1) -> Certificate:
        """Return a certificate, verified with the key of GET C{/config} as any client would."""
        made = read_certificate(self.certificate(version, query).body)
        keys = KeyRing()
        keys.trust([self.harness.caller().get(CONFIG, auth=ADMIN).json["signing_key"]])
        verify_certificate(made, keys)
        return made

    def test_claim(self) -> None:
        """Each agent that applied the version has a leaf, with its last report of the version."""
        tag = self.harness.tag()
        for sequence, agent_id in enumerate("abc", 7):
            self.harness.report(agent_id, tag, session=f"s-{agent_id}", sequence=sequence)
        made, bare = self.read("?leaves=true"), self.read()
        checksum = self.harness.snapshot.require("default").configuration.document.checksum
        self.assertEqual(
            made.leaves, [f"{each}|{tag}|{checksum}|s-{each}|{number}" for number, each in enumerate("abc", 7)]
        )
        self.assertEqual((made.tag, made.checksum, made.namespace), (tag, checksum, "default"))
        self.assertEqual((made.targeted, made.applied, made.author, made.approvals), (3, 3, "admin", []))
        self.assertEqual((made.rollout, made.cluster_id), (None, self.harness.identity.cluster_id))
        self.assertEqual((bare.leaves, bare.root, bare.signature), (None, made.root, made.signature))

    def test_quorum(self) -> None:
        """Too few agents are a conflict; a lower quorum certifies the agents that have it."""
        for agent_id, state in (("a", "applied"), ("b", "failed"), ("c", "applying")):
            self.harness.report(agent_id, self.harness.tag(), state)
        self.assertEqual(self.certificate().code, "not_converged")
        self.assertIn("1 of 3 agents", self.certificate(query="?quorum=34").json["error"])
        made = self.read("?quorum=33.3&leaves=true")
        self.assertEqual((made.targeted, made.applied, len(made.leaves or ())), (3, 1, 1))

    def test_no_agents(self) -> None:
        """A namespace without agents proves nothing."""
        self.harness.caller().post(
            "/api/v1/namespaces", json={"name": "edge", "config": {"url": "http://x/"}}, auth=ADMIN
        )
        reply = self.certificate(query="?namespace=edge")
        self.assertEqual((reply.status, reply.code), (409, "not_converged"))

    def test_older_version(self) -> None:
        """An agent that went on keeps its leaf, without a session; a version without outcomes is gone."""
        for agent_id in "abc":
            self.harness.report(agent_id, self.harness.tag(), session="s", sequence=1)
        before = self.read("?leaves=true")
        self.publish()
        self.harness.report("b", self.harness.tag(), session="s", sequence=2)
        after = self.read("?leaves=true")
        self.assertEqual([each.rpartition("|")[2] for each in before.leaves or ()], ["1", "1", "1"])
        self.assertEqual([each.split("|")[3:] for each in after.leaves or ()], [["s", "1"], ["", "0"], ["s", "1"]])
        self.assertEqual(after.root, root_of(after.leaves or ()))
        for _ in range(20):
            self.publish()
        self.assertEqual((self.certificate().status, self.certificate().code), (410, "convergence_pruned"))

    def test_rollout(self) -> None:
        """The certificate names the rollout that delivered the version."""
        for version in (1, 2):
            for agent_id in "abc":
                self.assertEqual(self.harness.report(agent_id, self.harness.tag()).status, 200)
            self.assertEqual(self.read(version=version).rollout, None if version == 1 else 1)
            start = {"config": {"url": "http://new/"}, "plan": {"name": "all", "waves": []}}
            self.harness.caller().post("/api/v1/rollouts", json=start, auth=ADMIN)

    def test_refusals(self) -> None:
        """Versions, namespaces, quorums and identities that cannot be."""
        for version in (0, 2, 2**63, 10**30):
            self.assertEqual(self.certificate(version).code, "unknown_version", version)
        self.assertEqual(self.certificate(query="?namespace=no").code, "unknown_namespace")
        for query in ("?quorum=0", "?quorum=101", "?quorum=nan", "?quorum=", "?leaves=2", "?leaf=true"):
            self.assertEqual(self.certificate(query=query).status, 400, query)
        self.assertEqual(self.certificate(auth=AGENT).status, 403)
        self.assertEqual(self.certificate(auth=None).status, 401)
