"""The contract of stores of reports."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.changes import ReceivedReport
from confd.controller.interfaces import IReportStore
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.reports import AgentRecord, ReportState, VersionOutcome
from confd.testing.examples import a_draft, a_received_report
from confd.testing.stores import StoreFixture


def make_ireportstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IReportStore} for the stores that C{fixture} makes."""

    class IReportStoreTests(TestCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(poll_interval=30))

        def test_interface(self) -> None:
            verifyObject(IReportStore, self.store)

        async def agent(self, agent_id: str) -> AgentRecord:
            record: AgentRecord | None = await self.store.find(agent_id)
            assert record is not None
            return record

        async def register(self, agent_id: str, namespace: str = DEFAULT_NAMESPACE, metadata: str = "") -> None:
            registration = Registration("host-1", metadata, agent_id, namespace=namespace)
            await self.store.register(registration, b"", a_draft().made_at)

        async def save(self, *reports: ReceivedReport) -> list[str]:
            verdicts = (await self.store.save_reports(reports)).value
            for received, verdict in zip(reports, verdicts, strict=True):
                if verdict.kind == "taken":
                    assert verdict.outcome is not None
                    self.assertEqual((verdict.outcome.state, verdict.outcome.at), (received.report.state, received.at))
                else:
                    self.assertEqual((verdict.outcome, verdict.before), (None, None))
            return [each.kind for each in verdicts]

        async def outcome(
            self, agent_id: str, version: int, namespace: str = DEFAULT_NAMESPACE
        ) -> VersionOutcome | None:
            """Return the outcome that is stored; reports once more to see it."""
            another = a_received_report(agent_id, version, namespace=namespace, sequence=1000 + version)
            (verdict,) = (await self.store.save_reports([another])).value
            return verdict.before

        async def test_begins_without_reports(self) -> None:
            self.assertEqual(await self.save(), [])
            self.assertIsNone(await self.store.summary(DEFAULT_NAMESPACE, 1))

        async def test_keeps_the_last_report_and_each_outcome(self) -> None:
            await self.register("a")
            await self.register("b")
            first = a_received_report("a", 1)
            second = a_received_report("a", 2, ReportState.FAILED, error='"nö",\\n\U0001f600')
            self.assertEqual(await self.save(first, a_received_report("b", 1)), ["taken", "taken"])
            self.assertEqual(await self.save(second), ["taken"])
            agent = await self.agent("a")
            self.assertEqual((agent.report, agent.reported_at), (second.report, second.at))
            applied = VersionOutcome(ReportState.APPLIED, first.at, "", False, agent=0.5, worker=2.25, ack=7)
            self.assertEqual(await self.outcome("a", 1), applied)
            failed = evolve(applied, state=ReportState.FAILED, error=second.report.error)
            self.assertEqual(await self.outcome("a", 2), failed)
            self.assertIsNone(await self.outcome("b", 2))

        async def test_judges_reports_of_one_transaction_against_each_other(self) -> None:
            await self.register("a")
            reports = [a_received_report("a", 1, ReportState.APPLYING, sequence=number) for number in (2, 2, 1, 3)]
            self.assertEqual(await self.save(*reports), ["taken", "repeated", "out_of_order", "taken"])
            self.assertEqual((await self.agent("a")).report, reports[-1].report)

        async def test_judges_against_what_is_stored(self) -> None:
            await self.register("a")
            for sequence, kind in ((2, "taken"), (2, "repeated"), (1, "out_of_order"), (3, "taken")):
                self.assertEqual(await self.save(a_received_report("a", 1, sequence=sequence)), [kind])

        async def test_first_applied_keeps_its_times(self) -> None:
            await self.register("a")
            await self.store.publish(a_draft(2, arrived=990.0))
            states = (ReportState.APPLIED, ReportState.FAILED, ReportState.APPLIED)
            reports = [
                evolve(a_received_report("a", 2, state, sequence=number), arrived=990.0 + 5 * number)
                for number, state in enumerate(states, 1)
            ]
            verdicts = (await self.store.save_reports(reports)).value
            self.assertEqual([each.outcome and each.outcome.took for each in verdicts], [4993] * 3)
            self.assertEqual([each.before for each in verdicts], [None, verdicts[0].outcome, verdicts[1].outcome])

        async def test_registering_leaves_a_report(self) -> None:
            await self.register("a")
            received = a_received_report("a", 1)
            await self.save(received)
            await self.register("a", metadata="new")
            agent = await self.agent("a")
            self.assertEqual((agent.metadata, agent.report), ("new", received.report))

        async def test_moving_clears_report_and_outcomes(self) -> None:
            await self.register("a")
            await self.save(a_received_report("a", 1))
            await self.register("a", "other")
            agent = await self.agent("a")
            self.assertEqual((agent.report, agent.reported_at), (None, None))
            self.assertIsNone(await self.outcome("a", 1, "other"))

        async def test_refuses_reports_of_agents_that_are_elsewhere(self) -> None:
            await self.register("a", "other")
            kinds = await self.save(a_received_report("a", 1), a_received_report("never-was", 1))
            self.assertEqual(kinds, ["other_namespace", "unknown_agent"])
            self.assertIsNone((await self.agent("a")).report)

        async def test_forgets_with_the_agent(self) -> None:
            await self.register("a")
            await self.register("b")
            await self.save(a_received_report("a", 1), a_received_report("b", 1))
            await self.store.forget("a")
            self.assertEqual(await self.save(a_received_report("a", 1, sequence=9)), ["unknown_agent"])
            await self.register("a")
            self.assertIsNone(await self.outcome("a", 1))
            self.assertIsNotNone(await self.outcome("b", 1))

        async def test_settles(self) -> None:
            await self.register("a")
            await self.register("b", "other")
            await self.save(*(a_received_report("a", number) for number in (1, 2, 3)))
            await self.save(a_received_report("b", 1, namespace="other"))
            await self.store.settle([(DEFAULT_NAMESPACE, 2, b'{"applied":1}')])
            kept = [await self.outcome("a", version) is not None for version in (1, 2, 3)]
            self.assertEqual(kept, [False, False, True])
            self.assertIsNotNone(await self.outcome("b", 1, "other"))
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
