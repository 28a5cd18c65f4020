"""What every store must do that keeps events for the receivers of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from confd.audit import Attempt
from confd.errors import PreconditionFailed
from confd.interfaces.webhooks import (
    HOLD_SECONDS,
    MAX_QUEUED,
    MAX_QUEUED_HOURS,
    IWebhookStore,
    Occurrence,
    QueueState,
)
from confd.testing.examples import a_draft, an_attempt
from confd.testing.stores import StoreFixture

_SECOND, _HOUR = timedelta(seconds=1), timedelta(hours=1)


def make_iwebhookstore_tests(fixture: StoreFixture) -> type[TestCase]:
    """Make the contract suite of L{IWebhookStore} for stores of C{fixture}, with configurations."""

    class IWebhookStoreTests(TestCase):
        def setUp(self) -> None:
            self.store = fixture(self, a_draft(poll_interval=30))
            self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
            self.store.queue_changes(2, self.describe, lambda: self.now)

        def describe(self, change: tuple[str, str, object], attempt: Attempt | None) -> Sequence[bytes]:
            """Return one body for each change."""
            kind, subject, _ = change
            return [f"{kind} {subject} {'' if attempt is None else attempt.who}".encode()]

        async def state(self, done: int | None = None) -> QueueState:
            """Return the state of the first queue, which is not empty."""
            state: QueueState = await self.store.advance(0, done, "a", self.now)
            assert state.head is not None
            return state

        async def queue(self, receiver: int = 0) -> list[bytes]:
            """Take all events out of a queue."""
            found: list[bytes] = []
            state: QueueState = await self.store.advance(receiver, None, "a", self.now)
            while state.head is not None:
                self.assertIsNotNone(state.oldest_at)
                found.append(state.head[1])
                waiting = state.waiting
                state = await self.store.advance(receiver, state.head[0], "a", self.now)
                self.assertEqual(state.waiting, waiting - 1)
            self.assertEqual((state.waiting, state.oldest_at), (0, None))
            return found

        def test_interface(self) -> None:
            verifyObject(IWebhookStore, self.store)

        async def test_begins_empty(self) -> None:
            self.assertEqual(await self.store.advance(0, None, "a", self.now), QueueState())

        async def test_events_of_changes_are_queued_with_the_change_for_each_receiver(self) -> None:
            await self.store.publish(a_draft(2, attempt=an_attempt(1)))
            await self.store.create_namespace(a_draft(3, namespace="b", attempt=an_attempt(2)))
            await self.store.retire_namespace("b", an_attempt(3))
            expected = [b"revision default admin", b"revision b admin", b"retired b admin"]
            self.assertEqual(await self.queue(0), expected)
            self.assertEqual(await self.queue(1), expected)

        async def test_refused_or_repeated_change_queues_nothing(self) -> None:
            draft = a_draft(2, idempotency_key="k", attempt=an_attempt(1))
            await self.store.publish(draft)
            await self.store.publish(draft)
            with self.assertRaises(PreconditionFailed):
                await self.store.publish(a_draft(3, expected=frozenset({"other"}), attempt=an_attempt(2)))
            self.assertEqual(len(await self.queue()), 1)

        async def test_order_is_the_order_of_the_writes(self) -> None:
            bodies = [str(number).encode() for number in range(30)]
            await gatherResults([self.store.queue_event(each, self.now) for each in bodies])
            self.assertEqual(await self.queue(), bodies)

        async def test_event_stays_until_it_is_done(self) -> None:
            await self.store.queue_event(b"1", self.now)
            first = await self.state()
            self.assertEqual(await self.store.advance(0, None, "a", self.now + _SECOND), first)
            self.assertEqual(await self.state(10**6), first)
            self.assertEqual(await self.queue(), [b"1"])

        async def test_one_controller_at_a_time_sends(self) -> None:
            await self.store.queue_event(b"1", self.now)
            for holder, seconds, expected in (
                ("a", 0, True),
                ("b", 0, False),
                ("a", HOLD_SECONDS, True),
                ("b", HOLD_SECONDS + 1, False),
                ("b", 2 * HOLD_SECONDS + 1, True),
                ("a", 2 * HOLD_SECONDS + 2, False),
            ):
                state = await self.store.advance(0, None, holder, self.now + seconds * _SECOND)
                self.assertEqual((state.head is not None, state.waiting), (expected, 1), (holder, seconds))
            self.assertIsNotNone((await self.store.advance(1, None, "a", self.now)).head)

        async def test_old_events_are_dropped_and_counted(self) -> None:
            await self.store.queue_event(b"old", self.now - MAX_QUEUED_HOURS * _HOUR - _SECOND)
            await self.store.queue_event(b"new", self.now - MAX_QUEUED_HOURS * _HOUR + _SECOND)
            state = await self.state()
            self.assertEqual((state.head and state.head[1], state.waiting, state.dropped), (b"new", 1, 1))

        async def test_full_queue_drops_its_oldest_event(self) -> None:
            bodies = [str(number).encode() for number in range(MAX_QUEUED + 2)]
            await gatherResults([self.store.queue_event(each, self.now) for each in bodies])
            state = await self.state()
            self.assertEqual((state.head and state.head[1], state.waiting, state.dropped), (b"2", MAX_QUEUED, 2))

        async def test_occurrence_is_queued_once(self) -> None:
            for kind, version, count, expected in (
                ("failed", 3, 1, True),
                ("failed", 3, 1, False),
                ("failed", 3, 2, True),
                ("failed", 2, 9, False),
                ("stalled", 2, 0, True),
                ("failed", 4, 1, True),
            ):
                once = Occurrence(kind, "default", version, count)
                self.assertEqual(await self.store.queue_event(b"x", self.now, once), expected, (kind, version, count))
            self.assertTrue(await self.store.queue_event(b"x", self.now, Occurrence("failed", "b", 1)))
            self.assertEqual(len(await self.queue()), 5)

    return IWebhookStoreTests
