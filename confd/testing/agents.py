"""The contract of stores of agents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.controller.interfaces import IAgentStore
from confd.errors import Forbidden
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import AgentRecord
from confd.testing.examples import a_draft
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

        async def ids(self, namespace: str = DEFAULT_NAMESPACE) -> list[str]:
            return [each.id for each in await self.store.page(namespace, 9, "")]

        async def test_begins_without_agents(self) -> None:
            self.assertEqual((await self.ids(), await self.store.counts()), ([], {}))
            self.assertIsNone(await self.store.find("a"))
            self.assertIsNone(await self.store.find_token(b"\x01" * 32))

        async def test_register_inserts(self) -> None:
            record = await self.register("b", metadata="tier=edge", strategy="NATS", namespace="x", hostname="hôst")
            self.assertEqual(record, AgentRecord("b", "x", "hôst", "tier=edge", "NATS", _NOON))

        async def test_register_updates_what_an_agent_says(self) -> None:
            await self.register("a", token=bytes(range(32)))
            await self.store.touch({"a": _NOON})
            changed = await self.register("a", _NOON + timedelta(seconds=9), hostname="new", metadata="tier=edge")
            expected = AgentRecord("a", DEFAULT_NAMESPACE, "new", "tier=edge", "", _NOON, _NOON, token=bytes(range(32)))
            self.assertEqual(changed, expected)

        async def test_register_replaces_a_token(self) -> None:
            first, second = b"\x01" * 32, b"\xff" * 32
            await self.register("a", token=first)
            await self.register("b")
            self.assertEqual((await self.register("a", token=second)).token, second)
            self.assertEqual([await self.store.find_token(each) for each in (first, second)], [None, "a"])

        async def test_touch_raises_the_last_poll(self) -> None:
            await self.register("a")
            await self.register("b")
            for seconds in (5, 9, 7):
                await self.store.touch({"a": _NOON + timedelta(seconds=seconds)})
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
            self.assertEqual(
                [(each.kind, each.subject, each.value.what, each.value.namespace) for each in changes],
                [
                    ("agent", "a", "token", "x"),
                    ("agent", "a", "moved", "y"),
                    ("agent", "a", "forgotten", ""),
                    ("agent", "b", "blocked", ""),
                    ("agent", "b", "unblocked", ""),
                ],
            )
            self.assertEqual([each.seq for each in written], [each.seq for each in changes[2:]])
            self.assertEqual((await self.store.contents()).blocked, frozenset())

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
