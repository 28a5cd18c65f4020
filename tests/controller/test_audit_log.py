"""Refusals on their way to the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.audit import AuditEntry, AuditOutcome, verify
from confd.controller.audit_log import MAX_WAITING, UNAUTHENTICATED_ENTRIES_MAX, WRITE_INTERVAL_SECONDS, AuditLog
from confd.errors import Conflict, Forbidden, TooMany, Unauthenticated, Unavailable
from confd.interfaces import IAuditStore
from confd.testing import MemoryStore, a_draft, an_attempt
from confd.web.auth.basic import IAuditor

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

NOBODY, WRONG = Unauthenticated("unauthenticated", "Who?"), Unauthenticated("wrong_credentials", "No.")


class AuditLogTests(SynchronousTestCase):
    """Written behind to a store that can be broken."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(a_draft(poll_interval=30))
        self.audit_log = AuditLog(self.store, self.clock, self.now)
        self.audit_log.startService()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock.seconds())

    def refuse(self, number: int, error: Exception) -> None:
        """Somebody was turned away."""
        self.audit_log.refused(an_attempt(number, made_at=self.now()), error)

    def flood(self, count: int, error: Exception = NOBODY) -> None:
        """So many at once."""
        for number in range(count):
            self.refuse(number, error)

    def entries(self) -> list[AuditEntry]:
        """What is on record, oldest first."""
        entries = self.successResultOf(self.store.audit(10_000, None))
        self.assertIsNone(verify(entries).wrong)
        return list(entries)[::-1]

    def counted(self) -> int:
        """How many refusals the entries tell of."""
        return sum(int(each.detail.split()[3]) if each.detail else 1 for each in self.entries())

    def test_interface(self) -> None:
        verifyObject(IAuditor, self.audit_log)

    def test_written_soon(self) -> None:
        """With the code of the refusal; a defect has one, too."""
        self.refuse(1, Conflict("namespace_exists", "It does."))
        self.refuse(2, NOBODY)
        self.refuse(3, ValueError())
        self.assertEqual(self.entries(), [])
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertEqual(
            [(each.request_id, each.outcome, each.detail) for each in self.entries()],
            [
                ("request-1", "namespace_exists", ""),
                ("request-2", "unauthenticated", ""),
                ("request-3", "internal_error", ""),
            ],
        )

    def test_on_demand(self) -> None:
        self.refuse(1, NOBODY)
        self.successResultOf(self.audit_log.flush())
        self.assertEqual(len(self.entries()), 1)
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertEqual(len(self.entries()), 1)

    def test_flood(self) -> None:
        """A few entries a second, of which one tells how many more there were; none is lost."""
        for _ in range(10):
            self.flood(1000)
            self.clock.advance(WRITE_INTERVAL_SECONDS)
        entries = self.entries()
        self.assertEqual(len(entries), 10 * (UNAUTHENTICATED_ENTRIES_MAX + 1))
        self.assertEqual(self.counted(), 10_000)
        self.assertEqual(entries[3].request_id, "request-999")
        self.assertEqual(
            entries[3].detail,
            f"the last of {1000 - UNAUTHENTICATED_ENTRIES_MAX} refused alike since 2026-11-24T12:00:00.000Z; "
            "the others have no entry",
        )

    def test_one_too_many(self) -> None:
        """It stands for itself."""
        self.flood(UNAUTHENTICATED_ENTRIES_MAX + 1)
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertEqual([each.detail for each in self.entries()], [""] * (UNAUTHENTICATED_ENTRIES_MAX + 1))

    def test_too_often(self) -> None:
        """So are those who were asked to come back later: they fill no disk by not doing so."""
        self.flood(500, TooMany("too_many_failures", "Too often."))
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertEqual((len(self.entries()), self.counted()), (UNAUTHENTICATED_ENTRIES_MAX + 1, 500))

    def test_summed_up_by_outcome(self) -> None:
        for error in (NOBODY, WRONG, Forbidden("forbidden", "No."), Forbidden("cross_site", "No.")):
            self.flood(10, error)
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        sums = [each.outcome for each in self.entries() if each.detail]
        self.assertEqual(sums, ["unauthenticated", "wrong_credentials", "forbidden", "cross_site"])
        self.assertEqual(self.counted(), 40)

    def test_admin_is_never_summed_up(self) -> None:
        """Whatever knocks at the door meanwhile."""
        self.flood(100)
        self.flood(500, Conflict("namespace_exists", "It does."))
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        refusals = [each for each in self.entries() if each.outcome == "namespace_exists"]
        self.assertEqual([each.detail for each in refusals], [""] * 500)

    def test_broken_store(self) -> None:
        """What could not be written waits, in bounded memory, and nothing is lost."""
        self.store.broken = "The disk is full."
        for _ in range(5):
            self.flood(1000)
            self.flood(300, Conflict("namespace_exists", "It does."))
            self.clock.advance(WRITE_INTERVAL_SECONDS)
            self.successResultOf(self.audit_log.flush())
        self.assertEqual(self.entries(), [])
        self.store.broken = None
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertLessEqual(len(self.entries()), MAX_WAITING + 2)
        self.assertEqual(self.counted(), 6500)

    def test_stop(self) -> None:
        """What waits is written."""
        self.flood(10)
        self.successResultOf(self.audit_log.stopService())
        self.assertEqual(self.counted(), 10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_with_a_broken_store(self) -> None:
        """Nothing waits for it, and the log tells the number of entries."""
        said: list[LogEvent] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        self.store.broken = "The disk is full."
        self.flood(10)
        self.successResultOf(self.audit_log.stopService())
        self.assertEqual([event["count"] for event in said], [UNAUTHENTICATED_ENTRIES_MAX + 1])


@implementer(IAuditStore)
class SlowStore:
    """
    Answers when the test says so.

    @ivar written: what it was given, with the answer that it owes.
    """

    def __init__(self) -> None:
        self.written: list[tuple[Sequence[AuditOutcome], Deferred[None]]] = []

    def record(self, endings: Sequence[AuditOutcome]) -> Deferred[None]:
        answer: Deferred[None] = Deferred()
        self.written.append((endings, answer))
        return answer


class SlowStoreTests(SynchronousTestCase):
    """Writes that take their time."""

    def setUp(self) -> None:
        self.clock, self.store = Clock(), SlowStore()
        self.audit_log = AuditLog(self.store, self.clock, lambda: START)
        self.audit_log.startService()
        self.audit_log.refused(an_attempt(1), NOBODY)
        self.clock.advance(WRITE_INTERVAL_SECONDS)

    def numbers(self) -> list[list[str]]:
        """The requests in each write."""
        return [[each.attempt.request_id for each in endings] for endings, _ in self.store.written]

    def test_one_at_a_time(self) -> None:
        """Who asks meanwhile hears when what is under way, and what came since, is written."""
        self.audit_log.refused(an_attempt(2), NOBODY)
        asked = self.audit_log.flush()
        self.assertEqual(self.numbers(), [["request-1"]])
        self.store.written[0][1].callback(None)
        self.assertNoResult(asked)
        self.store.written[1][1].callback(None)
        self.successResultOf(asked)
        self.assertEqual(self.numbers(), [["request-1"], ["request-2"]])

    def test_failure_keeps_the_order(self) -> None:
        self.audit_log.refused(an_attempt(2), NOBODY)
        self.store.written[0][1].errback(Unavailable("storage_unavailable", "No."))
        self.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertEqual(self.numbers(), [["request-1"], ["request-1", "request-2"]])

    def test_stop_meanwhile(self) -> None:
        """What is under way is not written again."""
        self.audit_log.refused(an_attempt(2), NOBODY)
        stopped = self.audit_log.stopService()
        self.store.written[0][1].callback(None)
        self.assertNoResult(stopped)
        self.store.written[1][1].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.numbers(), [["request-1"], ["request-2"]])
