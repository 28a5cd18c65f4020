"""The contract of stores of agents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.changes import AgentChange
from confd.codec.labels import MAX_LABELS
from confd.controller.interfaces import IAgentStore
from confd.errors import Forbidden, NotFound, Unprocessable
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import AgentRecord
from confd.testing.examples import a_draft, an_attempt
from confd.testing.stores import StoreFixture, StoreTests

_NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_iagentstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IAgentStore} for the stores that C{fixture} makes."""

    class IAgentStoreTests(StoreTests):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(poll_interval=30))

        def test_interface(self) -> None:
            verifyObject(IAgentStore, self.store)

        async def register(self, agent_id: str, at: datetime = _NOON, **fields: Any) -> AgentRecord:
            token = fields.pop("token", b"")
            registration = Registration(**{"hostname": "host-1", "agent_id": agent_id} | fields)
            record: AgentRecord = (await self.store.register(registration, token, at)).value
            self.assertEqual(await self.store.find(agent_id), record)
            return record

        async def found(self, agent_id: str) -> AgentRecord:
            record = await self.store.find(agent_id)
            assert record is not None
            return record

        async def ids(self, namespace: str = DEFAULT_NAMESPACE) -> list[str]:
            return [each.id for each in await self.store.page(namespace, 9, "")]

        async def test_begins_without_agents(self) -> None:
            self.assertEqual((await self.ids(), await self.store.counts()), ([], {}))
            self.assertIsNone(await self.store.find("a"))
            self.assertIsNone(await self.store.find_token(b"\x01" * 32))

        async def test_register_inserts(self) -> None:
            said: dict[str, str] = {"metadata": "tier=edge", "strategy": "NATS", "namespace": "x", "hostname": "hôst"}
            record = await self.register("b", _NOON, advertise="h:1", **said)
            self.assertEqual(record, AgentRecord("b", "x", "hôst", "tier=edge", "NATS", _NOON, advertise="h:1"))

        async def test_register_updates_what_an_agent_says(self) -> None:
            await self.register("a", token=bytes(range(32)))
            await self.store.touch({"a": _NOON})
            said: dict[str, str] = {"hostname": "new", "metadata": "tier=edge", "advertise": "[::1]:2"}
            changed = await self.register("a", _NOON + timedelta(seconds=9), **said)
            there = AgentRecord("a", DEFAULT_NAMESPACE, "new", "tier=edge", "", _NOON, _NOON, token=bytes(range(32)))
            expected = evolve(there, advertise="[::1]:2")
            self.assertEqual(changed, expected)

        async def test_register_replaces_a_token(self) -> None:
            first, second = b"\x01" * 32, b"\xff" * 32
            await self.register("a", token=first)
            await self.register("b")
            self.assertEqual((await self.register("a", token=second)).token, second)
            self.assertEqual([await self.store.find_token(each) for each in (first, second)], [None, "a"])

        async def test_reset_removes_a_token(self) -> None:
            await self.register("a", token=b"\x01" * 32)
            await self.store.touch({"a": _NOON})
            before, seq = await self.found("a"), (await self.store.contents()).seq
            await self.store.reset_token("a", an_attempt())
            self.assertEqual(await self.found("a"), evolve(before, token=b""))
            self.assertIsNone(await self.store.find_token(b"\x01" * 32))
            await self.store.reset_token("a")
            found = [(each.kind, each.subject, each.value) for each in (await self.store.changes(seq)).changes]
            self.assertEqual(found, [("agent", "a", AgentChange("token", DEFAULT_NAMESPACE))])
            self.assertEqual((await self.register("a", token=b"\x02" * 32)).token, b"\x02" * 32)
            await self.assert_refused(self.store.reset_token("b"), NotFound, "unknown_agent")

        async def test_touch_raises_the_last_poll(self) -> None:
            await self.register("a")
            await self.register("b")
            for seconds in (5, 9, 7):
                await self.store.touch({"a": _NOON + timedelta(seconds=seconds)}, {"a"} if seconds == 9 else ())
            await self.store.touch({})
            polls = [each.last_poll for each in await self.store.page(DEFAULT_NAMESPACE, 9, "")]
            self.assertEqual(polls, [_NOON + timedelta(seconds=9), None])

        async def test_touch_inserts_no_row(self) -> None:
            await self.register("b")
            await self.store.touch({"a": _NOON, "b": _NOON})
            await self.store.forget("b")
            await self.store.touch({"b": _NOON})
            self.assertEqual((await self.ids(), await self.store.counts()), ([], {}))

        async def test_pages(self) -> None:
            for agent_id in "cab":
                await self.register(agent_id)
            await self.register("bb", namespace="other")
            pages = [await self.store.page(DEFAULT_NAMESPACE, 2, after) for after in ("", "a", "b", "c")]
            self.assertEqual([[each.id for each in page] for page in pages], [["a", "b"], ["b", "c"], ["c"], []])
            self.assertEqual(await self.store.counts(), {DEFAULT_NAMESPACE: 3, "other": 1})

        async def test_forget(self) -> None:
            await self.register("a")
            await self.register("b")
            await self.store.forget("a")
            await self.store.forget("never-was")
            self.assertEqual(await self.ids(), ["b"])
            self.assertEqual((await self.register("a", token=b"\x01" * 32)).token, b"\x01" * 32)

        async def test_changes(self) -> None:
            seq = (await self.store.contents()).seq
            for number, namespace in ((1, "x"), (1, "x"), (2, "x"), (2, "y")):
                await self.register("a", token=bytes([number]) * 32, namespace=namespace)
            written = [await self.store.forget("a"), await self.store.block("b"), await self.store.unblock("b")]
            changes = (await self.store.changes(seq)).changes
            registered = [each for each in changes if each.kind == "registered"]
            self.assertEqual(
                [(each.subject, each.value.namespace, each.value.token[:1]) for each in registered],
                [("a", "x", b"\1"), ("a", "x", b"\1"), ("a", "x", b"\2"), ("a", "y", b"\2")],
            )
            others = [each for each in changes if each.kind != "registered"]
            self.assertEqual(
                [(each.kind, each.subject, each.value.what, each.value.namespace) for each in others],
                [
                    ("agent", "a", "token", "x"),
                    ("agent", "a", "moved", "y"),
                    ("agent", "a", "forgotten", ""),
                    ("agent", "b", "blocked", ""),
                    ("agent", "b", "unblocked", ""),
                ],
            )
            self.assertEqual([each.seq for each in others[:2]], [registered[2].seq - 1, registered[3].seq - 1])
            self.assertEqual([each.seq for each in written], [each.seq for each in changes[-3:]])
            self.assertEqual((await self.store.contents()).blocked, frozenset())

        async def test_labels_of_operators(self) -> None:
            record = await self.register("a", metadata="stage=dev")
            self.assertEqual(record.labels_set, {})
            first = await self.store.set_labels("a", {"stage": "canary", "old": "1", "gpu": "", "never": None})
            self.assertEqual(first.value, {"gpu": "", "old": "1", "stage": "canary"})
            second = await self.store.set_labels("a", {"stage": "prod", "old": None})
            self.assertEqual(list(second.value.items()), [("gpu", ""), ("stage", "prod")])
            self.assertEqual((await self.found("a")).labels_set, second.value)
            self.assertEqual((await self.store.page(DEFAULT_NAMESPACE, 9, ""))[0].labels_set, second.value)
            await self.store.set_labels("a", {"stage": None, "gpu": None})
            self.assertEqual((await self.found("a")).labels_set, {})

        async def test_labels_of_operators_survive_a_registration_and_nothing_else(self) -> None:
            await self.register("a")
            await self.store.set_labels("a", {"stage": "canary"})
            await self.store.touch({"a": _NOON})
            again = await self.register("a", hostname="new", metadata="stage=dev", token=b"\x01" * 32)
            self.assertEqual(again.labels_set, {"stage": "canary"})
            moved = await self.register("a", namespace="x")
            self.assertEqual(moved.labels_set, {})
            for delete in (self.store.forget, self.store.block):
                await self.store.set_labels("a", {"stage": "canary"})
                await delete("a")
                await self.store.unblock("a")
                self.assertEqual((await self.register("a")).labels_set, {})

        async def test_labels_of_an_unknown_agent(self) -> None:
            await self.assert_refused(self.store.set_labels("a", {"stage": "canary"}), NotFound, "unknown_agent")

        async def test_number_of_labels_is_limited(self) -> None:
            await self.register("a")
            await self.store.set_labels("a", {f"k{number}": "" for number in range(MAX_LABELS)})
            seq = (await self.store.contents()).seq
            await self.assert_refused(self.store.set_labels("a", {"new": "x"}), Unprocessable, "bad_label")
            self.assertEqual(len((await self.found("a")).labels_set), MAX_LABELS)
            self.assertEqual((await self.store.contents()).seq, seq)

        async def test_changes_of_labels(self) -> None:
            await self.register("a")
            seq = (await self.store.contents()).seq
            written = [
                await self.store.set_labels("a", changes)
                for changes in ({"stage": "canary"}, {"stage": "canary", "old": None}, {}, {"stage": None})
            ]
            changes = (await self.store.changes(seq)).changes
            self.assertEqual(
                [(each.kind, each.subject, each.value) for each in changes],
                [("labels", "a", {"stage": "canary"}), ("labels", "a", {})],
            )
            self.assertEqual([each.seq - seq for each in written], [1, 1, 1, 2])

        async def test_audit_names_the_labels_that_result(self) -> None:
            await self.register("a")
            attempt = an_attempt()
            await self.store.set_labels("a", {"stage": "canary", "gpu": ""}, attempt)
            await self.store.set_labels("a", {"gpu": None}, attempt)
            await self.assert_refused(self.store.set_labels("b", {}, attempt), NotFound, "unknown_agent")
            entries = await self.store.audit(9, None)
            self.assertEqual([each.detail for each in entries], ["stage=canary", "gpu=,stage=canary"])

        async def test_block(self) -> None:
            await self.register("a")
            for agent_id in ("never-was", "a", "a"):
                await self.store.block(agent_id)
                refused = self.store.register(Registration(agent_id=agent_id), b"", _NOON)
                await self.assert_refused(refused, Forbidden, "agent_blocked")
            self.assertEqual(await self.ids(), [])
            await self.store.unblock("a")
            await self.store.unblock("never-blocked")
            await self.register("a")
            await self.assert_refused(
                self.store.register(Registration(agent_id="never-was"), b"", _NOON), Forbidden, "agent_blocked"
            )

    return IAgentStoreTests
