"""Who a cluster is, and what brings agents and controller together again after a disaster."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import IDENTITY
from confd.controller.api.cluster import EPOCH_BELIEVED, EPOCH_MAX
from confd.interfaces.controllers import ControllerRecord
from confd.model import Tag, supersedes
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from confd.testing.memory_shared import SharedMemory, SharedMemoryStore
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

CONFIG, CLUSTER = "/api/v1/config", "/api/v1/cluster"
RAISE, ADOPT = "/api/v1/epoch/raise", "/api/v1/cluster/adopt"
OTHER = "9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d"


class ClusterTests(SynchronousTestCase):
    """What these tests have in common: a harness."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.addCleanup(lambda: self.successResultOf(self.harness.stop()))

    @property
    def own(self) -> str:
        name: str = self.harness.identity.cluster_id
        return name

    def post(self, path: str, body: object = None, auth: Any = ADMIN) -> Reply:
        return self.harness.caller().post(path, json=body, auth=auth)

    def cluster(self) -> Any:
        return self.harness.caller().get(CLUSTER, auth=ADMIN).json

    def agent(self, holds: str, cluster_id: str, namespace: str = "default") -> str:
        """One that keeps what it has, and says so."""
        agent_id = self.harness.join(namespace=namespace)
        offered = self.harness.tag(namespace)
        said = self.harness.report(
            agent_id, offered, "failed", error="older", holds=holds, holds_cluster_id=cluster_id, namespace=namespace
        )
        self.assertEqual(said.status, 200, said)
        return agent_id

    def tags(self, namespace: str = "default") -> list[str]:
        items = self.harness.caller().get(f"{CONFIG}/history?namespace={namespace}", auth=ADMIN).json["items"]
        return [each["tag"] for each in items]


class DescriptionTests(ClusterTests):
    """GET C{/api/v1/cluster}."""

    def test_nobody_knows_better(self) -> None:
        self.harness.report(self.harness.join(), 1, "applied")
        expected = {"cluster_id": self.own, "epoch": 1, "ahead": {"agents": 0, "epoch": 1}, "foreign": []}
        self.assertEqual(self.cluster(), expected)

    def test_ahead(self) -> None:
        self.agent(f"{self.own[:8]}.1.7", self.own)
        self.agent(f"{self.own[:8]}.3.2", self.own)
        self.agent(f"{self.own[:8]}.1.1", "")
        self.assertEqual(self.cluster()["ahead"], {"agents": 2, "epoch": 3})

    def test_member_of_a_rollout_is_not_ahead(self) -> None:
        first = self.harness.join()
        self.harness.report(first, 1, "applied")
        for version, ahead in ((1, 0), (2, 0), (3, 1)):
            holds = f"{self.own[:8]}.1.{version}"
            self.harness.report(first, min(version, 2), "failed", error="", holds=holds, holds_cluster_id=self.own)
            self.assertEqual(self.cluster()["ahead"]["agents"], ahead, holds)
            if version == 1:
                started = self.post(f"{CONFIG}?rollout=canary", {"url": "https://example.com/2"})
                self.assertEqual(started.status, 202, started)

    def test_foreign(self) -> None:
        for epoch in (2, 5):
            self.agent(f"9b9b9b9b.{epoch}.7", OTHER)
        self.agent("8a8a8a8a.1.1", "8a8a8a8a-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
        foreign = [
            {"cluster_id": "8a8a8a8a-5e6f-4a7b-8c9d-0e1f2a3b4c5d", "agents": 1, "epoch": 1},
            {"cluster_id": OTHER, "agents": 2, "epoch": 5},
        ]
        self.assertEqual((self.cluster()["foreign"], self.cluster()["ahead"]["agents"]), (foreign, 0))

    def test_a_tag_of_one_cluster_and_the_name_of_another(self) -> None:
        """Such a cluster is nowhere: nobody should be led to adopt it."""
        self.agent(f"{self.own[:8]}.5.1", OTHER)
        self.agent("9b9b9b9b.5.1", self.own)
        self.assertEqual((self.cluster()["foreign"], self.cluster()["ahead"]["agents"]), ([], 0))

    def test_of_the_go_system(self) -> None:
        """A bare version is no cluster's."""
        self.agent("7", "")
        self.assertEqual((self.cluster()["foreign"], self.cluster()["ahead"]["agents"]), ([], 0))

    def test_who_may(self) -> None:
        for auth, status in ((None, 401), (AGENT, 403)):
            self.assertEqual(self.harness.caller().get(CLUSTER, auth=auth).status, status)
            for path, body in ((RAISE, {}), (ADOPT, {"cluster_id": OTHER})):
                self.assertEqual(self.post(path, body, auth).status, status)
        self.assertEqual((self.cluster()["cluster_id"], self.cluster()["epoch"]), (self.own, 1))

    def test_starting(self) -> None:
        self.harness = ControllerHarness(started=False)
        self.assertEqual(self.harness.caller().get(CLUSTER, auth=ADMIN).code, "starting")
        self.assertEqual(self.post(RAISE).code, "starting")
        self.harness.start()


class RaiseTests(ClusterTests):
    """POST C{/api/v1/epoch/raise}."""

    def test_answer(self) -> None:
        self.post("/api/v1/namespaces", {"name": "blue", "config": {"url": "http://x/"}})
        reply = self.post(RAISE)
        self.assertEqual(reply.status, 200)
        self.assertEqual(
            reply.json,
            {
                "message": "The epoch is 2 now",
                "epoch": 2,
                "cluster_id": self.own,
                "namespaces": [
                    {"name": "blue", "version": 2, "epoch": 2},
                    {"name": "default", "version": 2, "epoch": 2},
                ],
            },
        )
        polled = self.harness.caller().get(CONFIG, auth=AGENT).json
        self.assertEqual((polled["version"], polled["epoch"], polled["data"]["url"]), (2, 2, "https://ip.me"))
        (newest, _) = self.harness.caller().get(f"{CONFIG}/history", auth=ADMIN).json["items"]
        self.assertEqual((newest["comment"], newest["author"]), ("the epoch is 2 now", "admin"))
        self.assertEqual(self.tags("blue"), [f"{self.own[:8]}.2.2", f"{self.own[:8]}.1.1"])

    def test_above_all_that_agents_know(self) -> None:
        """The configuration that is current afterwards supersedes what each of them holds."""
        holds = [f"{self.own[:8]}.{epoch}.{version}" for epoch, version in ((1, 90), (4, 3), (2, 70))]
        for each in holds:
            self.agent(each, self.own)
        self.agent("9b9b9b9b.50.7", OTHER)
        self.assertEqual(self.post(RAISE, {"comment": "restored"}).json["epoch"], 5)
        for each in holds:
            self.assertTrue(supersedes(Tag.parse(self.harness.tag()), Tag.parse(each)))
        self.assertEqual(self.cluster()["ahead"], {"agents": 0, "epoch": 5})

    def test_a_number_of_ones_own(self) -> None:
        self.assertEqual(self.post(RAISE, {"epoch": 9}).json["epoch"], 9)
        for epoch in (9, 8, 1):
            reply = self.post(RAISE, {"epoch": epoch})
            self.assertEqual((reply.status, reply.code), (409, "epoch_not_higher"))
        for bad in (0, -1, 10**12 + 1, 10**30, "10", 9.5, True):
            self.assertEqual(self.post(RAISE, {"epoch": bad}).status, 400, bad)
        self.assertEqual(self.tags(), [f"{self.own[:8]}.9.2", f"{self.own[:8]}.1.1"])

    def test_an_agent_that_exaggerates(self) -> None:
        """No agent can use up the epochs there are."""
        for epoch in (10**17, EPOCH_MAX, EPOCH_BELIEVED + 1):
            self.agent(f"{self.own[:8]}.{epoch}.1", self.own)
        self.assertEqual(self.post(RAISE).json["epoch"], 2)
        self.agent(f"{self.own[:8]}.{EPOCH_BELIEVED}.1", self.own)
        self.assertEqual([self.post(RAISE).json["epoch"] - EPOCH_BELIEVED for _ in range(3)], [1, 2, 3])

    def test_each_namespace_gets_a_revision(self) -> None:
        self.post(RAISE)
        identity, revision = self.harness.changes()
        self.assertEqual((identity.kind, identity.value.epoch), (IDENTITY, 2))
        self.assertEqual(str(revision.value.version.tag), self.harness.tag())

    def test_storage_fails(self) -> None:
        self.harness.store.broken = "the disk is full"
        self.assertEqual(self.post(RAISE).status, 503)
        self.harness.store.broken = None
        self.assertEqual(self.cluster()["epoch"], 1)


class AdoptTests(ClusterTests):
    """POST C{/api/v1/cluster/adopt}."""

    def test_agents_follow(self) -> None:
        """The database of their cluster is lost, and this one takes its place."""
        before = self.own
        holds = [f"9b9b9b9b.{epoch}.{version}" for epoch, version in ((1, 90), (4, 3))]
        for each in holds:
            self.agent(each, OTHER)
        reply = self.post(ADOPT, {"cluster_id": OTHER.upper()})
        self.assertEqual(reply.status, 200)
        answered = {name: reply.json[name] for name in ("message", "epoch", "cluster_id")}
        message = f"This is the cluster {OTHER} now, and the epoch is 5 now"
        self.assertEqual(answered, {"message": message, "epoch": 5, "cluster_id": OTHER})
        for each in holds:
            self.assertTrue(supersedes(Tag.parse(self.harness.tag()), Tag.parse(each)))
        self.assertEqual(self.harness.caller().get(CONFIG, auth=AGENT).json["cluster_id"], OTHER)
        # What was made under the other name keeps it: that cluster has, or had, a version of this number too.
        self.assertEqual(self.tags(), ["9b9b9b9b.5.2", f"{before[:8]}.1.1"])
        self.assertEqual(self.harness.caller().get(f"{CONFIG}/versions/1", auth=ADMIN).json["cluster_id"], before)
        self.assertEqual(self.cluster()["foreign"], [])

    def test_above_its_own_epoch(self) -> None:
        self.post(RAISE, {"epoch": 7})
        self.agent("9b9b9b9b.2.1", OTHER)
        self.assertEqual(self.post(ADOPT, {"cluster_id": OTHER}).json["epoch"], 8)
        self.assertEqual(self.post(ADOPT, {"cluster_id": self.own}).code, "same_cluster")

    def test_bad_values(self) -> None:
        before = self.own
        for body in (
            {},
            {"cluster_id": ""},
            {"cluster_id": "9b9b9b9b"},
            {"cluster_id": 7},
            {"cluster_id": OTHER.replace("-", "")},
            {"cluster_id": f"{{{OTHER}}}"},
            {"cluster_id": OTHER, "epoch": 0},
            {"cluster_id": OTHER, "x": 1},
        ):
            self.assertEqual(self.post(ADOPT, body).status, 400, body)
        self.assertEqual(self.post(ADOPT, {"cluster_id": OTHER, "epoch": 1}).code, "epoch_not_higher")
        self.assertEqual((self.own, self.tags()), (before, [f"{before[:8]}.1.1"]))

    def test_on_record(self) -> None:
        self.post(ADOPT, {"cluster_id": OTHER})
        (entry,) = self.harness.caller().get("/api/v1/audit", auth=ADMIN).json["items"]
        self.assertEqual((entry["target"], entry["outcome"], entry["detail"]), (OTHER, "done", "epoch 2"))


class RestoreTests(ClusterTests):
    """A backup is put back: no agent is silently stuck, or reset."""

    def test_restored(self) -> None:
        lost = [f"{self.own[:8]}.1.{version}" for version in (2, 3, 4)]
        self.harness = ControllerHarness(MemoryStore(a_draft(poll_interval=30), self.own))
        for each in lost:
            self.agent(each, self.own)
        self.assertEqual(self.cluster()["ahead"], {"agents": 3, "epoch": 1})
        self.post(RAISE)
        self.assertNotIn(self.harness.tag(), lost)
        for each in lost:
            self.assertTrue(supersedes(Tag.parse(self.harness.tag()), Tag.parse(each)))


class ControllersTests(SynchronousTestCase):
    """The controllers on one store."""

    def setUp(self) -> None:
        self.store = SharedMemoryStore(SharedMemory(MemoryStore(a_draft(1, poll_interval=30))))
        self.harness = ControllerHarness(self.store)
        self.addCleanup(lambda: self.successResultOf(self.harness.stop()))

    def cluster(self) -> Any:
        return self.harness.caller().get(CLUSTER, auth=ADMIN).json

    def test_controllers_are_listed(self) -> None:
        at = self.harness.now()
        record = ControllerRecord("web1", "2.0", at, at, False, 7, 3, {})
        self.store.known = [record, evolve(record, address="web2", lost=True)]
        first, second = self.cluster()["controllers"]
        shown = {"address": "web1", "release": "2.0", "state": "running", "seen_seq": 7, "lag": 3}
        self.assertEqual(first, first | shown)
        self.assertEqual((second["address"], second["state"]), ("web2", "lost"))

    def test_answer_without_the_database(self) -> None:
        self.store.known = None
        self.assertNotIn("controllers", self.cluster())
