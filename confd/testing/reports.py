"""What every store of reports must do."""

from __future__ import annotations

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.controller.interfaces import IReportStore
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import AgentRecord, ReportState
from confd.testing.examples import a_draft, a_receipt
from confd.testing.stores import StoreFixture


def make_ireportstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """The contract of L{IReportStore}, for the stores that C{fixture} makes."""

    class IReportStoreTests(TestCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(poll_interval=30))

        def test_interface(self) -> None:
            verifyObject(IReportStore, self.store)

        async def agent(self, agent_id: str) -> AgentRecord:
            record: AgentRecord = await self.store.find(agent_id)
            return record

        async def register(self, agent_id: str, namespace: str = DEFAULT_NAMESPACE, metadata: str = "") -> None:
            registration = Registration("host-1", metadata, agent_id, namespace=namespace)
            await self.store.register(registration, b"", a_draft().made_at)

        async def test_begins_without_reports(self) -> None:
            await self.store.save_reports([])
            self.assertEqual(await self.store.load_outcomes(), [])
            self.assertIsNone(await self.store.summary(DEFAULT_NAMESPACE, 1))

        async def test_keeps_the_last_report_and_each_outcome(self) -> None:
            await self.register("a")
            await self.register("b")
            first, second = a_receipt("a", 1), a_receipt("a", 2, ReportState.FAILED, error='"nö",\\n\U0001f600')
            await self.store.save_reports([first, a_receipt("b", 1)])
            await self.store.save_reports([second])
            agent = await self.agent("a")
            self.assertEqual((agent.report, agent.reported_at), (second.report, second.outcome.at))
            self.assertEqual(
                await self.store.load_outcomes(),
                [(each.namespace, each.report.tag.version, each.agent_id, each.outcome)
                 for each in (first, a_receipt("b", 1), second)],
            )  # fmt: skip

        async def test_the_later_of_two_in_one_transaction(self) -> None:
            await self.register("a")
            later = a_receipt("a", 1)
            await self.store.save_reports([a_receipt("a", 1, ReportState.APPLYING), later])
            self.assertEqual((await self.agent("a")).report, later.report)
            self.assertEqual(await self.store.load_outcomes(), [(DEFAULT_NAMESPACE, 1, "a", later.outcome)])

        async def test_registering_leaves_a_report(self) -> None:
            await self.register("a")
            receipt = a_receipt("a", 1)
            await self.store.save_reports([receipt])
            await self.register("a", metadata="new")
            agent = await self.agent("a")
            self.assertEqual((agent.metadata, agent.report), ("new", receipt.report))

        async def test_moving_clears_report_and_outcomes(self) -> None:
            await self.register("a")
            await self.store.save_reports([a_receipt("a", 1)])
            await self.register("a", "other")
            agent = await self.agent("a")
            self.assertEqual((agent.report, agent.reported_at, await self.store.load_outcomes()), (None, None, []))

        async def test_passes_over_those_that_are_gone(self) -> None:
            await self.register("a", "other")
            await self.store.save_reports([a_receipt("a", 1), a_receipt("never-was", 1)])
            self.assertIsNone((await self.agent("a")).report)
            self.assertEqual(await self.store.load_outcomes(), [])

        async def test_forgets_with_the_agent(self) -> None:
            await self.register("a")
            await self.register("b")
            await self.store.save_reports([a_receipt("a", 1), a_receipt("b", 1)])
            await self.store.forget("a")
            self.assertEqual([each[2] for each in await self.store.load_outcomes()], ["b"])

        async def test_settles(self) -> None:
            await self.register("a")
            await self.register("b", "other")
            await self.store.save_reports([a_receipt("a", number) for number in (1, 2, 3)])
            await self.store.save_reports([a_receipt("b", 1, namespace="other")])
            await self.store.settle([(DEFAULT_NAMESPACE, 2, b'{"applied":1}')])
            kept = [each[:3] for each in await self.store.load_outcomes()]
            self.assertEqual(kept, [(DEFAULT_NAMESPACE, 3, "a"), ("other", 1, "b")])
            self.assertEqual(await self.store.summary(DEFAULT_NAMESPACE, 2), b'{"applied":1}')
            self.assertIsNone(await self.store.summary(DEFAULT_NAMESPACE, 1))
            self.assertIsNone(await self.store.summary("other", 2))

        async def test_keeps_the_newest_summaries(self) -> None:
            await self.store.settle([(DEFAULT_NAMESPACE, 1, b"{}")])
            await self.store.settle([(DEFAULT_NAMESPACE, 10_001, b"{}")])
            self.assertIsNone(await self.store.summary(DEFAULT_NAMESPACE, 1))
            await self.store.settle([(DEFAULT_NAMESPACE, 20_000, b"{}")])
            self.assertEqual(await self.store.summary(DEFAULT_NAMESPACE, 10_001), b"{}")

    return IReportStoreTests
