"""What every store must do that keeps the audit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from attrs import evolve
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.audit import BACKUP, BEGINNING, CUT_OFF, DONE, AuditEntry, AuditOutcome, verify
from confd.errors import ConfdError
from confd.interfaces import IAuditStore
from confd.model import Registration
from confd.testing.examples import a_draft, an_attempt
from confd.testing.stores import StoreFixture


def make_iauditstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IAuditStore} for stores of C{fixture}, with configurations and agents."""

    class IAuditStoreTests(TestCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(poll_interval=30))

        async def entries(self) -> Sequence[AuditEntry]:
            """All of them, oldest first, and that they are a chain."""
            entries: Sequence[AuditEntry] = await self.store.audit(1000, None)
            verification = verify(entries)
            self.assertEqual((verification.count, verification.reason), (len(entries), ""))
            return entries[::-1]

        def test_interface(self) -> None:
            verifyObject(IAuditStore, self.store)

        async def test_begins_empty(self) -> None:
            self.assertEqual(await self.entries(), [])

        async def test_entries_of_namespaces(self) -> None:
            names = ("", "pay-in", "pay-out", "pay", "billing", "pay%", "*")
            await self.store.record([AuditOutcome(an_attempt(1, namespace=each)) for each in names])
            for patterns, found in (
                (None, names),
                (["*"], names[1:]),
                (["pay-*"], ("pay-in", "pay-out")),
                (["pay", "bill"], ("pay",)),
                (["billing", "pay-o*", "pay-*"], ("pay-in", "pay-out", "billing")),
                (["pay%"], ("pay%",)),
                ([], ()),
            ):
                entries = await self.store.audit(10, None, patterns)
                self.assertEqual([each.namespace for each in entries], [*found][::-1], patterns)
            self.assertEqual([each.number for each in await self.store.audit(1, 3, ["pay-*"])], [2])
            self.assertEqual(len(await self.entries()), len(names))

        async def test_record(self) -> None:
            refused = [
                AuditOutcome(an_attempt(1), "forbidden", "why"),
                AuditOutcome(an_attempt(2, who="", target="b"), "x"),
            ]
            await self.store.record(refused)
            first, second = await self.entries()
            self.assertEqual(
                first,
                AuditEntry(
                    1,
                    "2026-11-24T12:30:15.123Z",
                    "admin",
                    "192.0.2.7",
                    "POST /api/v1/config",
                    "default",
                    "forbidden",
                    "why",
                    "request-1",
                    BEGINNING,
                    first.digest(),
                ),
            )
            self.assertEqual((second.number, second.who, second.target, second.previous), (2, "", "b", first.hash))
            await self.store.record([])
            self.assertEqual(len(await self.entries()), 2)

        async def test_keeps_any_text(self) -> None:
            await self.store.record(
                [AuditOutcome(an_attempt(target='ü😀\ufffd"\\\x7f\n'), "x", "'; DROP TABLE audit; --")]
            )
            [entry] = await self.entries()
            self.assertEqual((entry.target, entry.detail), ('ü😀\ufffd"\\\x7f\n', "'; DROP TABLE audit; --"))

        async def test_in_pages(self) -> None:
            await self.store.record([AuditOutcome(an_attempt(number), "x") for number in range(1, 8)])
            for before, expected in ((None, [7, 6, 5]), (5, [4, 3, 2]), (2, [1]), (1, []), (10**30, [7, 6, 5])):
                page = await self.store.audit(3, before)
                self.assertEqual([each.number for each in page], expected)

        async def test_last_backup(self) -> None:
            async def record(number: int, outcome: str = DONE, action: str = BACKUP) -> int | None:
                made_at = an_attempt().made_at + timedelta(days=number)
                attempt = an_attempt(number, action=action, made_at=made_at)
                await self.store.record([AuditOutcome(attempt, outcome)])
                last = await self.store.last_backup()
                return None if last is None else (last.date() - an_attempt().made_at.date()).days

            self.assertIsNone(await record(1, "needs_tls"))
            self.assertIsNone(await record(2, action="HEAD /api/v1/backup"))
            self.assertEqual(await record(3), 3)
            self.assertEqual(await record(4), 4)
            self.assertEqual(await record(5, "backup_running"), 4)
            self.assertEqual(await record(5, CUT_OFF), 3)
            self.assertEqual(await record(6, "storage_full"), 3)
            self.assertEqual(await record(7), 7)

        async def test_changes_are_on_record(self) -> None:
            await self.store.register(Registration(agent_id="a"), b"", an_attempt().made_at)
            published = (await self.store.publish(a_draft(2, attempt=an_attempt(1)))).value
            created = (await self.store.create_namespace(a_draft(3, namespace="b", attempt=an_attempt(2)))).value
            await self.store.retire_namespace("b", an_attempt(3))
            await self.store.forget("a", attempt=an_attempt(4))
            rotated = await self.store.rotate_keys(attempt=an_attempt(5))
            tags = [str(each.configuration.tag) for each in (published, created)]
            expected = zip(range(1, 6), [*tags, "", "", rotated.value.keys[0].public], strict=True)
            self.assertEqual(
                [(each.request_id, each.outcome, each.detail) for each in await self.entries()],
                [(f"request-{number}", DONE, detail) for number, detail in expected],
            )

        async def test_retry_is_on_record_as_what_it_is(self) -> None:
            draft = a_draft(2, idempotency_key="k", attempt=an_attempt(1))
            await self.store.publish(draft)
            await self.store.publish(evolve(draft, attempt=an_attempt(2)))
            first, second = await self.entries()
            self.assertEqual(first.detail, second.detail)
            self.assertEqual((first.request_id, second.request_id), ("request-1", "request-2"))

        async def test_what_failed_is_not_on_record_as_done(self) -> None:
            for failing in (
                self.store.publish(a_draft(2, expected=frozenset(), attempt=an_attempt())),
                self.store.publish(a_draft(2, namespace="no", attempt=an_attempt())),
                self.store.create_namespace(a_draft(2, attempt=an_attempt())),
                self.store.retire_namespace("no", an_attempt()),
            ):
                with self.assertRaises(ConfdError):
                    await failing
            self.assertEqual(await self.entries(), [])

        async def test_many_at_once(self) -> None:
            publishes, records = [], []
            for number in range(150):
                publishes.append(self.store.publish(a_draft(number, attempt=an_attempt(number))))
                records.append(self.store.record([AuditOutcome(an_attempt(number), "x")]))
            await gatherResults(publishes)
            await gatherResults(records)
            self.assertEqual(len(await self.entries()), 300)

    return IAuditStoreTests
